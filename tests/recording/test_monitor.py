"""What happens in a run is seen, once, where it begins; a healthy run has no events."""

import math

import numpy as np
import pytest

from evengrad.recording.monitor import Monitor, gradient_rms
from evengrad.values.run import Detail, EventKind, Step, Tensor

TENSORS = tuple(Tensor(f"{i}.weight", f"{i}", (8, 4), 4.0) for i in range(3))


def feed(norms=None, losses=None, coefficients=None, clipping=False):
    monitor, found = Monitor(TENSORS, clipping), []
    steps = len(next(v for v in (norms, losses, coefficients) if v is not None))
    for i in range(steps):
        norm = 1.0 if norms is None else norms[i]
        loss = 1.0 if losses is None else losses[i]
        coefficient = 1.0 if coefficients is None else coefficients[i]
        found += monitor.step(Step(i, 0.0, loss, 0.1, norm, norm * coefficient, coefficient))
    return [(event.step, event.kind) for event in found]


def watch(gradients=None, dead=None):
    monitor, found = Monitor(TENSORS, False), []
    for i in range(len(gradients or dead)):
        tensors = np.ones((3, 5))
        if gradients:
            tensors[:, 0] = gradients[i]
        layers = np.array([[1.0, 0.0, dead[i]]]) if dead else np.zeros((0, 3))
        found += monitor.detail(Detail(i, tensors, layers, ("relu",) if dead else ()))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_run_has_no_events(seed):
    generator = np.random.default_rng(seed)
    drift = np.exp(np.linspace(0, -3, 2000))
    norms = generator.lognormal(0, 0.4, 2000) * drift
    losses = generator.lognormal(0, 0.3, 2000) * drift
    assert feed(norms, losses) == []


@pytest.mark.parametrize("factor", [30.0, 1000.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_spike_is_told_once_where_it_begins(seed, factor):
    norms = np.random.default_rng(seed).lognormal(0, 0.2, 200)
    norms[100:104] *= factor
    assert feed(norms) == [(100, EventKind.SPIKE)]


def test_a_nan_is_not_a_spike_and_hides_none():
    norms = np.ones(100)
    norms[[50, 60]] = math.nan, math.inf
    norms[70] = 100.0
    assert feed(norms) == [(70, EventKind.SPIKE)]


def test_divergence_is_told_once():
    losses = np.concatenate([np.ones(50), np.linspace(1, 5, 200)])
    (step, kind), *more = feed(losses=losses)
    assert kind is EventKind.DIVERGENCE
    assert 105 < step < 130, "the median of 20 has passed 2"
    assert not more


def test_a_falling_or_negative_loss_does_not_diverge():
    assert feed(losses=np.linspace(5, 0.1, 200)) == []
    assert feed(losses=np.linspace(-1, -50, 200)) == []


def test_a_clip_that_always_binds_is_told_once():
    assert feed(coefficients=[0.5] * 500, clipping=True) == [(199, EventKind.CLIP)]
    assert feed(coefficients=[0.5, 1.0] * 250, clipping=True) == []
    assert feed(coefficients=[0.5] * 500, clipping=False) == []


def test_vanishing_is_against_the_runs_own_start():
    fades = [[10.0**-i, 1.0, 1.0] for i in range(8)]
    (event,) = watch(gradients=fades)
    assert (event.step, event.kind, event.layer) == (4, EventKind.VANISHING, "0")
    assert watch(gradients=[[1e-5, 1.0, 1.0]] * 8) == [], (
        "small from the start: for the probe to say"
    )
    assert watch(gradients=[[10.0**-i] * 3 for i in range(8)]) == [], "all of them: convergence"


def test_dying_units():
    (event,) = watch(dead=[math.nan, 0.1, 0.3, 0.6, 0.9])
    assert (event.step, event.kind, event.layer) == (3, EventKind.DYING, "relu")
    assert watch(dead=[0.6, 0.7, 0.6]) == [], "sparse from the start"


def test_rms_from_norms():
    assert gradient_rms(TENSORS, np.array([1.0, 2.0, 4.0])) == pytest.approx(
        np.array([1, 2, 4]) / math.sqrt(32)
    )
