"""What closes a PyTorch network: its last operation, which belongs to the loss."""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

from evengrad.fixing.patch.script import python
from evengrad.fixing.patch.script.python import before
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import lists, modules
from evengrad.fixing.patch.torch.optimizers import kind, models

_THROUGH = {"view", "reshape", "squeeze", "unsqueeze", "flatten", "contiguous", "float", "mean"}
_FUNCTIONS = {"torch.squeeze", "torch.flatten", "torch.reshape", "torch.unsqueeze"}


@dataclass(frozen=True, slots=True)
class Closing:
    """A last operation. call: where it is applied in a forward method, if there. made: its module."""

    call: cst.Call | None
    made: cst.Call | None


def closing(source: Source) -> list[Closing]:
    """The last operations of all models of the script that are trained or stand for themselves."""
    found: list[Closing] = []
    for root in _roots(source):
        if isinstance(root, cst.ClassDef):
            found += _of_class(source, root, 0)
        else:
            found += _of_module(source, root, None, 0)
    return found


def roots(source: Source) -> list[cst.ClassDef]:
    """The script's own classes of the models that are trained."""
    return [root for root in _roots(source) if isinstance(root, cst.ClassDef)]


def own_modules(source: Source) -> list[cst.ClassDef]:
    """The script's own module classes."""
    found: list[cst.ClassDef] = []
    for owner in source.all(cst.ClassDef):
        bases = [source.name(arg.value) for arg in owner.bases]
        own = {known.name.value for known in found}
        if "torch.nn.Module" in bases or own & {source.code(arg.value) for arg in owner.bases}:
            found.append(owner)
    return found


def _roots(source: Source) -> list[cst.ClassDef | cst.Call]:
    found: list[cst.ClassDef | cst.Call] = []
    for call in source.all(cst.Call):
        model = models(source, call) if kind(source, call) else None
        made = _made(source, modules.construction(source, model))
        if made is not None and made not in found:
            found.append(made)
    if found:
        return found
    classes = own_modules(source)
    inner = {source.code(c.func) for owner in classes for c in source.all(cst.Call, owner)}
    single = [call for call in source.all(cst.Call) if _stands_alone(source, call)]
    return [*(c for c in classes if c.name.value not in inner), *single]


def _made(source: Source, call: cst.Call | None) -> cst.ClassDef | cst.Call | None:
    """The class or the module call behind a construction, also by way of a function."""
    for _ in range(5):
        owner = python.own_class(source, call)
        if owner is not None or call is None or modules.module(source, call):
            return owner or call
        function = python.own_function(source, call)
        values = [] if function is None else python.returned(source, function)
        call = modules.construction(source, values[-1]) if values else None
    return None


def _stands_alone(source: Source, call: cst.Call) -> bool:
    """Whether it is a Sequential that is no part of another module."""
    if modules.module(source, call) != "Sequential" or source.around(call, cst.ClassDef):
        return False
    return source.around(call, cst.Call) is None


def _of_class(source: Source, owner: cst.ClassDef, depth: int) -> list[Closing]:
    forward = python.method(owner, "forward")
    if forward is None or depth > 10:
        return []
    values = python.returned(source, forward)
    return [found for v in values for found in _of_value(source, v, forward, depth + 1)]


def _of_module(
    source: Source, made: cst.BaseExpression, call: cst.Call | None, depth: int
) -> list[Closing]:
    construction = modules.construction(source, made)
    if construction is None or depth > 10:
        return []
    if modules.module(source, construction) == "Sequential":
        parts = lists.elements(construction)
        last = parts[-1] if parts else _appended(source, construction)
        return [] if last is None else _of_module(source, last, call, depth + 1)
    owner = python.own_class(source, construction)
    if owner is not None:
        return _of_class(source, owner, depth + 1)
    return [Closing(call, construction)]


def _appended(source: Source, sequential: cst.Call) -> cst.BaseExpression | None:
    """The last element that was put into the list of a ``Sequential(*layers)``."""
    given = sequential.args[-1] if sequential.args else None
    if given is None or given.star != "*" or not isinstance(given.value, cst.Name):
        return None
    name, function = given.value.value, source.around(sequential, cst.FunctionDef)
    appends = [c for c in source.all(cst.Call, function) if source.code(c.func) == f"{name}.append"]
    values = [arg.value for call in appends for arg in call.args]
    values += [
        node.value
        for node in source.all(cst.AugAssign, function)
        if source.code(node.target) == name
    ]
    values += [b.value for b in source.definitions(given.value) if b.value is not None]
    last = max(values, key=source.start, default=None)
    if isinstance(last, cst.List):
        return last.elements[-1].value if last.elements else None
    return last


def _of_value(
    source: Source, value: cst.BaseExpression, forward: cst.FunctionDef, depth: int
) -> list[Closing]:
    if depth > 30:
        return []
    if isinstance(value, cst.Tuple) and value.elements:
        return _of_value(source, value.elements[0].value, forward, depth + 1)
    if isinstance(value, cst.Name):
        last = before(source, value)
        return [] if last is None else _of_value(source, last, forward, depth + 1)
    if not isinstance(value, cst.Call):
        return []
    func = value.func
    if isinstance(func, cst.Attribute) and source.code(func.value) == "self":
        bound = source.definitions(func)
        made = bound[0].value if len(bound) == 1 else None
        if isinstance(made, cst.Name | cst.Attribute) and source.name(made):
            return [Closing(value, None)]  # self.act = torch.sigmoid
        return [] if made is None else _of_module(source, made, value, depth + 1)
    if isinstance(func, cst.Attribute) and func.attr.value in _THROUGH and not source.name(func):
        return _of_value(source, func.value, forward, depth + 1)
    if source.called(value) in _FUNCTIONS and value.args:
        return _of_value(source, value.args[0].value, forward, depth + 1)
    return [Closing(value, None)]
