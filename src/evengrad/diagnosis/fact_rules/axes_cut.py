"""EG959 axes cut: scores of shape (N, C, ...) are flattened to rows of C without moving C to the end.

What it finds: a cross-entropy that is given `scores.view(-1, C)` of scores whose classes are the second axis,
and the labels of the same places.

Why it matters: a view takes the numbers as they lie: each row has the score of one class at C neighbouring
places, not those of C classes at one place. The shapes fit and nothing fails; labels are held against the
wrong scores, and the loss comes to rest far above what the network can do.

How it decides: exactly: the shape before the view is (N, C, places), that of the labels (N, places).

What to do: `scores.permute(0, 2, 3, 1).reshape(-1, C)`; or give the loss both as they are, for a
cross-entropy takes (N, C, places) against (N, places).

PyTorch alone: Keras has the classes last.

References: PyTorch documentation, torch.nn.CrossEntropyLoss (K-dimensional case).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG959"
FACT = "axes_cut"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(96, 1, 8, 8)
y = torch.bucketize(x.squeeze(1), torch.tensor([-0.5, 0.5]))
model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(30):
    optimizer.zero_grad()
    scores = model(x)
    nn.functional.cross_entropy({scores}, {labels}).backward()
    optimizer.step()
"""


def _loop(scores: str, labels: str = "y.view(-1)") -> tuple[Program, ...]:
    source = _LOOP.format(scores=scores, labels=labels)
    return Program("torch", source), Program("torch", source, "check")


SICK = (*_loop("scores.view(-1, 3)"), *_loop("scores.reshape(-1, 3)", "y.reshape(-1)"))
HEALTHY = (*_loop("scores.permute(0, 2, 3, 1).reshape(-1, 3)"), *_loop("scores", "y"))


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on the first."""
    values, place = facts[0].values, facts[0].where
    shape, classes = tuple(values["shape"]), values["classes"]
    evidence = [] if place is None else [str(place)]
    evidence.append(
        msg(
            "the scores are of shape {shape}, the {classes} classes on axis 1; a row of the view has "
            "one class's "
            "scores at {classes} places",
            shape=shape,
            classes=classes,
        )
    )
    axes = ", ".join(map(str, [0, *range(2, len(shape)), 1]))
    yield Finding(
        CODE,
        msg(
            "the loss is given rows of {classes} that are cut across the axes of {shape}",
            classes=classes,
            shape=shape,
        ),
        Cause.LOSS_HEAD,
        Severity.ERROR,
        evidence=tuple(evidence),
        advice=(
            msg(
                "move the classes to the end first: scores.permute({axes}).reshape(-1, {classes}), not view",
                axes=axes,
                classes=classes,
            ),
            msg("or give the loss both unflattened: it takes (N, C, ...) against (N, ...)"),
        ),
        where=place,
        mistake=True,
    )
