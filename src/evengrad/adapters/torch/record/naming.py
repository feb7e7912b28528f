"""The user's own names for what was recorded: module paths, variables, functions."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from evengrad.adapters.torch.compat import plain_path
from evengrad.adapters.torch.record.graph import RecordedCall
from evengrad.values.spec import Kind

_MINOR = {Kind.RESHAPE, Kind.OTHER, Kind.MERGE}
_OWN_NAMES = {"value", "root", "parameter", "self", "module", "other", "roots", "found", "input"}


def assign(nodes: list[RecordedCall], prefixes: dict[int, str]) -> None:
    """Give each call a unique name, its layer and its type, in forward order.

    A layer's one call is named after the layer ("conv1"); a function called inside a module after
    both ("block1.relu"). prefixes: root's id -> what to put before its paths.
    """
    calls = Counter(node.call for node in nodes)
    major = Counter(node.call for node in nodes if node.kind not in _MINOR)
    taken: Counter[str] = Counter()
    for node in nodes:
        path = plain_path(prefixes.get(node.root, "") + node.path).rstrip(".")
        plain = node.function.strip("_") or node.function
        alone = calls[node.call] == 1 or (node.kind not in _MINOR and major[node.call] == 1)
        whole = node.leaf and alone
        name = (path or node.owner) if whole else f"{path}.{plain}" if path else plain
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        node.layer = path or (name if whole else node.name)
        node.type = node.owner if whole and node.framework else plain


def parameter_names(roots: list[Any], nodes: list[RecordedCall]) -> dict[int, tuple[str, Any]]:
    """Parameter id -> (name, parameter): the model's own names, behind the variable's where there
    are several models; parameters without a module by their variable's name.
    """
    found: dict[int, tuple[str, Any]] = {}
    before = prefixes(roots)
    for root in roots:
        for name, parameter in root.named_parameters():
            found.setdefault(id(parameter), (plain_path(before[id(root)] + name), parameter))
    for node in nodes:
        for parameter in node.parameters:
            if id(parameter) not in found:
                name = variable(parameter) or f"parameter_{len(found) + 1}"
                found[id(parameter)] = (name, parameter)
    return found


def prefixes(roots: list[Any]) -> dict[int, str]:
    """Root's id -> what tells its names from the other roots'; nothing where there is one root."""
    if len(roots) < 2:
        return {id(root): "" for root in roots}
    names = [variable(root) or type(root).__name__ for root in roots]
    seen: Counter[str] = Counter()
    found = {}
    for root, name in zip(roots, names, strict=True):
        seen[name] += 1
        found[id(root)] = f"{name}." if seen[name] == 1 else f"{name}_{seen[name]}."
    return found


def variable(value: Any) -> str | None:
    """What the script calls a value, in the frames above us."""
    frame = sys._getframe(1)
    while frame is not None:
        for name, other in [*frame.f_locals.items(), *frame.f_globals.items()]:
            if other is value and not name.startswith("_") and name not in _OWN_NAMES:
                return str(name)
        frame = frame.f_back  # type: ignore[assignment]
    return None
