"""What we patch in torch: side by side with others and with ourselves, and gone without a trace."""

import itertools
import threading
import types

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad

import evengrad
from evengrad.adapters.torch import live, script
from evengrad.adapters.torch.probe import probe
from evengrad.recording.settings import Settings
from tests.adapters.torch.test_torch_script import Session
from tests.adapters.torch.torch_trainings import build, train

PLACES = (
    torch,
    torch.Tensor,
    torch.autograd,
    torch.autograd.Function,
    torch.amp.GradScaler,
    torch.nn.utils,
    clip_grad,
    torch.optim.Optimizer,
    nn.Module,
)


@pytest.fixture(autouse=True)
def nothing_stays():
    before = [dict(vars(place)) for place in PLACES]
    yield
    for place, old in zip(PLACES, before, strict=True):
        changed = {n for n, v in vars(place).items() if old.get(n) is not v}
        modules = {
            n for n in changed if isinstance(vars(place)[n], types.ModuleType)
        }  # loaded late
        assert not changed - modules - {"manual_seed"}, (
            place
        )  # which torch's compiler changes itself


def watched(name, seed):
    model = build(name, seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return model, optimizer, evengrad.watch(model, optimizer, folder=None)


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_watches_nest_and_end_in_any_order(order):
    three = [watched("dense", seed) for seed in range(3)]
    for model, optimizer, _ in three:
        train(model, optimizer, steps=2)
    for place in order:
        model, optimizer, watch = three[place]
        train(model, optimizer, steps=1)
        watch.remove()
        assert not watch.watching.off
        train(model, optimizer, steps=1)
    for left in set(range(3)) - set(order):
        three[left][2].remove()


class Live:
    """What a live door reports to."""

    settings = Settings(every=4, clip=None, guard=None, folder=None)
    script, closed = "train.py", False

    def watching(self, subject):
        return evengrad.recording.session.Watching(self.settings, subject)

    def trouble(self, error):
        raise error


@pytest.mark.parametrize("first", [True, False], ids=["ends first", "ends last"])
def test_another_tools_wrappers_stay_and_see_every_call(first):
    """A profiler that is put on while we watch, and taken off before us or after."""
    seen = []

    def profiled(original, name):
        def wrapper(*args, **kwargs):
            seen.append(name)
            return original(*args, **kwargs)

        return wrapper

    model = build("dense", 0)
    armed = live.arm(Live())
    places = [
        (torch.Tensor, "backward"),
        (torch.optim.Optimizer, "__init__"),
        (torch.nn.utils, "clip_grad_norm_"),
    ]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    originals = [getattr(*place) for place in places]
    for place, original in zip(places, originals, strict=True):
        setattr(*place, profiled(original, place[1]))
    mine = [getattr(*place) for place in places]

    def use():
        train(model, torch.optim.SGD(model.parameters(), lr=0.01), steps=2)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    use()
    if not first:
        armed.disarm()
        assert [getattr(*place) for place in places] == mine
        del seen[:]
        use()
    assert [seen.count(name) for name in ("__init__", "clip_grad_norm_")] == [1, 1]
    assert seen.count("backward") >= 2  # once more for each function mode
    for place, original in zip(places, originals, strict=True):
        setattr(*place, original)
    if first:
        armed.disarm()
    else:  # what the tool put back was ours, which only hands through by now
        for place in places:
            patch = getattr(getattr(*place), "__evengrad_patch__", None)
            assert patch is None or not patch.active
            if patch is not None:
                setattr(*place, patch.own)
    assert optimizer.param_groups


def test_threads_that_watch_at_once():
    errors, together = [], threading.Barrier(4)

    def training(seed):
        try:
            for _ in range(5):
                model, optimizer, watch = watched("dense", seed)
                together.wait(60)
                train(model, optimizer, steps=2)
                watch.remove()
                assert not watch.watching.off
        except Exception as error:
            errors.append(error)
            together.abort()

    threads = [threading.Thread(target=training, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_probe_within_a_watch_and_a_watch_within_a_script():
    model, optimizer, watch = watched("dense", 0)
    armed = script.arm(Session())
    batch = torch.randn(8, 12), torch.randint(0, 4, (8,))
    found = probe(model, loss=nn.CrossEntropyLoss(), batch=batch, optimizer=optimizer)
    assert len(found.operations) > 4
    watch.remove()
    armed.disarm()


@pytest.mark.parametrize("name", ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_"])
def test_a_clip_that_a_module_imported_by_name_is_met(name, tmp_path, monkeypatch):
    if not hasattr(torch.nn.utils, name):
        pytest.skip("came with torch 2.6")
    users = types.ModuleType("train_of_the_users")
    monkeypatch.setitem(__import__("sys").modules, users.__name__, users)
    users.clip = getattr(torch.nn.utils, name)
    given = {"clip_grad_norm_": (1e-3,), "clip_grad_value_": (1e-5,)}.get(name)
    original = users.clip
    model = build("dense", 0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with evengrad.watch(model, optimizer, folder=tmp_path, guard=None) as watch:
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.ones(4, 12)).square().sum().backward()
            norm = (
                torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
                if given is None
                else None
            )
            before = float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm())
            users.clip(model.parameters(), *(given or (1e-3, norm)))
            optimizer.step()
    assert evengrad.load(watch.watching.path).steps["norm"][-1] == pytest.approx(before, rel=1e-4)
    assert users.clip is original
