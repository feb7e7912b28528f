"""Other initial weights in Keras: ``kernel_initializer=`` of the layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.keras.layers import kind, place, sites
from evengrad.fixing.patch.keras.widths import widening as widening_of
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft

_DEPTHWISE = {"DepthwiseConv1D", "DepthwiseConv2D"}
KERNEL = {
    "Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose",
    "Conv3DTranspose",
}  # fmt: skip


def initialise(
    draft: SourceDraft, layers: Sequence[str], gain: float, scheme: str, deviation: float = 0.0
) -> None:
    """Each layer's own argument; a bias that is not drawn as zeros loses its initialiser. deviation: of the
    biases.
    """
    source = draft.source
    found, missing = sites(source, layers)
    if missing:
        draft.left.append(Manual(place(source, missing), layers=missing))
    for call, same in found:
        layer = kind(source, call)
        if arguments.unpacked(call) or layer not in KERNEL | _DEPTHWISE:
            draft.left.append(Manual(call, layers=same))
            continue
        if (code := _initialiser(draft, call, gain, scheme)) is None:
            draft.left.append(Manual(call, layers=same))
            continue
        word = "depthwise_initializer" if layer in _DEPTHWISE else "kernel_initializer"
        bias = arguments.argument(call, "bias_initializer")
        drop = [] if bias is None or "zeros" in source.code(bias).lower() else [bias]
        put = {word: code}
        if deviation:
            normal = draft.spell("keras.initializers.RandomNormal")
            put["bias_initializer"], drop = f"{normal}(stddev={deviation:.4g})", []
        arguments.change(draft, call, put, drop=drop)


def _initialiser(draft: SourceDraft, call: cst.Call, gain: float, scheme: str) -> str | None:
    """None where plain Keras has none."""
    if scheme == "zeros":
        return draft.quoted("zeros")
    if scheme == "orthogonal":
        widening = widening_of(draft.source, call)
        if widening is None:
            return None
        scaled = gain * math.sqrt(max(1.0, widening))
        return f"{draft.spell('keras.initializers.Orthogonal')}({scaled:.4g})"
    for known, word in ((math.sqrt(2), "he_normal"), (1.0, "lecun_normal")):
        if math.isclose(gain, known, rel_tol=1e-3):
            return draft.quoted(word)
    name = draft.spell("keras.initializers.VarianceScaling")
    mode, law = draft.quoted("fan_in"), draft.quoted("truncated_normal")
    return f"{name}({gain**2:.3g}, {mode}, {law})"
