"""Runs the examples of the fact rules as the commands would."""

from __future__ import annotations

import linecache
import os

from evengrad.diagnosis.diagnose import diagnose_probe, diagnose_run
from evengrad.recording.reader import load
from evengrad.recording.settings import Settings
from evengrad.verbs.births import Script, add_birth, with_birth
from evengrad.verbs.check_script import probe_script
from evengrad.verbs.inquire import Beginnings
from evengrad.verbs.run_script import run_script


def codes(program, folder, monkeypatch):
    """Codes of the findings of every run of the script, or of its check, without the echoes."""
    monkeypatch.chdir(folder)
    linecache.clearcache()  # of the script before, which has the same name
    script = folder / "train.py"
    script.write_text(program.source)
    return [finding.code for finding in findings(program, script)]


def findings(program, script):
    name = os.path.basename(script)
    again = Script(name, [], False, Beginnings())
    if program.verb == "check":
        return list(diagnose_probe(with_birth(probe_script(name), again, 1.0)))
    outcome = run_script(name, settings=Settings(folder=script.parent / "runs"))
    assert outcome.error is None, outcome.error
    assert outcome.runs, "nothing was watched"
    add_birth(outcome, again)
    return [finding for path in outcome.runs for finding in diagnose_run(load(path))]
