"""A training watched by what is broken on purpose: the form that the adapters' tests share."""

import importlib

import numpy as np

from evengrad.recording import failure
from evengrad.recording.settings import Settings
from evengrad.verbs.run_script import _WatchSession


def broken(*_, **__):
    raise RuntimeError("broken on purpose")


def lived_through(framework, train, folder):
    """What the training gives, watched as ``run`` does, and the lines that were said."""
    lines = []
    settings = Settings(every=2, folder=folder)
    session = _WatchSession(
        settings, "train.py", None, None, lambda error: lines.append(str(error))
    )
    with failure.listening(session.failed):
        session.arm(framework)
        try:
            found = train()
        finally:
            session.outcome("finished")
    return found, lines


def goes_on(framework, train, bare, place, folder, monkeypatch):
    """Train with a function of the adapter broken: bit for bit as bare, and one line says so."""
    adapter = f"evengrad.adapters.{framework}"
    importlib.import_module(f"{adapter}.live")
    monkeypatch.setattr(f"{adapter}.{place}", broken)
    found, lines = lived_through(framework, train, folder)
    assert len(found) == len(bare)
    for one, other in zip(found, bare, strict=True):
        np.testing.assert_array_equal(one, other)
    (line,) = lines
    assert "evengrad itself failed watching this training, which goes on without it" in line
    assert "broken on purpose" in line
