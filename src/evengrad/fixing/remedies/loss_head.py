"""The right loss head: logits, and a loss that reads logits.

Treats: a softmax or sigmoid that is applied twice, and logits under a loss that takes them for probabilities
(EG501).

Why: softmax twice can never be sure, and its gradient shrinks; a log of what is no probability is NaN, or is
clipped and gives no gradient. One function for both is also the stable way to compute them.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.logits import Logits
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg


def propose(case: Case) -> Iterable[Candidate]:
    """Take the closing activation away, or tell the loss."""
    if Symptom.UNFIT_HEAD not in case.symptoms or case.probe is None:
        return
    loss = case.probe.loss
    if loss.reads == "logits" and loss.head in {"softmax", "sigmoid", "log_softmax"}:
        words = msg("the closing {head} goes: the loss applies it itself", head=loss.head)
        yield Candidate("loss_head", (Logits(False),), Cause.LOSS_HEAD, 1, words)
    elif loss.reads == "probabilities" and loss.head is None and case.probe.frontend == "keras":
        words = msg("the loss is told that it gets logits")
        yield Candidate("loss_head", (Logits(True),), Cause.LOSS_HEAD, 1, words)
