"""Deciding on the device and reading later, as on an accelerator, here made to run on the CPU: the same
weights, the same run file, the same names, and no host read but one an observed step.
"""

import itertools

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import evengrad
from evengrad.adapters.torch.statistics.ledger import as_on_a_device
from evengrad.adapters.torch.tap.observing import packed
from evengrad.adapters.torch.tap.on_device import DeviceTap
from evengrad.adapters.torch.watch import WatchHandle
from evengrad.recording import clip, guard
from evengrad.recording.settings import Settings
from evengrad.values.run import EventKind
from tests.adapters.torch.test_torch_statistics import host_reads
from tests.adapters.torch.torch_trainings import (
    FAULTS,
    MIDDLE,
    NETWORKS,
    OPTIMIZERS,
    batch,
    build,
    everything,
    same,
    train,
)

AT = 6
FUSED = [name for name in OPTIMIZERS if "fused" in name]


def watching(model, chosen, folder=None, clipping=None, action="stop", every=4):
    settings = Settings(every, clip.parse(clipping), guard.parse(action), folder)
    watch = WatchHandle(model, chosen, settings, on_device=True)
    assert isinstance(watch._tap._way, DeviceTap)
    return watch


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("optimizer", FUSED)
def test_changes_no_bit(network, optimizer):
    found = []
    for watched in (False, True):
        model = build(network, 3)
        chosen = OPTIMIZERS[optimizer](model.parameters())
        watch = watching(model, chosen) if watched else None
        losses = train(model, chosen, steps=20)
        if watch is not None:
            watch.remove()
            assert not watch.watching.off
        found.append((losses, everything(model, chosen)))
    assert found[0][0] == found[1][0]
    assert same(found[0][1], found[1][1])


@pytest.mark.parametrize("clipping", ["0.3", "percentile", "zscore:0.5", "auto"])
@pytest.mark.parametrize("optimizer", FUSED)
def test_clips_as_it_does_at_once(clipping, optimizer, tmp_path):
    found, runs = [], []
    for late in (False, True):
        model = build("residual", 1)
        chosen = OPTIMIZERS[optimizer](model.parameters())

        def jump(step, model=model):
            if step in (26, 29):
                torch._foreach_mul_([p.grad for p in model.parameters()], 20.0)

        settings = Settings(10, clip.parse(clipping), guard.Guard(), tmp_path / str(late))
        with WatchHandle(model, chosen, settings, on_device=late) as watch:
            train(model, chosen, steps=33, spoil=jump)
        found.append(everything(model, chosen))
        runs.append(evengrad.load(watch.watching.path))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    now, later = runs
    assert (later.steps["coefficient"] < 1).any()
    for name in ("step", "loss", "rate", "norm", "clipped", "coefficient", "applied"):
        assert later.steps[name] == pytest.approx(now.steps[name], rel=1e-4), name
    for name in ("step", "tensor", "gradient_rms", "gradient_max", "weight_rms"):
        assert later.details[name] == pytest.approx(now.details[name], rel=1e-3, abs=1e-9), name
    assert later.layers == now.layers


@pytest.mark.parametrize(("fault", "network"), [*itertools.product(FAULTS, NETWORKS)], ids=str)
def test_faults_stop_before_the_weights_and_are_named(fault, network, tmp_path):
    plain = build(network, 5)
    reference = OPTIMIZERS["adam fused"](plain.parameters())
    train(plain, reference, steps=AT, seed=5)
    model = build(network, 5)
    chosen = OPTIMIZERS["adam fused"](model.parameters())
    given, expected = FAULTS[fault](model, MIDDLE[network], AT)
    with (
        pytest.raises(evengrad.GuardStopError, match=f"Step {AT}:"),
        watching(model, chosen, tmp_path) as watch,
    ):
        train(model, chosen, steps=AT + 3, seed=5, **given)
    if not fault.startswith("weight"):
        assert same(everything(model, chosen), everything(plain, reference)), "as before the step"
    run = evengrad.load(watch.watching.path)
    first = next(e for e in run.events if e.kind is EventKind.NON_FINITE)
    assert (first.step, first.layer) == (AT, expected)


@pytest.mark.parametrize("action", ["skip", "rollback"])
@pytest.mark.parametrize("fault", ["input nan", "loss inf", "gradient nan"])
@pytest.mark.parametrize("at", [6, 13])  # an observed step, which is read at once, and another
def test_goes_on_after_it(action, fault, at, tmp_path):
    model = build("conv", 3)
    chosen = OPTIMIZERS["adam fused"](model.parameters())
    given, _ = FAULTS[fault](model, MIDDLE["conv"], at)
    with watching(model, chosen, tmp_path, action=action) as watch:
        train(model, chosen, steps=16, **given)
    assert all(torch.isfinite(t).all() for t in everything(model, chosen))
    run = evengrad.load(watch.watching.path)
    # Read late, a rollback also loses the step that was under way when the weights were put back.
    lost = 2 if action == "rollback" and at == 13 else 1
    assert run.steps["applied"].tolist() == [1] * at + [0] * lost + [1] * (16 - at - lost)
    assert [e.kind for e in run.events if e.kind != EventKind.NON_FINITE] == [action]
    assert chosen.param_groups[0]["lr"] == (5e-4 if action == "rollback" else 1e-3)


