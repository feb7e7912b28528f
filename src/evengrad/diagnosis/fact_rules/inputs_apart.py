"""EG952 evaluated on other inputs: what the model is given in evaluation mode has another scale.

What it finds: inputs in evaluation mode whose mean lies more than four standard deviations from the training's,
or whose standard deviation is more than four times as large, or as small.

Why it matters: a network knows what it was trained on. Test data that miss the normalisation of the training
data, or get it twice, or by other statistics, are answered by guessing, while the training looks perfect.

How it decides: by the first 16 calls of the outermost model in each mode, of 64 samples or more each, where
both have the same shape. The four are a measured choice: crops, noise and other augmentation stay far below.

What to do: send both through the same preprocessing, with the mean and standard deviation of the training data.

References: scikit-learn, common pitfalls: inconsistent preprocessing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.probe import Frontend

CODE = "EG952"
FACT = "inputs_apart"
_LOOP = """
import torch
from torch import nn
torch.manual_seed(0)
x = 50 + 20 * torch.randn(256, 8)
y = (x[:, 0] > 50).long()
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
mean, std = x.mean(0), x.std(0)
for epoch in range(6):
    model.train()
    for rows in torch.randperm(256).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model({trained}), y[rows]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print((model({evaluated}).argmax(1) == y).float().mean())
"""
_SAME = "(x - mean) / std"


def _loop(trained: str, evaluated: str) -> Program:
    return Program("torch", _LOOP.format(trained=trained, evaluated=evaluated))


_ROWS = "(x[rows] - mean) / std"
SICK = (_loop(_ROWS, "x"), _loop(_ROWS, "(x - mean) / std / 255"))
HEALTHY = (
    _loop(_ROWS, _SAME),
    _loop(_ROWS + " + 0.5 * torch.randn(32, 8)", _SAME),
    _loop(_ROWS, "((x - mean) / std)[:1].repeat(256, 1)"),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on what the whole run showed."""
    for fact in facts:
        values = fact.values
        trained = f"mean {values['mean']:.3g}, standard deviation {values['std']:.3g}"
        seen = (
            f"mean {values['evaluated_mean']:.3g}, standard deviation {values['evaluated_std']:.3g}"
        )
        yield Finding(
            CODE,
            "the inputs in evaluation mode are not scaled like those in training",
            Cause.INPUT_DATA,
            Severity.ERROR,
            evidence=(f"in training: {trained}", f"in evaluation: {seen}"),
            advice=(
                "send the evaluation data through the same preprocessing (transform, normalisation), with the "
                "mean and standard deviation of the training data",
            ),
            unhealthy=True,
            mistake=True,
        )
