"""Clip and guard decided on the device (device_kernel.py); the host reads them at the next observed step."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from evengrad.adapters.torch.tap.device_kernel import DeviceKernel, DeviceStep, StepRow, fits
from evengrad.adapters.torch.tap.observing import alike, list_norms
from evengrad.adapters.torch.tap.reading import as_host, norms
from evengrad.adapters.torch.tap.training import Pending, Training
from evengrad.adapters.torch.tap.undo import fragile
from evengrad.recording import guard as guards
from evengrad.recording.guard import Action
from evengrad.recording.session import RefusedStep
from evengrad.values.run import Step


class DeviceTap:
    """Looks at each step of a training whose optimizer ``suits``."""

    kept = 3
    """Steps that can still be looked into when they are read."""

    def __init__(self, training: Training) -> None:
        self.training = training
        training.on_device = True
        parameters = list(training.names.values())
        with torch.no_grad():
            observation = training.observe()
            reach = training.reaches(observation.weight_rms(as_host(observation.weights)))
        self._ids: list[int] = []
        self._listed = False
        self._dtype: Any = None
        self._places: Any = None
        settings, device = training.settings, parameters[0].device
        self._kernel = DeviceKernel(settings.clip, settings.guard, len(parameters), device, reach)

    def before_own_clip(self, factor: Any) -> None:
        """The script is about to multiply the gradients by that factor, a tensor."""
        training = self.training
        if training.seen is None:
            training.seen = self._packed(training.with_gradient())
        training.user_factor = training.user_factor * factor

    def look(self, pending: Pending) -> None:
        """Tell the optimizer's kernel what to do with this step."""
        training, kernel = self.training, self._kernel
        before = training.rollbacks
        if kernel.alarmed:
            self.flush()
            if training.watching.stopped is not None:
                return
        if training.observed:
            pending.observation = training.observe()
        seen = self._packed(pending.parameters) if training.seen is None else training.seen
        decision = kernel.decide(
            DeviceStep(
                number=training.step,
                time=training.watching.now,
                rate=training.rate,
                norms=seen,
                factor=training.user_factor,
                losses=_shares(training.losses, training.pieces),
                ceiling=training.watching.ceiling,
                drop=training.rollbacks != before,
            ),
            training.optimizer,
        )
        decision.tell(training.optimizer)
        pending.folded = decision.take_off

    def finish(self, pending: Pending) -> None:
        """After the step: an observed one is read with all before it."""
        if pending.observation is None:
            return
        training, kernel = self.training, self._kernel
        detail, (unread,) = training.detail(pending, [kernel.unread()])
        rows = kernel.read(unread)
        self._deliver(rows)
        if rows[-1].refused or rows[-1].overflowed:
            return
        training.watching.detail(detail)
        reach = training.reaches(detail.tensors[:, 3])
        kernel.reach = torch.as_tensor(reach, dtype=torch.float32, device=kernel.reach.device)
        training.keep_for_rollback()

    def flush(self) -> None:
        """Read what waits."""
        if self._kernel.waiting:
            self._deliver(self._kernel.read(as_host(self._kernel.unread())))

    def _deliver(self, rows: list[StepRow]) -> None:
        """Steps that were read back, in order; the first one refused under stop or rollback ends it."""
        watching = self.training.watching
        for row in rows:
            step = _step(row)
            if row.scale != 1.0:
                watching.scaler(row.step, row.scale, row.overflowed)
            if not row.refused:
                watching.step(step, row.norms)
            elif self._refused(row, step) is not Action.SKIP:
                return

    def _refused(self, row: StepRow, step: Step) -> Action:
        training = self.training
        reach, limit = as_host(self._kernel.reach), training.watching.ceiling
        kind = guards.reason(row.norms, np.asarray(row.coefficient), reach, row.total, limit)
        bad = int(
            np.count_nonzero(~np.isfinite(row.norms))
        )  # tensors: their elements are gone by now
        pending = Pending([], norms=row.norms, step=replace(step, non_finite=bad))
        calls = training.capture.past.get(row.step, training.capture.calls)
        assert pending.step is not None
        action = training.watching.refuse(
            RefusedStep(
                pending.step, row.norms, kind, lambda why: training.box(pending, why, calls)
            )
        )
        training.buffers.put_back(training.step - row.step)
        training.roll_back(action)
        if action is Action.ROLLBACK:
            self._kernel.resume()
        return action

    def _packed(self, parameters: list[Any]) -> Any:
        """Norms of all tensors where they are, 0 where there is no gradient."""
        training = self.training
        if not parameters:
            return torch.zeros(len(training.names), device=self._kernel.reach.device)
        ids = list(map(id, parameters))
        if ids != self._ids or training.observed:
            self._arrange(parameters, ids)
        gradients = [p.grad for p in parameters]
        found = list_norms(gradients, self._dtype) if self._listed else norms(gradients).float()
        if self._places is None:
            return found
        whole = torch.zeros(len(training.names), device=found.device)
        return whole.index_copy(0, self._places, found)

    def _arrange(self, parameters: list[Any], ids: list[int]) -> None:
        """How these gradients are read, and their places among all tensors where some have none."""
        training = self.training
        self._ids, self._listed = ids, alike(parameters)
        self._dtype = None if parameters[0].dtype is torch.float32 else torch.float32
        order = [training.index[i] for i in ids]
        whole = order == list(range(len(training.names)))
        device = parameters[0].device
        self._places = None if whole else torch.tensor(order, device=device)


def suits(training: Training, wanted: bool | None) -> bool:
    """Whether to leave it to the device. wanted: None for "where that saves waiting", on an accelerator."""
    if fragile(training.optimizer) or training.sharded:
        return False  # its updates are looked at one by one; its norms come from several processes
    device = next(iter(training.names.values())).device
    chosen = device.type != "cpu" if wanted is None else wanted
    return chosen and fits(training.optimizer, training.settings.clip, device)


def _shares(losses: list[Any], pieces: int) -> list[Any]:
    return losses if pieces == 1 else [v / pieces for v in losses]


def _step(row: StepRow) -> Step:
    return Step(
        step=row.step,
        time=row.time,
        loss=row.loss,
        rate=row.rate,
        norm=row.total,
        clipped=row.total * row.coefficient,
        coefficient=row.coefficient if math.isfinite(row.total) else 1.0,
        applied=not (row.refused or row.overflowed),
    )
