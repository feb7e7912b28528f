"""PyTorch: a normalisation behind each layer of a ModuleList that a comprehension makes."""

from __future__ import annotations

from collections.abc import Callable, Collection

import libcst as cst

from evengrad.fixing.patch.script.counting import length
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch.modules import module


def in_module_list(
    draft: SourceDraft, layers: Collection[str], norm: Callable[[cst.Call], str]
) -> set[str]:
    """Write ``self.hidden_norm`` beside ``self.hidden`` and use both in one loop. Gives the layers that
    this serves. norm: the code of what follows a layer.
    """
    source, served = draft.source, set[str]()
    for assign in source.all(cst.Assign):
        target = source.code(assign.targets[0].target)
        comprehension = _comprehension(source, assign.value)
        if comprehension is None or not target.startswith("self."):
            continue
        of = _served(source, target.removeprefix("self."), comprehension, layers)
        made = comprehension.elt
        if of and isinstance(made, cst.Call):
            _write(draft, assign, comprehension, norm(made))
            served |= of
    return served


def _comprehension(source: Source, value: cst.BaseExpression) -> cst.BaseSimpleComp | None:
    if (
        module(source, value) != "ModuleList"
        or not isinstance(value, cst.Call)
        or len(value.args) != 1
    ):
        return None
    given = value.args[0].value
    return given if isinstance(given, cst.GeneratorExp | cst.ListComp) else None


def _served(
    source: Source, name: str, comprehension: cst.BaseSimpleComp, layers: Collection[str]
) -> set[str]:
    """The layers of the list, if all of them and no others of it are to be changed."""
    found = {layer for layer in layers if layer.rpartition(".")[0].rpartition(".")[2] == name}
    inner = comprehension.for_in.inner_for_in
    if not found or inner is not None or comprehension.for_in.ifs:
        return set()
    count = length(source, comprehension.for_in.iter)
    return found if count == len(found) and len({_prefix(f) for f in found}) == 1 else set()


def _prefix(layer: str) -> str:
    return layer.rpartition(".")[0]


def _write(
    draft: SourceDraft, assign: cst.Assign, comprehension: cst.BaseSimpleComp, code: str
) -> None:
    source = draft.source
    target, owner = source.code(assign.targets[0].target), source.around(assign, cst.ClassDef)
    loops = (
        []
        if owner is None
        else [n for n in source.all(cst.For, owner) if _calls(source, n, target)]
    )
    if len(loops) != 1:
        raise Manual(assign, "after")
    name, call = source.code(loops[0].target), _calls(source, loops[0], target)[0]
    other = "norm" if not source.local("norm", call) else f"{name}_norm"
    draft.replace(loops[0].target, f"{name}, {other}")
    draft.replace(loops[0].iter, f"zip({target}, {target}_norm)")
    draft.insert(source.start(call), f"{other}(")
    draft.insert(source.end(call), ")")
    loop = source.code(comprehension.for_in).strip()
    wrapper = source.code(assign.value.func) if isinstance(assign.value, cst.Call) else ""
    inner = f"{code} {loop}"
    if isinstance(comprehension, cst.ListComp):
        inner = f"[{inner}]"
    draft.after(assign, [f"{target}_norm = {wrapper}({inner})"])


def _calls(source: Source, loop: cst.For, target: str) -> list[cst.Call]:
    """The one call of the loop's variable, where the loop goes over that list and nothing else."""
    if source.code(loop.iter) != target or not isinstance(loop.target, cst.Name):
        return []
    calls = [c for c in source.all(cst.Call, loop) if source.code(c.func) == loop.target.value]
    return calls if len(calls) == 1 else []
