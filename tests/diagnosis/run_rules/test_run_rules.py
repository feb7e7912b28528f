"""Each rule of a run on its own sick and healthy scenarios, and the healthy ones on all rules."""

import dataclasses
import math
import re

import numpy as np
import pytest
from recorded import record

from evengrad.diagnosis.catalogue import all_run_rules, explanations
from evengrad.diagnosis.diagnose import diagnose_run
from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.readings import clip_bound, events_of_kind
from evengrad.diagnosis.run_rules.spikes import stall
from evengrad.recording.clip import as_settings, parse
from evengrad.recording.reader import load
from evengrad.values.finding import Cause
from evengrad.values.run import EventKind
from evengrad.values.wording import times

SICK = [(rule, scenario) for rule in all_run_rules() for scenario in rule.sick]
HEALTHY = [(rule, scenario) for rule in all_run_rules() for scenario in rule.healthy]


def name(value):
    if not isinstance(value, Scenario):
        return value.code
    default, fields = Scenario(), [f.name for f in dataclasses.fields(value)]
    changed = [f for f in fields if getattr(value, f) != getattr(default, f)]
    return " ".join(f"{f}={getattr(value, f)}" for f in changed)[:60] or "default"


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("rule", "scenario"), SICK, ids=name)
def test_fires_on_its_sick_scenarios(rule, scenario, seed):
    run = dataclasses.replace(scenario, seed=seed).run()
    found = list(rule.check(run))
    assert found, f"{rule.code} is silent"
    for finding in found:
        assert finding.code == rule.code
        assert finding.title
        assert finding.evidence
        assert finding.advice
    codes = {f.code for root in diagnose_run(run) for f in (root, *root.echoes)}
    assert rule.code in codes


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("rule", "scenario"), HEALTHY, ids=name)
def test_silent_on_its_healthy_scenarios(rule, scenario, seed):
    assert list(rule.check(dataclasses.replace(scenario, seed=seed).run())) == []


@pytest.mark.parametrize("rule", all_run_rules(), ids=lambda rule: rule.code)
def test_explanations_say_everything(rule):
    title, _, body = explanations()[rule.code].partition("\n\n")
    assert re.fullmatch(rf"{rule.code} .+: .+\.", title), "CODE name: what it is."
    for part in ("finds:", "matters:", "decides:", "do:", "References:"):
        assert part in body
    assert rule.sick
    assert rule.healthy


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(steps=2000),
        Scenario(steps=300, noise=0.4),
        Scenario(optimizer="Adam", clip=1.0, steps=800),
        Scenario(steps=30),
        Scenario(skips=(0, 1, 2), steps=400),
        Scenario(norm=1e-8, first_loss=1e-6),
        Scenario(norm=1e8, first_loss=1e6),
        Scenario(steps=1),
        Scenario(steps=0),
    ],
    ids=name,
)
def test_healthy_runs_give_no_finding(scenario, seed):
    assert diagnose_run(dataclasses.replace(scenario, seed=seed).run()) == ()


@pytest.mark.parametrize(("factor", "beta2", "steps"), [(1000, 0.999, 5807), (1000, 0.95, 190)])
def test_a_spike_stalls_adam_as_long_as_its_second_moment_remembers(factor, beta2, steps):
    """Against Adam's own recurrence: until its step is back to half of what it was."""
    assert stall(factor, beta2) == pytest.approx(steps, rel=0.01)
    moment = (1 - beta2) * factor**2
    count = 0
    while moment > 3:  # the step is 1 / sqrt(1 + moment): half of the usual one at 3
        moment *= beta2
        count += 1
    assert stall(factor, beta2) == pytest.approx(count, abs=max(2, 0.05 * count))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
