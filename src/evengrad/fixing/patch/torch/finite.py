"""PyTorch: targets that are finite, where a regression's loss is given them."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.patch.torch import modules

_FUNCTIONS = {
    f"torch.nn.functional.{name}"
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
}
_MODULES = {"MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"}


def finite_targets(draft: SourceDraft) -> None:
    """In each of its calls."""
    source = draft.source
    calls = [call for call in source.all(cst.Call) if _is_regression(source, call)]
    if not calls:
        raise Manual()
    for call in calls:
        target = arguments.value(call, "target", 1)
        if target is None or arguments.unpacked(call):
            raise Manual(call, "before")
        function = draft.spell("torch.nan_to_num")
        draft.replace(target, f"{function}({source.code(target)}, 0.0, 0.0, 0.0)")


def _is_regression(source: Source, call: cst.Call) -> bool:
    if source.called(call) in _FUNCTIONS:
        return True
    made = modules.construction(source, call.func)
    return made is not None and modules.module(source, made) in _MODULES
