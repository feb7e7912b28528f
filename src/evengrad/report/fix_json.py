"""What fix found, for machines."""

from __future__ import annotations

import json
import math
from typing import Any

from evengrad.change import to_json
from evengrad.fixing import Attempt, Fixing


def as_json(found: Fixing) -> str:
    """status, findings, trials with their losses, the chosen remedy, the patch, the cost."""
    patch = found.patch
    facts = {
        "script": found.plan.target,
        "status": found.status,
        "findings": [{"code": f.code, "title": f.title, "cause": f.cause} for f in found.findings],
        "plain": [_attempt(a) for a in found.plain],
        "attempts": [_attempt(a) for a in found.attempts],
        "proof": [_attempt(a) for a in found.proof],
        "remedy": None if found.chosen is None else found.chosen.remedy,
        "changes": [] if found.chosen is None else to_json(found.chosen.changes),
        "notes": list(found.notes),
        "diff": None if patch is None else patch.diff(found.plan.target),
        "manual": [] if patch is None else list(patch.manual),
        "cost": found.cost,
        "message": found.message,
    }
    return json.dumps(facts, indent=1)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    verdict = attempt.verdict
    level = verdict.level if math.isfinite(verdict.level) else None
    return {
        "remedy": None if attempt.candidate is None else attempt.candidate.remedy,
        "seed": attempt.seed,
        "patched": attempt.patched,
        "healthy": verdict.healthy,
        "learning": verdict.learning,
        "loss": level,
        "why": verdict.why,
        "result": attempt.result.to_json(),
    }
