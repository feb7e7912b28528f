"""What happens in a run, found from its rows as they come: spikes, divergence, dying units and the like."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from evengrad.values.message import msg
from evengrad.values.run import Detail, Event, EventKind, Floats, Step, Tensor

_WINDOW = 128
_ENOUGH = 20
_ALWAYS = 0.95


class Monitor:
    """Fed with every step and every observed step; gives the events that each one brings.

    Each event is given once, where it begins. Thresholds are relative to the run itself.
    """

    def __init__(self, tensors: Sequence[Tensor], clipping: bool) -> None:
        self._matrices = [i for i, tensor in enumerate(tensors) if tensor.fan_in]
        self._tensors = tensors
        self._clipping = clipping
        self.norms: deque[float] = deque(maxlen=_WINDOW)
        self._losses: deque[float] = deque(maxlen=_ENOUGH)
        self._first_loss: float | None = None
        self._bound: deque[bool] = deque(maxlen=200)
        self._spiking = False
        self._median, self._since = 0.0, 0  # of the last norms, and steps since it was worked out
        self._drift: float | None = None
        self._dead: dict[str, float] = {}
        self._told: set[str] = set()

    def step(self, step: Step) -> Iterator[Event]:
        """Events of a step that reached the weights."""
        yield from self._spike(step)
        yield from self._divergence(step)
        yield from self._clip(step)

    def detail(self, detail: Detail) -> Iterator[Event]:
        """Events of an observed step."""
        yield from self._vanishing(detail)
        yield from self._dying(detail)

    def _spike(self, step: Step) -> Iterator[Event]:
        """A norm 8 robust standard deviations (of its logarithm), and threefold, above the last 128.

        Gilmer 2021 (2110.04369) and ZClip (2504.02507) take 2.5 deviations, to clip; an event says that the
        training changed, so it is far out. Measured choice.
        """
        if not math.isfinite(step.norm) or step.norm <= 0:
            return
        self._since += 1
        near = step.norm < 2 * self._median and self._since < 16
        if len(self.norms) >= _ENOUGH and not near:
            logs = np.log(np.array(self.norms))
            middle = float(np.median(logs))
            self._median, self._since = math.exp(middle), 0
            spread = max(1.4826 * float(np.median(np.abs(logs - middle))), 0.1)
            out = (math.log(step.norm) - middle) / spread
            spiking = out > 8 and step.norm > 3 * math.exp(middle)
            if spiking and not self._spiking:
                times = step.norm / math.exp(middle)
                yield Event(
                    step.step,
                    EventKind.SPIKE,
                    msg(
                        "the gradient norm is {norm:.3g}, {times:.3g} times the median of the last "
                        "{number} steps",
                        norm=step.norm,
                        times=times,
                        number=len(logs),
                    ),
                    values={"norm": step.norm, "median": math.exp(middle), "deviations": out},
                )
            self._spiking = spiking
        elif near:
            self._spiking = False
        self.norms.append(step.norm)

    def _divergence(self, step: Step) -> Iterator[Event]:
        """The median of the last 20 losses is twice that of the first 20 (of a loss that is positive)."""
        if not math.isfinite(step.loss):
            return
        self._losses.append(step.loss)
        # A median of 20 need not be worked out each step.
        if len(self._losses) < _ENOUGH or step.step % 5:
            return
        now = float(np.median(self._losses))
        if self._first_loss is None:
            self._first_loss = now
        if self._first_loss > 0 and now > 2 * self._first_loss and self._once("divergence"):
            yield Event(
                step.step,
                EventKind.DIVERGENCE,
                msg(
                    "the loss is {now:.3g}, {now2:.3g} times what it was in the first "
                    "{ENOUGH} steps",
                    now=now,
                    now2=now / self._first_loss,
                    ENOUGH=_ENOUGH,
                ),
                values={"loss": now, "first": self._first_loss},
            )

    def _clip(self, step: Step) -> Iterator[Event]:
        if not self._clipping:
            return
        self._bound.append(step.coefficient < 1)
        share = sum(self._bound) / len(self._bound)
        if len(self._bound) == self._bound.maxlen and share >= _ALWAYS and self._once("clip"):
            yield Event(
                step.step,
                EventKind.CLIP,
                msg(
                    "the clip binds on {share:.0%} of the last {number} steps: it is a hidden "
                    "learning rate",
                    share=share,
                    number=len(self._bound),
                ),
                values={"share": share},
            )

    def _vanishing(self, detail: Detail) -> Iterator[Event]:
        """The first matrix' gradient, against the last one's, is below 1e-3 and has lost 1e3 since the start
        (AutoTrainer's figure for vanishing, here also against the run's own beginning).
        """
        if len(self._matrices) < 2:
            return
        gradient = detail.tensors[:, 0]
        first, last = gradient[self._matrices[0]], gradient[self._matrices[-1]]
        if not (first > 0 and last > 0 and math.isfinite(first) and math.isfinite(last)):
            return
        drift = math.log(first / last)
        self._drift = drift if self._drift is None else self._drift
        low = math.log(1e-3)
        if drift < low and drift - self._drift < low and self._once("vanishing"):
            yield Event(
                detail.step,
                EventKind.VANISHING,
                msg(
                    "the gradient of {layer} has fallen to "
                    "{exp:.2g} of that of {layer2}, from "
                    "{exp2:.2g} at the start",
                    layer=self._tensors[self._matrices[0]].layer,
                    exp=math.exp(drift),
                    layer2=self._tensors[self._matrices[-1]].layer,
                    exp2=math.exp(self._drift),
                ),
                self._tensors[self._matrices[0]].layer,
                {"ratio": math.exp(drift), "first": math.exp(self._drift)},
            )

    def _dying(self, detail: Detail) -> Iterator[Event]:
        """More than half of a layer's units are zero throughout, a quarter more than at the start."""
        for name, dead in zip(detail.layer_names, detail.layers[:, 2].tolist(), strict=True):
            if math.isnan(dead):
                continue
            start = self._dead.setdefault(name, dead)
            if dead > 0.5 and dead - start > 0.25 and self._once(f"dying {name}"):
                yield Event(
                    detail.step,
                    EventKind.DYING,
                    msg(
                        "{dead:.0%} of the units of {name} are zero throughout, {start:.0%} at the start",
                        dead=dead,
                        name=name,
                        start=start,
                    ),
                    name,
                    {"dead": dead, "first": start},
                )

    def _once(self, what: str) -> bool:
        new = what not in self._told
        self._told.add(what)
        return new


def gradient_rms(tensors: Sequence[Tensor], norms: Floats) -> Floats:
    """Root mean squares of the gradients from their norms, (tensors,)."""
    sizes = np.array([max(math.prod(tensor.shape), 1) for tensor in tensors], dtype=np.float64)
    return norms / np.sqrt(sizes)