@pytest.mark.parametrize("optimizer", FUSED)
def test_under_a_grad_scaler(optimizer, tmp_path):
    """Its skips are its own, and its scale is undone before anything is compared."""
    found = []
    for watched in (False, True):
        model = build("dense", 2)
        chosen = OPTIMIZERS[optimizer](model.parameters())
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8, growth_interval=3)
        watch = watching(model, chosen, tmp_path, "0.2") if watched else None
        torch.manual_seed(0)
        for number in range(12):
            x, y = batch(torch.Generator().manual_seed(number))
            chosen.zero_grad()
            scaler.scale(nn.functional.cross_entropy(model(x), y)).backward()
            if number == 5:
                model[0].weight.grad[0, 0] = torch.inf
            if not watched:
                scaler.unscale_(chosen)
                nn.utils.clip_grad_norm_(model.parameters(), 0.2)
            scaler.step(chosen)
            scaler.update()
        if watch is not None:
            watch.remove()
        found.append(everything(model, chosen))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    run = evengrad.load(watch.watching.path)
    assert run.steps["applied"].tolist() == [1] * 5 + [0] + [1] * 6
    assert not any(e.kind in (EventKind.STOP, EventKind.NON_FINITE) for e in run.events)


class Reads(TorchDispatchMode):
    """Counts what an accelerator would have to wait for."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket in (
            torch.ops.aten._local_scalar_dense,
            torch.ops.aten.item,
            torch.ops.aten.is_nonzero,
            torch.ops.aten.equal,
        )
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("clipping", [None, "1.0", "auto"])
def test_reads_once_an_observed_step_and_never_else(clipping, monkeypatch):
    model = build("conv", 0)
    chosen = OPTIMIZERS["adam fused"](model.parameters())
    reads = []
    original = torch.Tensor.cpu
    monkeypatch.setattr(
        torch.Tensor, "cpu", lambda t, *a, **k: reads.append(1) or original(t, *a, **k)
    )
    counted, per_step = Reads(), []
    watch = watching(model, chosen, None, clipping, every=10)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        x, y = batch(generator)
        chosen.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        before = len(reads) + counted.count
        with counted:
            chosen.step()
        per_step.append(len(reads) + counted.count - before)
    watch.remove()
    observed = [step < 10 or step % 10 == 0 for step in range(30)]
    assert per_step == [int(seen) for seen in observed]


VIEWS = ("view", "detach", "split_with_sizes", "as_strided", "slice", "permute", "alias", "reshape")


class Launches(TorchDispatchMode):
    """Counts operators, but not those that only look at memory otherwise."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name.lstrip("_") not in VIEWS:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def launches(layers, watched, optimizer="adam fused", clipping=None):
    """Of an observed and of an ordinary step's ``step()``, beyond forward and backward."""
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(layers)])
    chosen = OPTIMIZERS[optimizer](model.parameters())
    watch = watching(model, chosen, None, clipping, every=20) if watched else None
    found = {}
    for number in range(25):
        model(torch.randn(2, 3)).square().mean().backward()
        with Launches() as counted:
            chosen.step()
        found["observed" if number == 20 else "ordinary"] = counted.names
        chosen.zero_grad()
    if watch is not None:
        watch.remove()
    return found


def test_numbers_that_lie_side_by_side_are_not_copied():
    whole = torch.rand(7)
    assert packed(whole.unbind()).data_ptr() == whole.data_ptr()
    assert torch.equal(packed(whole.unbind()), whole)
    assert torch.equal(packed(whole.unbind()[::-1]), whole.flip(0))
    assert torch.equal(packed([torch.tensor(1.0), torch.tensor(2.0)]), torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize("clipping", [None, "1.0", "auto"])
def test_as_many_launches_for_1000_tensors_as_for_10(clipping):
    few, many = (launches(layers, True, clipping=clipping) for layers in (5, 500))
    assert len(few["ordinary"]) == len(many["ordinary"])
    assert len(few["observed"]) == len(many["observed"])
    assert len(few["observed"]) - len(few["ordinary"]) <= 15


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("clipping", [None, "1.0", "auto"])
def test_an_optimizer_that_must_know_at_once_waits_once_a_step(optimizer, clipping):
    """One that is not fused changes its state before it could be told on the device."""
    model = build("dense", 0)
    chosen = OPTIMIZERS[optimizer](model.parameters())
    per_step = []
    with as_on_a_device():
        settings = Settings(10, clip.parse(clipping), guard.parse("stop"), None)
        watch = WatchHandle(model, chosen, settings)
        for number in range(24):
            x, y = batch(torch.Generator().manual_seed(number))
            nn.functional.cross_entropy(model(x), y).backward()
            with host_reads() as counted, Reads() as inside:
                watch._tap._before(chosen, (chosen,), {})
                watch._tap._after(chosen, (chosen,), {})
            per_step.append(counted["reads"])
            chosen.zero_grad()
        watch.remove()
        assert not watch.watching.off
    assert inside.count == 0
    ordinary = [reads for step, reads in enumerate(per_step) if step > 10 and step % 10]
    assert set(ordinary) == {2}, "one .cpu().numpy()"
