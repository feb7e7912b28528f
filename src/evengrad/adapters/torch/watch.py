"""``evengrad.watch`` for a ``torch.nn.Module`` and its optimizer."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch

from evengrad.adapters.torch.tap import patches
from evengrad.adapters.torch.tap.models import find_roots
from evengrad.adapters.torch.tap.tap import OptimizerTap
from evengrad.errors import EvengradError
from evengrad.recording.listener import RunListener
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings
from evengrad.values.message import msg
from evengrad.values.run import RunStatus

_open: set[WatchHandle] = set()
"""Those that are not removed: a training may let its handle go."""


class WatchHandle:
    """A training being watched; a context manager, or a handle with ``remove()``.

    Attributes:
        watching: the run so far; its ``path`` is the run file, None where none is written.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        settings: Settings,
        listener: RunListener | None = None,
        *,
        on_device: bool | None = None,
    ) -> None:
        models = list(model) if isinstance(model, list | tuple) else [model]
        optimizer = _inner(optimizer)
        _expect(models, optimizer)
        script = settings.name
        roots = find_roots(models[0].parameters(), models) if len(models) == 1 else models
        self._tap = OptimizerTap(
            optimizer, roots, settings, lambda s: Watching(settings, s, listener), script, on_device
        )
        self._removed = False
        try:
            self._tap.start()
        except BaseException:
            self._tap.remove()
            raise
        patches.add(self._tap)
        _open.add(self)

    def remove(self, status: RunStatus = "finished") -> None:
        """Stop watching; the run file is complete after this. Twice is once.

        Args:
            status: what the run file says of how it ended.
        """
        if self._removed:
            return
        self._removed = True
        _open.discard(self)
        patches.discard(self._tap)
        self._tap.remove()
        self.watching.end(status)

    @property
    def watching(self) -> Watching:
        """The run so far."""
        found = self._tap.watching
        assert found is not None
        return found

    def __enter__(self) -> WatchHandle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.remove("interrupted")
        else:
            self.remove("finished" if error is None else "failed")
        if error is None and self.watching.stopped is not None:
            raise self.watching.stopped  # the last step of all, read late


def watch(
    model: Any, optimizer: Any, settings: Settings, listener: RunListener | None = None
) -> WatchHandle:
    """Watch one optimizer of a model, or of several; see ``evengrad.watch``."""
    return WatchHandle(model, optimizer, settings, listener)


def _inner(optimizer: Any) -> Any:
    """What a framework of its own has wrapped (Accelerate, Lightning): its own hooks are called."""
    while isinstance(getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        optimizer = optimizer.optimizer
    return optimizer


def _expect(models: list[Any], optimizer: Any) -> None:
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise EvengradError(
            msg(
                "Expected a torch.optim.Optimizer, got {kind}. Where a "
                "framework wraps one, pass the optimizer that it wraps.",
                kind=type(optimizer).__qualname__,
            )
        )
    own = {id(p) for m in models for p in m.parameters()}
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(id(p) in own for p in trained):
        raise EvengradError(
            msg(
                "The optimizer trains none of this model's parameters. Expected the optimizer that was "
                "made from "
                "model.parameters(), after the model was moved or wrapped."
            )
        )
