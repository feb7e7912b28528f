"""Each claim on made-up measurements: where it holds, where it does not, and where nothing can be said."""

from __future__ import annotations

import pytest
from made import cell, subject, table

from evengrad.fixing.lab.cells import Table
from evengrad.fixing.lab.claims import all_claims, judge_all

DEEP = subject(8)


def standing(name, found):
    (judged,) = [one for one in judge_all(found) if one.claim.name == name]
    return judged.standing


def sound(**more):
    return cell(accuracy=0.9, **more)


def test_nothing_measured_is_nothing_said():
    for judged in judge_all(Table([], [])):
        assert judged.standing == "not measured", judged.claim.name
    for judged in judge_all(table(sound())):
        assert judged.standing in ("not measured", "holds", "does not hold"), judged.claim.name
        assert all("none" in r.condition or "relu" in r.condition for r in judged.rulings)


def test_one_seed_decides_no_claim():
    every = [
        one
        for cause in ("none", "weights x4", "sigmoid", "linear", "rate x10", "as written")
        for cure in ("none", "clipping", "batch norm", "Adam")
        for one in cell(cause, cure, 0.1 if cause != "none" else 0.9)[:1]
    ]
    assert {one.standing for one in judge_all(Table([subject()], every))} == {"not measured"}


def test_every_claim_says_what_it_needs():
    for claim in all_claims():
        assert claim.tested, claim.name
        assert claim.known, claim.name
        assert claim.quote, claim.name
        assert "95%" in claim.tested, claim.name


@pytest.mark.parametrize(
    ("name", "cause", "cure"),
    [
        ("normalised_weights", "weights x4", "small weights"),
        ("leaky_relu_cures", "weights x4", "leaky ReLU"),
        ("adam_bounds_rates", "rate x10", "Adam"),
        ("rmsprop_bounds_rates", "rate x10", "RMSprop"),
        ("clipping_cures", "rate x10", "clipping"),
        ("pretrained_cures", "weights x4", "pretrained"),
        ("kaiming_cures", "weights x0.25", "Kaiming"),
        ("batch_norm_cures", "sigmoid", "batch norm"),
        ("decay_cures", "weights x0.25", "rate decay"),
        ("rmsprop_cures", "weights x0.25", "RMSprop"),
        ("adagrad_cures", "weights x0.25", "Adagrad"),
    ],
)
def test_remedies(name, cause, cure):
    sick = cell(cause, accuracy=0.1)
    assert standing(name, table(sound(), sick, cell(cause, cure, 0.85))) == "holds"
    assert standing(name, table(sound(), sick, cell(cause, cure, 0.1))) == "does not hold"
    assert standing(name, table(sound(), sick)) == "not measured"
    assert standing(name, table(sound(), sick, cell(cause, "none", 0.85))) == "not measured"


def test_a_remedy_that_cures_one_network_and_not_the_other_holds_in_part():
    found = table(
        *[cell("rate x10", accuracy=0.1, of=of) for of in (subject(), DEEP)],
        *[cell(accuracy=0.9, of=of) for of in (subject(), DEEP)],
        cell("rate x10", "clipping", 0.9),
        cell("rate x10", "clipping", 0.1, of=DEEP),
        subjects=[subject(), DEEP],
    )
    (judged,) = [one for one in judge_all(found) if one.claim.name == "clipping_cures"]
    assert judged.standing == "holds in part"
    assert judged.where("holds") == ("2 convolutions, rate x10",)
    assert judged.where("fails") == ("8 convolutions, rate x10",)


def test_relu_against_sigmoid():
    flat, steep = cell("sigmoid", activation=-3.0), cell("sigmoid", activation=2.0)
    assert standing("relu_shrinks", table(sound(), flat)) == "does not hold"
    assert standing("relu_shrinks", table(sound(), steep)) == "holds"


def test_activations_against_none():
    straight = cell("linear", activation=0.5)
    assert standing("nonlinearity", table(sound(), straight)) == "does not hold"
    assert standing("nonlinearity", table(sound(activation=1.0), straight)) == "holds"
    assert standing("nonlinearity", table(sound(), cell("sigmoid"))) == "not measured"


def test_a_larger_rate():
    """The first gradient is the same; what comes later may be larger."""
    wild = cell("rate x10", norms=(1.0, *[50.0] * 7))
    assert standing("rate_grows_gradients", table(sound(), wild)) == "holds in part"
    calm = cell("rate x10", norms=(1.0, *[0.1] * 7))
    assert standing("rate_grows_gradients", table(sound(), calm)) == "does not hold"
    lost = cell("rate x10", norms=(1.0, *[float("nan")] * 7))
    assert standing("rate_grows_gradients", table(sound(), lost)) == "holds in part"


def test_the_formula_against_the_split():
    whole = sound(initialisation=-2.0, activation=0.7)
    assert standing("formula", table(whole)) == "holds"
    left = sound(initialisation=-2.0, activation=0.7, architecture=1.5)
    assert standing("formula", table(left)) == "does not hold"
    assert standing("slopes_decide", table(whole)) == "does not hold"
    assert standing("slopes_decide", table(sound(activation=-3.0))) == "holds"


def test_clipping_and_depth():
    plain = sound(initialisation=-2.0)
    clipped = cell("none", "clipping", initialisation=-2.0)
    assert standing("clipping_vanishes", table(plain, clipped)) == "does not hold"
    smaller = cell("none", "clipping", initialisation=-3.0)
    assert standing("clipping_vanishes", table(plain, smaller)) == "holds"


def test_depth_and_scale():
    both = [subject(), DEEP]
    grown = cell(of=DEEP, initialisation=-4.0)
    assert standing("depth", table(sound(initialisation=-1.0), grown, subjects=both)) == "holds"
    even = cell(of=DEEP, initialisation=0.1)
    assert (
        standing("depth", table(sound(initialisation=-1.0), even, subjects=both)) == "does not hold"
    )
    large = cell("weights x4", accuracy=0.1, initialisation=2.0)
    assert standing("initialisation", table(sound(), large)) == "holds"
    assert standing("explosion_is_unstable", table(sound(), large)) == "holds"
    small = cell("weights x0.25", accuracy=0.1)
    assert standing("vanishing_is_slow", table(sound(), small)) == "holds"


def test_batch_norm_and_growth():
    even = cell("none", "batch norm")
    grown = cell("none", "batch norm", normalisation=1.0)
    assert standing("batch_norm_explodes", table(sound(), even)) == "holds"
    assert standing("batch_norm_explodes", table(sound(), grown)) == "does not hold"


def test_the_softmax():
    plain = cell("without the softmax", accuracy=0.95, loss=0.2)
    assert (
        standing("softmax_twice", table(plain, cell("as written", accuracy=0.9, loss=1.6)))
        == "does not hold"
    )
    assert (
        standing("softmax_twice", table(plain, cell("as written", accuracy=0.95, loss=0.2)))
        == "holds"
    )
