"""Steps into the user's own PyTorch loop at its first backward and its first optimizer step."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._pytree import tree_leaves

from evengrad.adapters import Armed, Session
from evengrad.adapters.torch.measure import Measurement
from evengrad.adapters.torch.record import Recorder, variable_name
from evengrad.adapters.torch.update import coming_update, describe
from evengrad.errors import CannotCheckError, EvengradError
from evengrad.probe import Optimizer


def arm(session: Session) -> Armed:
    """Record from now on; deliver the probe at the first optimizer step."""
    watch = _Watch(session)
    return Armed(disarm=watch.disarm, flush=watch.flush)


class _Watch:
    """Recorder, patches and the one measurement of a script."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.measurement: Measurement | None = None
        self.stepping: Any = None  # an optimizer that called its closure for the gradients
        self.active = True
        self.copying = False
        self.recorder = Recorder(on_backward=self._backward)
        self.recorder.enter()
        self._hook = register_optimizer_step_pre_hook(self._step)
        self._autograd_backward = torch.autograd.backward
        torch.autograd.backward = self._direct_backward
        self._scale = torch.amp.GradScaler.scale
        torch.amp.GradScaler.scale = _noting_scale(self._scale, self.recorder)
        torch.compiler.set_stance("force_eager")

    def disarm(self) -> None:
        """Take every patch off."""
        if not self.active:
            return
        self.active = False
        self.recorder.leave()
        self._hook.remove()
        torch.autograd.backward = self._autograd_backward
        torch.amp.GradScaler.scale = self._scale
        torch.compiler.set_stance("default")

    def flush(self) -> None:
        """A loop that updates its weights by hand has a backward pass but no optimizer step."""
        if self.measurement is not None:
            self._deliver({}, None, ("no optimizer step was seen: updates are unknown",))

    def _direct_backward(self, tensors: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(tensors, torch.Tensor):
            self._backward(tensors)
        return self._autograd_backward(tensors, *args, **kwargs)

    def _backward(self, loss: Any) -> None:
        """The first backward of a loss made from recorded calls; later ones only accumulate."""
        if not self.active or self.measurement is not None or self.recorder.number(loss) is None:
            return
        if loss.numel() != 1:
            self.session.fail(
                CannotCheckError(
                    f"backward() was called on a loss of shape {tuple(loss.shape)}; expected a scalar. "
                    'Average it: reduction="mean", or loss.mean().'
                )
            )
        self.session.starting()
        try:
            with self.recorder.paused():
                measurement = Measurement(self.recorder, loss, self._names())
                measurement.run()
        except EvengradError as error:
            self.session.fail(error)
        except Exception as error:
            self.session.fail(CannotCheckError(f"The backward pass could not be measured: {error}"))
        self.measurement = measurement
        if self.stepping is not None:
            self._deliver({}, describe(self.stepping), ("updates unknown: step() takes a closure",))

    def _step(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        if not self.active or self.copying:
            return
        if self.measurement is None:
            self.stepping = optimizer
            return
        updates: dict[int, float] = {}
        notes: tuple[str, ...] = ()
        self.copying = True  # the copy's own step comes through this hook, too
        try:
            with self.recorder.paused():
                updates = coming_update(optimizer)
        except Exception as error:
            notes = (f"the coming update could not be worked out: {error}",)
        self._deliver(updates, describe(optimizer), notes)

    def _deliver(
        self, updates: dict[int, float], optimizer: Optimizer | None, notes: tuple[str, ...]
    ) -> None:
        assert self.measurement is not None
        with self.recorder.paused():
            probe = self.measurement.assemble(
                batch_size=self._batch_size(), updates=updates, optimizer=optimizer, notes=notes
            )
        self.session.deliver(probe)

    def _batch_size(self) -> int:
        values = [value for _, value, _ in self.recorder.inputs.values()]
        values += [value for _, value in self.recorder.integers]
        first = next((t for t in tree_leaves(values) if t.ndim), None)
        return 1 if first is None else int(first.shape[0])

    def _names(self) -> dict[int, tuple[str, Any]]:
        """Parameter id -> its name: the model's own, behind the variable's where there are several."""
        roots = self.recorder.roots
        found: dict[int, tuple[str, Any]] = {}
        for root in roots:
            prefix = "" if len(roots) == 1 else f"{variable_name(root) or type(root).__name__}."
            for name, parameter in root.named_parameters():
                found.setdefault(id(parameter), (prefix + name, parameter))
        for node in self.recorder.nodes:
            for parameter in node.parameters:
                name = variable_name(parameter) or f"parameter_{len(found) + 1}"
                found.setdefault(id(parameter), (name, parameter))
        return found


def _noting_scale(original: Any, recorder: Recorder) -> Any:
    def scale(scaler: Any, outputs: Any) -> Any:
        if scaler.is_enabled():
            recorder.scale = float(scaler.get_scale())
        return original(scaler, outputs)

    return scale
