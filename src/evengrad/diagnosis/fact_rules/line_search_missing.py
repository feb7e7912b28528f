"""EG922 LBFGS without a line search that jumps away.

What it finds: an LBFGS with `line_search_fn=None`, the default, whose loss grows tenfold or stops being finite
from one evaluation to the next, and is not made good.

Why it matters: L-BFGS takes its direction from differences of gradients. Far from a minimum that direction may
be far too long; a line search is part of the method. Without one every step is taken at its full length times
the rate, 1 by default, and one bad step is enough.

How it decides: exactly, by the loss of every evaluation of the closure.

What to do: `line_search_fn="strong_wolfe"`; or a smaller rate.

PyTorch alone: Keras has no LBFGS.

References: Nocedal & Wright 2006, Numerical Optimization, chapter 7; PyTorch documentation, torch.optim.LBFGS.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Frontend

CODE = "EG922"
FACT = "line_search_missing"
_LOOP = """
import torch
torch.manual_seed(0)
t = torch.linspace(0, 10, 100)
data = 2 * torch.exp(-0.3 * t) * torch.cos(2.2 * t + 0.4)
p = torch.tensor([1.0, 0.1, 2.0, 0.0], requires_grad=True)
optimizer = torch.optim.LBFGS([p], lr={rate}, max_iter=20{search})
def closure():
    optimizer.zero_grad()
    loss = {loss}
    loss.backward()
    return loss
for step in range(12):
    optimizer.step(closure)
"""
_WAVE = "((p[0] * torch.exp(-p[1] * t) * torch.cos(p[2] * t + p[3]) - data) ** 2).sum()"
_BOWL = "((p - 3) ** 2).mean()"


def _loop(loss: str, search: str = "", rate: float = 1) -> Program:
    return Program("torch", _LOOP.format(loss=loss, search=search, rate=rate))


SICK = (_loop(_WAVE),)
HEALTHY = (
    _loop(_WAVE.replace("sum", "mean"), ', line_search_fn="strong_wolfe"'),
    _loop(_BOWL),
)


def check(facts: Sequence[Fact], _frontend: Frontend) -> Iterable[Finding]:
    """Fire once for each run."""
    for fact in facts[:1]:
        values = fact.values
        after = msg("what is not finite") if values["loss"] is None else f"{values['loss']:.4g}"
        yield Finding(
            CODE,
            msg(
                "LBFGS jumps away: no line search, and a loss that goes from {before:.4g} to {after}",
                before=values["before"],
                after=after,
            ),
            Cause.LEARNING_RATE,
            Severity.ERROR,
            symptom=Symptom.DIVERGING,
            evidence=(
                msg(
                    "{where}: within step {step}, from one evaluation to the next",
                    where=fact.where or "step(closure)",
                    step=fact.step,
                ),
                msg(
                    "without a line search each step is {rate:g} (the rate) times the whole direction",
                    rate=values["rate"],
                ),
            ),
            advice=(
                'torch.optim.LBFGS(..., line_search_fn="strong_wolfe")',
                msg("or a smaller learning rate, lr=0.1"),
            ),
            unhealthy=True,
            where=fact.where,
            mistake=True,
        )
