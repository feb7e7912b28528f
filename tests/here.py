"""Trials in the process of the tests, which has its framework loaded already."""

from __future__ import annotations

import contextlib

from evengrad.fixing.worker import perform


def execute(trial, folder, where):
    """As fixing.processes.execute, for trials that leave nothing behind."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(where):
        return perform(trial, folder)
