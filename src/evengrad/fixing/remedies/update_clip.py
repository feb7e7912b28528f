"""Clip the updates, not the gradients.

Treats: spikes under Adam (EG803), and an Adam that overwrites its weights or diverges (EG802, EG807).

Why: Adam divides by an average of squares over a thousand steps. Where gradients grow faster than that, RMS_t,
the rms of g / sqrt(v), is far above 1, and the update as many times too large; each tensor's is divided by
max(1, RMS_t) (StableAdamW: Wortsman 2023, 2304.13013; Adafactor: Shazeer 2018, 1804.04235).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_LATER = {Symptom.OVERWRITING, Symptom.DIVERGING}
_LIMIT = 1.0  # both papers'


def propose(case: Case) -> Iterable[Candidate]:
    """Soon where an Adam spikes, elsewhere behind the other clips; never beside another clip."""
    spikes = Symptom.SPIKES in case.symptoms
    if "adam" not in case.optimizer or not (spikes or case.symptoms & _LATER):
        return
    words = msg("clip each tensor's update where Adam's second moment is behind")
    changes = (ClipGradients("update", _LIMIT),)
    yield Candidate("update_clip", changes, Cause.LEARNING_RATE, 2, words, 1 if spikes else 4)
