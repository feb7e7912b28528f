"""PyTorch: residual connections around layers, by a function that the script gets (see ``normalise``)."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.script.define import define
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.names import loop_over
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import modules
from evengrad.fixing.patch.torch.helper import NamedLayers, named_layers
from evengrad.fixing.patch.torch.modules import Modules, module

_NORMS = {f"BatchNorm{n}d" for n in (1, 2, 3)} | {"LayerNorm", "GroupNorm", "RMSNorm"}


def skip(draft: SourceDraft, layers: Sequence[str]) -> None:
    """Define ``add_skip`` and call it on each layer, with the normalisation that follows it."""
    found = list(named_layers(draft, layers))
    for own in found:
        draft.after(own.place, _calls(draft, own))
    parameter = draft.spell("torch.nn.Parameter")
    code = f'''
def add_skip(layer, end=None):
    """Makes x + skip * f(x) of f, from the layer to the end; skip is trained and begins at 0."""
    end = end or layer
    layer.skip = {parameter}(layer.weight.new_zeros(()))
    layer.inputs, end.skipped = [], (layer,)
    layer.register_forward_pre_hook(keep_input)
    end.register_forward_hook(add_input)


def keep_input(layer, inputs):
    layer.inputs.append(inputs[0])


def add_input(end, inputs, output):
    (layer,) = end.skipped
    return layer.inputs.pop() + layer.skip * output
'''
    define(draft, min((own.place for own in found), key=draft.source.start), code)


def _calls(draft: SourceDraft, own: NamedLayers) -> list[str]:
    ends = {name: _end(draft.source, own.known, name) for name in own.names}
    if len(set(ends.values())) < len(ends):
        raise Manual(own.place, "after")  # several layers share a normalisation
    plain = [name for name, end in ends.items() if end == name]
    lines = [*loop_over(draft, plain), f"    add_skip({own.model}.get_submodule(name))"]
    normalised = [
        f"    ({draft.quoted(name)}, {draft.quoted(end)}),"
        for name, end in ends.items()
        if end != name
    ]
    pair = ", ".join(f"{own.model}.get_submodule({name})" for name in ("name", "end"))
    loop = ["for name, end in (", *normalised, "):", f"    add_skip({pair})"]
    return (lines if plain else []) + (loop if normalised else [])


def _end(source: Source, known: Modules, name: str) -> str:
    """The name of the layer, or of the normalisation that reads it. Raises Manual where that cannot be told."""
    made = known.sites.get(name)
    above = None if made is None else source.parent(made)
    if made is None or above is None:
        raise Manual(next((o for o in known.opaque if isinstance(o, cst.Call)), None))
    parent, _, last = name.rpartition(".")
    listed = source.around(made, cst.Call)
    if last.isdigit() and module(source, listed) == "ModuleList":
        _expect_one_loop(source, made)
        return name
    if last.isdigit():
        behind = f"{parent}.{int(last) + 1}".removeprefix(".")
        if not any(f"{other}.".startswith(f"{behind}.") for other in known.sites):
            raise Manual(made)
        return behind if module(source, known.sites.get(behind)) in _NORMS else name
    if not isinstance(above, cst.Assign):
        raise Manual(made)
    norm = _reader(source, _one_call(source, above, source.code(above.targets[0].target)))
    if norm is None:
        return name
    code = source.code(norm.func)
    end = f"{parent}.{code.removeprefix('self.')}".removeprefix(".")
    _one_call(source, above, code)
    if end not in known.sites:
        raise Manual(norm)
    return end


def _expect_one_loop(source: Source, made: cst.Call) -> None:
    """Raises Manual where the layers of a ModuleList are not called in one loop over it, or are normalised."""
    assign, owner = source.around(made, cst.Assign), source.around(made, cst.ClassDef)
    if assign is None or owner is None:
        raise Manual(made)
    target = source.code(assign.targets[0].target)
    loops = [n for n in source.all(cst.For, owner) if source.code(n.iter) == target]
    uses = [n for n in source.all(cst.Attribute, owner) if source.code(n) == target]
    if len(loops) != 1 or len(uses) != 2 or not isinstance(loops[0].target, cst.Name):
        raise Manual(made)
    calls = [
        c for c in source.all(cst.Call, loops[0]) if source.code(c.func) == loops[0].target.value
    ]
    if len(calls) != 1 or _reader(source, calls[0]) is not None:
        raise Manual(made)


def _one_call(source: Source, assign: cst.Assign, code: str) -> cst.Call:
    """The one call of an attribute of its class. Raises Manual where there are others."""
    owner = source.around(assign, cst.ClassDef)
    calls = [] if owner is None else source.all(cst.Call, owner)
    calls = [call for call in calls if source.code(call.func) == code]
    if not code.startswith("self.") or len(calls) != 1:
        raise Manual(assign)
    return calls[0]


def _reader(source: Source, use: cst.Call) -> cst.Call | None:
    """The normalisation that is called on what a layer gives. Raises Manual where that cannot be told."""
    above = source.parent(use)
    if isinstance(above, cst.Arg):
        call = source.parent(above)
        if not isinstance(call, cst.Call):
            raise Manual(use)
        if source.name(call.func).startswith("torch."):
            return None
        kind = module(source, modules.construction(source, call.func))
        if not kind:
            raise Manual(use)
        return call if kind in _NORMS else None
    if isinstance(above, cst.Assign) and _read_next(source, above):
        raise Manual(use)
    return None


def _read_next(source: Source, assign: cst.Assign) -> bool:
    """Whether the next statement normalises what this one gives, as far as can be seen."""
    line = source.parent(assign)
    block = None if line is None else source.parent(line)
    if not isinstance(block, cst.IndentedBlock) or not isinstance(line, cst.BaseStatement):
        return True
    following = list(block.body)[list(block.body).index(line) + 1 :][:1]
    calls = [c for node in following for c in source.all(cst.Call, node)]
    kinds = [module(source, modules.construction(source, c.func)) for c in calls]
    return any(kind in _NORMS for kind in kinds)
