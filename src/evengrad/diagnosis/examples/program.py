"""A whole training script as an example of a mistake in it, or of its absence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Program:
    """A script that ``evengrad check`` or ``run`` is given.

    Attributes:
        framework: that it needs; "keras" runs on every backend, or on those of ``backends``.
        source: the script.
        verb: which command sees the fact.
        backends: of Keras.
    """

    framework: Literal["torch", "keras"]
    source: str
    verb: Literal["check", "run"] = "run"
    backends: tuple[str, ...] = ("tensorflow", "jax", "torch")
