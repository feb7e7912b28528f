"""The tap where Keras runs on PyTorch: each step is run by the host, so it is decided there, by one read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from keras import ops

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.tap.arithmetic import more
from evengrad.adapters.keras.tap.ring import HostRing
from evengrad.adapters.keras.tap.tap import KerasTap
from evengrad.recording.clip import AGC, NormClip, OnHost, Value, global_norm
from evengrad.recording.guard import Action, passes
from evengrad.values.run import Floats

_XP = OnHost()


class TorchTap(KerasTap):
    """See ``Tap``; kept and ring are used in the same way."""

    def look(self, grads: list[Any], variables: list[Any]) -> tuple[list[Any], Any]:
        """The clipped gradients, and whether this step may reach the weights."""
        with np.errstate(all="ignore"):
            return self._look(grads, variables)

    def _look(self, grads: list[Any], variables: list[Any]) -> tuple[list[Any], Any]:
        ring: HostRing = self.ring
        places, known = self.known(grads, variables)
        read, rest = self._read(places, known, self.settings.observed(ring.begun - 1))
        total = float(global_norm(_XP, read))
        clip = self.settings.clip
        factors: Any = np.ones(())
        if isinstance(clip, NormClip):
            factors, ring.memory = clip.factors(_XP, read, ring.memory)
        own, after = grads, read * factors
        if clip is not None and np.isfinite(read).all():
            own, after = self._apply_clip(grads, variables, factors, after)
        factors = after / np.where(read > 0, read, 1.0)
        rate = float(ops.convert_to_numpy(self.optimizer.learning_rate))
        passed = bool(
            passes(_XP, read, total, factors, ring.reach_values * rate, ring.ceiling_value)
        )
        guard = self.settings.guard
        if guard is not None and guard.action is not Action.SKIP:
            passed = passed and not ring.halted
            ring.halted = not passed
        ring.refused += not passed
        share = float(global_norm(_XP, after)) / total if total > 0 else 1.0
        loss = math.nan if self.loss is None else float(self.loss)
        ring.write(np.concatenate([read, *rest, [total, share, passed, 1.0, loss, rate]]))
        return own, passed

    def _apply_clip(
        self, grads: list[Any], variables: list[Any], factors: Floats, after: Floats
    ) -> tuple[list[Any], Floats]:
        """Clipped gradients, and their norms."""
        if isinstance(self.settings.clip, Value | AGC):
            own = self.clipped(grads, variables, None)
            return own, self._read(*self.known(own, variables), False)[0]
        if (factors < 1).any():
            device = next((g.device for g in grads if g is not None), None)
            tensors = torch.as_tensor(factors, dtype=torch.float32, device=device)
            return self.clipped(grads, variables, tensors), after
        return grads, after

    def _read(self, places: list[int], known: list[Any], observed: bool) -> tuple[Floats, Floats]:
        count = len(self.tensors)
        read, rest = np.zeros(count), np.full((2, count), np.nan)
        if not known:
            return read, rest
        scale = self.optimizer.loss_scale_factor or 1.0
        own = torch.stack([n.float() for n in compat.torch_norms(known)])
        own = torch.cat([own[None], more(known)]) if observed else own[None]
        host = own.cpu().numpy().astype(np.float64)
        for i, norm in enumerate(host[0]):
            if not math.isfinite(norm) or norm == 0.0:
                host[0, i] = float(torch.linalg.vector_norm(known[i], dtype=torch.float64))
        read[places] = host[0] / scale
        if observed:
            rest[:, places] = host[1:]
            rest[0] /= scale
        return read, rest
