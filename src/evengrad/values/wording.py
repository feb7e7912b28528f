"""Figures in words: factors, shares and lists of layers, alike in findings and reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evengrad.values.message import msg, with_values

_BILLION = math.log(1e9)
"""Beyond it the size says nothing that the word does not."""
_BRIEF = 160
COUNTED = {
    "event": (msg("{number:,} event"), msg("{number:,} events")),
    "finding": (msg("{number:,} finding"), msg("{number:,} findings")),
    "layer": (msg("{number:,} layer"), msg("{number:,} layers")),
    "operation": (msg("{number:,} operation"), msg("{number:,} operations")),
    "step": (msg("{number:,} step"), msg("{number:,} steps")),
    "tensor": (msg("{number:,} tensor"), msg("{number:,} tensors")),
    "trained tensor": (msg("{number:,} trained tensor"), msg("{number:,} trained tensors")),
    "training": (msg("{number:,} training"), msg("{number:,} trainings")),
    "weight": (msg("{number:,} weight"), msg("{number:,} weights")),
    "error": (msg("{number:,} error"), msg("{number:,} errors")),
    "warning": (msg("{number:,} warning"), msg("{number:,} warnings")),
    "trial": (msg("{number:,} trial"), msg("{number:,} trials")),
    "seed": (msg("{number:,} seed"), msg("{number:,} seeds")),
}
"""What there may be several of: one, and more."""


def factor(log_ratio: float) -> str:
    """A natural log ratio as a factor: "x3.2e+06", "x0.85", "x0", "over x1e9", "not finite"."""
    if math.isnan(log_ratio) or log_ratio == math.inf:
        return msg("not finite")
    if log_ratio == -math.inf:
        return "x0"
    if abs(log_ratio) > _BILLION:
        return msg("over x1e9") if log_ratio > 0 else msg("below x1e-9")
    value = math.exp(log_ratio)
    return f"x{value:.3g}" if 1e-3 <= value < 1e4 else f"x{value:.1e}"


def fold(log_ratio: float) -> str:
    """The size of a change whatever its direction: "3.2e+06-fold", "more than a billionfold", and "infinitely"
    where nothing is left.
    """
    if not math.isfinite(log_ratio):
        return msg("infinitely")
    if abs(log_ratio) > _BILLION:
        return msg("more than a billionfold")
    return msg("{times}-fold", times=factor(abs(log_ratio))[1:])


def times(ratio: float) -> str:
    """How many times as much, to two digits: "5,500 times", "1.5 times"; beyond a million only that."""
    if not ratio < 1e6:
        return msg("over a million times")
    if 0 < ratio < 1e-6:
        return msg("less than a millionth of")
    rounded = float(f"{ratio:.2g}")
    digits = f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"
    return msg("{ratio} times", ratio=digits)


def of_it(share: float) -> str:
    """A share of something, for "of": "0.02 of", "3.4 times", "less than a billionth of"."""
    if share >= 10:
        return times(share)
    return (
        msg("{share:.2g} of", share=share)
        if share >= 1e-9 or share == 0
        else msg("less than a billionth of")
    )


def size(value: float) -> str:
    """A figure of data or of a norm: "0.02", "1.2e+05"; beyond a billion either way only that."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if abs(value) >= 1e9:
        return msg("over a billion")
    return f"{value:.4g}" if abs(value) >= 1e-9 else msg("below a billionth")


def brief(error: object) -> str:
    """What an error says, in one line of a bearable length: some frameworks print whole tensors."""
    first = str(error).strip().partition("\n")[0]
    return first if len(first) <= _BRIEF else first[:_BRIEF].rsplit(" ", 1)[0] + " ..."


def percent(share: float) -> str:
    """A share of 0 to 1; never rounds a few to none, or all but a few to all."""
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1 else f"{share:.0%}"


def count(number: int, what: str) -> str:
    """Such as "1 step" and "12,000 steps". what: one of COUNTED, so that it can be translated; else it "
    "stays.
    """
    known = COUNTED.get(what)
    if known is None:
        return f"{number:,} {what}{'' if number == 1 else 's'}"
    return with_values(known[number != 1], {"number": number})


def layers(names: Sequence[str]) -> str:
    """Layer names; more than three as "hidden3 ... hidden20 (18)"."""
    if len(names) <= 3:
        return ", ".join(names)
    return f"{names[0]} ... {names[-1]} ({len(names)})"
