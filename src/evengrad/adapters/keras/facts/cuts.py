"""Where the way from a loss to weights that it depends on is cut, in a graph that TensorFlow has traced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evengrad.adapters.keras.facts.graphs import before, is_assigned, is_read, place_of
from evengrad.values.fact import Where

_WITHOUT_GRADIENT = {
    "StopGradient": "stop_gradient",
    "PreventGradient": "stop_gradient",
    "ArgMax": "argmax",
    "ArgMin": "argmin",
    "PyFunc": "numpy_function",
    "Equal": "==",
    "Greater": ">",
    "GreaterEqual": ">=",
    "Less": "<",
    "LessEqual": "<=",
}


@dataclass(frozen=True, slots=True)
class GraphCut:
    """kind: what cuts, as a user would write it. place: the user's line."""

    kind: str
    place: Where | None


def cut_before(target: Any, variables: Sequence[Any]) -> GraphCut | None:
    """The cut that is nearest to a loss of all those behind which it reads one of these variables; None where
    there is none, where it does not depend on them, or where they are moved by assigning to them.
    """
    made = before(target)
    every = made[0].graph.get_operations() if made else ()
    if any(is_assigned(op, variable) for op in every for variable in variables):
        return None
    for op in made:
        whole = op.type == "Cast" and not op.outputs[0].dtype.is_floating
        kind = "a cast to whole numbers" if whole else _WITHOUT_GRADIENT.get(op.type)
        if kind is not None and _reads(op, variables):
            return GraphCut(kind, place_of(op))
    return None


def _reads(op: Any, variables: Sequence[Any]) -> bool:
    behind = [found for tensor in op.inputs for found in before(tensor)]
    return any(is_read(found, variable) for found in behind for variable in variables)
