"""The tap on one optimizer: looks at the gradients before each step, clips, and holds back what is bad.

Works by the optimizer's own step hooks; the model is not changed. (Hooks see what ``clip_grad_norm_`` left,
PEERS trap 8: ``noting_clips`` looks before it.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from evengrad import guard as guards
from evengrad.adapters.torch import snapshot
from evengrad.adapters.torch.activations import Listener
from evengrad.adapters.torch.capture import Call, Capture, arrays_of
from evengrad.adapters.torch.clipping import (
    Clipper,
    UpdateClipper,
    multiply,
    release,
    total_norm,
)
from evengrad.adapters.torch.late import Late, Row, fits
from evengrad.adapters.torch.naming import parameter_names
from evengrad.adapters.torch.origin import find
from evengrad.adapters.torch.reading import (
    Observation,
    Plan,
    as_host,
    exact,
    non_finite,
    norms,
    together,
)
from evengrad.adapters.torch.tensors import array
from evengrad.blackbox import BlackBox
from evengrad.clip import OnHost, UpdateClip
from evengrad.guard import Action
from evengrad.monitor import gradient_rms
from evengrad.run import Detail, Floats, Kind, Step, Subject, Tensor
from evengrad.watching import Held, Settings, Watching, log

_HOST = OnHost()
_PAST = 3  # steps that can still be looked into when they are read late


class Tap:
    """Watches one optimizer, until ``remove``. The run begins with its first step.

    roots: the outermost modules of its parameters; may be empty, and the origin of a bad step is then known by
    its gradients only. begin: makes the Watching of a subject. late: decide on the device and read later
    (``late.py``); None: where that saves waiting, on an accelerator.
    """

    def __init__(
        self,
        optimizer: Any,
        roots: Sequence[Any],
        settings: Settings,
        begin: Callable[[Subject], Watching],
        script: str = "",
        late: bool | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.settings = settings
        self.losses: list[Any] = []
        self.roots = list(roots)
        self.step = 0
        self._begin = begin
        self._wants_late = late
        self._script = script
        self._watching: Watching | None = None
        self._capture = Capture(self.roots)
        self._listener = Listener(self.roots)
        self._index: dict[int, int] = {}
        self._snapshot: snapshot.Snapshot | None = None
        self._snapshot_used = 0
        self._seen: Any = None  # norms, looked at before the script's own clip
        self._user_factor: Any = 1.0
        self._now: _Pending | None = None
        self._overflowed = False
        self._failed = False
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]
        if settings.observed(0):
            self._listener.listen()

    @property
    def watching(self) -> Watching:
        """The run; begun here if it has not been."""
        if self._watching is None:
            self.start()
        assert self._watching is not None
        return self._watching

    def start(self) -> None:
        """A run for the tensors that the optimizer has now."""
        self._names = _names(self.optimizer, self.roots)
        self._index = {id(p): i for i, p in enumerate(self._names.values())}
        subject = _subject(self.optimizer, self.roots, self._names, self.settings, self._script)
        self.tensors = subject.tensors
        self.clipper = Clipper(self.settings.clip, self.tensors, self.optimizer)
        clip = self.settings.clip
        self._update_clip = UpdateClipper(clip) if isinstance(clip, UpdateClip) else None
        self._reach: Floats = np.zeros(len(self._names))
        self._reaching = False
        self._late = self._on_device()
        self._buffers = snapshot.Buffers(self.roots, 1 if self._late is None else _PAST + 1)
        self._plan = Plan([], self._index)
        self._watching = self._begin(subject)

    def _on_device(self) -> Late | None:
        parameters = list(self._names.values())
        device = parameters[0].device
        wanted = device.type != "cpu" if self._wants_late is None else self._wants_late
        if not wanted or not fits(self.optimizer, self.settings.clip, device):
            return None
        with torch.no_grad():
            observation = Observation(parameters, range(len(parameters)), len(parameters))
            reach = self._reaches(observation.weight_rms(as_host(observation.weights)))
        guard = self.settings.guard
        return Late(self.settings.clip, guard, len(parameters), device, reach)

    def remove(self) -> None:
        """Take every hook off."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._listener.take()
        if self._watching is not None and not self._watching.off:
            with self._safely():
                self._read_late()
        self._capture.remove()
        release(self.optimizer)

    def rewire(self, roots: Sequence[Any]) -> None:
        """Something was compiled: hooks inside would be compiled with it, so they go to these modules."""
        self._listener.silence()
        self._capture.remove()
        self._capture = Capture(roots)

    def owns(self, parameters: Sequence[Any]) -> bool:
        """Whether any of these is watched here."""
        own = self._index or {id(p): 0 for g in self.optimizer.param_groups for p in g["params"]}
        return any(id(p) in own for p in parameters)

    def look(self, factor: Any) -> None:
        """The script is about to clip by that factor (a tensor) itself; what is there now is what counts."""
        if not self._alive():
            return
        with self._safely():
            if self._seen is None:
                parameters = self._with_gradient()
                late = self._late is not None
                self._seen = self._packed(parameters) if late else self._norms(parameters)
            self._user_factor = self._user_factor * (
                factor if self._late is not None else float(factor)
            )

    def under_scaler(self, scaler: Any, call: Callable[[], Any]) -> Any:
        """A GradScaler's step around ours; without our hook being called, it skipped."""
        if not self._alive() or self._late is not None:
            return call()
        scale, before = float(scaler.get_scale()), self.step
        self._overflowed = False
        with self._safely():
            states = getattr(scaler, "_per_optimizer_states", {})
            ready = states[id(self.optimizer)]["stage"].name == "READY"
            fused = getattr(self.optimizer, "_step_supports_amp_scaling", False)
            if self._seen is not None and ready and not fused:
                self._seen = self._seen / scale
        result = call()
        with self._safely():
            skipped = self.step == before or self._overflowed
            self.watching.scaler(before, scale, skipped)
            if self.step == before:
                self._skipped_outside()
        return result

    def _skipped_outside(self) -> None:
        row = self._row(_Pending([], None), math.inf, np.ones(()))
        self.watching.step(
            replace(row, clipped=math.nan, applied=False), np.full(len(self._names), np.nan)
        )
        self._ready_for_next()

    # --- the hooks -----------------------------------------------------------------------------

    def _before(self, _optimizer: Any, args: Any, kwargs: Any) -> Any:
        if not self._alive():
            return None
        self._listener.stop()
        closures = [a for a in [*args[1:], *kwargs.values()] if callable(a)]
        if closures:
            return _with_closure(self._decide, args, kwargs)
        self._decide(folding=True)
        return None

    def _alive(self) -> bool:
        """Whether to look at this step; begins the run at the first one, whatever comes of that."""
        if self._watching is None and not self._failed:
            try:
                self.start()
            except Exception as error:
                self._failed = True
                self._listener.silence()
                self._capture.remove()
                log.warning("evengrad cannot watch this training (%s); it goes on without.", error)
        return self._watching is not None and not self._watching.off

    def _decide(self, folding: bool) -> None:
        """Look, clip, and hold the step back if need be; raises GuardStopError alone."""
        with self._safely():
            release_stale = self._now is not None and self._now.folded
            if release_stale:
                release(self.optimizer)
            self._look(folding)
        if self.watching.stopped is not None and not self.watching.off:
            raise self.watching.stopped

    def _look(self, folding: bool) -> None:
        parameters = self._with_gradient()
        if [id(p) for p in parameters] != self._plan.ids or self.settings.observed(self.step):
            if any(id(p) not in self._index for p in parameters):  # add_param_group: another run
                self.watching.end("finished")
                self.start()
            self._plan = Plan(parameters, self._index)
        scale = getattr(self.optimizer, "grad_scale", None)
        found_inf = getattr(self.optimizer, "found_inf", None)
        pending = self._now = _Pending(parameters, scale)
        if self._late is not None:
            if folding:
                self._look_late(pending)
                return
            self._late = None  # a closure: its gradients are made inside step()
        if found_inf is not None and float(found_inf):
            self._overflowed = True  # the script's loss scaler skips this step itself
            row = self._row(pending, math.inf, np.ones(()))
            missing = np.full(len(self._names), np.nan)
            self.watching.step(replace(row, clipped=math.nan, applied=False), missing)
            return
        before = self._seen if self._seen is not None else self._norms(parameters)
        divide = pending.divide = float(scale) if scale is not None else 1.0
        pending.norms = before / divide
        observed = self.settings.observed(self.step)
        if observed:
            self._observe(pending)
        total = total_norm(pending.norms)
        if not math.isfinite(total) or total == 0.0:
            total = self._exactly(pending, divide)
        factors = self.clipper.factors(pending.norms, total)
        passes = self.settings.guard is None or self._passes(pending.norms, total, factors)
        pending.step = self._row(pending, total, factors)
        if not passes:
            self._hold(pending, factors, total)
            return
        if self.settings.guard is None and not math.isfinite(total):
            self._report(pending, factors, total)
        self._clip(pending, factors, scale, folding)

    def _passes(self, norms: Floats, total: float, factors: Floats) -> bool:
        ceiling = self.watching.ceiling
        if not self._reaching:  # each norm is at most the total, and each factor at most 1
            return total <= min(ceiling, guards.SQUARES) or self._passes_in_full(
                norms, total, factors, ceiling
            )
        return self._passes_in_full(norms, total, factors, ceiling)

    def _passes_in_full(self, norms: Floats, total: float, factors: Floats, ceiling: float) -> bool:
        factors = factors * self._user_factor
        return bool(guards.passes(_HOST, norms, total, factors, self._reach, ceiling))

    def _after(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        pending, self._now = self._now, None
        if pending is None or self._watching is None or self._watching.off:
            return
        with self._safely():
            if pending.folded:
                release(optimizer)
            for parameter, gradient in pending.taken:
                parameter.grad = gradient
            if self._late is not None:
                self._finish_late(pending)
            elif pending.step is not None and not pending.held:
                self._finish(pending)
            self._ready_for_next()

    # --- a step that passes --------------------------------------------------------------------

    def _clip(self, pending: _Pending, factors: Floats, scale: Any, folding: bool) -> None:
        parameters = pending.parameters
        if self.settings.clip is None or not parameters:
            return
        indices = [self._index[id(p)] for p in parameters]
        after = self.clipper.elementwise(indices, parameters)
        assert pending.step is not None
        if after is not None:
            pending.clipped = total_norm(after) / (float(scale) if scale is not None else 1.0)
        elif self._update_clip is not None:
            self._update_clip.before(parameters)
        else:
            own = factors if factors.ndim == 0 else factors[indices]
            gradients = [p.grad for p in parameters]
            if folding:
                pending.folded = multiply(self.optimizer, gradients, own, scale)
            elif (own < 1).any():
                torch._foreach_mul_(gradients, own.tolist() if own.ndim else float(own))

    def _finish(self, pending: _Pending) -> None:
        step = pending.step
        assert step is not None
        if self._update_clip is not None:
            factor = self._update_clip.after(self.optimizer)
            step = _clipped(step, step.norm * factor)
        elif pending.clipped is not None:
            step = _clipped(step, pending.clipped)
        if pending.observation is not None:
            self.watching.step(step, pending.norms)
            self.watching.detail(self._detail(pending)[0])
            if self.settings.guard is not None and self.settings.guard.action is Action.ROLLBACK:
                self._snapshot = snapshot.Snapshot(list(self._names.values()), self.optimizer)
        else:
            self.watching.step(step, pending.norms)

    # --- decided on the device -----------------------------------------------------------------

    def _look_late(self, pending: _Pending) -> None:
        late = self._late
        assert late is not None
        was = self._snapshot_used
        if late.alarmed:
            self._read_late()
            if self.watching.stopped is not None:
                return
        drop = self._snapshot_used != was
        if self.settings.observed(self.step):
            self._observe(pending)
        norms = self._packed(pending.parameters) if self._seen is None else self._seen
        rate = self.optimizer.param_groups[0].get("lr")
        known = (self.step, self.watching.now, math.nan if rate is None else float(rate))
        pending.folded = late.decide(
            norms,
            self._user_factor,
            self.losses,
            self.optimizer,
            known,
            self.watching.ceiling,
            drop,
        )

    def _finish_late(self, pending: _Pending) -> None:
        if pending.observation is None or self._late is None:
            return
        detail, (unread,) = self._detail(pending, [self._late.unread()])
        rows = self._late.read(unread)
        self._deliver(rows)
        if rows[-1].held or rows[-1].overflowed:
            return
        self.watching.detail(detail)
        self._late.reach = torch.as_tensor(
            self._reaches(detail.tensors[:, 3]), dtype=torch.float32, device=self._late.reach.device
        )
        if self.settings.guard is not None and self.settings.guard.action is Action.ROLLBACK:
            self._snapshot = snapshot.Snapshot(list(self._names.values()), self.optimizer)

    def _read_late(self) -> None:
        if self._late is not None and self._late.waiting:
            self._deliver(self._late.read(as_host(self._late.unread())))

    def _deliver(self, rows: list[Row]) -> None:
        """Steps that were read back, in order; the first one held back under stop or rollback ends it."""
        for row in rows:
            step = Step(
                step=row.step,
                time=row.time,
                loss=row.loss,
                rate=row.rate,
                norm=row.total,
                clipped=row.total * row.coefficient,
                coefficient=row.coefficient if math.isfinite(row.total) else 1.0,
                applied=not (row.held or row.overflowed),
            )
            if row.scale != 1.0:
                self.watching.scaler(row.step, row.scale, row.overflowed)
            if not row.held:
                self.watching.step(step, row.norms)
                continue
            action = self._held_late(row, step)
            if action is not Action.SKIP:
                return

    def _held_late(self, row: Row, step: Step) -> Action:
        assert self._late is not None
        reach, limit = as_host(self._late.reach), self.watching.ceiling
        kind = guards.reason(row.norms, np.asarray(row.coefficient), reach, row.total, limit)
        bad = int(
            np.count_nonzero(~np.isfinite(row.norms))
        )  # tensors; their elements are gone by now
        pending = _Pending([], None)
        pending.norms, pending.step = row.norms, replace(step, non_finite=bad)
        calls = self._capture.past.get(row.step, self._capture.calls)
        action = self.watching.held(
            Held(pending.step, row.norms, kind, lambda why: self._box(pending, why, calls))
        )
        self._buffers.put_back(self.step - row.step)
        if action is Action.ROLLBACK and self._snapshot is not None:
            assert self.settings.guard is not None
            self._snapshot.put_back(self.optimizer, self.settings.guard.lower)
            self._snapshot_used += 1
            self._late.resume()
        return action

    def _packed(self, parameters: list[Any]) -> Any:
        """Norms of all tensors where they are, 0 where there is no gradient."""
        found = norms([p.grad for p in parameters]).float()
        if len(parameters) == len(self._names):
            order = [self._index[id(p)] for p in parameters]
            if order == sorted(order):
                return found
        whole = torch.zeros(len(self._names), device=found.device)
        at = torch.tensor([self._index[id(p)] for p in parameters], device=found.device)
        return whole.index_copy(0, at, found)

    def _ready_for_next(self) -> None:
        self._buffers.keep()
        self._capture.forget(self.step, 0 if self._late is None else _PAST)
        self.losses.clear()
        self._seen, self._user_factor = None, 1.0
        self.step += 1
        if self.settings.observed(self.step):
            self._listener.listen()

    # --- a step that is held back --------------------------------------------------------------

    def _hold(self, pending: _Pending, factors: Floats, total: float) -> None:
        """Without their gradients all optimizers leave weights, state and step counters as they are."""
        pending.held = True
        action = self._report(pending, factors, total)
        pending.taken = [(p, p.grad) for p in pending.parameters]
        for parameter in pending.parameters:
            parameter.grad = None
        if action is Action.STOP:
            for parameter, gradient in pending.taken:
                parameter.grad = gradient
        elif action is Action.ROLLBACK and self._snapshot is not None:
            assert self.settings.guard is not None
            self._snapshot.put_back(self.optimizer, self.settings.guard.lower)

    def _report(self, pending: _Pending, factors: Floats, total: float) -> Action:
        step = pending.step
        assert step is not None
        limit = self.watching.ceiling
        kind = guards.reason(pending.norms, factors * self._user_factor, self._reach, total, limit)
        if kind is Kind.NON_FINITE:
            count = sum(non_finite(p.grad) for p in pending.parameters)
            step = replace(step, non_finite=count, applied=self.settings.guard is None)
        else:
            step = replace(step, applied=False)
        pending.step = step
        held = Held(step, pending.norms, kind, lambda why: self._box(pending, why))
        if self.settings.guard is not None:
            self._buffers.put_back()
        return self.watching.held(held)

    def _box(self, pending: _Pending, kind: Kind, given: list[Call] | None = None) -> BlackBox:
        step = pending.step
        assert step is not None
        with self._capture.paused():
            calls = list(self._capture.calls if given is None else given)
            origin = find(calls, self._names, self.tensors, pending.norms, step.loss)
        batch: dict[str, Any] = {}
        for number, call in enumerate(calls):
            before = "" if number == 0 else f"pass_{number}/"
            batch |= {before + k: np.array(array(v)) for k, v in arrays_of(call).items()}
        arrays, facts = snapshot.noise()
        if calls:
            arrays["torch"] = calls[0].noise.numpy()
        return BlackBox(
            step=step.step,
            kind=str(kind),
            batch=batch,
            weights=snapshot.weights(self.roots, self._names),
            optimizer=snapshot.optimizer_state(self.optimizer, self._names),
            noise=arrays,
            gradients=dict(zip(self._names, pending.norms.tolist(), strict=True)),
            origin=origin,
            facts={
                "noise": facts,
                "loss": step.loss,
                "rate": step.rate,
                "framework": "torch",
                "training": [call.training for call in calls],
                "models": [type(root).__name__ for root in self.roots],
            },
        )

    # --- reading -------------------------------------------------------------------------------

    def _with_gradient(self) -> list[Any]:
        return [p for g in self.optimizer.param_groups for p in g["params"] if p.grad is not None]

    def _norms(self, parameters: list[Any]) -> Floats:
        """Of all tensors, 0 where there is no gradient. The one host read of a step."""
        found = np.zeros(len(self._names))
        if parameters:
            if [id(p) for p in parameters] != self._plan.ids:
                self._plan = Plan(parameters, self._index)
            found[self._plan.places] = as_host(self._plan.norms([p.grad for p in parameters]))
        return found

    def _exactly(self, pending: _Pending, divide: float) -> float:
        """Where squares overflowed or vanished in float32: once more in float64 (PEERS, trap 2)."""
        if self._seen is None:
            for parameter in pending.parameters:
                i = self._index[id(parameter)]
                if not math.isfinite(pending.norms[i]) or pending.norms[i] == 0.0:
                    pending.norms[i] = exact(parameter.grad) / divide
        return total_norm(pending.norms)

    def _row(self, pending: _Pending, total: float, factors: Floats) -> Step:
        clipped = total
        if factors.ndim:
            clipped = total_norm(pending.norms * factors) * self._user_factor
        elif self._user_factor != 1.0 or factors != 1.0:
            clipped = total * float(factors) * self._user_factor
        rate = self.optimizer.param_groups[0].get("lr")
        losses = [float(loss) for loss in self.losses]
        return Step(
            step=self.step,
            time=self.watching.now,
            loss=sum(losses) / len(losses) if losses else math.nan,
            rate=math.nan if rate is None else float(rate),
            norm=total,
            clipped=clipped,
            coefficient=clipped / total if total and math.isfinite(total) else 1.0,
        )

    def _observe(self, pending: _Pending) -> None:
        """What must be read before the step: gradients, and the weights that it will change."""
        names = list(self._names.values())
        pending.observation = Observation(names, range(len(names)), len(names))
        if self._late is None:
            weights = pending.observation.weight_rms(as_host(pending.observation.weights))
            self._reach = self._reaches(weights)
            self._reaching = bool(self._reach.any())

    def _reaches(self, weights: Floats) -> Floats:
        """See ``guard.reach``; weights: rms of each tensor."""
        found = np.zeros(len(self._names))
        for group in self.optimizer.param_groups:
            own = [self._index[id(p)] for p in group["params"] if id(p) in self._index]
            rate = float(group["lr"]) if isinstance(self.optimizer, torch.optim.SGD) else None
            found[own] = guards.reach([self.tensors[i] for i in own], weights[own], rate)
        return found

    def _detail(self, pending: _Pending, more: Sequence[Any] = ()) -> tuple[Detail, list[Floats]]:
        """The observed step, and what ``more`` is on the host: all of it by one read."""
        observation = pending.observation
        divide = pending.divide if more else pending.divide * self._user_factor
        assert observation is not None
        own, samples = observation.after(), self._listener.take()
        host = together([*own, *samples, *more])
        if more:  # read late, the norms come with the rest
            pending.norms = host[-1][-1][: len(self._names)]
            divide = float(host[-1][-1][-1])
        rms = gradient_rms(self.tensors, pending.norms)
        rows = observation.rows(host[: len(own)], rms, divide)
        names, layers = self._listener.figures(host[len(own) : len(own) + len(samples)])
        return Detail(self.step, rows, layers, names), host[len(own) + len(samples) :]

    @contextmanager
    def _safely(self) -> Iterator[None]:
        """An error of our own puts everything back that we hold, and switches the watch off."""
        try:
            with torch.no_grad(), np.errstate(all="ignore"):
                yield
        except Exception as error:
            pending = self._now
            if pending is not None:
                for parameter, gradient in pending.taken:
                    parameter.grad = gradient
                if pending.folded:
                    release(self.optimizer)
            self.watching.trouble(error)


class _Pending:
    """One step between its two hooks."""

    def __init__(self, parameters: list[Any], scale: Any) -> None:
        self.parameters = parameters
        self.scale = scale
        self.norms: Floats = np.zeros(0)
        self.step: Step | None = None
        self.clipped: float | None = None
        self.folded = False
        self.held = False
        self.taken: list[tuple[Any, Any]] = []
        self.observation: Observation | None = None
        self.divide = 1.0 if scale is None else math.nan  # how much too large the gradients are


def _with_closure(decide: Callable[..., None], args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The closure that makes the gradients, with a look at them behind it."""

    def wrapped(closure: Any) -> Any:
        if not callable(closure):
            return closure

        def look(*a: Any, **k: Any) -> Any:
            value = closure(*a, **k)
            decide(folding=False)
            return value

        return look

    return (args[0], *map(wrapped, args[1:])), {k: wrapped(v) for k, v in kwargs.items()}


def _clipped(step: Step, norm: float) -> Step:
    return replace(step, clipped=norm, coefficient=norm / step.norm if step.norm else 1.0)


def _names(optimizer: Any, roots: Sequence[Any]) -> dict[str, Any]:
    """The optimizer's parameters by the models' own names, in the models' order."""
    known = parameter_names(list(roots), [])
    own = {id(p): p for g in optimizer.param_groups for p in g["params"] if p.requires_grad}
    found = {name: p for key, (name, p) in known.items() if key in own}
    missing = [p for p in own.values() if not any(p is q for q in found.values())]
    return found | {f"parameter_{i + 1}": p for i, p in enumerate(missing)}


def _subject(
    optimizer: Any, roots: Sequence[Any], names: dict[str, Any], settings: Settings, script: str
) -> Subject:
    from evengrad import clip

    tables = {
        id(m.weight)
        for root in roots
        for m in root.modules()
        if isinstance(m, torch.nn.Embedding | torch.nn.EmbeddingBag)
    }
    tensors = tuple(
        Tensor(
            name,
            name.rpartition(".")[0] or name,
            tuple(p.shape),
            float(p[0].numel()) if p.ndim >= 2 and id(p) not in tables else None,
        )
        for name, p in names.items()
    )
    guard = settings.guard
    first = optimizer.param_groups[0] if optimizer.param_groups else {}
    models = [type(getattr(root, "_orig_mod", root)).__name__ for root in roots]
    return Subject(
        script=script,
        model=", ".join(dict.fromkeys(models)) or "raw tensors",
        optimizer=type(optimizer).__name__,
        frontend="torch",
        backend="torch",
        versions=(f"torch {torch.__version__}",),
        tensors=tensors,
        settings={
            "clip": clip.in_words(settings.clip),
            "guard": None if guard is None else str(guard.action),
            "every": settings.every,
            "beta2": first["betas"][1] if "betas" in first else first.get("alpha"),
        },
    )
