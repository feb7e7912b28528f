"""`evengrad report`, `runs` and `replay` on run files, whole, growing, foreign and broken."""

from __future__ import annotations

import json
import os
import sqlite3

import pytest
from recorded import box, record
from typer.testing import CliRunner

from evengrad.cli import app
from evengrad.diagnosis.diagnose import diagnose_run
from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.recording import blackbox
from evengrad.recording.reader import load
from evengrad.values.run import EventKind

HEALTHY = Scenario(steps=120)
STOPPED = Scenario(steps=80, refused=EventKind.NON_FINITE, status="stopped")


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_run_file_says_the_same_as_the_scenario_it_was_made_from(tmp_path):
    for scenario in (HEALTHY, Scenario(spikes=(60,), steps=90, optimizer="Adam")):
        path = record(scenario, tmp_path).path
        read, made = load(path), scenario.run()
        assert diagnose_run(read) == diagnose_run(made)
        for name, values in made.steps.items():
            assert read.steps[name].tolist() == values.tolist()
        assert read.details["gradient_rms"].tolist() == made.details["gradient_rms"].tolist()


def test_report_of_a_healthy_run(tmp_path):
    path = record(HEALTHY, tmp_path).path
    done = call("report", path.parent)
    assert done.exit_code == 0
    assert "Finished, healthy: nothing found" in done.stdout
    for part in ("120 in", "layer3", "learning rate 0.1"):
        assert part in done.stdout
    assert call("report", path).stdout == done.stdout


def test_report_writes_what_it_is_asked_for(tmp_path):
    path = record(STOPPED, tmp_path / "runs").path
    page, data = tmp_path / "new" / "a.html", tmp_path / "a.json"
    done = call("report", path, "--html", page, "--json", data)
    assert done.exit_code == 1
    assert "Stopped by the guard at step 79" in done.stdout
    assert "EG801" in done.stdout
    told = json.loads(data.read_text())
    assert (told["status"], told["healthy"], told["figures"]["steps"]) == ("stopped", False, 80)
    assert told["figures"]["not_finite"] == 1
    assert [event["kind"] for event in told["events"]] == ["non_finite", "stop"]
    assert told["events"][0]["values"]["norm"] == "nan"
    assert "Black box of step 79" in page.read_text()
    blocked = call("report", path, "--html", page / "b.html")
    assert blocked.exit_code == 2
    assert "Cannot write" in blocked.stderr


def test_report_while_the_run_goes_on(tmp_path):
    watching = record(HEALTHY, tmp_path, end=False)
    try:
        done = call("report", watching.path)
        assert done.exit_code == 0
        assert "Still running, step 119: nothing found so far" in done.stdout
    finally:
        watching.end("finished")


@pytest.mark.parametrize("verb", ["report", "replay"])
def test_what_is_no_run_is_told_apart(tmp_path, verb):
    (tmp_path / "run.sqlite").write_text("not a database, but long enough to be taken for one" * 20)
    for path in (tmp_path, tmp_path / "nowhere"):
        done = call(verb, path)
        assert done.exit_code == 2
        assert done.stderr.startswith("evengrad: ")
        assert "Traceback" not in done.output


def test_a_run_without_steps_is_not_judged(tmp_path):
    done = call("report", record(Scenario(steps=0), tmp_path).path)
    assert done.exit_code == 2
    assert "no step" in done.stderr


def test_runs_lists_the_newest_first_and_passes_over_the_rest(tmp_path):
    paths = [record(scenario, tmp_path).path for scenario in (HEALTHY, STOPPED)]
    for place, path in enumerate(paths):
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE about SET value = ? WHERE name = 'started'", (str(place),))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.sqlite").write_bytes(os.urandom(5000))
    (tmp_path / "other").mkdir()
    with sqlite3.connect(tmp_path / "other" / "run.sqlite") as connection:
        connection.execute("CREATE TABLE something (else_ INTEGER)")
    done = call("runs", tmp_path, "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert [run["path"] for run in told] == [str(path.parent) for path in reversed(paths)]
    assert [run["status"] for run in told] == ["stopped", "finished"]
    assert [run["steps"] for run in told] == [80, 120]
    assert told[0]["events"] == {"non_finite": 1, "stop": 1}
    for run, path in zip(told, reversed(paths), strict=True):
        assert run["loss"] == load(path).steps["loss"][-1]
    assert done.stderr.count("cannot be read") == 2
    table = call("runs", tmp_path).stdout.splitlines()
    assert [row.split()[0] for row in table[1:]] == [p.parent.name for p in reversed(paths)]
    assert "non finite, stop" in table[1]


def test_runs_tells_a_silent_run_from_a_live_one(tmp_path):
    watching = record(HEALTHY, tmp_path, end=False)
    try:
        assert "silent" not in call("runs", tmp_path).stdout
        for file in watching.path.parent.iterdir():
            os.utime(file, (1, 1))
        assert "running? silent for" in call("runs", tmp_path).stdout
    finally:
        watching.end("finished")


def test_runs_of_nothing(tmp_path):
    assert call("runs", tmp_path).exit_code == 0
    assert call("runs", tmp_path, "--json").stdout.strip() == "[]"
    missing = call("runs", tmp_path / "nowhere")
    assert missing.exit_code == 2
    assert "no folder" in missing.stderr


def test_replay_shows_the_step(tmp_path):
    path = record(STOPPED, tmp_path).path
    done = call("replay", path.parent)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert "Step 79 was refused: its gradients were not finite" in lines[0]
    assert "Origin: log (forward). log makes 25%" in lines[1]
    marked = [line for line in lines if line.strip().startswith(">")]
    assert len(marked) == 1
    for part in ("log", "3.5", "25%", "0.004", "50%"):
        assert part in marked[0]
    batch = next(line for line in lines if "float64" in line)
    for part in ("input", "4x3", "-1 to 1", "1 not finite, in rows 2"):
        assert part in batch
    assert any("labels" in line and "0 to 3" in line and "all finite" in line for line in lines)
    gradients = [line.split() for line in lines if "weight" in line and "layer" in line]
    assert gradients == [["layer0.weight", "nan"], ["layer1.weight", "0.5"]]
    assert "learning rate" in done.stdout
    assert "noise" not in done.stdout, "random states are not for people"
    assert call("replay", path.parent / "step-79").stdout == done.stdout
    assert call("replay", path).stdout == done.stdout


def test_replay_of_several(tmp_path):
    for step in (12, 9, 40):
        blackbox.save(box(step), tmp_path)
    first = call("replay", tmp_path)
    assert "Step 9 " in first.stdout
    assert "Also refused: step 12, 40" in first.stdout
    assert "Step 40 " in call("replay", tmp_path, "--step", 40).stdout
    missing = call("replay", tmp_path, "--step", 13)
    assert missing.exit_code == 2
    assert "9, 12, 40" in missing.stderr


def test_replay_without_a_box(tmp_path):
    path = record(HEALTHY, tmp_path).path
    done = call("replay", path.parent)
    assert done.exit_code == 2
    assert "no black box" in done.stderr
