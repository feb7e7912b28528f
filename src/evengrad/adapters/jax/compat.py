"""Private names of JAX: each with what it is for and what is done without it; canaries in the tests."""

from __future__ import annotations

import importlib
import logging
from typing import Any

import jax


def _found(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def is_traced(value: Any) -> bool:
    """Whether a value is only known once the compiled function runs."""
    return isinstance(value, jax.core.Tracer)


def trace_of(value: Any) -> Any:
    """What traces a value, to tell whether two may meet in one computation. Without: they never do."""
    return getattr(value, "_trace", None)


def is_staged(value: Any) -> bool:
    """Whether a traced value is of a function that is being compiled, and of no batch or derivative within.
    Without: by its class' name.
    """
    kind = _found("jax._src.interpreters.partial_eval", "DynamicJaxprTracer")
    return isinstance(value, kind) if kind else type(value).__name__ == "DynamicJaxprTracer"


def mapped_axes() -> tuple[Any, ...]:
    """Names of the axes that a function is mapped over, by pmap or shard_map. Without: each device counts."""
    get = _found("jax._src.core", "get_axis_env")
    sizes = getattr(get(), "axis_sizes", {}) if get else {}
    return tuple(sizes)


class _Quiet(logging.Filter):
    """Lets by what is no word about a training that the guard stopped, which is said already."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return type(error).__name__ != "GuardStopError"


def quieten(on_undo: Any) -> None:
    """JAX logs the traceback of what is called back and raises. Without: it is shown once more."""
    for name in ("jax._src.debugging", "jax"):
        logger, quiet = logging.getLogger(name), _Quiet()
        logger.addFilter(quiet)
        on_undo(lambda logger=logger, quiet=quiet: logger.removeFilter(quiet))
