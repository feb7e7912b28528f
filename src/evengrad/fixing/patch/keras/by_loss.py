"""Keras: the learning rate follows the loss, by a callback."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from evengrad.fixing.patch.keras import optimizers
from evengrad.fixing.patch.keras.callbacks import add_callback, fits
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.define import define
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.schedules import refuse_absolute

_CLASS = """
class RateByLoss({base}):
    \"\"\"Sets the learning rate by the loss, so that it rises as the loss falls.\"\"\"

    def on_train_begin(self, logs=None):
        self.model.optimizer.learning_rate = {first}

    def on_train_batch_end(self, batch, logs=None):
        self.model.optimizer.learning_rate = {then}
"""


def rate_by_loss(draft: SourceDraft, formula: Callable[[str], str], first: str) -> None:
    """A callback of each ``fit``. formula: of the loss, as an expression. first: the first loss."""
    source = draft.source
    refuse_absolute(source)
    site = optimizers.single(source)
    given = arguments.value(site, "learning_rate", 0) if isinstance(site, cst.Call) else None
    found = fits(source)
    if not found or any(arguments.unpacked(fit) for fit in found):
        raise Manual(site)
    if given is not None and "schedules" in source.called(given):
        raise Manual(site)
    loss = f"logs[{draft.quoted('loss')}]"
    base = draft.spell("keras.callbacks.Callback")
    code = _CLASS.format(base=base, first=formula(first), then=formula(loss))
    define(draft, found[0], code)
    for fit in found:
        add_callback(draft, fit, "RateByLoss()")
