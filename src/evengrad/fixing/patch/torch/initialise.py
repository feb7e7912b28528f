"""Other initial weights in PyTorch: a loop over the model's layers, behind its own initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.names import loop_over
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch.modules import construction, module, modules
from evengrad.fixing.patch.torch.optimizers import optimizers, trained

_DRAWS = ("init", "apply", "manual_seed", "reset_parameters", "add_normalisation", "add_skip")


class Drawing(NamedTuple):
    """Weights to be drawn. See ``changes.initialise``."""

    layers: tuple[str, ...]
    gain: float
    scheme: str
    bias: float = 0.0


def initialise(
    draft: SourceDraft, layers: Sequence[str], gain: float, scheme: str, bias: float = 0.0
) -> None:
    """Draw the layers' weights after everything that the script does to them itself."""
    source, left = draft.source, list(layers)
    for prefix, model in trained(source).items():
        known = modules(source, model)
        found = [
            layer
            for layer in left
            if layer.startswith(prefix)
            and (known.opaque or layer.removeprefix(prefix) in known.sites)
        ]
        if found:
            own = Drawing(tuple(layer.removeprefix(prefix) for layer in found), gain, scheme, bias)
            draft.after(anchor(source, model), lines(draft, own, source.code(model), model))
        left = [layer for layer in left if layer not in found]
    if left:
        draft.left.append(Manual(optimizers(source)[0], "before", left))


def lines(
    draft: SourceDraft,
    change: Drawing,
    name: str,
    model: cst.BaseExpression | None,
    more: Callable[[str], Sequence[str]] = lambda _: (),
) -> list[str]:
    """Statements that draw: a loop, or those of one layer. name: how the model is called there. model: its
    expression, if known. more: further statements about each layer, by its name.
    """
    sites = {} if model is None else modules(draft.source, model).sites
    given = [sites.get(layer) for layer in change.layers]
    flat = all(module(draft.source, call) == "Linear" for call in given)
    kinds = _kinds(draft.source, change, model)
    if len(given) == 1 and not kinds and given[0] is not None:
        one = _path(name, change.layers[0])
        return [*_draw(draft, change, one, flat=flat, made=given[0]), *more(one)]
    head = _by_kind(draft, kinds, name) or _by_name(draft, change, name)
    indent = _indent(head[-1])
    body = [*_draw(draft, change, "module", flat=flat), *more("module")]
    return head + [indent + line for line in body]


def _path(model: str, layer: str) -> str:
    """``model.layers[2]``."""
    return model + "".join(f"[{p}]" if p.isdigit() else f".{p}" for p in layer.split("."))


def anchor(source: Source, model: cst.BaseExpression) -> cst.CSTNode:
    """The last statement that makes or initialises the model."""
    bound = [b for b in source.definitions(model) if b.value is not None]
    if not bound:
        raise Manual(model, "before")
    call = construction(source, model)
    made = [b for b in bound if call is not None and _holds(source, b.value, call)] or bound[:1]
    last = _line(source, made[0].node)
    if len(bound) > len(made) and call is None:
        raise Manual(last, "after")
    for statement in _following(source, last):
        if not _initialises(source, statement, source.code(model)):
            break
        last = statement.body[-1] if isinstance(statement, cst.SimpleStatementLine) else statement
    return last


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


def _kinds(source: Source, change: Drawing, model: cst.BaseExpression | None) -> list[str]:
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


def _by_kind(draft: SourceDraft, kinds: list[str], name: str) -> list[str]:
    """Over all modules of some classes."""
    if not kinds:
        return []
    classes = [draft.spell(f"torch.nn.{kind}") for kind in kinds]
    test = classes[0] if len(classes) == 1 else f"({', '.join(classes)})"
    return [f"for module in {name}.modules():", f"    if isinstance(module, {test}):"]


def _by_name(draft: SourceDraft, change: Drawing, name: str) -> list[str]:
    body = f"    module = {name}.get_submodule(name)"
    return [*loop_over(draft, change.layers), body]


def _draw(
    draft: SourceDraft, change: Drawing, name: str, *, flat: bool, made: cst.Call | None = None
) -> list[str]:
    """The weights of one module, and its bias. name: what it is called there. flat: whether it is linear. made:
    its construction, where it is the only one.
    """
    init = draft.spell("torch.nn.init")
    body, zero = _weights(draft, change, init, name, flat=flat), f"{init}.zeros_({name}.bias)"
    if change.bias:
        zero = f"{init}.normal_({name}.bias, std={change.bias:.4g})"
    if made is not None and arguments.value(made, "bias") is None:
        return [*body, zero]
    return [*body, f"if {name}.bias is not None:", f"    {zero}"]


def _weights(draft: SourceDraft, change: Drawing, init: str, name: str, *, flat: bool) -> list[str]:
    if change.scheme == "zeros":
        return [f"{init}.zeros_({name}.weight)"]
    if change.scheme == "orthogonal":
        return _orthogonal(change, init, name, flat=flat)
    for gain, word in ((math.sqrt(2), "relu"), (1.0, "linear")):
        if math.isclose(change.gain, gain, rel_tol=1e-3):
            return [f"{init}.kaiming_normal_({name}.weight, nonlinearity={draft.quoted(word)})"]
    return [
        f"fan_in = {name}.weight[0].numel()",
        f"{init}.normal_({name}.weight, std={change.gain:.4g} / fan_in**0.5)",
    ]


def _orthogonal(change: Drawing, init: str, name: str, *, flat: bool) -> list[str]:
    """An orthogonal matrix, at the centre of a convolution's kernel. Its scale is that of ``Var W = gain^2 /
    fan_in`` also where there are more rows than columns.
    """
    scale = f"gain={change.gain:.4g} * max(1, rows / columns) ** 0.5"
    size = f"rows, columns = {name}.weight.shape[:2]"
    if flat:
        return [size, f"{init}.orthogonal_({name}.weight, {scale})"]
    return [
        size,
        f"centre = tuple(size // 2 for size in {name}.weight.shape[2:])",
        f"{init}.zeros_({name}.weight)",
        f"{init}.orthogonal_({name}.weight.data[(..., *centre)], {scale})",
    ]


def _indent(line: str) -> str:
    plain = line[: len(line) - len(line.lstrip())]
    return plain + "    " if line.endswith(":") else plain
