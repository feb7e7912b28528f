"""The catalogue of operations in which a NaN or an infinity can be born: why, and the exact change of the code.

One file an operation, found by being there; its name is the word that a fact of kind "born" has as its
"operation". It has a docstring, ``why(fact) -> str``, one line, and ``advice(fact, frontend)``, the changes, a
step a line. It may have ``cause(fact) -> Cause | None``, where the place alone does not tell. What has no file
is ``other``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType

from evengrad.diagnosis.operands import half, in_loss, raw, vanished, zeros
from evengrad.values.discovery import expect, modules
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

_OTHER = "other"


@cache
def all_operations() -> dict[str, ModuleType]:
    """The entries by name. Raises DefinitionError on a file that is none."""
    found = {}
    for module in modules(__name__):
        expect(module.__file__, module, "an operation", why=Callable, advice=Callable)
        found[module.__name__.rpartition(".")[2]] = module
    return found


def why(fact: Fact) -> str:
    """Why something that is not finite is born in this operation, one line."""
    said: str = _entry(fact).why(fact)
    lost = vanished(fact)
    return msg("{said}; {lost} is 0 in float16", said=said, lost=lost) if lost else said


def advice(fact: Fact, frontend: Frontend) -> tuple[str, ...]:
    """What to change, in the user's framework, one step a line."""
    said: tuple[str, ...] = _entry(fact).advice(fact, frontend)
    if not half(fact) or not (vanished(fact) or zeros(fact)):
        return said
    cast = "x.float()" if frontend == "torch" else 'ops.cast(x, "float32")'
    cast = "x.astype(jnp.float32)" if frontend == "jax" else cast
    return (
        *said,
        msg("or compute this in float32 ({cast}): in float16 all below 6e-8 is 0", cast=cast),
    )


def cause(fact: Fact) -> Cause:
    """The operation's own word for it; else precision where half precision overflowed or rounds a number to 0;
    the data where they are prepared or too large, the loss outside of the model, and the architecture in it.
    """
    own: Cause | None = getattr(_entry(fact), "cause", lambda _: None)(fact)
    if own is not None:
        return own
    if vanished(fact) or (half(fact) and fact.values.get("overflow")):
        return Cause.PRECISION
    if fact.values.get("role") == "batch" and not fact.values.get("name"):
        return Cause.INPUT_DATA
    if raw(fact):
        return Cause.INPUT_DATA
    return Cause.ARCHITECTURE if fact.values.get("name") and not in_loss(fact) else Cause.LOSS_HEAD


def _entry(fact: Fact) -> ModuleType:
    entries = all_operations()
    return entries.get(str(fact.values.get("operation")), entries[_OTHER])
