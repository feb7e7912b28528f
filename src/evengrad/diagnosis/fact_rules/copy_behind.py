"""EG923 an average of the weights that hardly follows them, and is what is evaluated.

What it finds: a copy of the trained model, in evaluation mode, whose weights are moved (a moving average, EMA)
and have come less than a tenth of the way that the trained ones have gone since it was made.

Why it matters: such a copy is nearly the untrained network. Validation and samples are at chance and hardly
change, while the training goes well. A decay of 0.9999 remembers the last 10,000 updates: a run must be several
times as long, or the average corrected at its start. Updated once an epoch, it remembers as many epochs.

How it decides: at the end of the script, by samples of the weights of every copied module: those of then, its
own and the trained model's of now. Copies that nothing has moved (a frozen reference, a snapshot) are none. The
tenth is a measured choice.

What to do: update it after every step; a decay that fits the run (0.99 for hundreds of steps), or one that
warms up: min(decay, (1 + n) / (10 + n)).

PyTorch alone: Keras keeps its averages in the optimizer (use_ema), and writes them over the weights.

References: Tarvainen & Valpola 2017 (1703.01780); tf.train.ExponentialMovingAverage, num_updates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.probe import Frontend
from evengrad.values.wording import percent

CODE = "EG923"
FACT = "copy_behind"
_LOOP = """
import copy
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(256, 8)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
average = copy.deepcopy(model).eval()
for step in range(60):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    with torch.no_grad():
        for p, q in zip(average.parameters(), model.parameters()):
            p.mul_({decay}).add_(q, alpha=1 - {decay})
print((average(x).argmax(1) == y).float().mean())
"""


def _loop(decay: float) -> Program:
    return Program("torch", _LOOP.format(decay=decay))


SICK = (_loop(0.9999),)
HEALTHY = (_loop(0.9), _loop(1.0))


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire on each pair of a model and its copy."""
    for fact in facts:
        values = fact.values
        copy, model = values["copy"], values["model"]
        yield Finding(
            CODE,
            msg(
                "{copy} hardly follows {model}: its average has come {share} of the way",
                copy=copy,
                model=model,
                share=percent(values["share"]),
            ),
            Cause.ARCHITECTURE,
            Severity.ERROR,
            evidence=(
                msg(
                    "since it was copied the weights of {model} have gone on; it is nearly the network of then",
                    model=model,
                ),
                msg("what is evaluated with it (EMA) is at chance, however well the training goes"),
            ),
            advice=(
                msg(
                    "update the average after every step, with a decay that fits the run (0.99 for hundreds of "
                    "steps, 0.999 for thousands), or warm it up: min(decay, (1 + n) / (10 + n))"
                ),
            ),
            unhealthy=True,
            mistake=True,
        )
