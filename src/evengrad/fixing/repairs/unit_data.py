"""Inputs and measured targets of mean 0 and deviation 1, in the data itself.

No adapter tells of this one: it is tried where a regression that goes wrong has inputs above 10, or targets
above 100 (``fixing.sight``).
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.expressions import last
from evengrad.fixing.patch.script.origin import origin
from evengrad.fixing.patch.script.source import Source
from evengrad.values.fact import Fact
from evengrad.values.message import msg

FACT = "raw_data"
_DATASETS = {"TensorDataset", "from_tensor_slices"}
_NO_DATA = ("Loader", "Sequential", "Model", "Dataset")
_LEAST = "1e-8"  # a column that is constant has no deviation

Pair = tuple[cst.BaseExpression, cst.BaseExpression]


def repair(source: Source, fact: Fact) -> Iterator[tuple[str, SourceDraft]]:
    """Behind the statements that make them; what is predicted is in the targets' deviations then, too."""
    for inputs, targets in _pairs(source):
        found = [origin(source, inputs), origin(source, targets)]
        if found[0] is None or found[1] is None or found[0][0] == found[1][0]:
            continue
        statements = [one[1] for one in found if one is not None]
        if any(_is_no_data(source, statement) for statement in statements):
            continue
        place = max(statements, key=source.end)
        names = [one[0] for one in found if one is not None]
        forms = [_form(names[0], columns=bool(fact.values.get("columns"))), _form(names[1])]
        draft = SourceDraft(source)
        draft.after(place, forms)
        yield (
            msg(
                "{names} and {names2} have mean 0 and deviation 1", names=names[0], names2=names[1]
            ),
            draft,
        )
        return


def _is_no_data(source: Source, statement: cst.CSTNode) -> bool:
    """A model, a loader: ``trainer.fit(model, loader)``."""
    made = statement.value if isinstance(statement, cst.Assign) else None
    name = last(source, made) if isinstance(made, cst.Call) else ""
    own = {owner.name.value for owner in source.all(cst.ClassDef)}
    return name in own or name.endswith(_NO_DATA)


def _form(name: str, *, columns: bool = False) -> str:
    axis = "0" if columns else ""
    more = f" + {_LEAST}" if columns else ""
    deviation = f"({name}.std({axis}){more})" if more else f"{name}.std()"
    return f"{name} = ({name} - {name}.mean({axis})) / {deviation}"


def _pairs(source: Source) -> Iterator[Pair]:
    """Inputs and targets as they are given to ``fit``, to a data set, or to a loss."""
    calls = source.all(cst.Call)
    for call in calls:
        given = arguments.value(call, "x", 0), arguments.value(call, "y", 1)
        if last(source, call) == "fit" and given[0] is not None and given[1] is not None:
            yield given[0], given[1]
    for call in calls:
        if last(source, call) not in _DATASETS or not call.args:
            continue
        inside = call.args[0].value
        values = [arg.value for arg in call.args]
        if isinstance(inside, cst.Tuple):
            values = [element.value for element in inside.elements]
        if len(values) == 2:
            yield values[0], values[1]
    for call in calls:
        if len(call.args) >= 2 and (pair := _compared(call)) is not None:
            yield pair


def _compared(call: cst.Call) -> Pair | None:
    """``loss(model(x[i]), y[i])``, or with the targets first."""
    for one, other in ((0, 1), (1, 0)):
        made = call.args[one].value
        if isinstance(made, cst.Call) and made.args:
            return made.args[0].value, call.args[other].value
    return None