def test_a_loss_that_falls_a_little_is_not_called_still(seed, noise):
    """A fall of 10% over the run, whatever the noise; and the same run without it is, where one can tell."""
    generator = np.random.default_rng(seed)
    base = Scenario(loss="flat", steps=20).run()
    count = 4000
    base = dataclasses.replace(
        base,
        steps={name: np.resize(values, count) for name, values in base.steps.items()},
        events=(),
    )
    noises = 2 * np.exp(noise * generator.normal(size=count))
    falling = {**base.steps, "loss": noises * np.linspace(1, 0.9, count)}
    assert "EG809" not in {f.code for f in diagnose_run(dataclasses.replace(base, steps=falling))}
    if noise == 0.02:
        still = dataclasses.replace(base, steps={**base.steps, "loss": noises})
        assert "EG809" in {f.code for f in diagnose_run(still)}


def test_causes_follow_from_where_it_began():
    for layer, cause in [
        ("labels", Cause.BAD_BATCH),
        ("input", Cause.BAD_BATCH),
        ("loss", Cause.LOSS_HEAD),
        ("layer1", Cause.ARCHITECTURE),
    ]:
        run = Scenario(refused=EventKind.NON_FINITE, layer=layer, status="stopped").run()
        assert [f.cause for f in diagnose_run(run) if f.code == "EG801"] == [cause]
    growing = Scenario(refused=EventKind.NON_FINITE, layer="layer1").run()
    growth = np.where(np.isnan(growing.steps["norm"]), np.nan, 1.2 ** growing.steps["step"])
    run = dataclasses.replace(growing, steps={**growing.steps, "norm": growth})
    assert diagnose_run(run)[0].cause is Cause.LEARNING_RATE


def causes(**scenario):
    run = Scenario(refused=EventKind.NON_FINITE, status="stopped", **scenario).run()
    return [f.cause for f in diagnose_run(run) if f.code == "EG801"]


def test_the_cause_is_that_of_the_phase_whatever_the_layers_are_called():
    """The message names the layer: "the batch norm", or "weights", which is then not finite."""
    for layer in ("the batch norm", "weights not finite", "input", "labels"):
        assert causes(layer=layer, phase="forward") == [Cause.ARCHITECTURE], layer
        assert causes(layer=layer, phase="batch") == [Cause.BAD_BATCH], layer
        assert causes(layer=layer, phase="weights") == [Cause.INITIALISATION], layer


def test_the_phase_is_in_the_run_file(tmp_path):
    scenario = Scenario(steps=30, refused=EventKind.NON_FINITE, status="stopped")
    (event,) = events_of_kind(load(record(scenario, tmp_path).path), EventKind.NON_FINITE)
    assert event.values["phase"] == "forward"


def test_a_run_of_before_the_phase_was_kept_is_read():
    assert causes(layer="labels") == [Cause.BAD_BATCH]
    assert causes(layer="the batch norm") == [Cause.ARCHITECTURE]


def test_the_clip_is_read_as_a_value():
    exact = 0.123456789
    assert clip_bound(Scenario(clip=exact).run()) == exact
    run = Scenario(clip=1000.0).run()
    assert [f.code for f in diagnose_run(run)] == ["EG804"]
    old = {"clip": "norm 1000", "guard": None, "every": 10}
    before = dataclasses.replace(run, subject=dataclasses.replace(run.subject, settings=old))
    assert clip_bound(before) is None
    assert diagnose_run(before) == ()


@pytest.mark.parametrize("kind", ["norm:0.25", "tensor:0.25", "value:0.25"])
def test_what_a_run_file_says_of_its_clip(kind):
    name = kind.partition(":")[0]
    assert as_settings(parse(kind)) == {
        "clip": f"{name} 0.25",
        "clip_kind": name,
        "clip_bound": 0.25,
    }
    assert as_settings(parse("agc:0.25"))["clip_bound"] is None
    assert set(as_settings(None).values()) == {None}


