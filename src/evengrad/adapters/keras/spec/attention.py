"""Attention layers as what they are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.spec.draft import LayerDraft, RuleResult
from evengrad.adapters.keras.spec.moves import transposed
from evengrad.theory.activations import FUNCTIONS
from evengrad.values.message import msg
from evengrad.values.spec import Attention, Combine, Dense, Einsum, Pointwise, Softmax

_HEADS_FIRST = (0, 2, 1, 3)


def _sources(draft: LayerDraft) -> tuple[int, int, int]:
    """Query, key, value of a call (query, value, key=value)."""
    names = ("query", "value", "key")
    given: dict[str, Any] = dict(zip(names, draft.call.args, strict=False))
    given.update({k: v for k, v in draft.call.kwargs.items() if k in names})
    query, value = draft.table.number(given["query"]), draft.table.number(given["value"])
    key = given.get("key")
    return query, value if key is None else draft.table.number(key), value


def _causal(draft: LayerDraft) -> bool:
    return bool(draft.call.kwargs.get("use_causal_mask"))


def _masked(draft: LayerDraft) -> bool:
    return draft.call.kwargs.get("attention_mask") is not None


def multi_head(draft: LayerDraft) -> RuleResult:
    """MultiHeadAttention over all axes between the batch and the features."""
    layer = draft.owner
    query, key, value = _sources(draft)
    rank = draft.rank(query)
    axes = tuple(layer.attention_axes or range(1, rank - 1))
    if len(axes) < rank - 2 and (draft.rank(value) != rank or len(draft.call.outputs) > 1):
        return draft.opaque(msg("attention over some of several axes, of inputs of unlike rank"))
    layers = [layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense]
    widths = [layer.key_dim, layer.key_dim, layer.value_dim]
    heads = [layer.num_heads] * 3
    rate = float(layer.dropout)
    order = (0, *(a for a in range(1, rank - 1) if a not in axes), *axes, rank - 1)
    sources = [_tokens(draft, t, order, len(axes)) for t in (query, key, value)]
    z = _heads(draft, sources, layers, heads, widths, rate)
    if isinstance(z, list):
        return z
    shape = [*(draft.shape(query)[a] for a in order[:-1]), draft.shape(z)[-1]]
    z = draft.reshaped(z, shape)
    if order == tuple(range(rank)):
        return z
    return transposed(draft, z, [order.index(a) for a in range(rank)])


def _tokens(draft: LayerDraft, x: int, order: tuple[int, ...], count: int) -> int:
    """(batch, tokens, features), the tokens along the last axes but the features'."""
    if order != tuple(range(len(order))) and draft.rank(x) == len(order):
        x = transposed(draft, x, order)
    shape = draft.shape(x)
    lead = max(len(shape) - 1 - count, 1)
    return draft.reshaped(x, (math.prod(shape[:lead]), math.prod(shape[lead:-1]), shape[-1]))


def grouped_query(draft: LayerDraft) -> RuleResult:
    """GroupQueryAttention: fewer heads of keys and values."""
    layer = draft.owner
    layers = compat.projections(layer)
    heads = [layer.num_query_heads, layer.num_key_value_heads, layer.num_key_value_heads]
    widths = [layer.head_dim] * 3
    return _heads(draft, list(_sources(draft)), layers, heads, widths, float(layer.dropout))


def _heads(
    draft: LayerDraft,
    sources: list[int],
    layers: list[Any],
    heads: list[int],
    widths: list[int],
    rate: float,
) -> RuleResult:
    """Three maps to heads, attention, and the map back."""
    if _masked(draft):
        draft.table.note(
            msg("the attention mask of {name} is left out of the forecast", name=draft.call.name)
        )
    parts = []
    for source, owner, count, width in zip(sources, layers[:3], heads, widths, strict=True):
        parts.append(transposed(draft, _split(draft, source, owner, count, width), _HEADS_FIRST))
    scale = 1 / math.sqrt(widths[0])
    rate = 0.0 if draft.call.kwargs.get("training") is False else rate
    shape = (*draft.shape(parts[0])[:-1], widths[2])
    z = draft.emit(Attention(_causal(draft), scale, rate), *parts, shape=shape)
    z = transposed(draft, z, _HEADS_FIRST)
    gate = compat.gate_of(draft.owner)
    if gate is not None:
        z = _gated(draft, z, _split(draft, sources[0], gate, heads[0], widths[2]))
    op = Dense(*_laws(draft, layers[3]), (2, 3), (2,))
    z = draft.emit(op, z, shape=(*draft.shape(z)[:2], draft.out[-1]))
    return _with_scores(draft, z, parts, scale)


def _split(draft: LayerDraft, source: int, owner: Any, heads: int, width: int) -> int:
    op = Dense(*_laws(draft, owner), (2,), (2, 3))
    return draft.emit(op, source, shape=(*draft.shape(source)[:2], heads, width))


def _laws(draft: LayerDraft, owner: Any) -> tuple[Any, Any]:
    return draft.table.law(compat.kernel_of(owner)), draft.law(owner.bias)


def _gated(draft: LayerDraft, z: int, gate: int) -> int:
    shape = draft.shape(z)
    gate = draft.emit(Pointwise("sigmoid", FUNCTIONS["sigmoid"]), gate, shape=shape)
    return draft.emit(Combine("multiply", np.multiply), z, gate, shape=shape)


def _with_scores(draft: LayerDraft, z: int, reads: list[int], scale: float) -> RuleResult:
    """The attention's scores too, where something reads them."""
    outputs = draft.call.outputs
    if len(outputs) == 1 or id(outputs[1]) not in draft.table.read:
        return z
    shape = tuple(int(n) for n in outputs[1].shape)
    letters = "abcdefgh"[: len(shape) - 2]
    product = Einsum(f"{letters}ik,{letters}jk->{letters}ij")
    scores = draft.emit(product, *reads[:2], shape=shape)
    scores = draft.emit(Pointwise("multiply", lambda v: v * scale), scores, shape=shape)
    return [z, draft.emit(Softmax(len(shape) - 1), scores, shape=shape)]


def dot_product(draft: LayerDraft) -> RuleResult:
    """Attention: dot products of inputs (query, value, key)."""
    layer = draft.owner
    if getattr(layer, "score_mode", "dot") != "dot" or type(layer).__name__ == "AdditiveAttention":
        return draft.opaque(msg("additive attention"))
    tensors = draft.inputs
    query, value = tensors[:2]
    key = tensors[2] if len(tensors) > 2 else value
    scale = getattr(layer, "scale", None)
    factor = draft.table.law(scale).mean if isinstance(scale, compat.Variable) else 1.0
    rate = 0.0 if draft.call.kwargs.get("training") is False else float(layer.dropout)
    op = Attention(_causal(draft), factor, rate)
    shape = (*draft.shape(query)[:-1], draft.shape(value)[-1])
    z = draft.emit(op, query, key, value, shape=shape)
    return _with_scores(draft, z, [query, key], factor)


def attention_operation(draft: LayerDraft) -> RuleResult:
    """ops.dot_product_attention: (batch, tokens, heads, features)."""
    if len(draft.inputs) < 3:
        return draft.opaque(msg("not three inputs"))
    parts = [transposed(draft, t, _HEADS_FIRST) for t in draft.inputs[:3]]
    scale = draft.option("scale")
    op = Attention(bool(draft.option("is_causal")), None if scale is None else float(scale))
    shape = (*draft.shape(parts[0])[:-1], draft.shape(parts[2])[-1])
    return transposed(draft, draft.emit(op, *parts, shape=shape), _HEADS_FIRST)
