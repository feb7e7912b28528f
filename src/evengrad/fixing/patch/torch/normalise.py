"""PyTorch: a normalisation behind layers, in a Sequential or in a module's own ``forward``."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.counting import integer
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.sequence import behind
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import modules as torch_modules
from evengrad.fixing.patch.torch.modules import Modules, module
from evengrad.fixing.patch.torch.normalise_list import in_module_list
from evengrad.fixing.patch.torch.optimizers import trained

_WIDTH = 8  # channels of a group, at least


def normalise(draft: SourceDraft, norm_kind: str, layers: Sequence[str]) -> None:
    """Behind each of the layers, in the way in which it is written."""
    source = draft.source
    found = Modules()
    for prefix, model in trained(source).items():
        found.add(torch_modules.modules(source, model), prefix)
    listed = in_module_list(draft, layers, lambda made: norm(source, draft, made, norm_kind))
    sites: dict[int, tuple[cst.Call, list[str]]] = {}
    for layer in layers:
        if layer in listed:
            continue
        if layer not in found.weighted(source):
            raise Manual(next((o for o in found.opaque if isinstance(o, cst.Call)), None))
        made = found.sites[layer]
        sites.setdefault(id(made), (made, []))[1].append(layer)
    for made, same in sites.values():
        _one(draft, made, same, norm_kind, found)


def norm(source: Source, draft: SourceDraft, made: cst.Call, kind: str) -> str:
    """The module that normalises what a layer gives."""
    size = arguments.value(made, "out_features", 1) or arguments.value(made, "out_channels", 1)
    if size is None:
        raise Manual(made)
    layer, code = module(source, made), source.code(size)
    if kind == "batch":
        dimensions = layer.removeprefix("Conv").replace("Linear", "1d")
        return f"{draft.spell(f'torch.nn.BatchNorm{dimensions}')}({code})"
    if kind == "layer" and layer == "Linear":
        return f"{draft.spell('torch.nn.LayerNorm')}({code})"
    groups = 1
    if kind == "group":
        channels = integer(source, size)
        if channels is None:
            raise Manual(made, "after")
        groups = max(n for n in range(1, max(2, channels // _WIDTH + 1)) if channels % n == 0)
    return f"{draft.spell('torch.nn.GroupNorm')}({groups}, {code})"


def _one(
    draft: SourceDraft, made: cst.Call, layers: list[str], norm_kind: str, found: Modules
) -> None:
    source = draft.source
    shared = {name for name, call in found.sites.items() if call is made}
    if shared != set(layers):
        raise Manual(made)  # the same line makes a layer that is to stay as it is
    code = norm(source, draft, made, norm_kind)
    above = source.parent(made)
    if isinstance(above, cst.Arg):
        _in_sequential(draft, above, code, layers, found)
    elif isinstance(above, cst.Element):
        _in_built_list(draft, above, code, layers, found)
    elif isinstance(above, cst.Assign):
        _in_class(draft, made, above, code)
    else:
        raise Manual(made, "after")


def _in_sequential(
    draft: SourceDraft, arg: cst.Arg, code: str, layers: list[str], found: Modules
) -> None:
    source, call = draft.source, draft.source.parent(arg)
    if isinstance(call, cst.Call) and source.code(call.func).endswith(".append"):
        draft.after(call, [f"{source.code(call.func)}({code})"])
        _behind_all(draft, layers, found)
        return
    if not isinstance(call, cst.Call) or module(source, call) != "Sequential":
        raise Manual(arg, "after")
    refuse_indices(source, call)
    behind(draft, arg, call.args, [code])
    for layer in layers:
        shift(draft, layer, found, 1)


def _in_built_list(
    draft: SourceDraft, element: cst.Element, code: str, layers: list[str], found: Modules
) -> None:
    """A list that becomes the arguments of a Sequential."""
    listed = draft.source.parent(element)
    if not isinstance(listed, cst.List):
        raise Manual(element, "after")
    behind(draft, element, listed.elements, [code])
    _behind_all(draft, layers, found)


def _behind_all(draft: SourceDraft, layers: list[str], found: Modules) -> None:
    for call in draft.source.all(cst.Call):
        if module(draft.source, call) == "Sequential":
            refuse_indices(draft.source, call)
    for layer in layers:
        shift(draft, layer, found, 1)


def shift(draft: SourceDraft, layer: str, found: Modules, by: int) -> None:
    """The indices of the modules behind one of a Sequential, on top of what was shifted before."""
    prefix, _, index = layer.rpartition(".")
    depth = layer.count(".")
    for name in found.sites:
        parts = name.split(".")
        if ".".join(parts[:depth]) != prefix or not parts[depth:] or not parts[depth].isdigit():
            continue
        if int(parts[depth]) > int(index):
            now = draft.renamed.get(name, name).split(".")
            now[depth] = str(int(now[depth]) + by)
            draft.renamed[name] = ".".join(now)


def refuse_indices(source: Source, sequential: cst.Call) -> None:
    """Raises Manual where the script counts the Sequential's modules from its front."""
    for node in source.all(cst.Subscript):
        if torch_modules.construction(source, node.value) is sequential:
            index = node.slice[0].slice
            if not isinstance(index, cst.Index) or not isinstance(index.value, cst.UnaryOperation):
                raise Manual(node)


def _in_class(draft: SourceDraft, made: cst.Call, assigned: cst.Assign, code: str) -> None:
    source = draft.source
    target = source.code(assigned.targets[0].target)
    owner = source.around(assigned, cst.ClassDef)
    if owner is None or not target.startswith("self."):
        raise Manual(made, "after")
    uses = [c for c in source.all(cst.Call, owner) if source.code(c.func) == target]
    if len(uses) != 1 or any(source.code(a) == f"{target}_norm" for a in source.all(cst.Attribute)):
        raise Manual(made, "after")
    draft.after(assigned, [f"{target}_norm = {code}"])
    draft.insert(source.start(uses[0]), f"{target}_norm(")
    draft.insert(source.end(uses[0]), ")")