def test_the_overwriting_update_is_measured():
    scenario = Scenario(steps=3, refused=EventKind.OVERWRITE, rate=40.0, norm=90.0, noise=0.0)
    (finding,) = diagnose_run(scenario.run())
    # 8 tensors share the norm alike; a matrix has 32 * 32 elements, and weights of rms 1 / sqrt(32)
    ratio = 40 * (90 / math.sqrt(8) / 32) * math.sqrt(32)
    assert f"{times(ratio)} the weights of layer0" in finding.title


def test_what_follows_from_a_spike_is_told_under_it():
    """Units that die after a spike are its echo; a spike after they died is the echo of what killed them."""
    after = Scenario(spikes=(200,), dead=0.95, steps=600, loss="flat").run()
    dying = next(event.step for event in after.events if event.kind is EventKind.DYING)
    assert 200 < dying < 400
    assert [(f.code, [e.code for e in f.echoes]) for f in diagnose_run(after)] == [
        ("EG803", ["EG805"])
    ]
    before = Scenario(spikes=(500,), dead=0.95, steps=600, loss="flat").run()
    assert [(f.code, [e.code for e in f.echoes]) for f in diagnose_run(before)] == [
        ("EG805", ["EG803"])
    ]


@pytest.mark.parametrize(("at", "cause"), [(0, Cause.INITIALISATION), (5, Cause.LEARNING_RATE)])
def test_a_gradient_that_the_first_steps_have_killed_was_not_gone_from_the_start(at, cause):
    run = Scenario(vanished=1e6, vanished_at=at, loss="flat").run()
    assert [f.cause for f in diagnose_run(run) if f.code == "EG806"] == [cause]


def test_a_loss_that_stands_still_because_the_gradient_vanishes_says_so():
    run = Scenario(loss="flat", noise=0.01, vanishing=1e8, ratio=1e-7).run()
    found = {f.code: f for root in diagnose_run(run) for f in (root, *root.echoes)}
    assert found["EG809"].cause is Cause.ACTIVATION


def test_a_gradient_that_is_exactly_zero_is_told_apart():
    base = Scenario(loss="flat", noise=0.01).run()
    steps = dict(base.steps)
    for since, code, cause in (
        (0, "EG813", Cause.ARCHITECTURE),
        (7, "EG809", Cause.LEARNING_RATE),
    ):
        steps["norm"] = np.where(np.arange(len(steps["norm"])) < since, 1.0, 0.0)
        found = {f.code: f for f in diagnose_run(dataclasses.replace(base, steps=steps))}
        assert found[code].cause is cause
        assert code == "EG813" or any("exactly 0" in line for line in found[code].evidence)


def advice_of(code, scenario):
    (finding,) = [f for f in diagnose_run(scenario.run()) if f.code == code]
    return " ".join((*finding.evidence, *finding.advice))


def test_updates_that_are_too_small_are_laid_to_what_makes_them_small():
    creeps = Scenario(loss="creeps", noise=0.001, baseline=1.0, ratio=1e-7)
    assert "raise the learning rate, now 0.1, tenfold" in advice_of("EG810", creeps)
    clipped = advice_of("EG810", dataclasses.replace(creeps, clip=1e-5))
    assert "clipped to a norm of 1e-05" in clipped
    assert "max_norm" in clipped
    scheduled = advice_of("EG810", dataclasses.replace(creeps, given=1e4))
    assert "LambdaLR keeps the rate at 0.1 or less" in scheduled
    assert "a factor" in scheduled


def test_weights_that_a_decay_has_brought_to_exactly_nothing_are_named():
    gone = Scenario(loss="flat", noise=0.01, baseline=2.3, steps=60, shrinks=math.inf)
    assert "weight_decay" in advice_of("EG810", gone)


def test_a_spike_of_a_policy_gradient_is_its_nature():
    run = Scenario(spikes=(300,), after_spike=1.5, loss="flat").run()
    assert [f.code for f in diagnose_run(run)] == ["EG803"]
    run.steps["loss"][::2] *= -1
    assert "EG803" not in {f.code for f in diagnose_run(run)}
