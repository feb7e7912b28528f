"""The modules of a PyTorch model as its script writes them down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import libcst as cst

from evengrad.fixing.patch.script.counting import length
from evengrad.fixing.patch.script.python import method, own_class, own_function, returned
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch.lists import parts

_SAME = {"to", "cuda", "cpu", "float", "half", "double", "bfloat16", "train", "eval"}
_WRAPPERS = {"torch.compile", "torch.nn.DataParallel", "torch.nn.parallel.DistributedDataParallel"}
_MOST = 1000
WEIGHTED = {"Linear", "Conv1d", "Conv2d", "Conv3d"}


@dataclass
class Modules:
    """sites: the constructions of the modules, by their dotted names in the model. opaque: constructions
    and statements behind which there may be modules without a known name.
    """

    sites: dict[str, cst.Call] = field(default_factory=dict)
    opaque: list[cst.CSTNode] = field(default_factory=list)

    def add(self, other: Modules, prefix: str) -> None:
        """Another model's modules, under longer names."""
        self.sites |= {prefix + name: call for name, call in other.sites.items()}
        self.opaque += other.opaque

    def weighted(self, source: Source) -> dict[str, cst.Call]:
        """The linear and convolutional ones."""
        return {n: call for n, call in self.sites.items() if module(source, call) in WEIGHTED}


def module(source: Source, call: cst.CSTNode | None) -> str:
    """The class in torch.nn ("Linear") that a call makes an instance of; else nothing."""
    package, _, name = source.called(call).rpartition(".")
    return name if package == "torch.nn" and name[:1].isupper() else ""


def modules(source: Source, model: cst.BaseExpression) -> Modules:
    """All modules of a model."""
    found = Modules()
    _collect(source, model, "", found, 0)
    return found


def construction(source: Source, model: cst.BaseExpression | None) -> cst.Call | None:
    """The call that makes a module, through names, ``.to(device)`` and the wrappers of modules."""
    for _ in range(20):
        if isinstance(model, cst.Call):
            func = model.func
            if isinstance(func, cst.Attribute) and func.attr.value in _SAME:
                model = func.value
                continue
            if source.called(model) in _WRAPPERS and model.args:
                model = model.args[0].value
                continue
            return model
        bound = [] if model is None else source.definitions(model)
        made = [
            b.value for b in bound if b.value is not None and not _about(source, b.value, model)
        ]
        if len(made) != 1:
            return None
        model = made[0]
    return None


def _about(source: Source, value: cst.BaseExpression, model: cst.BaseExpression | None) -> bool:
    """Whether a value is made of the model itself: ``model = model.to(device)``."""
    name = "" if model is None else source.code(model)
    return any(source.code(n) == name for n in source.expressions(value))


def attributes(
    source: Source, function: cst.FunctionDef
) -> Iterator[tuple[str, cst.BaseExpression, cst.Assign]]:
    """The attributes that a method sets: name, value, statement."""
    for statement in source.all(cst.Assign, function):
        target = source.code(statement.targets[0].target)
        if target.startswith("self.") and target.count(".") == 1:
            yield target.removeprefix("self."), statement.value, statement


def _collect(
    source: Source, value: cst.BaseExpression, prefix: str, found: Modules, depth: int
) -> None:
    call = construction(source, value)
    kind = module(source, call)
    if call is None or depth > 20:
        found.opaque.append(value)
    elif kind in {"Sequential", "ModuleList"}:
        _collect_listed(source, call, prefix, found, depth + 1)
    elif kind:
        found.sites[prefix.removesuffix(".")] = call
    elif (owner := own_class(source, call)) is not None:
        _collect_class(source, owner, prefix, found, depth)
    elif (function := own_function(source, call)) is not None:
        values = returned(source, function)
        for one in values[:1]:
            _collect(source, one, prefix, found, depth + 1)
        found.opaque += values[1:]
    else:
        found.opaque.append(call)


def _collect_listed(
    source: Source, call: cst.Call, prefix: str, found: Modules, depth: int
) -> None:
    """The elements of a Sequential or a ModuleList, comprehensions unrolled where their length can be told."""
    index = 0
    for part in parts(source, call):
        if isinstance(part, cst.GeneratorExp | cst.ListComp):
            loop = part.for_in
            count = None if loop.ifs or loop.inner_for_in else length(source, loop.iter)
            if count is None:
                found.opaque.append(call)
                return
            for _ in range(min(count, _MOST)):
                _collect(source, part.elt, f"{prefix}{index}.", found, depth)
                index += 1
        elif part is None or source.called(part) == "collections.OrderedDict":
            found.opaque.append(call)
            return
        else:
            _collect(source, part, f"{prefix}{index}.", found, depth)
            index += 1


def _collect_class(
    source: Source, owner: cst.ClassDef, prefix: str, found: Modules, depth: int
) -> None:
    init = method(owner, "__init__")
    if init is None:
        found.opaque.append(owner)
        return
    for name, value, statement in attributes(source, init):
        if not isinstance(value, cst.Name) and not source.all(cst.Call, value):
            continue
        if source.around(statement, cst.For) is not None:
            found.opaque.append(statement)
        else:
            _collect(source, value, f"{prefix}{name}.", found, depth + 1)
    found.opaque += [c for c in source.all(cst.Call, init) if _adds(source, c)]


def _adds(source: Source, call: cst.Call) -> bool:
    name = source.code(call.func)
    return name in {"self.add_module", "self.register_module", "setattr"} or name.endswith(
        ".append"
    )
