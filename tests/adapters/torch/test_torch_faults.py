"""Faults in a torch training: none of them reaches a weight, and each is named by its place."""

import itertools
import math

import pytest
import torch
from torch import nn

import evengrad
from evengrad.recording import blackbox
from evengrad.values.run import EventKind
from tests.adapters.torch.torch_trainings import (
    FAULTS,
    MIDDLE,
    NETWORKS,
    OPTIMIZERS,
    build,
    everything,
    same,
    train,
)

AT = 6
CASES = list(itertools.product(FAULTS, NETWORKS, ["adam fused", "sgd"]))


@pytest.mark.parametrize(("fault", "network", "optimizer"), CASES)
def test_stopped_before_the_weights_and_named(fault, network, optimizer, tmp_path):
    seed = len(fault) + 100 * len(network)
    plain = build(network, seed)
    reference = OPTIMIZERS[optimizer](plain.parameters())
    train(plain, reference, steps=AT, seed=seed)
    model = build(network, seed)
    chosen = OPTIMIZERS[optimizer](model.parameters())
    given, expected = FAULTS[fault](model, MIDDLE[network], AT)
    with (
        pytest.raises(evengrad.GuardStopError) as stopped,
        evengrad.watch(model, chosen, folder=tmp_path) as watch,
    ):
        train(model, chosen, steps=AT + 3, seed=seed, **given)
    if not fault.startswith("weight"):
        assert same(everything(model, chosen), everything(plain, reference)), "as before the step"
    assert str(stopped.value).startswith(f"Step {AT}:")
    run = evengrad.load(watch.watching.path)
    first = run.events[0]
    assert (first.step, first.kind) == (AT, EventKind.NON_FINITE)
    assert first.layer == expected
    assert run.steps["applied"].tolist() == [1] * AT + [0]
    assert run.steps["non_finite"][-1] > 0
    assert blackbox.load(run.path.parent).origin.layer == expected


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("optimizer", ["adam fused", "sgd"])
def test_gradients_of_1e19_do_not_poison_the_optimizer(network, optimizer, tmp_path):
    """Their squares overflow float32: Adam's second moment would be inf for ever."""
    model = build(network, 1)
    chosen = OPTIMIZERS[optimizer](model.parameters())

    def spoil(step):
        if step == AT:
            model.get_submodule(MIDDLE[network]).weight.grad.fill_(3e19)

    with (
        pytest.raises(evengrad.GuardStopError),
        evengrad.watch(model, chosen, folder=tmp_path) as watch,
    ):
        train(model, chosen, steps=AT + 3, spoil=spoil)
    assert all(torch.isfinite(t).all() for t in everything(model, chosen))
    run = evengrad.load(watch.watching.path)
    size = model.get_submodule(MIDDLE[network]).weight.numel()
    assert run.steps["norm"][-1] == pytest.approx(3e19 * size**0.5, rel=1e-4)
    assert run.events[0].layer == MIDDLE[network]
    assert run.events[0].message.startswith("the squares of the gradients overflow: the largest")


@pytest.mark.parametrize("network", NETWORKS)
def test_a_clip_brings_1e19_down(network):
    """With a clip the same gradient is an ordinary step: its direction at the bound."""
    model = build(network, 1)
    chosen = torch.optim.SGD(model.parameters(), lr=0.1)
    before = None

    def spoil(step):
        nonlocal before
        for p in model.parameters():
            p.grad.fill_(3e19)
        before = [p.detach().clone() for p in model.parameters()]

    with evengrad.watch(model, chosen, folder=None, clip=1.0):
        train(model, chosen, steps=1, spoil=spoil)
    size = sum(p.numel() for p in model.parameters())
    for old, new in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(
            old - new.detach(), torch.full_like(old, 0.1 / size**0.5), rtol=1e-3, atol=1e-7
        )


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_of_1e_24_are_not_zero(network, tmp_path):
    """Their squares vanish in float32; the run file has them all the same, and no step is held back."""
    model = build(network, 2)
    chosen = torch.optim.SGD(model.parameters(), lr=0.01)

    def spoil(step):
        for p in model.parameters():
            p.grad.fill_(1e-24)

    with evengrad.watch(model, chosen, folder=tmp_path) as watch:
        train(model, chosen, steps=3, spoil=spoil)
    run = evengrad.load(watch.watching.path)
    size = sum(p.numel() for p in model.parameters())
    assert run.steps["norm"] == pytest.approx([1e-24 * size**0.5] * 3, rel=1e-4)
    assert run.details["gradient_rms"] == pytest.approx(
        [1e-24] * len(run.details["step"]), rel=1e-4
    )


