"""The constant baseline, and whether a trial learns: by closed forms, and on noise that never learns."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evengrad.fixing.trial import Result, Trial, stored_result
from evengrad.fixing.verdict import (
    _student,
    is_better,
    is_clear,
    is_hopeless,
    is_signed,
    judge,
    objection,
)
from evengrad.recording.baseline import Baseline
from evengrad.values.finding import Symptom

RNG = np.random.default_rng


@pytest.mark.parametrize("seed", range(3))
def test_the_baseline_is_what_the_best_constant_answer_loses(seed):
    rng = RNG(seed)
    labels = rng.choice(4, size=500, p=[0.1, 0.2, 0.3, 0.4])
    shares = np.bincount(labels, minlength=4) / 500
    wanted = -np.mean(np.log(shares[labels]))
    one_hot = np.eye(4)[labels]
    for values in (labels, labels[:, None], one_hot):
        found = Baseline()
        for part in np.array_split(values, 7):
            found.targets("crossentropy", part)
            found.backpropagated(2.0, (2.0,))
        assert found.loss == pytest.approx(wanted)
    coins = rng.random((300, 2)) < [0.2, 0.6]
    p = coins.mean(0)
    binary = Baseline()
    binary.backpropagated(2.0, (2.0,))
    binary.targets("binary_crossentropy", coins)
    assert binary.loss == pytest.approx(-np.mean(np.where(coins, np.log(p), np.log(1 - p))))
    values = rng.normal(3, 2, (200, 5))
    squared = Baseline()
    squared.backpropagated(2.0, (2.0,))
    squared.targets("mse", values)
    assert squared.loss == pytest.approx(np.mean((values - values.mean(0)) ** 2))


def test_no_baseline_of_other_losses():
    found = Baseline()
    assert found.loss is None
    found.targets("huber", np.ones(3))
    found.backpropagated(2.0, (2.0,))
    assert found.loss is None


def of_coins(*passes):
    """A baseline of ln 2 for one function's mean, after these backward passes."""
    found = Baseline()
    for loss, *own in passes:
        for place in range(len(own)):
            found.targets("crossentropy", np.arange(8) % 2, place)
        found.backpropagated(loss, tuple(own))
    return found.loss


OWN = RNG(0).uniform(1, 3, 20)


@pytest.mark.parametrize(
    ("passes", "wanted"),
    [
        ([(own, own) for own in OWN], 1),
        ([(own / 8, own) for own in OWN], 1 / 8),
        ([(own / 8, own) for own in OWN[:7]], None),  # too few to be sure
        ([(own + 0.1, own) for own in OWN], None),
        ([(own * size, own) for own, size in zip(OWN, [32] * 19 + [8], strict=True)], None),
        ([(own + other, own, other) for own, other in zip(OWN, OWN[::-1], strict=True)], 2),
        ([(own + other / 2, own, other) for own, other in zip(OWN, OWN[::-1], strict=True)], None),
        ([*((own, own) for own in OWN), (1.0,)], None),
        ([*((own, own) for own in OWN), (1.0, 1.0, 1.0)], None),
        ([(math.nan, math.nan), *((own, own) for own in OWN)], 1),
        ([(0.0, 0.0), *((own, own) for own in OWN)], 1),
        ([(1.0, 0.0), *((own, own) for own in OWN)], None),
        ([(-own, own) for own in OWN], None),
        ([], None),
    ],
)
def test_the_baseline_is_of_what_was_backpropagated(passes, wanted):
    """Or there is none."""
    found = of_coins(*passes)
    assert found is None if wanted is None else found == pytest.approx(wanted * math.log(2))


def test_the_point_of_students_t():
    for level, normal, allowed in ((0.99, 2.326, 0.04), (0.999, 3.090, 0.13)):
        for freedom in range(4, 200):
            assert _student(freedom, normal) == pytest.approx(
                stats.t.ppf(level, freedom), rel=allowed
            )


def noise(seed, level=2.3, steps=100, spread=0.1, fall=0.0):
    rng = RNG(seed)
    return tuple(level + spread * rng.normal(size=steps) - fall * np.linspace(0, 1, steps))


def result(losses, **more):
    return Result("budget", losses, tuple(1.0 for _ in losses), **{"baseline": 2.3, **more})


def proved(results, start=None):
    """Whether a fix would take these trials of one change, of several seeds, for its proof."""
    return all(judge(r, start).good for r in results) and objection(results, start) is None


def test_noise_does_not_learn():
    """At the baseline and at its start by luck alone: both tests at 99%, with three seeds hardly ever."""
    learnt = [judge(result(noise(seed))).learning for seed in range(400)]
    assert sum(learnt) <= 8
    sure = [all(learnt[i : i + 3]) for i in range(0, 399, 3)]
    assert not any(sure)


