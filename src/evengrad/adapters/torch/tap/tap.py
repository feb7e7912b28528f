"""The tap on one optimizer: looks at the gradients before each step, clips, and refuses what is bad.

Works by the optimizer's own step hooks; the model is not changed. (Hooks see what ``clip_grad_norm_`` left,
so ``look`` is called before it.)
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from evengrad.adapters.torch.compat import never_traced, notes, scaled_still, takes_scale
from evengrad.adapters.torch.tap.capture import Capture
from evengrad.adapters.torch.tap.clipping import release
from evengrad.adapters.torch.tap.closures import has_closure, with_closure
from evengrad.adapters.torch.tap.line_search import LineSearch
from evengrad.adapters.torch.tap.loss_calls import LossCalls
from evengrad.adapters.torch.tap.models import dropout_rates, frozen_share, half_share
from evengrad.adapters.torch.tap.on_device import DeviceTap, suits
from evengrad.adapters.torch.tap.on_host import HostTap
from evengrad.adapters.torch.tap.reading import NormPlan
from evengrad.adapters.torch.tap.routes import BackwardSite
from evengrad.adapters.torch.tap.training import Pending, Training
from evengrad.recording import failure
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings
from evengrad.values.run import Subject


class OptimizerTap:
    """Watches one optimizer, until ``remove``. The run begins with its first step.

    Args:
        optimizer: which one.
        roots: the outermost modules of its parameters; may be empty, and the origin of a bad step is then known
            by its gradients only.
        settings: how to watch.
        begin: makes the Watching of a subject.
        script: its name.
        on_device: decide there and read later (``device_kernel.py``); None: where that saves waiting, on an
            accelerator.
    """

    def __init__(
        self,
        optimizer: Any,
        roots: Sequence[Any],
        settings: Settings,
        begin: Callable[[Subject], Watching],
        script: str = "",
        on_device: bool | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.training = Training(optimizer, roots, settings)
        self.watching: Watching | None = None
        self._begin = begin
        self._on_device = on_device
        self._script = script
        self._way: HostTap | DeviceTap | None = None
        self._now: Pending | None = None
        self._failed = False
        self._closing = False  # a closure is making the gradients
        self._first: list[Any] | None = None  # losses of its first call
        self._search = LineSearch(optimizer)
        self._hooks = [
            optimizer.register_step_pre_hook(never_traced(self._before)),
            optimizer.register_step_post_hook(never_traced(self._after)),
        ]
        weakref.finalize(self, self.training.capture.end).atexit = False
        self._calls = LossCalls(deaf=self.training.listener.deaf)
        self._calls.listen()
        if self.training.observed:
            self.training.listener.listen()

    def start(self) -> Watching:
        """A run for the tensors that the optimizer has now."""
        training = self.training
        subject = training.describe(self._script)
        kind = DeviceTap if suits(training, self._on_device) else HostTap
        way: HostTap | DeviceTap = kind(training)
        watching = self._begin(subject)
        training.begin(watching, way.kept + 1)
        self._way, self.watching = way, watching
        for text in notes("run"):
            watching.note(training.step, text)
        watching.seen(
            frozen=frozen_share(training.roots),
            half=half_share(self.optimizer),
            dropout=dropout_rates(training.roots),
        )
        return watching

    def remove(self) -> None:
        """Take every hook off."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._calls.silence()
        self.training.listener.take()
        if self._way is not None and self._watching():
            with self._safely():
                self._way.flush()
                fact = self._search.ended()
                if fact is not None:
                    self.training.watching.fact(fact)
        self.training.remove()

    def rewire(self, roots: Sequence[Any]) -> None:
        """Something was compiled: hooks inside would be compiled with it, so they go to these modules."""
        self._calls.silence()
        self.training.listener.silence()
        self.training.capture.remove()
        self.training.capture = Capture(roots)
        weakref.finalize(self, self.training.capture.end).atexit = False

    def owns(self, parameters: Sequence[Any]) -> bool:
        """Whether any of these is watched here."""
        groups = self.optimizer.param_groups
        own = self.training.index or {id(p): 0 for g in groups for p in g["params"]}
        return any(id(p) in own for p in parameters)

    def holds(self, ids: Container[int]) -> bool:
        """Whether any parameter of the optimizer has one of these ids."""
        groups = self.optimizer.param_groups
        return any(id(p) in ids for group in groups for p in group["params"])

    def note_loss(self, loss: Any, site: BackwardSite | None = None) -> None:
        """A loss whose backward pass begins. site: its line, where there are several optimizers."""
        self.training.losses.append(loss.detach())
        del self.training.losses[:-1024]
        if site is not None:
            self.training.sites.append(site)

    def forget_losses(self) -> list[BackwardSite]:
        """The gradients since the last step were set to zero: what they are of does not count. The lines of
        those losses.
        """
        training = self.training
        if self._closing:
            return []
        training.losses.clear()
        sites, training.sites = training.sites, []
        return sites

    def look(self, factor: Any) -> None:
        """The script is about to clip by that factor (a tensor) itself; what is there now is what counts."""
        if self._alive():
            with self._safely():
                assert self._way is not None
                self._way.before_own_clip(factor)

    def under_scaler(self, scaler: Any, call: Callable[[], Any]) -> Any:
        """A GradScaler's step around ours; without our hook being called, it skipped."""
        if not self._alive() or not isinstance(self._way, HostTap):
            return call()
        way, training = self._way, self.training
        scale, before = float(scaler.get_scale()), training.step
        way.overflowed = False
        with self._safely():
            still = scaled_still(scaler, self.optimizer)
            if training.seen is not None and still is None:
                training.seen, training.user_factor = None, 1.0
            elif training.seen is not None and still and not takes_scale(self.optimizer):
                training.seen = training.seen / scale
        result = call()
        with self._safely():
            skipped = training.step == before or way.overflowed
            training.watching.scaler(before, scale, skipped)
            if training.step == before:
                way.skipped_outside(Pending([]))
                training.ready_for_next(way.kept)
        return result

    # --- the hooks -----------------------------------------------------------------------------

    def _before(self, _optimizer: Any, args: Any, kwargs: Any) -> Any:
        if not self._alive():
            self._leave()
            return None
        closure = has_closure(args, kwargs)
        if not closure:
            self._calls.stop()
        self.training.listener.stop()
        if closure:
            self._closing, self._first = True, None
            return with_closure(self._after_closure, args, kwargs)
        self._decide(folding=True)
        return None

    def _after_closure(self) -> None:
        """The loss of a step is that before it: of the closure's first call."""
        with self._safely():
            losses, step = self.training.losses, self.training.step
            fact = self._search.evaluated(losses, self._first is None, step)
            if fact is not None:
                self.training.watching.fact(fact)
        if self._first is None:
            self._first = list(self.training.losses)
        self.training.losses[:] = self._first
        self._decide(folding=False)

    def _decide(self, folding: bool) -> None:
        """Look, clip, and refuse the step if need be; raises GuardStopError alone."""
        with self._safely():
            if self._now is not None and self._now.folded:
                release(self.optimizer)
            self._calls.tell(self.training.watching, self.optimizer)
            self._look(folding)
        watching = self.training.watching
        if watching.stopped is not None and not watching.off:
            raise watching.stopped

    def _look(self, folding: bool) -> None:
        training = self.training
        parameters = training.with_gradient()
        if list(map(id, parameters)) != training.plan.ids or training.observed:
            if any(id(p) not in training.index for p in parameters):  # add_param_group: another run
                training.watching.end("finished")
                self.start()
            training.plan = NormPlan(parameters, training.index)
        self._now = Pending(parameters, getattr(self.optimizer, "grad_scale", None))
        if isinstance(self._way, DeviceTap) and not folding:
            self._way = HostTap(training)  # a closure: its gradients are made inside step()
        if isinstance(self._way, DeviceTap):
            self._way.look(self._now)
        elif self._way is not None:
            self._way.look(self._now, folding)

    def _after(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        pending, self._now = self._now, None
        self._closing = False
        if pending is None or self._way is None or not self._watching():
            self._calls.silence()
            return
        taken_back = False
        with self._safely():
            if pending.folded:
                release(optimizer)
            pending.give_back()
            before = pending.refused
            self._way.finish(pending)
            self.training.ready_for_next(self._way.kept)
            taken_back = pending.refused and not before
        watching = self.training.watching
        if taken_back and watching.stopped is not None and not watching.off:
            raise watching.stopped
        self._calls.stepped()

    # --- whatever happens ------------------------------------------------------------------------

    def _watching(self) -> bool:
        return self.watching is not None and not self.watching.off

    def _alive(self) -> bool:
        """Whether to look at this step; begins the run at the first one, whatever comes of that."""
        if self.watching is None and not self._failed:
            try:
                self.start()
            except Exception as error:
                self._failed = True
                self._calls.silence()
                self.training.listener.silence()
                self.training.capture.remove()
                failure.tell(error)
        return self._watching()

    @contextmanager
    def _safely(self) -> Iterator[None]:
        """An error of our own puts everything back that we hold, and switches the watch off."""
        try:
            with torch.no_grad(), np.errstate(all="ignore"):
                yield
        except Exception as error:
            if self._now is not None:
                self._now.give_back()
                if self._now.folded:
                    release(self.optimizer)
            self.training.watching.trouble(error)
            self._leave()

    def _leave(self) -> None:
        """Let the other processes of this training go on without us."""
        try:
            self.training.leave()
        except Exception:  # they are gone, too
            self.training.shards = None
