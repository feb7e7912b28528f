"""A model's graph without its data: of JAX evengrad knows none but what a traced step shows."""

from __future__ import annotations

from typing import Any, NoReturn

from evengrad.errors import CannotCheckError

_WORDS = (
    "evengrad forecasts no JAX model: a flax or Equinox model has a graph only once it is traced with a loss. "
    "Run `evengrad check train.py`, which measures its first step."
)


def describe(model: Any, inputs: Any) -> NoReturn:
    """See adapters.describe. Raises CannotCheckError: there is no graph without a trace."""
    del model, inputs
    raise CannotCheckError(_WORDS)


def abstract(factory: Any) -> NoReturn:
    """See adapters.describe. Raises CannotCheckError, as ``describe``."""
    del factory
    raise CannotCheckError(_WORDS)
