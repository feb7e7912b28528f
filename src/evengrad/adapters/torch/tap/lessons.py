"""What each optimizer of a script is to learn: heard from its losses and first layers, in its first steps."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_pre_hook

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.torch.compat import anything_compiled, note_compiling
from evengrad.adapters.torch.record.loss_terms import LOSSES, LossTerms
from evengrad.adapters.torch.tap.class_weights import ClassWeights
from evengrad.adapters.torch.tap.evaluation import LossOfOutput, evaluated, loss_of_output
from evengrad.adapters.torch.tap.mixing import mixed
from evengrad.adapters.torch.tap.padded import padded
from evengrad.adapters.torch.tap.tap import OptimizerTap
from evengrad.recording.lesson import Lesson

log = logging.getLogger("evengrad")
_TOLD = (16, 64)
"""Passes after which the run file is told, for whoever reads it while the training goes on."""


@dataclass(slots=True)
class _BackwardPass:
    """One backward pass. targets: (kind, values, place) of each loss function in it."""

    loss: float
    own: tuple[float, ...]
    targets: list[tuple[str, Any, int]] = field(default_factory=list)


class Lessons:
    """Of all optimizers of a script, from now until the patches are undone; changes no value.

    A loss belongs to the optimizer that steps next; where several step on one backward pass, to each of them.
    """

    def __init__(self, patches: Patches) -> None:
        self._lessons: WeakKeyDictionary[OptimizerTap, Lesson] = WeakKeyDictionary()
        self._terms = LossTerms(self)
        self._outputs: WeakKeyDictionary[OptimizerTap, LossOfOutput] = WeakKeyDictionary()
        self._weights = ClassWeights()
        self._targets: list[tuple[str, Any, int]] = []
        self._waiting: list[_BackwardPass] = []
        self._last: list[_BackwardPass] = []
        self._before: OptimizerTap | None = None
        self._turning: WeakSet[OptimizerTap] = WeakSet()
        self._hook: Any = None
        for name in LOSSES:
            patches.wrap(F, name, self._hearing)
        patches.wrap(torch.amp.GradScaler, "scale", self._terms.scaling)
        patches.wrap(torch.autograd, "backward", self._backward)
        note_compiling(patches, self._stop_looking)  # what is compiled must not have a hook inside
        patches.on_undo(self._stop_looking)

    # --- optimizers --------------------------------------------------------------------------------

    def open(self, tap: OptimizerTap) -> None:
        """An optimizer is there."""
        self._lessons[tap] = Lesson()
        self._terms.on = True
        if self._hook is None and not anything_compiled():
            self._hook = register_module_forward_pre_hook(self._given)

    def stepped(self, tap: OptimizerTap | None) -> None:
        """It made a step, on the backward passes since the last step of any."""
        new, self._waiting = self._waiting, []
        self._last = new or self._last
        lesson = None if tap is None else self._lessons.get(tap)
        if tap is None or lesson is None or tap.watching is None:
            return
        if new:
            self._turn(tap, lesson)
        if lesson.full:
            return
        _take(lesson, self._last, tap.training.pieces)
        if lesson.full or lesson.passes in _TOLD:
            tap.watching.seen(**lesson.values())
        if lesson.full:
            self._terms.on = any(not other.full for other in self._lessons.values())

    def _turn(self, tap: OptimizerTap, lesson: Lesson) -> None:
        """One that has losses of its own steps: does another one do so in between?"""
        before, self._before = self._before, tap
        if before is not None and before is not tap and lesson.passes:
            for one in (tap, before):
                self._turning.add(one)
                if one.watching is not None:
                    one.watching.seen(interleaved=True)

    def close(self) -> None:
        """The script is over: the runs are told what was seen, of a first step that was not made, too."""
        if len(self._lessons) == 1:
            _take(next(iter(self._lessons.values())), self._waiting)
        for tap, lesson in self._lessons.items():
            if tap.watching is None or tap.watching.stopped is not None:
                continue
            values = lesson.values()
            tap.watching.seen(**values)
            for wrong in self._weights.reversed() if len(self._lessons) == 1 else ():
                tap.watching.fact(wrong)
            apart = tap.training.capture.inputs.apart(tap.training.step)
            if apart is not None:
                tap.watching.fact(apart)
            loss, bound = self._outputs.get(tap), values.get("baseline")
            if loss is not None and bound and tap not in self._turning:
                training = tap.training
                with training.capture.paused():
                    facts = [
                        evaluated(training.capture, loss, training.step),
                        mixed(training.capture, loss),
                        padded(training.capture, loss),
                    ]
                for fact in facts:
                    if fact is not None:
                        tap.watching.fact(replace(fact, values={**fact.values, "baseline": bound}))

    # --- losses, as a session of ``LossTerms`` -------------------------------------------------------

    def targets(self, loss: str, values: Any, place: int = 0) -> None:
        """Of the backward pass that is being told."""
        self._targets.append((loss, values, place))

    def backpropagated(self, loss: float, own: tuple[float, ...]) -> None:
        """It is told."""
        targets, self._targets = self._targets, []
        self._waiting.append(_BackwardPass(loss, own, targets))

    def _hearing(self, original: Any) -> Callable[..., Any]:
        def loss(*args: Any, **kwargs: Any) -> Any:
            value = original(*args, **kwargs)
            if self._terms.on and _plain(value):
                with torch.no_grad():
                    self._safely(self._made, original, args, kwargs, value)
            if self._outputs and torch.is_grad_enabled() and not torch.compiler.is_compiling():
                self._keep(original, args, kwargs)
            return value

        return loss

    def _made(self, original: Any, args: Any, kwargs: Any, value: Any) -> None:
        given = _bound(original, args, kwargs)
        if not isinstance(given.get("target"), torch.Tensor):
            return
        self._terms.made(original, given, value)
        self._weights.heard(original.__name__, given)
        labels = _labels(original, given["target"])
        if labels is not None:
            for lesson in self._lessons.values():
                lesson.classes(labels)
        for tap in list(self._lessons):
            calls = tap.training.capture.calls
            if tap not in self._outputs and calls:
                found = loss_of_output(original, given, calls[-1])
                if found is not None:
                    self._outputs[tap] = found

    def _keep(self, original: Any, args: Any, kwargs: Any) -> None:
        """The targets of the last batch, for what is seen of it when the script is over."""
        for found in self._outputs.values():
            if found.original is original:
                given = _bound(original, args, kwargs)
                given.pop("input", None)
                found.given = given

    def _backward(self, original: Any) -> Callable[..., Any]:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            if self._terms.on and not _busy():
                self._safely(self._terms.tell, tensors)
            return original(tensors, *args, **kwargs)

        return backward

    def _safely(self, function: Callable[..., None], *args: Any) -> None:
        """The baseline is then not known; the training goes on."""
        try:
            function(*args)
        except Exception as error:
            log.info("the constant baseline is not known: %s", error)
            self._terms.on = False

    # --- inputs ------------------------------------------------------------------------------------

    def _given(self, module: Any, args: Any) -> None:
        """A module is called: the first one that has trained weights of its own, beside embeddings, counts."""
        if not torch.is_grad_enabled() or isinstance(module, nn.Embedding | nn.EmbeddingBag):
            return
        own = [p for p in module.parameters(recurse=False) if p.ndim >= 2]
        if not own or not args or not isinstance(args[0], torch.Tensor) or _busy():
            return
        for tap, lesson in list(self._lessons.items()):
            if not lesson.inputs and tap.owns(own):
                self._look(lesson, module, args[0].detach())
        if all(lesson.inputs for lesson in self._lessons.values()):
            self._stop_looking()

    def _look(self, lesson: Lesson, module: Any, values: Any) -> None:
        if not values.is_floating_point() or not values.numel():
            lesson.given(type(module).__name__, float("nan"), float("nan"))
            return
        size = values.float()
        rms, largest = size.square().mean().sqrt(), size.abs().max()
        lesson.given(type(module).__name__, float(rms), float(largest))

    def _stop_looking(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None


def _labels(original: Any, target: Any) -> Any:
    """One label of each sample; None where there are none, or several."""
    if target.ndim != 1 or LOSSES.get(original.__name__) != "crossentropy":
        return None
    return None if target.is_floating_point() else target.detach().cpu().numpy()


def _take(lesson: Lesson, passes: list[_BackwardPass], pieces: int = 1) -> None:
    """pieces: of one loss, whose mean the run shows."""
    if passes:
        lesson.stepped(len(passes) / pieces)
    for one in passes:
        for kind, values, place in one.targets:
            lesson.targets(kind, values, place)
        lesson.backpropagated(one.loss, one.own)


def _busy() -> bool:
    """Whether torch is tracing or capturing, so that nothing may be read."""
    if torch.compiler.is_compiling():
        return True
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _plain(value: Any) -> bool:
    """Whether it can be looked at: a tensor of this process, that is trained on, not traced or captured."""
    if torch.compiler.is_compiling() or type(value) is not torch.Tensor:
        return False
    return value.requires_grad and not _busy()


def _bound(function: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    return dict(_signature(function).bind(*args, **kwargs).arguments)


@cache
def _signature(function: Any) -> inspect.Signature:
    return inspect.signature(function)
