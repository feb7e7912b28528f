"""Changes the user's own training when it starts, and counts its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, TrialSession
from evengrad.adapters.torch import script
from evengrad.adapters.torch.change.change import apply
from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.adapters.torch.change.substitute import Substitute
from evengrad.adapters.torch.change.withholding import REGRESSIONS, TorchWithholding
from evengrad.adapters.torch.compat import compile_later, under
from evengrad.adapters.torch.record.loss_terms import LOSSES, LossTerms
from evengrad.errors import CannotChangeError, EvengradError
from evengrad.recording import failure
from evengrad.values.fact import Fact, Where
from evengrad.values.probe import Probe
from evengrad.values.wording import brief


def arm(session: TrialSession) -> Armed:
    """From now on; changes are made before the first forward pass of a model that an optimizer trains."""
    return Armed(disarm=_TorchTrial(session).disarm, flush=lambda: None)


class _TorchTrial:
    def __init__(self, session: TrialSession) -> None:
        self.session = session
        self.model: Any = None
        self.live: LiveTraining | None = None
        self._patches = Patches()
        self._optimizers: list[Any] = []
        self._schedulers: list[Any] = []
        self._scalers: list[Any] = []
        self._terms = LossTerms(session)
        self._withholding = TorchWithholding(session, self._terms)
        self._steps = 0
        self._stepping: Any = None
        self._epoch: int | None = None
        self._ending: Armed | None = None
        self.substitute = Substitute()
        self._opening: Armed | None = None
        if session.measured:  # below the substitute, so that it sees what that calls
            self._opening = script.arm(TrialProbe(session, session.opened), followed=False)
        if any(change.substitutes for change in session.changes):
            self.substitute.__enter__()
        self._patches.on_undo(register_module_forward_pre_hook(self._before_forward).remove)
        self._patches.on_undo(register_optimizer_step_pre_hook(self._before_step).remove)
        self._patches.on_undo(register_optimizer_step_post_hook(self._after_step).remove)
        self._patches.wrap(torch.optim.Optimizer, "__init__", self._noting(self._optimizers))
        self._patches.wrap(
            torch.optim.lr_scheduler.LRScheduler, "__init__", self._noting(self._schedulers)
        )
        self._patches.wrap(torch.amp.GradScaler, "__init__", self._noting(self._scalers))
        self._patches.wrap(torch.amp.GradScaler, "scale", self._terms.scaling)
        self._patches.wrap(torch.autograd, "backward", self._terms.backward)
        self._patches.wrap(torch, "manual_seed", self._seeding)
        for name in LOSSES:
            self._patches.wrap(F, name, self._withholding.hearing)
        for name in REGRESSIONS:
            self._patches.wrap(F, name, self._comparing)
        compile_later(self._patches)
        torch.random.manual_seed(session.seed)

    def disarm(self) -> None:
        """Take every patch off."""
        self._patches.undo()
        with under(self.substitute) as above:
            for probing in (self._ending, self._opening):
                if probing is not None:
                    probing.disarm()
            above[:] = [mode for mode in above if mode is not self.substitute]

    # --- patches -----------------------------------------------------------------------------------

    def _noting(self, found: list[Any]) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def init(thing: Any, *args: Any, **kwargs: Any) -> None:
                original(thing, *args, **kwargs)
                if not any(thing is other for other in found):
                    found.append(thing)

            return init

        return make

    def _seeding(self, original: Any) -> Any:
        return lambda seed: original(int(seed) + self.session.seed)

    def _comparing(self, original: Any) -> Any:
        def loss(input: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
            if self.live is not None and self.live.finite_targets:
                target = torch.nan_to_num(target, 0.0, 0.0, 0.0)
            return original(input, target, *args, **kwargs)

        return loss

    # --- what happens in the script ------------------------------------------------------------------

    def _before_forward(self, module: Any, args: Any) -> Any:
        if not torch.is_grad_enabled() or not module.training:
            return None
        if self.model is None:
            return self._start(module, args)
        if module is self.model:
            self._begin_pass(args)
        return None

    def _start(self, module: Any, args: Any) -> Any:
        own = {id(p) for p in module.parameters()}
        for optimizer in self._optimizers:
            groups = optimizer.param_groups
            if any(id(p) in own for group in groups for p in group["params"]):
                break
        else:
            return None
        self.model = module
        schedulers = [s for s in self._schedulers if getattr(s, "optimizer", None) is optimizer]
        self.live = LiveTraining(
            module,
            optimizer,
            args,
            schedulers=schedulers,
            scalers=self._scalers,
            substitute=self.substitute,
            note=self.session.note,
            stepping=optimizer is self._stepping,
        )
        self._patches.on_undo(self.live.patches.undo)
        try:
            apply(self.live, self.session.changes)
        except CannotChangeError as error:
            self.session.refuse(error)
        self.session.started()
        self._terms.on = True
        self._begin_pass(args)
        return self.live.args

    def _begin_pass(self, args: Any) -> None:
        self.substitute.restart()
        if self._withholding.passing(args) and self._epoch is None:
            self._epoch = self._steps
            self.session.epoch(self._steps)

    def _before_step(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        self._stepping = optimizer

    def _after_step(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        self._stepping = None
        if self.live is None or self._ending is not None:
            return
        self._terms.stepped(ours=optimizer is self.live.optimizer)
        if optimizer is not self.live.optimizer:
            return
        self._steps += 1
        if self.session.stepped():
            self._ending = self._probing()

    def _probing(self) -> Armed:
        """The next backward pass is measured; the recorder is below the substitute, and sees what it calls."""
        self._terms.on = False
        with under(self.substitute):
            return script.arm(
                TrialProbe(self.session, self.session.probed, self.session.over), followed=False
            )


class TrialProbe:
    """Takes one probe of a trial.

    Args:
        session: of the trial.
        told: takes the probe.
        done: called behind it; it may stop the script.
    """

    precise = False
    several = False
    measured = False

    def __init__(
        self,
        session: TrialSession,
        told: Callable[[Probe], None],
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self._session, self._told, self._done = session, told, done
        self._taken = False

    def starting(self) -> None: ...
    def add(self, place: int, facts: Sequence[Fact]) -> None: ...
    def passing(self) -> None: ...

    def wanted(self) -> bool:
        return True

    def enough(self) -> None:
        self._done()

    def keep(self, _probe: Probe, _ahead: Where | None) -> int:
        return 0

    def deliver(self, probe: Probe) -> None:
        if not self._taken:
            self._taken = True
            self._told(probe)
            self._done()

    def fail(self, error: EvengradError) -> NoReturn:
        self._lost(error)

    def failed(self, error: Exception) -> NoReturn:
        self._lost(error)

    def trouble(self, error: Exception) -> NoReturn:
        failure.tell(error)
        self._lost(error)

    def _lost(self, error: Exception) -> NoReturn:
        """Where the probe is what the trial is for, it is over."""
        if not self._session.measured:
            self._session.over()
        self._session.refuse(CannotChangeError(f"A probe could not be taken: {brief(error)}"))
