"""EG814 data that come sorted by class: hardly a batch holds more than one class or two.

What it finds: batches whose labels are all of one class (of two, where there are four classes or more), in
four fifths of the batches or more.

Why it matters: each such batch pulls the network to the class that it holds, and the next ones to another:
what was learnt is forgotten within an epoch. The loss looks small within a class and jumps at the next one;
in evaluation the last class wins, or none.

How it decides: by the labels of the first 128 batches of 8 or more, one label a sample. Not where one class
leads nearly all batches: that one is merely frequent; nor of two classes, such as an adversary's. The four
fifths are a measured choice; shuffled batches of 8 hold two of four balanced classes or fewer in one of a
hundred.

What to do: `DataLoader(..., shuffle=True)`, a permutation of the rows in each epoch, or a shuffle buffer
that is larger than a class.

References: Bengio 2012 (1206.5533), section 3; PyTorch documentation, torch.utils.data.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.run import Run
from evengrad.values.wording import percent

CODE = "EG814"
SICK = (Scenario(sorted_share=1.0),)
HEALTHY = (Scenario(sorted_share=0.1), Scenario())
_MOST = 0.8


def check(run: Run) -> Iterable[Finding]:
    """Fire on the share of such batches."""
    share, classes = run.seen.get("sorted_share"), run.seen.get("classes")
    if share is None or classes is None or share < _MOST:
        return
    few = msg("one class or two") if classes >= 4 else msg("one class alone")
    yield Finding(
        CODE,
        msg(
            "the data come sorted by class: {share} of the batches hold {few}, of {classes}",
            share=percent(share),
            few=few,
            classes=classes,
        ),
        Cause.INPUT_DATA,
        Severity.ERROR,
        evidence=(
            msg(
                "each batch pulls the network to its own class, and the next ones away from it again"
            ),
        ),
        advice=(
            msg(
                "shuffle the rows in each epoch: DataLoader(..., shuffle=True), or a permutation of them"
            ),
        ),
        unhealthy=True,
        mistake=True,
    )
