"""Names of torch that are not promised: a canary for each, and what is missing where one is gone."""

import functools
import gc
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import evengrad
from evengrad.adapters.torch import compat
from evengrad.adapters.torch.describe import abstract, describe
from evengrad.adapters.torch.probe import probe
from tests.adapters.torch.torch_trainings import build

ATTRIBUTE = compat._attribute
IDS = [name.path.rpartition(".")[2] for name in compat.NAMES]
SINCE_2_6 = {"_clip_grads_with_norm_", "_get_total_norm", "set_stance"}
LOSSES = {  # name -> what the run has not got without it
    "FRAME_COUNTER": {"layers"},
    "_per_optimizer_states": {"norm", "coefficient"},
}


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad


class Doubling(nn.Module):
    """Tensors in a dict and in a tuple; a function of its own; weights that only a convention resets."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, given):
        x = Double.apply(self.first(given["x"]))
        x = self.norm(torch.relu(x))
        return (self.second(x + self.attend(x, x, x)[0]),)


@pytest.fixture
def hidden(request, monkeypatch):
    """Only we do not find the name: torch itself needs it."""
    monkeypatch.setattr(
        compat,
        "_attribute",
        lambda place, name, default=None: (
            default if name == request.param else getattr(place, name, default)
        ),
    )
    return request.param


without_each = pytest.mark.parametrize("hidden", IDS, indirect=True)


@pytest.mark.parametrize("name", compat.NAMES, ids=IDS)
def test_torch_has_the_name_still(name):
    """The canary: where it dies, see in compat.py what is done without, and whether there is a better way."""
    old = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6)
    assert name.there or (old and name.path.rpartition(".")[2] in SINCE_2_6), name.purpose


def test_each_name_that_compat_asks_for_is_in_the_list():
    source = Path(compat.__file__).read_text()
    asked = set(re.findall(r'_attribute\([^"()]*(?:\([^()]*\))?[^"()]*"(\w+)"', source))
    assert len(asked) > 12
    assert asked - set(IDS) <= {"set_eval_frame", "_init_weights"}, (
        "of old torch; of other packages"
    )


# --- one name gone --------------------------------------------------------------------------------------


def measured():
    torch.manual_seed(0)
    model = Doubling()
    batch = {"x": torch.randn(8, 4)}, torch.randn(8, 2)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    return probe(
        model,
        loss=lambda output, y: nn.functional.mse_loss(output[0], y),
        batch=((batch[0],), batch[1]),
        optimizer=optimizer,
        rate=True,
    )


@without_each
def test_check_measures_the_same(hidden):
    with pytest.MonkeyPatch.context() as whole:
        whole.setattr(compat, "_attribute", ATTRIBUTE)
        expected = measured()
    assert repr(measured()) == repr(expected)


@without_each
def test_forecast_lacks_the_initial_values_of_models_without_memory_at_most(hidden):
    def spec():
        return describe(abstract(lambda: build("residual", 0)), (((16, 12), "float32"),))

    found = spec()
    with pytest.MonkeyPatch.context() as whole:
        whole.setattr(compat, "_attribute", ATTRIBUTE)
        expected = spec()
    assert [n.name for n in found.nodes] == [n.name for n in expected.nodes]
    if hidden != "TorchDispatchMode":
        assert found == expected
        return
    assert any(w.law.origin == "unknown" for w in found.weights)
    assert any(hidden in note for note in found.notes)
    assert not any(hidden in note for note in expected.notes)


def recorded(folder, scaled, fused):
    """A training that clips by itself; its run, and the weights at its end."""
    torch.manual_seed(0)
    model = build("conv", 0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, enabled=scaled)
    with evengrad.watch(model, optimizer, folder=folder, clip="value:0.01", guard=None) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            loss = model(torch.randn(8, 12)).square().mean()
            scaler.scale(loss).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
    assert not watch.watching.off
    return evengrad.load(watch.watching.path), [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaler"])
@without_each
def test_run_records_the_same_but_that_figure(hidden, scaled, tmp_path):
    fused = (
        scaled and hidden != "_step_supports_amp_scaling"
    )  # else torch's own scaler must miss it, too
    run, weights = recorded(tmp_path / "without", scaled, fused)
    with pytest.MonkeyPatch.context() as whole:
        whole.setattr(compat, "_attribute", ATTRIBUTE)
        expected, same = recorded(tmp_path / "with", scaled, fused)
    for one, other in zip(weights, same, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-8)
    lost = LOSSES.get(hidden, set())
    if hidden == "_per_optimizer_states" and not scaled:
        lost = set()
    for column in set(expected.steps) - lost - {"time"}:
        np.testing.assert_allclose(run.steps[column], expected.steps[column], rtol=1e-5)
    for column in lost & set(expected.steps):
        assert not np.allclose(run.steps[column], expected.steps[column])
    assert (run.layers == expected.layers) == ("layers" not in lost)
    said = [event.message for event in run.events if hidden in event.message]
    assert bool(said) == (hidden in LOSSES)
    assert not [event.message for event in expected.events if "torch 2" in event.message]


@pytest.mark.parametrize("hidden", ["set_stance"], indirect=True)
def test_compiled_models_run_eagerly_by_the_older_way(hidden):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    batch = torch.randn(8, 4), torch.randn(8, 2)
    expected = probe(model, loss=nn.functional.mse_loss, batch=batch)
    compiled = torch.compile(model, backend="eager")
    compiled(batch[0])
    found = probe(compiled, loss=nn.functional.mse_loss, batch=batch)
    assert [o.name for o in found.operations] == [o.name for o in expected.operations]
    assert not found.notes


def test_function_apply_of_c(monkeypatch):
    """From torch 2.14 on, Function.apply is no Python classmethod with a ``__func__``, but one of C's."""
    descriptor = torch._C._FunctionBase.__dict__["apply"]
    monkeypatch.setattr(torch.autograd.Function, "apply", descriptor)
    assert any("Double" in op.name for op in measured().operations)
    assert torch.autograd.Function.__dict__["apply"] is descriptor


# --- caches that are not ours to empty -----------------------------------------------------------------


@functools.lru_cache
def positions(length):
    return torch.arange(length)


@functools.lru_cache
def somebodys(name):
    return object()


@functools.lru_cache
def shape_of(name):
    return torch.empty(2, device="meta")


class Positioned(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(6, 4), nn.Linear(4, 2)

    def forward(self, x):
        somebodys("made by the model")
        return self.head(x + self.embed(positions(6)))


def test_only_caches_that_the_description_filled_with_empty_tensors_are_emptied():
    gc.unfreeze()  # those of this file among the collector's objects
    kept = shape_of("made before"), somebodys("made before")
    describe(Positioned(), (((3, 6, 4), "float32"),))
    assert (shape_of("made before"), somebodys("made before")) == kept
    assert somebodys.cache_info().currsize == 2
    assert not positions(6).is_meta
