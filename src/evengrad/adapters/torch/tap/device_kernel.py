"""Clip and guard decided on the device, and read later: on an accelerator no step waits for the host.

For fused optimizers, whose kernels take ``grad_scale`` and ``found_inf`` from the device. Once a step is
refused under stop or rollback, so are all after it until the host has seen it: the weights stay as they were.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evengrad.adapters.torch.compat import takes_scale
from evengrad.adapters.torch.statistics.many import kernel_failed, kernel_there
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
        # x[index] would wait for the host.
        return x.index_select(0, index.long().reshape(1)).reshape(())


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step as it was read back.

    Attributes:
        step: 0-based.
        time: seconds since the start of the run.
        rate: the learning rate.
        norms: of the gradients before the clip, (tensors,).
        total: norm of all together.
        coefficient: norm after the clip over before.
        refused: by our guard.
        overflowed: skipped by the script's own loss scaler.
        loss: NaN where not known.
        scale: that scaler's.
    """

    step: int
    time: float
    rate: float
    norms: Floats
    total: float
    coefficient: float
    refused: bool
    overflowed: bool
    loss: float
    scale: float


@dataclass(frozen=True, slots=True)
class DeviceStep:
    """A step to decide on.

    Attributes:
        number: 0-based.
        time: seconds since the start of the run.
        rate: the learning rate.
        norms: as large as a GradScaler left them, (tensors,).
        factor: of the script's own clip.
        losses: of this step so far.
        ceiling: the guard's, on the total.
        drop: the gradients are of weights that have just been put back.
    """

    number: int
    time: float
    rate: float
    norms: Any
    factor: Any
    losses: Sequence[Any]
    ceiling: float
    drop: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What an optimizer's kernel divides by, and whether it skips the step (0 or 1). take_off: after the step
    both must be taken off it; a GradScaler takes off its own.
    """

    grad_scale: Any
    found_inf: Any
    take_off: bool

    def tell(self, optimizer: Any) -> None:
        """Set both."""
        optimizer.grad_scale, optimizer.found_inf = self.grad_scale, self.found_inf


class DeviceKernel:
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
        self._refused = self._zero.clone()
        self._flag = torch.zeros((), pin_memory=device.type == "cuda")
        self._flag_on_host: Any = self._flag.numpy()
        self._seen = 0.0
        self._rows: list[Any] = []
        self._ring: Any = None
        self._at_once = _one_launch(self._clip, guard, tensors, self._flag, device)
        self._known: list[tuple[int, float, float]] = []
        self.reach = torch.as_tensor(reach, dtype=torch.float32, device=device)

    @property
    def alarmed(self) -> bool:
        """Whether a step was refused that the host has not read; looks at host memory only."""
        return float(self._flag_on_host[()]) > self._seen

    def decide(self, step: DeviceStep, optimizer: torch.optim.Optimizer) -> Decision:
        """What to tell the optimizer's kernel; the optimizer is only read here."""
        if self._at_once is not None:
            try:
                return self._decide_at_once(step, optimizer)
            except Exception as error:
                if self._known:  # it has worked before
                    raise
                self._at_once = None
                kernel_failed(error)
        return self._decide_by_operators(step, optimizer)

    def _decide_at_once(self, step: DeviceStep, optimizer: torch.optim.Optimizer) -> Decision:
        scale, found = (getattr(optimizer, name, None) for name in ("grad_scale", "found_inf"))
        losses = [v.detach() for v in step.losses]
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum() if losses else None
        place = len(self._known)
        if self._ring is None or place >= len(self._ring):
            more = torch.empty((max(place, 16), self._tensors + 6), device=self._xp.device)
            self._ring = more if self._ring is None else torch.cat([self._ring, more])
        grad_scale, found_inf = self._at_once.decide(
            step.norms,
            self.reach,
            *(self._here(v) for v in (step.factor, scale, found, loss)),
            self._ring,
            place,
            step.ceiling,
            step.drop,
        )
        self._known.append((step.number, step.time, step.rate))
        return Decision(
            grad_scale=scale if self._clip is None else grad_scale,
            found_inf=found_inf,
            take_off=not hasattr(optimizer, "grad_scale"),
        )

    def _here(self, value: Any) -> Any:
        """A tensor on this device; None for a number, which is 1, or none."""
        if not isinstance(value, torch.Tensor):
            return None
        device = self._xp.device
        return value if value.device == device else value.to(device, non_blocking=True)

    def _decide_by_operators(self, step: DeviceStep, optimizer: torch.optim.Optimizer) -> Decision:
        xp, zero = self._xp, self._zero
        preset = hasattr(optimizer, "grad_scale")
        scale = getattr(optimizer, "grad_scale", None)
        found = getattr(optimizer, "found_inf", None)
        overflowed = step.drop + (zero if found is None else found.reshape(()).float())
        norms = step.norms if scale is None else step.norms / scale
        total = global_norm(xp, norms)
        own = zero + 1
        if self._clip is not None:  # what overflowed never goes into the clip's memory
            seen = torch.where(overflowed > 0, zero + math.nan, norms)
            own, self._state = self._clip.factors(xp, seen, self._state)
        factor = own * step.factor
        refused = zero
        if self._guard is not None:
            passed = guards.passes(xp, norms, total, factor, self.reach, zero + step.ceiling)
            refused = torch.where(passed | (overflowed > 0), zero, zero + 1)
            if self._guard.action is not Action.SKIP:
                refused = self._halted = torch.maximum(self._halted, refused)
        self._refused = self._refused + refused
        self._flag.copy_(self._refused, non_blocking=True)
        self._keep(step, norms, [total, factor, refused, overflowed], scale)
        own = torch.where(torch.isfinite(own), own, zero + 1)
        return Decision(
            grad_scale=scale if self._clip is None else (1 if scale is None else scale) / own,
            found_inf=torch.maximum(overflowed, refused),
            take_off=not preset,
        )

    def _keep(self, step: DeviceStep, norms: Any, figures: list[Any], scale: Any) -> None:
        """A row for the host to read; its columns are those of ``read``."""
        zero = self._zero
        losses = [v.detach().float() for v in step.losses]
        loss = torch.stack(losses).sum() if losses else zero + math.nan
        rest = [*figures, loss.to(zero.device)]
        rest.append(zero + 1 if scale is None else scale.reshape(()).float())
        self._rows.append(torch.cat([norms.float(), torch.stack([r.float() for r in rest])]))
        self._known.append((step.number, step.time, step.rate))

    def unread(self) -> Any:
        """The rows that the host has not read, (rows, tensors + 6), where they are."""
        if self._at_once is not None:
            return self._ring[: len(self._known)]
        return torch.stack(self._rows)

    def read(self, host: Floats) -> list[StepRow]:
        """The rows of ``unread`` on the host; they are then read."""
        found = []
        for (step, time, rate), values in zip(self._known, host, strict=True):
            norms, rest = values[: self._tensors], values[self._tensors :]
            total, coefficient, refused, overflowed, loss, scale = rest
            found.append(
                StepRow(
                    step=step,
                    time=time,
                    rate=rate,
                    norms=norms,
                    total=total,
                    coefficient=coefficient,
                    refused=bool(refused),
                    overflowed=bool(overflowed),
                    loss=loss,
                    scale=scale,
                )
            )
        self._rows.clear()
        self._known.clear()
        self._seen += sum(row.refused for row in found)
        return found

    @property
    def waiting(self) -> bool:
        """Whether there are rows to read."""
        return bool(self._known)

    def resume(self) -> None:
        """The host has dealt with what was refused."""
        self._halted = self._zero.clone()
        if self._at_once is not None:
            self._at_once.memory[0].zero_()


def _one_launch(clip: Any, guard: Guard | None, tensors: int, flag: Any, device: Any) -> Any:
    """A DecisionKernel, where Triton is at hand and knows the clip."""
    if not kernel_there(device):
        return None
    try:
        found = importlib.import_module("evengrad.adapters.torch.tap.one_launch")
        return found.DecisionKernel(clip, guard, tensors, flag) if found.suits(clip) else None
    except Exception as error:
        kernel_failed(error)
        return None


def fits(optimizer: Any, clip: Clip | None, device: Any) -> bool:
    """Whether clip and guard can be left to the optimizer's own kernel."""
    one = clip is None or (isinstance(clip, NormClip) and clip.name not in ("tensor", "adagc"))
    groups = optimizer.param_groups
    same = all(p.device == device for g in groups for p in g["params"])
    fused = all(g.get("fused") for g in groups)
    return one and same and fused and takes_scale(optimizer)
