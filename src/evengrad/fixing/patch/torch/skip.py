"""PyTorch: residual connections around layers, whose branches begin at zero."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import modules
from evengrad.fixing.patch.torch.modules import Modules, module
from evengrad.fixing.patch.torch.normalise import refuse_indices, shift
from evengrad.fixing.patch.torch.optimizers import trained

_CLASS = "SkipInit"
_NORMS = {f"BatchNorm{n}d" for n in (1, 2, 3)} | {"LayerNorm", "GroupNorm", "RMSNorm"}


def skip(draft: SourceDraft, layers: Sequence[str]) -> None:
    """Around each layer where it is made, or where it is called if a normalisation follows there."""
    source, found = draft.source, Modules()
    for prefix, model in trained(source).items():
        found.add(modules.modules(source, model), prefix)
    sites: dict[int, tuple[cst.Call, list[str]]] = {}
    for layer in layers:
        if layer not in found.weighted(source):
            raise Manual(next((o for o in found.opaque if isinstance(o, cst.Call)), None))
        made = found.sites[layer]
        sites.setdefault(id(made), (made, []))[1].append(layer)
    wrapped = [made for made, layers in sites.values() if _one(draft, made, layers, found)]
    if wrapped:
        _define(draft, min(wrapped, key=source.start))


def _one(draft: SourceDraft, made: cst.Call, layers: list[str], found: Modules) -> bool:
    """Whether it was wrapped in a module of the new class."""
    source, above = draft.source, draft.source.parent(made)
    if {name for name, call in found.sites.items() if call is made} != set(layers):
        raise Manual(made)  # the same line makes a layer that is to stay as it is
    if isinstance(above, cst.Arg | cst.Element):
        _in_sequential(draft, above, layers, found)
    elif isinstance(above, cst.GeneratorExp | cst.ListComp):
        _in_list(draft, made, above, layers)
    elif isinstance(above, cst.Assign):
        use = _use(source, above)
        if isinstance(around := _reader(source, use), cst.Call):
            _in_forward(draft, above, use, around)
            return False
        _wrap(draft, made, layers)
    else:
        raise Manual(made)
    return True


def _wrap(draft: SourceDraft, made: cst.Call, layers: list[str]) -> None:
    draft.insert(draft.source.start(made), f"{_CLASS}(")
    draft.insert(draft.source.end(made), ")")
    for layer in layers:
        draft.renamed[layer] = f"{draft.renamed.get(layer, layer)}.branch"


def _in_sequential(
    draft: SourceDraft, arg: cst.Arg | cst.Element, layers: list[str], found: Modules
) -> None:
    """Together with the normalisation behind it, which leaves its own place. Also in a list that becomes a
    Sequential's arguments.
    """
    source, around, made = draft.source, draft.source.parent(arg), arg.value
    siblings: list[cst.CSTNode] = []
    if isinstance(around, cst.List):
        siblings = list(around.elements)
    elif isinstance(around, cst.Call) and module(source, around) == "Sequential":
        siblings = list(around.args)
    following = siblings[siblings.index(arg) + 1 :] if arg in siblings else []
    if not following or not isinstance(made, cst.Call):
        raise Manual(arg)
    norm = following[0].value if isinstance(following[0], cst.Arg | cst.Element) else made
    if module(source, norm) not in _NORMS:
        _wrap(draft, made, layers)
        return
    for call in source.all(cst.Call):
        if module(source, call) == "Sequential":
            refuse_indices(source, call)
    if "#" in source.text[source.end(made) : source.start(norm)]:
        raise Manual(arg)
    both = f"{draft.spell('torch.nn.Sequential')}({source.code(made)}, {source.code(norm)})"
    draft.replace(made, f"{_CLASS}({both})")
    draft.cut(source.end(made), source.end(norm))
    for layer in layers:
        prefix, _, index = layer.rpartition(".")
        behind = f"{prefix}.{int(index) + 1}".removeprefix(".")
        shift(draft, behind, found, -1)
        now = draft.renamed.get(layer, layer)
        draft.renamed[layer], draft.renamed[behind] = f"{now}.branch.0", f"{now}.branch.1"


def _in_list(
    draft: SourceDraft, made: cst.Call, above: cst.GeneratorExp | cst.ListComp, layers: list[str]
) -> None:
    """Each layer of a ModuleList that one loop goes over."""
    source, assign = draft.source, draft.source.around(made, cst.Assign)
    owner = source.around(made, cst.ClassDef)
    listed = source.around(above, cst.Call)
    if assign is None or owner is None or module(source, listed) != "ModuleList":
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
    _wrap(draft, made, layers)


def _use(source: Source, assign: cst.Assign) -> cst.Call:
    """The one call of a layer that is an attribute. Raises Manual where there is another use."""
    target, owner = source.code(assign.targets[0].target), source.around(assign, cst.ClassDef)
    if owner is None or not target.startswith("self."):
        raise Manual(assign)
    calls = [c for c in source.all(cst.Call, owner) if source.code(c.func) == target]
    uses = [n for n in source.all(cst.Attribute, owner) if source.code(n) == target]
    if len(calls) != 1 or len(uses) != 2:  # where it is made, and the call
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


def _in_forward(draft: SourceDraft, assign: cst.Assign, use: cst.Call, norm: cst.Call) -> None:
    """``x + self.fc_scale * self.norm(self.fc(x))``."""
    source, target = draft.source, draft.source.code(assign.targets[0].target)
    given = use.args[0].value if len(use.args) == 1 else None
    if not isinstance(given, cst.Name):
        raise Manual(use)
    zero = f"{draft.spell('torch.nn.Parameter')}({draft.spell('torch.zeros')}(()))"
    draft.after(assign, [f"{target}_scale = {zero}"])
    plain = isinstance(source.parent(norm), cst.Arg | cst.Assign | cst.Return)
    draft.insert(source.start(norm), f"{'' if plain else '('}{given.value} + {target}_scale * ")
    if not plain:
        draft.insert(source.end(norm), ")")


def _define(draft: SourceDraft, first: cst.Call) -> None:
    """The class, in front of the statement that uses it first."""
    source = draft.source
    if any(node.name.value == _CLASS for node in source.all(cst.ClassDef)):
        raise Manual(first)
    statement = next(node for node in source.module.body if source.within(first, node))
    place = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else statement
    gap = source.text[: source.line_start(place)]
    missing = max(0, 2 - (len(gap) - len(gap.rstrip("\r\n")) - 1)) if gap.strip() else 0
    draft.before(
        place,
        [""] * missing
        + [
            f"class {_CLASS}({draft.spell('torch.nn.Module')}):",
            '    """x + scale * branch(x): the identity at first, for scale begins at 0."""',
            "",
            "    def __init__(self, branch):",
            "        super().__init__()",
            "        self.branch = branch",
            f"        self.scale = {draft.spell('torch.nn.Parameter')}({draft.spell('torch.zeros')}(()))",
            "",
            "    def forward(self, x):",
            "        return x + self.scale * self.branch(x)",
            "",
            "",
        ],
    )
