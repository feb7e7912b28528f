"""What fix found as strict JSON, for machines; see ``report.json`` for numbers that are not finite."""

from __future__ import annotations

import json
from typing import Any

from evengrad.fixing.changes import to_json
from evengrad.fixing.outcome import Attempt, Fixing
from evengrad.report.json import finding, plain
from evengrad.values.version import __version__

SCHEMA = 2


def dumps(found: Fixing) -> str:
    """The fix as JSON text, indented by two: status, findings, trials with their losses, the remedy, the
    patch, the cost.
    """
    patch, near = found.patch, found.closest
    facts = {
        "schema": SCHEMA,
        "evengrad": __version__,
        "script": found.plan.target,
        "status": found.status,
        "findings": [finding(one) for one in found.findings],
        "plain": [_attempt(a) for a in found.plain],
        "attempts": [_attempt(a) for a in found.attempts],
        "proof": [_attempt(a) for a in found.proof],
        "remedy": None if found.chosen is None else found.chosen.remedy,
        "changes": [] if found.chosen is None else to_json(found.chosen.changes),
        "notes": list(found.notes),
        "diff": None if patch is None else patch.diff(found.plan.target),
        "manual": [] if patch is None else list(patch.manual),
        "reference": None if found.reference is None else _attempt(found.reference),
        "closest": None if near is None else _attempt(near),
        "cost": found.cost,
        "message": found.message,
    }
    return json.dumps(plain(facts), indent=2, allow_nan=False, ensure_ascii=False)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    verdict = attempt.verdict
    return {
        "remedy": None if attempt.candidate is None else attempt.candidate.remedy,
        "seed": attempt.seed,
        "patched": attempt.patched,
        "healthy": verdict.healthy,
        "learning": verdict.learning,
        "loss": verdict.level,
        "why": verdict.why,
        "result": attempt.result.to_json(),
    }
