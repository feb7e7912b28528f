"""An experiment as strict JSON, for machines; see ``report.json`` for numbers that are not finite."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from evengrad.fixing.lab.cells import LabTraining
from evengrad.fixing.lab.claims import JudgedClaim
from evengrad.fixing.lab.laboratory import Experiment
from evengrad.report.json import plain
from evengrad.values.version import __version__

SCHEMA = 1


def dumps(found: Experiment) -> str:
    """The experiment as JSON text, indented by two: each training, each claim with its rulings."""
    plan = found.plan
    facts = {
        "schema": SCHEMA,
        "evengrad": __version__,
        "script": plan.script,
        "framework": plan.framework,
        "backend": plan.backend,
        "quick": plan.quick,
        "steps": plan.steps,
        "seeds": plan.seeds,
        "planned": found.planned,
        "whole": found.whole,
        "trainings": [_training(one) for one in found.table.measured],
        "claims": [_claim(one) for one in found.judged],
    }
    return json.dumps(plain(facts), indent=2, allow_nan=False, ensure_ascii=False)


def _training(one: LabTraining) -> dict[str, Any]:
    return {
        "network": one.subject,
        "cause": one.cause,
        "remedy": one.cure,
        "seed": one.seed,
        "reached": one.reached,
        "accuracy": one.accuracy,
        "loss": one.loss,
        "finite": one.finite,
        "growth_at_start": one.growth_at_start,
        "growth": one.growth,
        "result": one.result.to_json(),
    }


def _claim(judged: JudgedClaim) -> dict[str, Any]:
    claim = judged.claim
    return {
        "claim": claim.name,
        "section": claim.section,
        "quote": claim.quote,
        "says": claim.title,
        "tested": claim.tested,
        "known": claim.known,
        "standing": judged.standing,
        "rulings": [asdict(ruling) for ruling in judged.rulings],
    }
