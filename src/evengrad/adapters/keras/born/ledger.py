"""Follows what is not finite through the operations of a step, from where it was born to what it spoils."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evengrad.adapters.common.expressions import call_and_operand
from evengrad.adapters.keras.born import words
from evengrad.values.fact import Fact, Where

_TRAINING = {"fit", "train_on_batch", "evaluate", "predict"}
_OVERFLOWING = {"other", "exp", "pow", "matmul", "sum", "mean"}


@dataclass(frozen=True, slots=True)
class CallSite:
    """From where an operation was called.

    Attributes:
        where: the user's line.
        functions: of the libraries between it and the operation, from it inwards.
        layer: the innermost Keras layer around it, by name.
        loss: the Keras loss that computes it, by name.
        variable: the weights that are being updated.
    """

    where: Where | None
    functions: tuple[str, ...] = ()
    layer: str | None = None
    loss: str | None = None
    variable: str | None = None


@dataclass(slots=True)
class Computed:
    """An operation that was computed.

    Attributes:
        number: in the order in which they were.
        kind: as the backend calls it.
        site: from where.
        phase: "forward", "backward" or "update".
        inputs: what it read, kept for their ranges.
        parent: of one that computes a gradient: the operation whose gradient it is.
        hidden: nothing comes back to it where it is not finite: a ``where`` has taken the other branch.
    """

    number: int
    kind: str
    site: CallSite
    phase: str
    inputs: Sequence[Any] = ()
    parent: Computed | None = None
    hidden: bool = False

    @property
    def root(self) -> Computed:
        """The operation of the forward pass."""
        found = self
        while found.parent is not None:
            found = found.parent
        return found


@dataclass(slots=True)
class BadSource:
    """Where something that is not finite comes from.

    Attributes:
        order: sources sort by it.
        made: the operation that bore it; None where it was given.
        role: of what was given: batch, targets, weights, constant; of the operand else.
        name: of what was given.
        site: where it was first used.
        values: figures for the fact.
        overflow: it is infinite, and nowhere NaN.
    """

    order: int
    made: Computed | None
    role: str
    name: str | None = None
    site: CallSite | None = None
    values: dict[str, Any] = field(default_factory=dict)
    overflow: bool = False

    @property
    def deliberate(self) -> bool:
        """An infinity that the script wrote itself, such as a mask's: no mistake until a NaN comes of it."""
        return self.made is None and self.role == "constant"


def first(sources: Iterable[BadSource]) -> BadSource:
    """The one that was there first; what was computed or given wrongly before what the script wrote itself."""
    return min(sources, key=lambda s: (s.deliberate, s.order))


def fact_of(source: BadSource, step: int) -> Fact:
    """As the rule reads it."""
    if source.made is None:
        return _given(source, step)
    made, root = source.made, source.made.root
    word = "update" if made.phase == "update" else words.operation(root.site.functions, root.kind)
    where = root.site.where
    call, operand = call_and_operand(where.code if where else "", words.operand_place(word))
    if call.rpartition(".")[2] in _TRAINING:  # it is none of the operation's own line
        call, operand = root.site.functions[-1] if root.site.functions else "", ""
    if root.site.loss is not None:
        call, operand = f"keras.losses.{root.site.loss}", ""
    values = {
        "operation": word,
        "call": call or root.kind,
        "direction": "backward" if made.phase == "backward" else "forward",
        "role": source.role,
        "operand": operand,
        "hidden": made.hidden and made.phase == "backward",
        "overflow": source.overflow and word in _OVERFLOWING,
        "name": root.site.variable or root.site.loss or root.site.layer or "",
        **{k: v for k, v in source.values.items() if k != "met"},
        **_operand(root, word),
    }
    return Fact("born", where, step, values)


def _given(source: BadSource, step: int) -> Fact:
    where = None if source.site is None else source.site.where
    values = {
        "operation": "other",
        "call": "",
        "direction": "given",
        "role": source.role,
        "operand": source.name or "",
        "hidden": False,
        "name": source.name or "",
        **source.values,
    }
    return Fact("born", where, step, values)


def _operand(root: Computed, word: str) -> dict[str, Any]:
    """Range of the argument that matters."""
    given = [v for v in map(floats, root.inputs) if v is not None]
    if not given:
        return {"low": None, "high": None, "zeros": 0.0}
    place = words.operand_place(word)
    if word == "matmul":
        place = int(np.argmax([np.abs(v).max(initial=0) for v in given]))
    return figures(given[min(place, len(given) - 1)])


def figures(values: Any) -> dict[str, Any]:
    """low, high and zeros of what is finite in an array."""
    good = values[np.isfinite(values)]
    if not good.size:
        return {"low": None, "high": None, "zeros": 0.0}
    low, high = float(good.min()), float(good.max())
    return {"low": low, "high": high, "zeros": float((values == 0).mean())}


def floats(value: Any) -> Any:
    """A tensor's values as float64; None where they are no floats."""
    dtype = str(getattr(value, "dtype", "")).lower()
    if "float" not in dtype:
        return None
    try:
        return np.asarray(value).astype(np.float64)
    except Exception:  # no values: a placeholder, a tensor of another kind
        return None


def finite(values: Any) -> bool:
    """Whether all of an array is."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(values.sum(dtype=np.float64)) or np.isfinite(values).all())


def share(values: Any) -> float:
    """Of an array that is not finite."""
    return float((~np.isfinite(values)).mean()) if values.size else 0.0
