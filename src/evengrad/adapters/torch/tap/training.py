"""One optimizer's training as its tap knows it, and the step that is being looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from evengrad.adapters.torch.sharding.meeting import ApartError, Meeting
from evengrad.adapters.torch.sharding.pieces import held, joins
from evengrad.adapters.torch.sharding.shards import Shards
from evengrad.adapters.torch.statistics.layout import array, local
from evengrad.adapters.torch.statistics.ledger import away
from evengrad.adapters.torch.tap import snapshot
from evengrad.adapters.torch.tap.activations import ActivationListener
from evengrad.adapters.torch.tap.capture import Capture, ForwardCall, arrays_of
from evengrad.adapters.torch.tap.clipping import release
from evengrad.adapters.torch.tap.observing import DeviceObservation, alike
from evengrad.adapters.torch.tap.origin import find
from evengrad.adapters.torch.tap.reading import NormPlan, Observation, together
from evengrad.adapters.torch.tap.routes import BackwardSite
from evengrad.adapters.torch.tap.subject import names_of, subject_of
from evengrad.recording import guard as guards
from evengrad.recording.blackbox import BlackBox
from evengrad.recording.guard import Action
from evengrad.recording.monitor import gradient_rms
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings
from evengrad.values.message import msg
from evengrad.values.run import Detail, EventKind, Floats, Step, Subject


@dataclass
class Pending:
    """One step between the optimizer's two hooks.

    Attributes:
        parameters: those with a gradient.
        scale: a GradScaler's ``grad_scale``, if it set one.
        norms: of the gradients before the clip, (tensors,).
        own_norms: of this process's pieces.
        loss: of all processes together; NaN where there is none.
        own_loss: of this one.
        step: what becomes of it, as the run has it.
        clipped: norm of all gradients after the clip.
        folded: the clip is in the optimizer's own kernel.
        refused: the guard refused it.
        taken: gradients that are kept from the optimizer.
        observation: what is read in full.
        divide: by how much the gradients are too large.
    """

    parameters: list[Any]
    scale: Any = None
    norms: Floats = field(default_factory=lambda: np.zeros(0))
    own_norms: Floats = field(default_factory=lambda: np.zeros(0))
    loss: float = math.nan
    own_loss: float = math.nan
    step: Step | None = None
    clipped: float | None = None
    folded: bool = False
    refused: bool = False
    taken: list[tuple[Any, Any]] = field(default_factory=list)
    observation: Observation | None = None
    divide: float = 1.0

    def give_back(self) -> None:
        """The gradients that were kept from the optimizer."""
        for parameter, gradient in self.taken:
            parameter.grad = gradient


class Training:
    """What both ways of looking at a step share. step: its number. losses, sites, seen, user_factor: of this
    step so far, sites being the lines of the losses, pieces by what their sum is too large, seen the norms
    before the script's own clip, and user_factor what that multiplied by. on_device: all is decided there.
    tensors: of the run; places: of the optimizer's own parameters among them, for in several processes each
    may have others. shards: what these processes add up; None where this one trains alone. staged: it is a
    pipeline's stage, whose losses are those of parts of the batch.
    """

    def __init__(self, optimizer: Any, roots: Sequence[Any], settings: Settings) -> None:
        self.optimizer = optimizer
        self.settings = settings
        self.roots = list(roots)
        self.step = 0
        self.losses: list[Any] = []
        self.sites: list[BackwardSite] = []
        self.pieces = 1
        self.seen: Any = None
        self.user_factor: Any = 1.0
        self.index: dict[int, int] = {}
        self.capture = Capture(self.roots)
        self.listener = ActivationListener(self.roots)
        self.on_device = False
        self.rollbacks = 0
        self.shards: Shards | None = None
        self.meeting: Meeting | None = None
        self.staged = False
        self._snapshot: snapshot.RollbackPoint | None = None

    def describe(self, script: str) -> Subject:
        """The tensors that the optimizer has now."""
        self.names = names_of(self.optimizer, self.roots)
        self.index = {id(p): i for i, p in enumerate(self.names.values())}
        subject = subject_of(self.optimizer, self.roots, self.names, self.settings, script)
        subject = self._meet(subject)
        self.tensors = subject.tensors
        self.plan = NormPlan([], self.index)
        return subject

    def _meet(self, subject: Subject) -> Subject:
        """Where other processes train with this one: they come together at the first step; at once where only
        all of them know what the tensors are.
        """
        self.shards, self.meeting = None, None
        self.places = np.arange(len(self.names))
        self.own_tensors = subject.tensors
        holding = held(self.names, self.roots, subject.tensors)
        if holding is None or joins(self.roots):
            return subject
        self.meeting = Meeting(holding)
        self.staged = any(piece.stage >= 0 for piece in holding.pieces)
        if not holding.early:
            return subject
        self.come_together()
        assert self.shards is not None
        return replace(subject, tensors=self.shards.tensors)

    def come_together(self) -> None:
        """With the other processes, if there are and it has not been done.

        Raises:
            ApartError: one of them is missing, and has what this one has not.
        """
        meeting, self.meeting = self.meeting, None
        if meeting is None:
            return
        try:
            self.shards = Shards(meeting.agree())
        except ApartError as error:
            if meeting.holding.apart:
                raise
            self.watching.note(
                self.step, msg("norms and losses are of this process alone: {error}", error=error)
            )
            return
        self.places = self.shards.own

    def leave(self) -> None:
        """No longer watched: the other processes must not wait for this one."""
        meeting, self.meeting = self.meeting, None
        if meeting is not None:
            meeting.decline()
        if self.shards is not None:
            self.shards.rounds.leave()

    @property
    def sharded(self) -> bool:
        """Whether other processes have tensors or parts of them that this one has not."""
        meeting = self.meeting
        return self.shards is not None or (meeting is not None and meeting.holding.apart)

    def begin(self, watching: Watching, depth: int) -> None:
        """A run. depth: how many steps back buffers are kept."""
        self.watching = watching
        self.buffers = snapshot.Buffers(self.roots, depth)

    def with_gradient(self) -> list[Any]:
        """The optimizer's parameters that have one now."""
        return [p for g in self.optimizer.param_groups for p in g["params"] if p.grad is not None]

    @property
    def rate(self) -> float:
        """The learning rate of now; NaN where there is none."""
        rate = self.optimizer.param_groups[0].get("lr")
        return math.nan if rate is None else float(rate)

    @property
    def observed(self) -> bool:
        """Whether this step is read in full."""
        return self.settings.observed(self.step)

    def ready_for_next(self, kept: int) -> None:
        """The step is over. kept: how many of the last ones can still be looked into."""
        self.buffers.keep()
        self.capture.forget(self.step, kept)
        self.losses.clear()
        self.sites.clear()
        self.seen, self.user_factor = None, 1.0
        self.step += 1
        if self.observed:
            self.listener.listen()

    # --- the weights as they were ----------------------------------------------------------------

    def keep_for_rollback(self) -> None:
        """These weights are good; only where the guard rolls back."""
        if self.settings.guard is not None and self.settings.guard.action is Action.ROLLBACK:
            self._snapshot = snapshot.RollbackPoint(list(self.names.values()), self.optimizer)

    def roll_back(self, action: Action) -> None:
        """To the last good weights, at a lower rate, if that is what the guard does."""
        if action is Action.ROLLBACK and self._snapshot is not None:
            assert self.settings.guard is not None
            self._snapshot.put_back(self.optimizer, self.settings.guard.lower)
            self.rollbacks += 1

    # --- reading ---------------------------------------------------------------------------------

    def observe(self) -> Observation:
        """What must be read before the step: gradients, and the weights that it will change."""
        names = list(self.names.values())
        listed = (self.on_device or away(names[0])) and alike(names)
        kind = DeviceObservation if listed else Observation
        return kind(names, range(len(names)), len(names))

    def reaches(self, weights: Floats) -> Floats:
        """See ``guard.reach``; weights: rms of each tensor."""
        found = np.zeros(len(self.names))
        for group in self.optimizer.param_groups:
            own = [self.index[id(p)] for p in group["params"] if id(p) in self.index]
            rate = float(group["lr"]) if isinstance(self.optimizer, torch.optim.SGD) else None
            found[own] = guards.reach([self.own_tensors[i] for i in own], weights[own], rate)
        return found if self.shards is None else self.shards.reach(found)

    def detail(self, pending: Pending, more: Sequence[Any] = ()) -> tuple[Detail, list[Floats]]:
        """The observed step, and what ``more`` is on the host: all of it by one read."""
        observation = pending.observation
        divide = pending.divide if more else pending.divide * self.user_factor
        assert observation is not None
        own, samples = observation.after(), self.listener.take()
        host = together([*own, *samples, *more])
        if more:  # read late, the norms come with the rest
            pending.norms = host[-1][-1][: len(self.names)]
            divide = float(host[-1][-1][-1])
        rms = gradient_rms(self.tensors, pending.norms)
        rows = observation.rows(host[: len(own)], rms[self.places], divide)
        if self.shards is not None:
            rows = self.shards.rows(rows, rms, observation.sizes)
        names, layers = self.listener.figures(host[len(own) : len(own) + len(samples)])
        return Detail(self.step, rows, layers, names), host[len(own) + len(samples) :]

    def box(
        self, pending: Pending, kind: EventKind, calls: Sequence[ForwardCall] | None = None
    ) -> BlackBox:
        """The black box of a step that was refused. calls: its forward passes, by default of this step."""
        step = pending.step
        assert step is not None
        with self.capture.paused():
            calls = list(self.capture.calls if calls is None else calls)
            norms = pending.norms[self.places]
            origin = find(calls, self.names, self.own_tensors, norms, step.loss)
        batch: dict[str, Any] = {}
        for number, call in enumerate(calls):
            before = "" if number == 0 else f"pass_{number}/"
            batch |= {before + k: np.array(array(local(v))) for k, v in arrays_of(call).items()}
        arrays, facts = snapshot.noise()
        if calls:
            arrays["torch"] = calls[0].noise.numpy()
        return BlackBox(
            step=step.step,
            kind=str(kind),
            batch=batch,
            weights=snapshot.weights(self.roots, self.names),
            optimizer=snapshot.optimizer_state(self.optimizer, self.names),
            noise=arrays,
            gradients=dict(zip(self.names, norms.tolist(), strict=True)),
            origin=origin,
            facts={
                "noise": facts,
                "loss": step.loss,
                "rate": step.rate,
                "framework": "torch",
                "shard": snapshot.shard(self.names),
                "training": [call.training for call in calls],
                "models": [type(root).__name__ for root in self.roots],
            },
        )

    def remove(self) -> None:
        """Take everything off the models and the optimizer."""
        self.capture.remove()
        release(self.optimizer)
