"""Private names of JAX: each with what it is for and what is done without it; canaries in the tests."""

from __future__ import annotations

import copy
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


def is_batched(value: Any) -> bool:
    """Whether a value is of one example of many that are mapped over. Without: by its class' name."""
    kind = _found("jax._src.interpreters.batching", "BatchTracer")
    return isinstance(value, kind) if kind else type(value).__name__ == "BatchTracer"


def mapped_axes() -> tuple[Any, ...]:
    """Names of the axes that a function is mapped over, by pmap or shard_map. Without: each device counts."""
    get = _found("jax._src.core", "get_axis_env")
    sizes = getattr(get(), "axis_sizes", {}) if get else {}
    return tuple(sizes)


class _Quiet(logging.Filter):
    """Lets by what is no word about a script that evengrad stopped, which is said already."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not type(error).__module__.startswith("evengrad.")


def quieten(on_undo: Any) -> None:
    """JAX logs the traceback of what is called back and raises. Without: it is shown once more."""
    for name in ("jax._src.debugging", "jax"):
        logger, quiet = logging.getLogger(name), _Quiet()
        logger.addFilter(quiet)
        on_undo(lambda logger=logger, quiet=quiet: logger.removeFilter(quiet))


def inner_of(equation: Any) -> Any:
    """The closed jaxpr of an equation that is only a call, to be read in its place; None of any other, such as
    of a function with a derivative of its own.
    """
    if equation.primitive.name not in _CALLS:
        return None
    return next((equation.params[k] for k in _INNER if k in equation.params), None)


def evaluate(equation: Any, values: list[Any]) -> list[Any]:
    """What an equation gives for these values."""
    bound = equation.primitive.get_bind_params(equation.params)
    functions, params = ((), bound) if isinstance(bound, dict) else bound  # newer, older versions
    found = equation.primitive.bind(*functions, *values, **params)
    return list(found) if equation.primitive.multiple_results else [found]


def title_of(equation: Any) -> str:
    """The name of what an equation computes, of the function where it is a named one."""
    name = equation.params.get("name")
    inner = equation.params.get("call_jaxpr")
    if not isinstance(name, str) and inner is not None:
        body = getattr(inner, "jaxpr", inner)
        name = next((e.params.get("name") for e in body.eqns if len(body.eqns) == 1), None)
    return name if isinstance(name, str) else str(equation.primitive.name)


def literal(variable: Any) -> bool:
    """Whether an operand is a constant that stands in the equation."""
    return hasattr(variable, "val")


def spots(equation: Any) -> list[tuple[str, int, str]]:
    """File, line and function of each frame in which an equation was traced, innermost first."""
    trace = getattr(equation.source_info, "traceback", None)
    frames = getattr(trace, "frames", ()) if trace is not None else ()
    return [(f.file_name, f.line_num, f.function_name) for f in frames]


def codes(equation: Any) -> list[tuple[Any, int]]:
    """Code and last instruction of each frame in which an equation was traced, innermost first."""
    trace = getattr(equation.source_info, "traceback", None)
    return [] if trace is None else list(zip(*trace.raw_frames(), strict=True))


def again(function: Any) -> Any:
    """A function that may be traced once more: those of flax' nnx use up what they were made with."""
    states = getattr(function, "nondiff_states", None)
    if states is None:
        return function
    other = copy.copy(function)
    other.nondiff_states = copy.copy(states)
    return other


_CALLS = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"}
_INNER = ("jaxpr", "call_jaxpr")


def older_than(version: str) -> bool:
    """Whether this jax is older than that version, "major.minor"."""
    wanted = tuple(int(part) for part in version.split("."))
    found: tuple[int, ...] = jax.version.__version_info__[:2]
    return found < wanted
