"""How changes are worded: numbers as a script writes them, layers, the usual places."""

from __future__ import annotations

from collections.abc import Sequence

from evengrad.values.change import Advice
from evengrad.values.message import msg

OPTIMIZER = msg("where the optimizer is made")
MODEL = msg("after the model is made")
FIT = msg("in fit()")
LOOP = msg("before the training loop")
IN_MODEL = msg("in the model")
BEFORE_STEP = msg("before optimizer.step()")
WRITE, ADD = msg("write"), msg("add")
_FEW = 4


def number(value: float) -> str:
    """A float to three significant digits: ``0.001``, ``1e-05``, ``2.0``."""
    return repr(float(f"{value:.3g}"))


def shaped(call: str, variable: str, shaping: Sequence[float]) -> str:
    """``gamma * (phi(alpha * x + beta) + delta)``, to the digits that float32 has. call: such as "tanh({})"."""
    alpha, beta, gamma, delta = (f"{value:.8g}" for value in shaping)
    inside = f"{alpha} * {variable} + {beta}".replace("+ -", "- ")
    return f"{gamma} * ({call.format(inside)} + {delta})".replace("+ -", "- ")


def some(layers: tuple[str, ...]) -> str:
    """Layer names; of many the first and the last."""
    if len(layers) <= _FEW:
        return ", ".join(layers)
    return msg(
        "{layers} ... {layers2} ({number} layers)",
        layers=layers[0],
        layers2=layers[-1],
        number=len(layers),
    )


def scheduler(name: str, code: str) -> Advice:
    """A scheduler of PyTorch's that makes a step with each update."""
    made = f"{name} = torch.optim.lr_scheduler.{code}"
    return Advice(
        msg("{made}, and {name}.step() after each optimizer.step()", made=made, name=name),
        msg("after the optimizer is made"),
        ADD,
    )


def finite(variable: str, values: str, *, keras: bool) -> Advice:
    """Zero where they are not finite. values: what they are, such as "inputs"."""
    ends = "posinf=0, neginf=0" if keras else "0, 0, 0"
    code = f"{'np' if keras else 'torch'}.nan_to_num({variable}, {ends})"
    return Advice(f"{variable} = {code}", msg("where the {values} are made", values=values), ADD)
