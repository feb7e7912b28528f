"""``DeviceKernel.decide`` as one launch, in Triton: the same arithmetic, in one program."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from evengrad.recording.clip import Auto, GlobalNorm, NormClip
from evengrad.recording.guard import SQUARES, Action, Guard

_TINY = tl.constexpr(1e-37)
_SQUARES = tl.constexpr(SQUARES)


@triton.jit
def _median(values, count, WINDOW: tl.constexpr):  # type: ignore[no-untyped-def]
    """The lower of the two in the middle of the first ``count`` of a window, which are the smallest."""
    place = tl.arange(0, WINDOW)
    known = tl.minimum(count, WINDOW * 1.0)
    wanted = tl.maximum(tl.floor(0.5 * (known - 1.0)), 0.0)
    mine, other = values[:, None], values[None, :]
    before = (other < mine) | ((other == mine) & (place[None, :] < place[:, None]))
    rank = tl.sum(tl.where(before, 1.0, 0.0), axis=1)
    return tl.sum(tl.where(rank == wanted, values, 0.0), axis=0)


@triton.jit(do_not_specialize=["row"])
def _decide(  # type: ignore[no-untyped-def]  # noqa: PLR0915
    norms,
    reach,
    user_factor,
    scale,
    found_inf,
    loss,
    memory,
    history,
    told,
    flag,
    rows,
    row,
    tensors,
    ceiling,
    drop,
    bound,
    warm_up,
    KIND: tl.constexpr,
    SCALED: tl.constexpr,
    FOUND: tl.constexpr,
    LOSS_KNOWN: tl.constexpr,
    GUARDED: tl.constexpr,
    SKIPS: tl.constexpr,
    WINDOW: tl.constexpr,
    MOST: tl.constexpr,
):
    """memory: halted, refused so far, norms that the clip remembers. told: grad_scale, found_inf."""
    place = tl.arange(0, MOST)
    inside = place < tensors
    by = 1.0
    if SCALED:
        by = tl.load(scale).to(tl.float32)
    own_norms = tl.load(norms + place, mask=inside, other=0.0).to(tl.float32) / by
    overflowed = drop
    if FOUND:
        overflowed = drop + tl.load(found_inf).to(tl.float32)
    finite = tl.abs(own_norms) < float("inf")
    bad = tl.sum(tl.where(finite, 0.0, 1.0), axis=0)
    top = tl.max(tl.where(finite, own_norms, 0.0), axis=0)
    safe = tl.where(top > 0, top, 1.0)
    shares = tl.where(finite, own_norms, 0.0) / safe
    total = safe * tl.sqrt(tl.sum(shares * shares, axis=0))
    total = tl.where(bad > 0, float("nan"), total)
    own = tl.where(bad >= 0, 1.0, 1.0)
    if KIND > 0:
        seen = tl.where(overflowed > 0, float("nan"), total)
        most = bound + seen * 0.0
        count = tl.load(memory + 2)
        if KIND == 2:
            slots = tl.arange(0, WINDOW)
            past = tl.load(history + slots)
            middle = tl.log(_median(past, count, WINDOW) + _TINY)
            away = tl.where(past < float("inf"), tl.abs(tl.log(past + _TINY) - middle), past)
            deviation = tl.maximum(1.4826 * _median(away, count, WINDOW), 0.05)
            most = tl.exp(middle + bound * deviation)
            good = tl.abs(seen) < float("inf")
            turn = count - WINDOW * tl.floor(count / WINDOW)
            new = tl.where(slots.to(tl.float32) == turn, seen, past)
            tl.store(history + slots, tl.where(good, new, past))
            tl.store(memory + 2, tl.where(good, count + 1.0, count))
        own = tl.minimum(most / tl.maximum(seen, _TINY), 1.0)
        own = tl.where(tl.abs(seen) < float("inf"), own, float("nan"))
        if KIND == 2:
            own = tl.where(count < warm_up, seen * 0.0 + 1.0, own)
    factor = own * tl.load(user_factor).to(tl.float32)
    refused = 0.0
    if GUARDED:
        clipped = own_norms * factor
        reached = clipped * tl.load(reach + place, mask=inside, other=0.0)
        passes = finite & (clipped <= _SQUARES) & (reached <= 1.0)
        against = tl.sum(tl.where(passes | (place >= tensors), 0.0, 1.0), axis=0)
        good = ((against == 0) & (total <= ceiling)) | (overflowed > 0)
        refused = tl.where(good, 0.0, 1.0)
        if not SKIPS:
            refused = tl.maximum(tl.load(memory), refused)
            tl.store(memory, refused)
        so_far = tl.load(memory + 1) + refused
        tl.store(memory + 1, so_far)
        tl.store(flag, so_far)
    tl.store(told, by / tl.where(tl.abs(own) < float("inf"), own, 1.0))
    tl.store(told + 1, tl.maximum(overflowed, refused))
    line = rows + row * (tensors + 6)
    tl.store(line + place, own_norms, mask=inside)
    last = line + tensors
    tl.store(last, total)
    tl.store(last + 1, factor)
    tl.store(last + 2, refused)
    tl.store(last + 3, overflowed)
    value = float("nan")
    if LOSS_KNOWN:
        value = tl.load(loss).to(tl.float32)
    tl.store(last + 4, value)
    tl.store(last + 5, by)


class DecisionKernel:
    """One optimizer's decisions. memory: halted, refused so far, norms that the clip remembers."""

    def __init__(self, clip: NormClip | None, guard: Guard | None, tensors: int, flag: Any) -> None:
        self._tensors = tensors
        self._guard = guard
        self._flag = flag
        self._kind, self._bound, self._window, self._warm_up = 0, 1.0, 16, 0.0
        if isinstance(clip, GlobalNorm):
            self._kind, self._bound = 1, clip.bound
        elif isinstance(clip, Auto):
            self._kind, self._bound = 2, clip.spread
            self._window, self._warm_up = clip.window, float(clip.warm_up)
        self._made = False

    def _make(self, device: Any) -> None:
        self.memory = torch.zeros(3, device=device)
        self._history = torch.full((self._window,), torch.inf, device=device)
        self._one = torch.ones((), device=device)
        self._told = torch.zeros(2, device=device)
        self._parts = self._told.unbind()
        self._most = max(1 << max(self._tensors - 1, 0).bit_length(), 16)
        self._made = True

    def decide(
        self,
        norms: Any,
        reach: Any,
        factor: Any,
        scale: Any,
        found: Any,
        loss: Any,
        rows: Any,
        row: int,
        ceiling: float,
        drop: bool,
    ) -> tuple[Any, Any]:
        """grad_scale and found_inf, which the next call overwrites; the row is written into ``rows``. factor,
        scale, found, loss: tensors of that device, or None for none.
        """
        if not self._made:
            self._make(norms.device)
        one = self._one
        _decide[(1,)](
            norms,
            reach,
            one if factor is None else factor,
            one if scale is None else scale,
            one if found is None else found,
            one if loss is None else loss,
            self.memory,
            self._history,
            self._told,
            self._flag,
            rows,
            row,
            self._tensors,
            float(ceiling),
            float(drop),
            float(self._bound),
            self._warm_up,
            KIND=self._kind,
            SCALED=scale is not None,
            FOUND=found is not None,
            LOSS_KNOWN=loss is not None,
            GUARDED=self._guard is not None,
            SKIPS=self._guard is not None and self._guard.action is Action.SKIP,
            WINDOW=self._window,
            MOST=self._most,
        )
        return self._parts


def suits(clip: Any) -> bool:
    """Whether this kernel knows the clip; it needs a window that is a power of two."""
    if isinstance(clip, Auto):
        return clip.window & (clip.window - 1) == 0
    return clip is None or isinstance(clip, GlobalNorm)
