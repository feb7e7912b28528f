"""Other initial weights in PyTorch: a loop over the model's layers, behind its own initialisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import libcst as cst

from evengrad.change import Initialise
from evengrad.patch.draft import Draft, Manual
from evengrad.patch.source import Source
from evengrad.patch.torch_modules import construction, module, modules
from evengrad.patch.torch_optimizers import optimizers, trained

_WIDTH = 96
_DRAWS = ("init", "apply", "manual_seed", "reset_parameters")


def torch(draft: Draft, change: Initialise) -> None:
    """Draw the layers' weights after everything that the script does to them itself."""
    source, left = draft.source, list(change.layers)
    for prefix, model in trained(source).items():
        known = modules(source, model)
        layers = [
            layer
            for layer in left
            if layer.startswith(prefix)
            and (known.opaque or layer.removeprefix(prefix) in known.sites)
        ]
        if layers:
            own = replace(change, layers=tuple(layer.removeprefix(prefix) for layer in layers))
            anchor = _anchor(source, model)
            draft.after(anchor, lines(draft, own, source.code(model), model))
        left = [layer for layer in left if layer not in layers]
    if left:
        draft.left.append(Manual(optimizers(source)[0], "before", left))


def lines(
    draft: Draft, change: Initialise, name: str, model: cst.BaseExpression | None
) -> list[str]:
    """The loop, as statements. name: how the model is called there. model: its expression, if known."""
    kinds = _kinds(draft.source, change, model)
    head = _by_kind(draft, kinds, name) or _by_name(draft, change, name)
    return head + _draw(draft, change, _indent(head[-1]), flat=kinds == ["Linear"])


def _anchor(source: Source, model: cst.BaseExpression) -> cst.CSTNode:
    """The last statement that makes or initialises the model."""
    bound = [b for b in source.definitions(model) if b.value is not None]
    if not bound:
        raise Manual(model, "before")
    call = construction(source, model)
    made = [b for b in bound if call is not None and _holds(source, b.value, call)] or bound[:1]
    anchor = _line(source, made[0].node)
    if len(bound) > len(made) and call is None:
        raise Manual(anchor, "after")
    for statement in _following(source, anchor):
        if not _initialises(source, statement, source.code(model)):
            break
        anchor = statement.body[-1] if isinstance(statement, cst.SimpleStatementLine) else statement
    return anchor


def _holds(source: Source, value: cst.BaseExpression | None, call: cst.Call) -> bool:
    return value is not None and any(node is call for node in source.all(cst.Call, value))


def _line(source: Source, node: cst.CSTNode) -> cst.CSTNode:
    found = source.statement(node)
    if found is None:
        raise Manual(node, "after")
    return found


def _following(source: Source, statement: cst.CSTNode) -> Sequence[cst.CSTNode]:
    """The statements behind one in its block."""
    line = source.parent(statement)
    block = None if line is None else source.parent(line)
    if not isinstance(block, cst.IndentedBlock | cst.Module) or line not in block.body:
        return ()
    body: list[cst.CSTNode] = list(block.body)
    return body[body.index(line) + 1 :] if line is not None else ()


def _initialises(source: Source, statement: cst.CSTNode, model: str) -> bool:
    code = source.code(statement)
    inner = [source.code(n) for n in source.all(cst.Name, statement)]
    about = model.rpartition(".")[2] in inner
    return about and any(word in code for word in _DRAWS)


def _kinds(source: Source, change: Initialise, model: cst.BaseExpression | None) -> list[str]:
    """The classes of which all modules are to be changed, and no others; none, where that is not so."""
    found = None if model is None else modules(source, model)
    if found is None or found.opaque:
        return []
    weighted = found.weighted(source)
    kinds = sorted(
        {module(source, weighted[layer]) for layer in change.layers if layer in weighted}
    )
    of_kinds = {layer for layer, call in weighted.items() if module(source, call) in kinds}
    return kinds if of_kinds == set(change.layers) else []


def _by_kind(draft: Draft, kinds: list[str], name: str) -> list[str]:
    """Over all modules of some classes."""
    if not kinds:
        return []
    classes = [draft.spell(f"torch.nn.{kind}") for kind in kinds]
    test = classes[0] if len(classes) == 1 else f"({', '.join(classes)})"
    return [f"for module in {name}.modules():", f"    if isinstance(module, {test}):"]


def _by_name(draft: Draft, change: Initialise, name: str) -> list[str]:
    body = f"    module = {name}.get_submodule(name)"
    return [*_names(draft, change.layers), body]


def _names(draft: Draft, layers: Sequence[str]) -> list[str]:
    prefixes = {layer.rpartition(".")[0] for layer in layers}
    numbered = [f"{prefix}.{n}" for prefix in prefixes for n in range(len(layers))]
    if (
        len(layers) > 3
        and len(prefixes) == 1
        and numbered == list(layers)
        and numbered[0][0] != "."
    ):
        text = f"{next(iter(prefixes))}.{{n}}"
        return [f"for name in (f{draft.quoted(text)} for n in range({len(layers)})):"]
    words = [draft.quoted(layer) for layer in layers]
    short = f"for name in ({', '.join(words)}{',' if len(words) == 1 else ''}):"
    if len(short) < _WIDTH:
        return [short]
    return ["for name in (", *(f"    {word}," for word in words), "):"]


def _draw(draft: Draft, change: Initialise, indent: str, *, flat: bool) -> list[str]:
    """The weights of one module, and its bias. flat: whether these are matrices only."""
    init = draft.spell("torch.nn.init")
    body = _weights(draft, change, init, flat=flat)
    body += ["if module.bias is not None:", f"    {init}.zeros_(module.bias)"]
    return [indent + line for line in body]


def _weights(draft: Draft, change: Initialise, init: str, *, flat: bool) -> list[str]:
    if change.scheme == "orthogonal":
        return _orthogonal(change, init, flat=flat)
    for gain, word in ((math.sqrt(2), "relu"), (1.0, "linear")):
        if math.isclose(change.gain, gain, rel_tol=1e-3):
            return [f"{init}.kaiming_normal_(module.weight, nonlinearity={draft.quoted(word)})"]
    return [
        "fan_in = module.weight[0].numel()",
        f"{init}.normal_(module.weight, std={change.gain:.4g} / fan_in**0.5)",
    ]


def _orthogonal(change: Initialise, init: str, *, flat: bool) -> list[str]:
    """An orthogonal matrix, at the centre of a convolution's kernel. Its scale is that of ``Var W = gain^2 /
    fan_in`` also where there are more rows than columns.
    """
    scale = f"gain={change.gain:.4g} * max(1, rows / columns) ** 0.5"
    size = "rows, columns = module.weight.shape[:2]"
    if flat:
        return [size, f"{init}.orthogonal_(module.weight, {scale})"]
    return [
        size,
        "centre = tuple(size // 2 for size in module.weight.shape[2:])",
        f"{init}.zeros_(module.weight)",
        f"{init}.orthogonal_(module.weight.data[(..., *centre)], {scale})",
    ]


def _indent(line: str) -> str:
    plain = line[: len(line) - len(line.lstrip())]
    return plain + "    " if line.endswith(":") else plain
