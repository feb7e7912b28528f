"""Clip and guard decided on the device, and read later: on an accelerator no step waits for the host.

For fused optimizers, whose kernels take ``grad_scale`` and ``found_inf`` from the device. Once a step is held
back under stop or rollback, so are all after it until the host has seen it: the weights stay as they were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evengrad.recording import guard as guards
from evengrad.recording.clip import AnyArray, Clip, NormClip, State, global_norm
from evengrad.recording.guard import Action, Guard
from evengrad.values.run import Floats


class OnDevice:
    """The arithmetic of clips and guards on tensors of one device."""

    sqrt = staticmethod(torch.sqrt)
    exp = staticmethod(torch.exp)
    log = staticmethod(torch.log)
    abs = staticmethod(torch.abs)
    sum = staticmethod(torch.sum)
    sort = staticmethod(torch.msort)
    where = staticmethod(torch.where)
    minimum = staticmethod(torch.minimum)
    isfinite = staticmethod(torch.isfinite)

    def __init__(self, device: Any) -> None:
        self.device = device

    def maximum(self, x: AnyArray, y: AnyArray) -> AnyArray:
        """The larger one."""
        return torch.maximum(x, y)

    def arange(self, n: int) -> AnyArray:
        """0 to n - 1, as floats."""
        return torch.arange(n, dtype=torch.float32, device=self.device)

    def take(self, x: AnyArray, index: AnyArray) -> AnyArray:
        """The element at a whole number that is a float."""
        return x.index_select(0, index.long().reshape(1)).reshape(
            ()
        )  # x[index] would wait for the host


@dataclass(frozen=True, slots=True)
class Row:
    """A step as it was read back. held: by our guard. overflowed: skipped by the script's own loss scaler.
    scale: that scaler's.
    """

    step: int
    time: float
    rate: float
    norms: Floats
    total: float
    coefficient: float
    held: bool
    overflowed: bool
    loss: float
    scale: float


class Late:
    """One optimizer's clip and guard on its device, and the rows that the host has not read yet."""

    def __init__(
        self, clip: Clip | None, guard: Guard | None, tensors: int, device: Any, reach: Floats
    ) -> None:
        self._clip = clip if isinstance(clip, NormClip) else None
        self._guard = guard
        self._xp = OnDevice(device)
        start = {} if self._clip is None else self._clip.start(tensors)
        self._state: State = {k: torch.as_tensor(v, device=device) for k, v in start.items()}
        self._tensors = tensors
        self._zero = torch.zeros((), device=device)
        self._halted = self._zero.clone()
        self._held = self._zero.clone()
        self._flag = torch.zeros((), pin_memory=device.type == "cuda")
        self._told: Any = self._flag.numpy()
        self._seen = 0.0
        self._rows: list[Any] = []
        self._known: list[tuple[int, float, float]] = []
        self.reach = torch.as_tensor(reach, dtype=torch.float32, device=device)

    @property
    def alarmed(self) -> bool:
        """Whether a step was held back that the host has not read; looks at host memory only."""
        return float(self._told[()]) > self._seen

    def decide(
        self,
        norms: Any,
        factor: Any,
        losses: Sequence[Any],
        optimizer: Any,
        known: tuple[int, float, float],
        ceiling: float,
        drop: bool,
    ) -> bool:
        """Set the optimizer's ``grad_scale`` and ``found_inf`` for this step. Whether they must be taken off
        after it; a GradScaler takes off its own.

        norms: (tensors,), as large as a GradScaler left them. factor: of the script's own clip. known: step,
        time and rate. drop: the gradients are of weights that have just been put back.
        """
        xp, zero = self._xp, self._zero
        preset = hasattr(optimizer, "grad_scale")
        scale = getattr(optimizer, "grad_scale", None)
        overflowed = getattr(optimizer, "found_inf", None)
        overflowed = zero + drop if overflowed is None else overflowed.reshape(()).float() + drop
        norms = norms if scale is None else norms / scale
        total = global_norm(xp, norms)
        own = zero + 1
        if self._clip is not None:
            seen = torch.where(
                overflowed > 0, zero + math.nan, norms
            )  # never into the clip's memory
            own, self._state = self._clip.factors(xp, seen, self._state)
        held = zero
        if self._guard is not None:
            passed = guards.passes(xp, norms, total, own * factor, self.reach, zero + ceiling)
            held = torch.where(passed | (overflowed > 0), zero, zero + 1)
        if self._guard is not None and self._guard.action is not Action.SKIP:
            held = self._halted = torch.maximum(self._halted, held)
        self._held = self._held + held
        self._flag.copy_(self._held, non_blocking=True)
        own = torch.where(torch.isfinite(own), own, zero + 1)
        optimizer.found_inf = torch.maximum(overflowed, held)
        if self._clip is not None:
            optimizer.grad_scale = (1 if scale is None else scale) / own
        elif not preset:
            optimizer.grad_scale = None
        loss = (
            torch.stack([v.detach().float() for v in losses]).mean() if losses else zero + math.nan
        )
        rest = [total, own * factor, held, overflowed, loss.to(zero.device)]
        rest.append(zero + 1 if scale is None else scale.reshape(()).float())
        self._rows.append(torch.cat([norms.float(), torch.stack([r.float() for r in rest])]))
        self._known.append(known)
        return not preset

    def unread(self) -> Any:
        """The rows that the host has not read, (rows, tensors + 6), where they are."""
        return torch.stack(self._rows)

    def read(self, host: Floats) -> list[Row]:
        """The rows of ``unread`` on the host; they are then read."""
        found = []
        for (step, time, rate), values in zip(self._known, host, strict=True):
            norms, rest = values[: self._tensors], values[self._tensors :]
            found.append(
                Row(
                    step,
                    time,
                    rate,
                    norms,
                    rest[0],
                    rest[1],
                    bool(rest[2]),
                    bool(rest[3]),
                    rest[4],
                    rest[5],
                )
            )
        self._rows.clear()
        self._known.clear()
        self._seen += sum(row.held for row in found)
        return found

    @property
    def waiting(self) -> bool:
        """Whether there are rows to read."""
        return bool(self._rows)

    def resume(self) -> None:
        """The host has dealt with what was held back."""
        self._halted = self._zero.clone()


def fits(optimizer: Any, clip: Clip | None, device: Any) -> bool:
    """Whether clip and guard can be left to the optimizer's own kernel."""
    one = clip is None or (isinstance(clip, NormClip) and clip.name not in ("tensor", "adagc"))
    groups = optimizer.param_groups
    same = all(p.device == device for g in groups for p in g["params"])
    fused = all(g.get("fused") for g in groups)
    return one and same and fused and bool(getattr(optimizer, "_step_supports_amp_scaling", False))
