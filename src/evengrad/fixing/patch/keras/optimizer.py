"""Another optimizer, with its framework's defaults but for the rate."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.keras import optimizers
from evengrad.fixing.patch.keras.rate import set_keras
from evengrad.fixing.patch.script.draft import SourceDraft
from evengrad.fixing.patch.script.optimizer import _choice, _dropped
from evengrad.fixing.patch.script.schedules import refuse_absolute
from evengrad.fixing.wording import number

_KEPT_KERAS = {
    "learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum",
    "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps",
}  # fmt: skip


def use_optimizer(draft: SourceDraft, kind: str, rate: float) -> None:
    """``"sgd"`` or ``keras.optimizers.SGD(...)`` becomes ``keras.optimizers.Adam(...)``."""
    source, name = draft.source, optimizers.CLASSES[kind]
    refuse_absolute(source)
    sites = optimizers.optimizers(source)
    spelled = draft.spell(f"keras.optimizers.{name}")
    choice = _choice(draft, sites[0])
    if choice is not None or isinstance(sites[0], cst.SimpleString):
        if choice is None:
            optimizers.single(source)
        made = f"{spelled}(learning_rate={number(rate)})"
        for place in [choice] if choice is not None else sites:
            draft.replace(place, made)
        return
    optimizers.single(source)
    for site in sites:
        if isinstance(site, cst.Call):
            same = optimizers.kind(source, site) == name
            dropped = _dropped(site, _KEPT_KERAS, 1, keep=same)
            set_keras(draft, site, rate, dropped)
            if not same:
                draft.replace(site.func, spelled)
