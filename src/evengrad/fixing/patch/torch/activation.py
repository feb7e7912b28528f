"""Another activation in PyTorch: modules and functions, but not what closes the network."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.script.activations import (
    INPLACE,
    TORCH_FUNCTIONS,
    TORCH_MODULES,
    Replacement,
    plain,
)
from evengrad.fixing.patch.script.define import define
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import modules as torch_modules
from evengrad.fixing.patch.torch.head import Closing, closing, own_modules
from evengrad.fixing.wording import shaped

_PACKAGES = ("torch", "torch.nn.functional")


def replace_activation(
    draft: SourceDraft,
    old: str,
    new: str,
    slope: float | None,
    shaping: Sequence[float] | None = None,
) -> None:
    """Every module, class and function of the old activation."""
    source, change = draft.source, Replacement(plain(old), plain(new), slope, shaping)
    ends = closing(source)
    for node in source.expressions():
        if not isinstance(node, cst.Call):
            _reference(draft, node, change, ends)
        elif torch_modules.module(source, node) == TORCH_MODULES.get(change.old):
            if not _is_end(source, node, ends) and _in_network(source, node, ends):
                draft.replace(node, _module(draft, node, change))
        elif _function(source, node) == change.old and _in_forward(source, node, ends):
            _replace_function(draft, node, change)
    _define(draft, change)


def _define(draft: SourceDraft, change: Replacement) -> None:
    """The function and the module of a shaped activation, above what uses them."""
    uses = {
        name: [edit.start for edit in draft.edits if edit.text.startswith(name)]
        for name in (change.function, change.module)
    }
    places = [start for starts in uses.values() for start in starts]
    if change.shaping is None or not places:
        return
    home = "torch" if change.new in TORCH_FUNCTIONS else _PACKAGES[1]
    code = draft.spell(f"{home}.{change.new}")
    lines = [
        f"def {change.function}(x):",
        f'    """{change.new} for a plain network of this depth (arXiv 2203.08120)."""',
        f"    return {shaped(code + '({})', 'x', change.shaping)}",
    ]
    if uses[change.module]:
        lines += [
            "",
            "",
            f"class {change.module}({draft.spell('torch.nn.Module')}):",
            "    def forward(self, x):",
            f"        return {change.function}(x)",
        ]
    define(draft, draft.source.top(min(places)), "\n".join(lines))


def _is_end(source: Source, node: cst.Call, ends: list[Closing]) -> bool:
    """Whether a module closes the network. Raises Manual where it is also used before that."""
    for end in ends:
        if end.made is node:
            if source.around(node, cst.For) is not None:
                raise Manual(node)
            if end.call is not None:
                code = source.code(end.call.func)
                uses = [c for c in source.all(cst.Call) if source.code(c.func) == code]
                owner = source.around(end.call, cst.ClassDef)
                if sum(source.around(use, cst.ClassDef) is owner for use in uses) > 1:
                    raise Manual(node)
            return True
    return False


def _in_network(source: Source, node: cst.Call, ends: list[Closing]) -> bool:
    """Whether a module is made for a network, not only to be called on what that gave."""
    above = source.parent(node)
    if any(end.call is above for end in ends):  # return nn.Sigmoid()(x)
        return False
    return source.around(node, cst.ClassDef) is not None or isinstance(
        above, cst.Arg | cst.Element | cst.Return
    )


def _in_forward(source: Source, node: cst.Call, ends: list[Closing]) -> bool:
    """Whether a function is applied within a module, but not last."""
    owner = source.around(node, cst.ClassDef)
    return owner in own_modules(source) and all(end.call is not node for end in ends)


def _function(source: Source, call: cst.Call) -> str:
    """The activation that a call applies ("relu" for F.relu(x), x.relu()); else nothing."""
    package, _, name = source.called(call).rpartition(".")
    if package in _PACKAGES:
        return plain(name.rstrip("_"))
    func = call.func
    if isinstance(func, cst.Attribute) and not call.args and not source.name(func):
        return func.attr.value.rstrip("_") if func.attr.value.rstrip("_") in TORCH_FUNCTIONS else ""
    return ""


def _module(draft: SourceDraft, node: cst.Call, change: Replacement) -> str:
    """The construction of the new module."""
    new = plain(change.new)
    if new not in TORCH_MODULES:
        raise Manual(node)
    if change.shaping is not None:
        return f"{change.module}()"
    given = [] if change.slope is None else [f"{change.slope:.4g}"]
    if new in INPLACE:
        code = draft.source.code(node)
        given += ["inplace=True"] if "inplace=True" in code or "(True)" in code else []
    return f"{draft.spell(f'torch.nn.{TORCH_MODULES[new]}')}({', '.join(given)})"


def _replace_function(draft: SourceDraft, call: cst.Call, change: Replacement) -> None:
    """``torch.sigmoid(x)``, ``F.sigmoid(x)`` and ``x.sigmoid()``; x is left as it stands."""
    source, new = draft.source, plain(change.new)
    if new == "linear" or new not in TORCH_MODULES:
        raise Manual(call)
    package, _, _ = source.called(call).rpartition(".")
    home = "torch" if new in TORCH_FUNCTIONS and package != _PACKAGES[1] else _PACKAGES[1]
    name = change.function if change.shaping is not None else draft.spell(f"{home}.{new}")
    slope = "" if change.slope is None else f", {change.slope:.4g}"
    if package:
        draft.replace(call.func, name)
        first = call.args[0]
        draft.cut(source.end(first), source.end(call) - 1)
        if slope:
            draft.insert(source.end(call) - 1, slope)
    elif isinstance(call.func, cst.Attribute):
        if new in TORCH_FUNCTIONS and change.shaping is None:
            draft.replace(call.func.attr, new)
            return
        draft.insert(source.start(call), f"{name}(")
        draft.cut(source.end(call.func.value), source.end(call))
        draft.insert(source.end(call), f"{slope})")


def _reference(
    draft: SourceDraft, node: cst.BaseExpression, change: Replacement, ends: list[Closing]
) -> None:
    """``nn.Sigmoid`` and ``torch.sigmoid`` given to something that calls them."""
    source, old, new = draft.source, plain(change.old), plain(change.new)
    above = source.parent(node)
    if not isinstance(node, cst.Name | cst.Attribute) or not isinstance(
        above, cst.Arg | cst.Assign | cst.Param | cst.DictElement
    ):
        return
    package, _, name = source.name(node).rpartition(".")
    is_class = package == "torch.nn" and name == TORCH_MODULES.get(old)
    if not is_class and not (package in _PACKAGES and plain(name) == old):
        return
    test = source.around(node, cst.Call)
    if test is not None and source.code(test.func) in {"isinstance", "type", "issubclass"}:
        return
    if isinstance(above, cst.Assign):
        target = above.targets[0].target
        if isinstance(target, cst.Name):
            return  # an alias: what it is used for is changed
        if any(end.call and source.code(end.call.func) == source.code(target) for end in ends):
            raise Manual(node)
    if change.slope is not None or new not in TORCH_MODULES or new == "linear":
        raise Manual(node)
    if change.shaping is not None:
        draft.replace(node, change.module if is_class else change.function)
        return
    home = "torch" if new in TORCH_FUNCTIONS and package == "torch" else _PACKAGES[1]
    draft.replace(
        node, draft.spell(f"torch.nn.{TORCH_MODULES[new]}" if is_class else f"{home}.{new}")
    )
