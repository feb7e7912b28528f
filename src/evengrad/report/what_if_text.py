"""The answers to what-if questions in the terminal, and for machines."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.text import Text

from evengrad.fixing.what_if import Answer, WhatIf
from evengrad.report import words
from evengrad.report.spoken import spoken
from evengrad.values.message import msg

_STYLE = {"prevented": "green", "again": "red", "otherwise": "yellow", "not tried": "dim"}


def row(answer: Answer) -> tuple[str, Text]:
    """What was changed, and what came of it."""
    return answer.question.words, spoken(_said(answer), _STYLE[answer.outcome])


def _said(answer: Answer) -> str:
    if answer.outcome == "not tried":
        return msg(
            "not tried: {message}",
            message=answer.message.splitlines()[0].removesuffix("."),
        )
    loss = "" if math.isnan(answer.loss) else msg(", loss {loss}", loss=words.number(answer.loss))
    if answer.outcome == "prevented":
        return msg("prevented: {steps:,} steps{loss}", steps=answer.steps, loss=loss)
    where = msg("step {step:,} is refused", step=answer.step)
    return (
        where if answer.outcome == "again" else msg("{where}, later{loss}", where=where, loss=loss)
    )


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
