"""Keras: loss scaling around the optimizer."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.keras import optimizers
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source

_SCALER = "keras.optimizers.LossScaleOptimizer"


def loss_scale(draft: SourceDraft, value: float) -> None:
    """Keras' own scaling where the script has switched that off; else a LossScaleOptimizer."""
    source = draft.source
    for call in source.all(cst.Call):
        if source.called(call) == _SCALER:
            raise Manual(call)
    off = [arguments.argument(call, "auto_scale_loss") for call in optimizers.compiles(source)]
    told = [arg for arg in off if arg is not None]
    if told and _half(source):
        for call in optimizers.compiles(source):
            arguments.change(draft, call, {}, drop=[a for a in told if a in call.args])
        return
    site = optimizers.single(source)
    _around(draft, site, value)


def _half(source: Source) -> bool:
    """Whether the script computes in half precision."""
    words = [node.evaluated_value for node in source.all(cst.SimpleString)]
    return "mixed_float16" in words


def _around(draft: SourceDraft, site: optimizers.Site, value: float) -> None:
    source, scaler = draft.source, draft.spell(_SCALER)
    end = f", initial_scale={value:.1f})"
    if isinstance(site, cst.SimpleString):
        name = draft.spell(f"keras.optimizers.{optimizers.kind(source, site)}")
        draft.replace(site, f"{scaler}({name}(){end}")
        return
    draft.insert(source.start(site), f"{scaler}(")
    draft.insert(source.end(site), end)
