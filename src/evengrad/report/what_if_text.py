"""The answers to what-if questions in the terminal, and for machines."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.text import Text

from evengrad.fixing.what_if import Answer, WhatIf
from evengrad.report import words

_STYLE = {"prevented": "green", "again": "red", "otherwise": "yellow", "not tried": "dim"}


def row(answer: Answer) -> tuple[str, Text]:
    """What was changed, and what came of it."""
    return answer.question.words, Text(_said(answer), style=_STYLE[answer.outcome])


def _said(answer: Answer) -> str:
    if answer.outcome == "not tried":
        return f"not tried: {answer.message.splitlines()[0].removesuffix('.')}"
    loss = "" if math.isnan(answer.loss) else f", loss {words.number(answer.loss)}"
    if answer.outcome == "prevented":
        return f"prevented: {answer.steps:,} steps{loss}"
    where = f"step {answer.step:,} is refused"
    return where if answer.outcome == "again" else f"{where}, later{loss}"


def dumps(found: WhatIf) -> str:
    """For machines."""
    answers = [
        {
            "question": answer.question.key,
            "words": answer.question.words,
            "outcome": answer.outcome,
            "refused": answer.step,
            "steps": answer.steps,
            "loss": None if math.isnan(answer.loss) else answer.loss,
            "message": answer.message,
        }
        for answer in found.answers
    ]
    values: dict[str, Any] = {
        "step": found.step,
        "horizon": found.horizon,
        "answers": answers,
        "conclusion": found.conclusion,
    }
    return json.dumps(values, indent=2, default=str) + "\n"