@pytest.mark.parametrize("seed", range(3))
def test_what_falls_below_the_baseline_learns(seed):
    found = judge(result(noise(seed, fall=1.0)))
    assert found.good
    assert found.level == pytest.approx(2.3 - 0.875, abs=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_a_fall_from_far_above_the_baseline_is_not_enough(seed):
    found = judge(result(noise(seed, level=9.0, fall=6.5)))
    assert found.healthy
    assert not found.learning
    assert "constant baseline" in found.why


@pytest.mark.parametrize("seed", range(3))
def test_what_was_trained_on_does_not_count_as_held_out(seed):
    """The first pass over the examples stays at the baseline, later ones overfit them."""
    losses = noise(seed, steps=50) + noise(seed + 9, level=0.1, spread=0.01, steps=150)
    results = [result(noise(i, steps=50) + losses[50:], epoch=50) for i in range(3)]
    assert objection(results) is not None
    learnt = [result(noise(i, steps=50, fall=1.0) + losses[50:], epoch=50) for i in range(3)]
    assert all(judge(r).good for r in learnt)
    assert objection(learnt) is None


@pytest.mark.parametrize("seed", range(3))
def test_withheld_examples_decide(seed):
    """However slow: the first pass over the data need not fall where examples are withheld."""
    losses = noise(seed, steps=60) + noise(seed + 9, level=1.0, spread=0.05, steps=140)
    held = [noise(20 + 3 * seed + i, spread=0.3, steps=150) for i in range(3)]
    overfitted = [result(losses, withheld=one, epoch=60) for one in held]
    assert objection(overfitted) is not None
    late = noise(seed + 30, level=1.1, spread=0.3, steps=70)
    learnt = [result(losses, withheld=one[:80] + late, epoch=60) for one in held]
    assert all(judge(r).good for r in learnt)
    assert objection(learnt) is None


@pytest.mark.parametrize("seed", range(3))
def test_what_begins_low_is_compared_with_the_script_as_it_is(seed):
    """Pretrained weights that match everything: low from the first step on, and no fall to be seen."""
    low = [noise(3 * seed + i, level=0.3, spread=0.02) for i in range(3)]
    results = [result(one, withheld=one) for one in low]
    plain = noise(seed + 50)
    assert not proved(results)
    sick = result(plain, withheld=plain)
    assert all(judge(r, sick).good for r in results)
    assert objection(results, sick) is None
    high = [result(plain, withheld=plain) for plain in (noise(70 + 3 * seed + i) for i in range(3))]
    assert not proved(high, sick)
    broken = result((2.3, math.nan), withheld=())
    assert all(judge(r, broken).good for r in results)


def test_full_batches_hold_nothing_back():
    falling = result(noise(0, fall=1.0), epoch=1)
    assert judge(falling).good
    assert objection([falling] * 3) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Result("failed", message="ValueError: no"), "ValueError"),
        (Result("refused", message="has no layer"), "no layer"),
        (Result("stopped", noise(0, fall=1), message="Step 3: bad\nmore"), "Step 3: bad"),
        (result((*noise(0, fall=1), math.nan)), "not finite"),
        (result(noise(0, fall=1), unhealthy=("it fades",)), "it fades"),
        (result((2.3, 0.1)), "only 2 steps"),
    ],
)
def test_what_is_not_well(found, words):
    verdict = judge(found)
    assert not verdict.good
    assert words in verdict.why


def test_results_survive_their_file(tmp_path):
    import json

    ends = {"profile_at_start": (("a", 2.0), ("b", 0.0)), "profile": (("a", 0.5), ("b", 0.0))}
    found = result((1.0, math.nan, math.inf), **ends, symptoms=(Symptom.FADING,), unhealthy=("t",))
    (tmp_path / "result.json").write_text(json.dumps(found.to_json()))
    read = stored_result(tmp_path)
    assert read is not None
    assert (read.profile_at_start, read.profile) == (found.profile_at_start, found.profile)
    assert (read.symptoms, read.unhealthy) == (found.symptoms, found.unhealthy)
    assert read.losses[0] == 1.0
    assert all(math.isnan(v) for v in read.losses[1:])
    (tmp_path / "result.json").write_text('{"end": "budget", "lo')
    assert stored_result(tmp_path) is None
    assert stored_result(tmp_path / "nowhere") is None


def test_a_trials_key_is_of_all_that_it_does():
    one = Trial("train.py", ("--lr", "1"), steps=50)
    assert Trial.from_json(json_of(one)) == one
    keys = {one.key("a"), one.key("b"), Trial("train.py", ("--lr", "2"), steps=50).key("a")}
    assert len(keys) == 3
    assert Trial.from_json(json_of(one)).key("a") == one.key("a")


