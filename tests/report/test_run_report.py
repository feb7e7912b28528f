"""A run as text, page and JSON: what they show is what was recorded, whatever the run's length."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re

import numpy as np
import pytest
from recorded import record
from rich.console import Console

from evengrad.diagnosis.diagnose import diagnose_run
from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.readings import by_layer, gradient_profile, ratios, tensor_figure
from evengrad.recording.reader import load
from evengrad.report import run_html, run_json, run_rows, run_text, run_words
from evengrad.values.run import Event, EventKind

_EVIL = "</script><script>alert(1)</script>"
STOPPED = Scenario(steps=300, refused=EventKind.NON_FINITE, status="stopped", spikes=(200,))


def page(run):
    return run_html.render(run, diagnose_run(run))


def specs(text):
    found = re.findall(r'^  "(\w+)": (\{.*\}),$', text, flags=re.MULTILINE)
    return {name: json.loads(spec) for name, spec in found}


def screen(run, width=100, encoding="utf-8"):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=out, width=width)
    console.print(run_text.panel(run, diagnose_run(run)))
    out.seek(0)
    return out.read()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [1, 7, 239, 240, 241, 5003])
def test_bins_keep_extremes_and_cover_every_step_once(seed, count):
    generator = np.random.default_rng([seed, count])
    values = generator.normal(size=count)
    values[generator.random(count) < 0.3] = np.nan
    steps = np.cumsum(generator.integers(1, 4, size=count))
    rows = run_rows.bins(steps, values)
    assert len(rows) == min(count, run_rows.BINS)
    assert rows[0]["step"] == steps[0]
    assert rows[-1]["until"] == steps[-1] + 1
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        inside = values[(steps >= row["step"]) & (steps < row["until"])]
        inside = inside[np.isfinite(inside)]
        assert after is None or row["until"] == after["step"]
        told = [row["low"], row["value"], row["high"]]
        if len(inside):
            assert told == pytest.approx([inside.min(), np.median(inside), inside.max()], rel=1e-4)
        else:
            assert told == [None] * 3


@pytest.mark.parametrize("seed", range(3))
def test_what_is_not_finite_is_counted_and_placed(seed):
    run = Scenario(steps=3000).run()
    norm = run.steps["norm"].copy()
    bad = np.random.default_rng(seed).choice(3000, 40, replace=False)
    norm[bad] = np.nan
    rows = run_rows.not_finite(dataclasses.replace(run, steps={**run.steps, "norm": norm}))
    assert sum(row["count"] for row in rows) == 40
    assert {row["step"] for row in rows} <= set(bad.tolist())
    assert min(row["step"] for row in rows) == bad.min()


@pytest.mark.parametrize("seed", range(3))
def test_layers_and_ratios_against_plain_loops(seed):
    run = Scenario(steps=60, depth=3).run()
    generator = np.random.default_rng(seed)
    figures = {
        name: np.exp(9 * generator.normal(size=len(run.details["step"])))
        for name in ("gradient_rms", "weight_rms", "update_rms")
    }
    run = dataclasses.replace(run, details={**run.details, **figures})
    steps, values = tensor_figure(run, "gradient_rms")
    ratio = ratios(run)[1]
    for at, step in enumerate(steps):
        for tensor in range(6):
            here = (run.details["step"] == step) & (run.details["tensor"] == tensor)
            assert values[at, tensor] == figures["gradient_rms"][here][0]
            expected = figures["update_rms"][here][0] / figures["weight_rms"][here][0]
            assert ratio[at, tensor] == pytest.approx(expected)
    names, layers = by_layer(run, values)
    assert names == ["layer0", "layer1", "layer2"]
    assert layers == pytest.approx(values[:, ::2]), "the matrix stands for its layer"
    plain = dataclasses.replace(
        run,
        subject=dataclasses.replace(
            run.subject,
            tensors=tuple(dataclasses.replace(t, fan_in=None) for t in run.subject.tensors),
        ),
    )
    both = by_layer(plain, values)[1]
    mean = (values[:, ::2] ** 2 * 1024 + values[:, 1::2] ** 2 * 32) / 1056
    assert both == pytest.approx(np.sqrt(mean))
    _, start, now = gradient_profile(run)
    assert start == pytest.approx(np.median(layers[:5], axis=0))
    assert now == pytest.approx(np.median(layers[-5:], axis=0))


def test_the_page_holds_what_was_recorded(tmp_path):
    run = load(record(STOPPED, tmp_path).path)
    text = page(run)
    found = specs(text)
    assert set(found) == {"loss", "norm", "gradients", "updates", "activations", "last"}
    assert not re.search(r": (NaN|-?Infinity)[,}]", text.split("const specs")[1])
    marks = found["norm"]["layer"][-1]["data"]["values"]
    assert [(row["step"], row["kind"]) for row in marks] == [
        (event.step, event.kind.value.replace("_", " ")) for event in run.events
    ]
    ticks = found["norm"]["layer"][-2]["data"]["values"]
    assert ticks == [{"step": 299.0, "count": 1.0}]
    cells = found["last"]["data"]["values"]
    assert {row["step"] for row in cells} == {float(s) for s in range(236, 300)}
    assert [row["layer"] for row in cells if row["bad"]] == [f"layer{i}" for i in range(4)]
    assert "Black box of step 299" in text
    assert text.count('<tr class="broken"><td>log') == 1


def test_the_page_needs_nothing_from_outside(tmp_path):
    text = page(load(record(STOPPED, tmp_path).path))
    links = re.findall(r'(?:src|href)="([^"]*)"', text.split("<script>")[0])
    assert links
    assert all(link.startswith("#finding-") for link in links)


def test_a_long_run_makes_no_larger_page():
    short = Scenario(steps=400, depth=60).run()
    count, tensors = 100_000, len(short.subject.tensors)
    observed = np.unique(np.linspace(0, count - 1, 1000).astype(int))
    generator = np.random.default_rng(0)
    figures = {
        name: np.exp(generator.normal(size=len(observed) * tensors))
        for name in ("gradient_rms", "gradient_max", "gradient_zeros", "weight_rms", "update_rms")
    }
    steps = {name: np.resize(values, count) for name, values in short.steps.items()}
    long = dataclasses.replace(
        short,
        steps=steps | {"step": np.arange(count)},
        details={
            "step": np.repeat(observed, tensors),
            "tensor": np.tile(np.arange(tensors), len(observed)),
            **figures,
        },
    )
    sizes = [sum(len(json.dumps(s)) for s in specs(page(run)).values()) for run in (short, long)]
    assert sizes[1] < 1.5 * sizes[0]
    assert sizes[1] < 1_200_000


def test_the_users_words_are_escaped_everywhere():
    run = Scenario(steps=60).run()
    tensors = tuple(
        dataclasses.replace(t, layer=_EVIL + t.layer, name=_EVIL) for t in run.subject.tensors
    )
    subject = dataclasses.replace(run.subject, script=_EVIL, model=_EVIL, tensors=tensors)
    events = (Event(50, EventKind.NON_FINITE, _EVIL, _EVIL),)
    text = page(dataclasses.replace(run, subject=subject, events=events))
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert text.count("<script") == 2


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(steps=1),
        Scenario(steps=2, loss="nan"),
        Scenario(steps=1, refused=EventKind.NON_FINITE, status="stopped"),
        Scenario(steps=30, depth=1),
        Scenario(steps=60, depth=90, ratio=0.0),
        Scenario(steps=50, skips=tuple(range(50))),
    ],
    ids=lambda s: f"{s.steps} {s.depth}",
)
def test_odd_runs_render(scenario):
    run = scenario.run()
    assert "<h1>" in page(run)
    assert screen(run)
    json.loads(run_json.dumps(run, diagnose_run(run)))


def test_text_fits_a_screen_and_says_what_matters(tmp_path):
    run = load(record(STOPPED, tmp_path).path)
    text = screen(run)
    assert text.splitlines()[0].startswith("Stopped by the guard at step 299")
    assert len(text.splitlines()) <= 40
    for part in ("EG801", "1 step", "layer0", "spike", "layer3"):
        assert part in text
    ascii_only = screen(run, encoding="ascii")
    assert "Stopped by the guard" in ascii_only
    assert "#" in ascii_only


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("running", "Still running, step 59: nothing found so far"),
        ("finished", "Finished, healthy: nothing found"),
        ("failed", "The script failed after step 59: nothing found"),
        ("interrupted", "Interrupted after step 59: nothing found"),
    ],
)
def test_how_it_ended(status, says):
    assert run_words.outcome(Scenario(steps=60, status=status).run(), ()) == says


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0.04, "0.0 s"),
        (42.4, "42 s"),
        (185, "3 min 5 s"),
        (59.6, "1 min 0 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations(seconds, says):
    assert run_words.duration(seconds) == says


@pytest.mark.parametrize("seed", range(3))
def test_figures_against_plain_arithmetic(seed):
    run = Scenario(steps=200, clip=1.0, skips=(3, 4), seed=seed).run()
    seen = run_words.figures(run)
    good = [n for n, a in zip(run.steps["norm"], run.steps["applied"], strict=True) if a]
    assert seen.largest_norm == max(good)
    assert run.steps["norm"][seen.largest_at] == max(good)
    assert seen.median_norm == np.median(good)
    assert seen.clip_share == sum(c < 1 for c in run.steps["coefficient"]) / 200
    assert (seen.not_applied, seen.not_finite, seen.steps) == (2, 2, 200)
    assert seen.first_loss == np.median(run.steps["loss"][:20])
    assert math.isclose(seen.seconds, 199 / 50)
