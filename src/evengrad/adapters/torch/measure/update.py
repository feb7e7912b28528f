"""The coming update, exactly: one step of a copy of the user's optimizer."""

from __future__ import annotations

import copy
import weakref
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from evengrad.adapters.torch.statistics.eager import rms_between, wide
from evengrad.adapters.torch.statistics.layout import array
from evengrad.adapters.torch.statistics.ledger import Ledger, together
from evengrad.values.probe import Optimizer
from evengrad.values.summary import rms_of_difference

_PART = 1 << 20
"""Elements of the parameters that are stepped at once."""
_COPIES: weakref.WeakSet[Any] = weakref.WeakSet()
_SWALLOWED = 1e-2
"""Share of a move that may be lost to the rounding of its weight: so little, at random, moves no edge."""


@dataclass
class ComingUpdate:
    """rms: of each parameter's update, by its id. after: each parameter that moves with its value then."""

    rms: dict[int, float] = field(default_factory=dict)
    after: list[tuple[Any, Any]] = field(default_factory=list)


def coming_update(optimizer: Any, gradients: dict[int, Any] | None = None) -> ComingUpdate:
    """One step. gradients: by parameter id, or None for the ``.grad`` at hand.

    The copy has parameters and state of its own; the user's optimizer is only read. Raises whatever the
    optimizer raises when it cannot be copied or stepped.
    """
    ledger = Ledger()
    found = ComingUpdate()
    for part in _parts(optimizer):
        for original, copied in _stepped(optimizer, gradients, part)[1]:
            after = copied.detach()
            found.after.append((original, after))
            if ledger.away(original):
                between = rms_between(after, original.detach())
                ledger.numbers(between, partial(_told, found.rms, id(original)))
            else:
                found.rms[id(original)] = rms_of_difference(array(after), array(original))
    ledger.read()
    return found


def _told(found: dict[int, float], key: int, values: list[float]) -> None:
    found[key] = values[0]


def coming_step(
    optimizer: Any,
    gradients: dict[int, Any] | None = None,
    scaled: bool = False,
    coming: ComingUpdate | None = None,
) -> tuple[list[tuple[Any, Any]], dict[int, Any]]:
    """Each parameter that will move with its move; and where ``scaled``, parameter id -> what that was divided
    by, for optimizers that divide by a second moment's root.

    The step is taken in float64 where the optimizer can: at small rates shorter weights would swallow most
    of the move. coming: the step as it was taken in the weights' own precision, which does where they swallow
    next to nothing.
    """
    if coming is not None and coming.after and not scaled:
        moves = [_move(original, after) for original, after in coming.after]
        if _whole(moves):
            return moves, {}
    moves = []
    scales: dict[int, Any] = {}
    for part in _parts(optimizer):
        try:
            twin, after = _stepped(optimizer, gradients, part, widened=True)
        except Exception:  # it mixes in tensors of its own, or the device has no float64
            twin, after = _stepped(optimizer, gradients, part)
        moves += [_move(original, copied) for original, copied in after]
        if scaled:
            scales |= {id(o): s for o, c in after if (s := _scale(twin, c)) is not None}
    return moves, scales


def _move(original: Any, after: Any) -> tuple[Any, Any]:
    short = torch.promote_types(original.dtype, torch.float32)
    return original, (after.detach() - original.detach()).to(short)


def _whole(moves: list[tuple[Any, Any]]) -> bool:
    """Whether the rounding of each weight takes next to nothing of its move."""
    sizes = norms([p.detach() for p, _ in moves] + [m for _, m in moves])
    weights, steps = sizes[: len(moves)], sizes[len(moves) :]
    lost = [torch.finfo(p.dtype).eps for p, _ in moves]
    return all(
        eps * weight <= _SWALLOWED * step
        for eps, weight, step in zip(lost, weights, steps, strict=True)
    )


def norms(tensors: list[Any]) -> list[float]:
    """The Euclidean norm of each, by one read."""
    return together([torch.linalg.vector_norm(tensor).float() for tensor in tensors])


def _parts(optimizer: Any) -> list[list[Any]]:
    """The parameters in parts that can be stepped one after the other, for the copies of all of them at once
    would be a multiple of a training's memory. Torch's own optimizers treat each alone; others get one part.
    """
    own = [p for group in optimizer.param_groups for p in group["params"]]
    kind = type(optimizer)
    if not kind.__module__.startswith("torch.optim.") or kind is torch.optim.LBFGS:
        return [own]
    parts: list[list[Any]] = [[]]
    size = 0
    for parameter in own:
        if parts[-1] and size + parameter.numel() > _PART:
            parts.append([])
            size = 0
        parts[-1].append(parameter)
        size += parameter.numel()
    return parts