def json_of(trial):
    import json

    return json.loads(json.dumps(trial.to_json()))


# --- the end before the end -----------------------------------------------------------------------------


def clears(losses, held=(), baseline=None, enough=math.inf):
    """Whether a trial of 200 steps is clear at any of the tenths at which it is asked."""
    return any(is_clear(losses[:n], held[:n], baseline, enough) for n in range(80, 200, 20))


def test_noise_is_hardly_ever_clear():
    calls = sum(clears(RNG(seed).normal(1.4, 0.1, 200), baseline=1.4) for seed in range(1000))
    assert calls <= 15


@pytest.mark.parametrize("seed", range(5))
def test_what_learns_is_clear(seed):
    rng = RNG(seed)
    losses = 1.4 - np.linspace(0, 1, 200) + rng.normal(0, 0.1, 200)
    assert clears(losses, baseline=1.4)
    assert not clears(losses, baseline=0.1)
    assert not clears(losses, baseline=1.4, enough=0.3)
    assert clears(losses, baseline=1.4, enough=0.9)
    assert not clears(losses[::-1], baseline=1.4)
    assert not is_hopeless(losses)
    assert is_hopeless(losses[::-1])


def test_what_is_overfitted_is_not_clear():
    """The losses fall, those of the withheld examples do not."""
    rng = RNG(0)
    losses = np.concatenate([rng.normal(1.4, 0.1, 60), 1.4 - np.linspace(0.3, 1, 140)])
    assert clears(losses, baseline=1.4)
    assert clears(losses, losses + 0.1, baseline=1.4)
    assert not clears(losses, 1.4 + np.linspace(0, 0.1, 200), baseline=1.4)


def test_a_loss_that_is_not_finite_is_never_clear():
    losses = np.linspace(1.4, 0.4, 200)
    losses[10] = np.nan
    assert not clears(losses, baseline=1.4)


def test_better_than_as_it_is():
    """By the test, at the same steps; noise alone is better in one of a hundred."""
    plain = [result(noise(seed, fall=1.0)) for seed in range(200)]
    lower = [result(noise(1000 + seed, level=2.0, fall=1.0)) for seed in range(200)]
    again = [result(noise(1000 + seed, fall=1.0)) for seed in range(200)]
    assert all(is_better(one, other) for one, other in zip(lower, plain, strict=True))
    assert sum(is_better(one, other) for one, other in zip(again, plain, strict=True)) <= 6
    short = result(lower[0].losses[:40])
    assert is_better(short, plain[0])
    assert not is_better(result(plain[0].losses[:40]), plain[0])


def test_few_held_out_losses_that_fall_with_the_others_are_no_objection():
    """Single withheld examples: too noisy for a test, and their mean falls as the training's own losses do."""
    held = [noise(i, level=2.0, spread=1.2, steps=40, fall=1.2) for i in range(3)]
    learnt = [result(noise(i, steps=60, fall=1.2), withheld=h) for i, h in enumerate(held)]
    assert objection(learnt) is None
    flat = [noise(i, level=2.3, spread=0.3, steps=150) for i in range(3)]
    assert (
        objection([result(noise(i, fall=1.2), withheld=h) for i, h in enumerate(flat)]) is not None
    )


def test_a_loss_below_what_is_possible_is_sick():
    """Labels of 255 under a binary cross-entropy: it falls for ever, and says nothing."""
    falling = tuple(0.6 - 2.0 * step for step in range(60))
    found = judge(Result("budget", falling, (1.0,) * 60, baseline=None, floor=0.0))
    assert not found.healthy
    assert "below 0" in found.why
    assert judge(Result("budget", falling, (1.0,) * 60)).healthy


def test_losses_against_one_another_need_not_fall():
    """A GAN that is well; one with a mistake in it is not."""
    level = noise(0, level=0.7)
    assert judge(result(level, optimizers=2)).good
    assert objection([result(level, withheld=level, optimizers=2)] * 3) is None
    assert not judge(result(level, optimizers=2, unhealthy=("no gradient reaches netG",))).good
    assert not judge(result((*level, math.nan), optimizers=2)).good


@pytest.mark.parametrize(("shift", "signed"), [(0.0, True), (2.0, False)])
def test_a_loss_of_both_signs_need_not_fall_once_its_mistake_is_repaired(shift, signed):
    """One that begins above 0 and ends below it falls without end."""
    noise = np.random.default_rng(1).normal(size=100)
    result = Result("budget", tuple(noise + np.linspace(shift, -shift, 100) * 3), (1.0,) * 100)
    assert is_signed(result) is signed
    assert judge(replace(result, losses=tuple(noise)), repaired=True).good
    assert not judge(replace(result, losses=tuple(noise))).good
    assert not is_signed(replace(result, baseline=1.0))
