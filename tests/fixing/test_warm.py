"""Trials that are forks of a process which has imported what they need."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from evengrad.fixing import processes, warm
from evengrad.fixing.trial import Trial, stored_result
from evengrad.fixing.warm import Imported, ImportNotes, WarmServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")
SOURCE = str(Path(warm.__file__).parents[2])
SAYING = """
import json, os, sys
print("said")
seen = [os.getcwd(), os.environ["MINE"], "colorsys" in sys.modules, sys.argv, __name__, os.environ.get("OTHER")]
open("seen", "w").write(json.dumps(seen))
sys.exit(3)
"""
WAITING = """
import time
open("begun", "w")
time.sleep(60)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    file = tmp_path_factory.mktemp("warm") / "imported.json"
    file.write_text(json.dumps([["colorsys", "no_such"], {"OTHER": "set by the script"}]))
    server = WarmServer(file, os.environ | {"PYTHONPATH": SOURCE})
    yield server
    server.close()


def begin(server, folder, text):
    (folder / "train.py").write_text(text)
    trial = Trial("train.py", arguments=("a",))
    (folder / "trial.json").write_text(json.dumps(trial.to_json()))
    found = server.start(folder, str(folder), os.environ | {"PYTHONPATH": SOURCE, "MINE": "here"})
    assert found is not None
    return found


def test_a_fork_is_as_a_process_of_its_own(server, tmp_path):
    assert begin(server, tmp_path, SAYING).wait() == 0
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen == [str(tmp_path), "here", True, ["train.py", "a"], "__main__", None]
    assert (tmp_path / "output.txt").read_text() == "said\n"
    assert stored_result(tmp_path).end == "failed"
    assert json.loads((tmp_path / "imported.json").read_text()) == [[], {}]


def begun(folder):
    for _ in range(500):
        if (folder / "begun").exists():
            return
        time.sleep(0.01)
    raise AssertionError


def test_a_fork_that_is_abandoned(server, tmp_path, monkeypatch):
    trial = begin(server, tmp_path, WAITING)
    begun(tmp_path)
    monkeypatch.setattr(processes, "_RUNNING", {trial})
    processes.abandon()
    assert trial.wait() == -9
    assert stored_result(tmp_path) is None


def test_a_fork_ends_when_this_process_has(server, tmp_path):
    trial = begin(server, tmp_path, WAITING)
    begun(tmp_path)
    os.close(trial._life)
    trial._life = os.open(os.devnull, os.O_RDONLY)
    assert trial.wait() == 1


def test_where_the_server_is_gone_a_trial_begins_anew(tmp_path):
    server = WarmServer(tmp_path / "no such file", os.environ | {"PYTHONPATH": SOURCE})
    assert server.start(tmp_path, str(tmp_path), dict(os.environ)) is None
    server.close()


def test_what_a_script_imports_and_with_what_around_it(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setenv("GONE", "1")
    notes = ImportNotes()
    assert notes.found() == Imported(())
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.delenv("GONE")
    notes.find_spec("keras")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    notes.find_spec("torch")
    monkeypatch.setattr(sys, "modules", dict.fromkeys(("torch", "torch.nn", "keras", "json")))
    found = notes.found()
    assert found.modules == ("torch", "torch.nn", "keras")
    assert found.environment["KERAS_BACKEND"] == "torch"
    assert found.environment["GONE"] is None
    backend = SimpleNamespace(backend=lambda: "jax")
    monkeypatch.setattr(sys, "modules", {"keras": SimpleNamespace(backend=backend), "jax": None})
    assert notes.found() == Imported(())