def is_copy(optimizer: Any) -> bool:
    """Whether it is one of ours, which says nothing of the script's training."""
    return optimizer in _COPIES


def _stepped(
    optimizer: Any, gradients: dict[int, Any] | None, part: list[Any], widened: bool = False
) -> tuple[Any, list[tuple[Any, Any]]]:
    """A copy of the optimizer after one step of these parameters, and each that moved with the copy's."""
    wanted = {id(p) for p in part}
    originals = [p for group in optimizer.param_groups for p in group["params"]]
    others = [p for p in originals if id(p) not in wanted]
    twin = copy.deepcopy(optimizer, _as_they_are(optimizer, others))
    _COPIES.add(twin)
    left_out = {id(p) for p in others}
    for group in twin.param_groups:
        group["params"] = [p for p in group["params"] if id(p) not in left_out]
    twin.param_groups = [group for group in twin.param_groups if group["params"]]
    copies = [p for group in twin.param_groups for p in group["params"]]
    if widened:
        _widen(twin, copies)
    own = [p for p in originals if id(p) in wanted]
    for original, twin_parameter in zip(own, copies, strict=True):
        gradient = original.grad if gradients is None else gradients.get(id(original))
        twin_parameter.grad = (
            None if gradient is None else gradient.detach().to(twin_parameter.dtype, copy=True)
        )
    _step(twin)
    return twin, [(o, c) for o, c in zip(own, copies, strict=True) if c.grad is not None]


def _step(twin: Any) -> None:
    """One step; of LBFGS the first of its inner ones, which is its rate times the gradient over its sum."""
    if not isinstance(twin, torch.optim.LBFGS):
        twin.step()
        return
    group = twin.param_groups[0]
    if group.get("line_search_fn") is not None:
        raise ValueError("LBFGS looks for the length of its step along a line")
    if any(state.get("n_iter") for state in twin.state.values()):
        raise ValueError("LBFGS has made steps already, whose curvature it goes by")
    moved = [p for p in group["params"] if p.grad is not None]
    total = float(sum(p.grad.abs().sum() for p in moved))
    length = group["lr"] * min(1.0, 1.0 / total) if total else 0.0
    with torch.no_grad():
        for parameter in moved:
            parameter.add_(parameter.grad, alpha=-length)


def _as_they_are(optimizer: Any, parameters: list[Any]) -> dict[int, Any]:
    """For a deep copy: these, and what the optimizer keeps of them, are not copied."""
    kept: dict[int, Any] = {id(p): p for p in parameters}
    for parameter in parameters:
        state = optimizer.state.get(parameter)
        if state is not None:
            kept[id(state)] = state
    return kept


def _widen(twin: Any, copies: list[Any]) -> None:
    """Parameters and state in float64; counters of steps, which are scalars, stay. One tensor after the other:
    what a step makes in between is then as large as one.
    """
    for group in twin.param_groups:
        group |= {name: False for name in ("foreach", "fused") if name in group}
    for parameter in copies:
        if parameter.is_complex():
            raise TypeError("complex weights")
        parameter.grad = None
        parameter.data = parameter.data.double()
        state = twin.state.get(parameter, {})
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim:
                state[key] = value.double()


def _scale(optimizer: Any, parameter: Any) -> Any:
    """What Adam, RMSprop, Adagrad and Adamax divide by, as torch's own formulas do."""
    state = optimizer.state.get(parameter, {})
    group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    if "exp_inf" in state:
        return state["exp_inf"]
    if "exp_avg_sq" in state:
        step = state.get("step", 1)
        if isinstance(step, torch.Tensor):
            step = step.to(wide(step.device))  # where it is: the host need not wait for it
        second = state.get("max_exp_avg_sq", state["exp_avg_sq"])
        second = second / (1 - group["betas"][1] ** step)
    elif "square_avg" in state:
        second = state["square_avg"]
        if "grad_avg" in state:
            second = (second - state["grad_avg"] ** 2).clamp_min(0.0)
    elif "sum" in state:
        second = state["sum"]
    else:
        return None
    return second.sqrt() + group.get("eps", 1e-8)


def describe(optimizer: Any) -> Optimizer:
    """Name and learning rate."""
    rate = optimizer.param_groups[0].get("lr") if optimizer.param_groups else None
    return Optimizer(type(optimizer).__name__, None if rate is None else float(rate))
