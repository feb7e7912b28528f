"""A step whose update is not finite though its gradients are: seen behind the step, and taken back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.tap.reading import non_finite
from evengrad.values.fact import Fact


class UpdateCheck:
    """Keeps weights and state before a step, and knows afterwards what came of it.

    Only for optimizers that ``fragile`` names: it costs a copy of the weights and the state each step.
    """

    def __init__(self, optimizer: Any, parameters: list[Any]) -> None:
        self._optimizer = optimizer
        self._weights = [(p, p.detach().clone()) for p in parameters]
        self._state = [(p, _copied(optimizer.state.get(p))) for p in parameters]

    def bad(self) -> list[Any]:
        """The parameters that were finite before the step and are no more."""
        return [p for p, before in self._weights if non_finite(p) and not non_finite(before)]

    def put_back(self) -> None:
        """Weights and state as they were, bit for bit."""
        with torch.no_grad():
            for parameter, before in self._weights:
                parameter.copy_(before)
        for parameter, state in self._state:
            if state is None:
                self._optimizer.state.pop(parameter, None)
            else:
                self._optimizer.state[parameter] = state


def fragile(optimizer: Any) -> bool:
    """Whether finite gradients can give an update that is not: weights in float16, or an epsilon that is 0 in
    the weights' precision.
    """
    for group in optimizer.param_groups:
        eps = group.get("eps")
        for parameter in group["params"]:
            if parameter.dtype is torch.float16:
                return True
            if isinstance(eps, float) and vanishes(eps, parameter.dtype):
                return True
    return False


def vanishes(eps: float, dtype: Any) -> bool:
    """Whether an epsilon is 0 in that precision."""
    return dtype.is_floating_point and float(torch.tensor(eps, dtype=dtype)) == 0.0


def update_fact(
    optimizer: Any, known: Mapping[str, Any], step: int, bad: list[Any], guarded: bool | None
) -> tuple[Fact, str]:
    """What was seen, for the rule and in words. known: the optimizer's parameters by name. bad: those that the
    update would spoil. guarded: None where it was made on a copy.
    """
    names = [name for name, p in known.items() if any(p is one for one in bad)]
    kind = type(optimizer).__name__
    groups = optimizer.param_groups
    eps = next((g["eps"] for g in groups if isinstance(g.get("eps"), float)), None)
    dtype = str(bad[0].dtype).removeprefix("torch.")
    values = {
        "optimizer": kind,
        "names": names[:8],
        "tensors": len(bad),
        "of": len(known),
        "dtype": dtype,
        "eps": eps,
        "vanishes": eps is not None and vanishes(eps, bad[0].dtype),
        "guarded": guarded,
    }
    why = f": its eps {eps:g} is 0 in {dtype}" if values["vanishes"] else ""
    what = (
        f"the gradients are finite and the update of {len(bad)} of {len(known)} tensors that {kind} "
        f"makes of them is not{why}"
    )
    return Fact("update_not_finite", where(), step, values), what


def _copied(state: Any) -> Any:
    if state is None:
        return None
    return {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()}
