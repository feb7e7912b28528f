"""Where a PyTorch script makes its optimizers and where it steps them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual
from evengrad.fixing.patch.script.source import Source

_METHODS = {"parameters", "named_parameters"}


@dataclass(frozen=True, slots=True)
class StepCall:
    """A call that updates the weights. optimizer: as written there. scaler: of mixed precision.
    made: the optimizer's construction, where it is known.
    """

    call: cst.Call
    optimizer: str
    scaler: str | None
    made: cst.Call | None


def optimizers(source: Source) -> list[cst.Call]:
    """Every construction of a torch optimizer. Raises Manual where there is none."""
    found = [call for call in source.all(cst.Call) if kind(source, call)]
    if not found:
        raise Manual()
    return found


def kind(source: Source, call: cst.Call) -> str:
    """The optimizer's class ("SGD"); nothing for any other call."""
    module, _, name = source.called(call).rpartition(".")
    return name if module == "torch.optim" and name[:1].isupper() else ""


def single(source: Source, verb: str = "in") -> cst.Call:
    """The one optimizer of the script. Raises Manual at the first, with that verb, if there are several."""
    found = optimizers(source)
    if len(found) > 1 or isinstance(source.parent(found[0]), cst.IfExp):
        raise Manual(found[0], verb)
    return found[0]


def target(source: Source, call: cst.CSTNode) -> cst.BaseExpression | None:
    """What a value is assigned to, also as a branch of a conditional expression."""
    above = source.parent(call)
    while isinstance(above, cst.IfExp):
        above = source.parent(above)
    if isinstance(above, cst.Assign) and len(above.targets) == 1:
        return above.targets[0].target
    return above.target if isinstance(above, cst.AnnAssign) else None


def steps(source: Source, made: Sequence[cst.Call]) -> list[StepCall]:
    """Every ``optimizer.step()`` and ``scaler.step(optimizer)``, schedulers' left out."""
    names = {source.code(t): call for call in made if (t := target(source, call)) is not None}
    found = []
    for call in source.all(cst.Call):
        func = call.func
        if not isinstance(func, cst.Attribute) or func.attr.value != "step":
            continue
        owner, given = source.code(func.value), [source.code(a.value) for a in call.args]
        scaler = owner if given and _optimizer(given[0], names) else None
        if scaler is None and not _optimizer(owner, names):
            continue
        stepped = given[0] if scaler else owner
        known = made[0] if len(made) == 1 else names.get(stepped)
        found.append(StepCall(call, stepped, scaler, known))
    return found


def _optimizer(code: str, names: dict[str, cst.Call]) -> bool:
    return code in names or bool(
        re.fullmatch(r"[\w.]*opt[a-z]*[\w]*", code) and "sched" not in code
    )


def parameters(source: Source, call: cst.Call) -> cst.Call | None:
    """The ``model.parameters()`` that an optimizer was given, itself or through a name."""
    given = arguments.value(call, "params", 0)
    if isinstance(given, cst.Name):
        bound = source.definitions(given)
        given = bound[0].value if len(bound) == 1 else None
    if isinstance(given, cst.Call) and isinstance(given.func, cst.Attribute):
        return given if given.func.attr.value in _METHODS else None
    return None


def models(source: Source, call: cst.Call) -> cst.BaseExpression | None:
    """The expression of the model whose parameters an optimizer was given: ``model``, ``self.net``."""
    given = parameters(source, call)
    if given is None or not isinstance(given.func, cst.Attribute):
        return None
    model = given.func.value
    while isinstance(model, cst.Attribute) and source.code(model.value) != "self":
        model = model.value
    return model if isinstance(model, cst.Name | cst.Attribute) else None


def trained(source: Source) -> dict[str, cst.BaseExpression]:
    """The models that the optimizers train, by what evengrad's names of their layers begin with: nothing
    where there is one model, ``net.`` where there are several. Raises Manual where there is none.
    """
    made = optimizers(source)
    found = {source.code(m): m for call in made if (m := models(source, call)) is not None}
    if not found:
        raise Manual(made[0], "before")
    return {f"{name}." if len(found) > 1 else "": model for name, model in found.items()}


def visible(source: Source, expression: cst.BaseExpression, at: cst.CSTNode) -> bool:
    """Whether the names of an expression are bound at another place, too."""
    names = [n for n in source.all(cst.Name, expression) if not _is_attribute(source, n)]
    if any(name.value == "self" for name in names):
        return source.around(expression, cst.ClassDef) is source.around(at, cst.ClassDef)
    return all(source.local(name.value, at) for name in names)


def _is_attribute(source: Source, name: cst.Name) -> bool:
    above = source.parent(name)
    return isinstance(above, cst.Attribute) and above.attr is name
