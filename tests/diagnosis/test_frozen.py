"""A training that does not learn, most of whose model is frozen, is told so."""

from dataclasses import replace

import numpy as np
import pytest

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.learning import reason
from evengrad.values.finding import Cause


def flat(frozen):
    run = Scenario(loss="flat", noise=0.01, ratio=1e-3).run()
    return replace(run, seen={**run.seen, "frozen": frozen})


def test_most_of_the_weights_frozen_is_the_reason():
    found = reason(flat(0.97))
    assert found.cause is Cause.ARCHITECTURE
    assert found.facts[0].startswith(
        "97% of the model's weights are frozen; only layer0 ... layer3 (4)"
    )
    assert "requires_grad_(True)" in found.advice[0]


@pytest.mark.parametrize("frozen", [0.0, 0.5])
def test_a_small_part_is_not(frozen):
    assert reason(flat(frozen)).cause is not Cause.ARCHITECTURE


def test_the_share_of_a_torch_model():
    torch = pytest.importorskip("torch")
    from evengrad.adapters.torch.tap.models import frozen_share

    a, b, c = (int(n) for n in np.random.default_rng().integers(2, 9, 3))
    model = torch.nn.Sequential(torch.nn.Linear(a, b), torch.nn.Linear(b, c))
    assert frozen_share([model]) == 0.0
    model[0].requires_grad_(False)
    assert frozen_share([model, model[1]]) == pytest.approx((a * b + b) / (a * b + b + b * c + c))
    assert frozen_share([]) == 0.0