@pytest.mark.parametrize("action", ["skip", "rollback"])
@pytest.mark.parametrize("fault", [f for f in FAULTS if not f.startswith(("weight", "activation"))])
def test_goes_on_after_it(fault, action, tmp_path):
    model = build("conv", 3)
    chosen = OPTIMIZERS["adam fused"](model.parameters())
    given, _ = FAULTS[fault](model, MIDDLE["conv"], AT)
    with evengrad.watch(model, chosen, folder=tmp_path, guard=f"{action}:2") as watch:
        train(model, chosen, steps=AT + 4, **given)
    assert all(torch.isfinite(t).all() for t in everything(model, chosen))
    run = evengrad.load(watch.watching.path)
    assert run.steps["applied"].tolist() == [1] * AT + [0] + [1] * 3
    assert run.events[1].kind == action
    lowered = 0.5 if action == "rollback" else 1.0
    assert chosen.param_groups[0]["lr"] == pytest.approx(1e-3 * lowered)


def test_skips_are_limited_in_a_row_and_then_it_stops(tmp_path):
    model = build("dense", 4)
    chosen = OPTIMIZERS["sgd"](model.parameters())
    with (
        pytest.raises(evengrad.GuardStopError),
        evengrad.watch(model, chosen, folder=tmp_path, guard="skip:2") as watch,
    ):
        train(
            model,
            chosen,
            steps=12,
            before=lambda step, x: x * math.nan if step in (1, 3, 4, 6, 7, 8) else x,
        )
    run = evengrad.load(watch.watching.path)
    assert [e.step for e in run.events if e.kind is EventKind.SKIP] == [1, 3, 4, 6, 7]
    assert [e.step for e in run.events if e.kind is EventKind.STOP] == [8]


def test_rollback_puts_back_the_last_good_weights_and_state():
    model = build("dense", 5)
    chosen = OPTIMIZERS["adamw"](model.parameters())
    kept = {}

    def before(step, x):
        kept[step] = everything(model, chosen)
        return x * math.nan if step == 5 else x

    with evengrad.watch(model, chosen, folder=None, guard="rollback"):
        train(model, chosen, steps=6, before=before)
    assert same(everything(model, chosen), kept[5])


def test_an_update_larger_than_its_weights_is_held_back():
    """SGD with a rate a thousand times too large; Adam's steps are bounded, so it is left alone."""
    model = build("dense", 6)
    chosen = torch.optim.SGD(model.parameters(), lr=1000.0)
    start = everything(model, chosen)
    with (
        pytest.raises(evengrad.GuardStopError, match="larger than the weights"),
        evengrad.watch(model, chosen, folder=None),
    ):
        train(model, chosen, steps=2)
    assert same(start, everything(model, chosen))


def test_overflow_in_half_precision_is_named(tmp_path):
    torch.manual_seed(7)
    model = nn.Sequential(
        nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)
    )
    with torch.no_grad():
        model[2].weight.fill_(60.0)
    chosen = OPTIMIZERS["sgd"](model.parameters())
    with (
        pytest.raises(evengrad.GuardStopError),
        evengrad.watch(model, chosen, folder=tmp_path) as watch,
        torch.autocast("cpu", torch.float16),
    ):
        train(model, chosen, steps=2, before=lambda step, x: x * 1e4)
    assert evengrad.load(watch.watching.path).events[0].layer == "2"


class Masked(nn.Module):
    """Fills the holes of its own batch; something else goes wrong at one step."""

    def __init__(self, flat):
        super().__init__()
        self.flat = flat
        self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 1)
        self.steps = 0

    def forward(self, x):
        hidden = self.first(torch.nan_to_num(x.flatten(1) if self.flat else x))
        if torch.is_grad_enabled():
            self.steps += 1
        return self.head(hidden if self.steps < 3 else (hidden - hidden).sqrt())


@pytest.mark.parametrize("flat", [False, True])
def test_a_hole_in_the_batch_that_the_model_fills_is_not_blamed(flat, tmp_path):
    """Missing values are NaN in each batch; the slope of the root at 0 is what is infinite at step 2."""
    torch.manual_seed(0)
    model = Masked(flat)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def three_steps():
        for _ in range(3):
            x = torch.randn(8, 4)
            x[0, 1] = math.nan
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

    with (
        pytest.raises(evengrad.GuardStopError),
        evengrad.watch(model, optimizer, folder=tmp_path) as watch,
    ):
        three_steps()
    event = evengrad.load(watch.watching.path).events[0]
    assert (event.step, event.values["phase"]) == (2, "backward")
    assert "(sqrt)" in event.message
