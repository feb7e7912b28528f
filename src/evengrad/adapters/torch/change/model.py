"""A model in the moment before its first training step, with all that a change may need of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.torch.change.substitute import Substitute
from evengrad.adapters.torch.record.state import untouched
from evengrad.errors import CannotChangeError


class LiveTraining:
    """A model with its optimizer, its schedulers and loss scalers, and the arguments of the forward pass that
    comes.

    Args:
        model: the script's own.
        optimizer: the script's own.
        args: of the forward pass, as the script has them.
        schedulers: of the learning rate.
        scalers: of the loss.
        substitute: stands in for calls of activations from now on.
        note: takes one line for the user.
        stepping: whether the optimizer's step is being made, as where a closure calls the model.

    Attributes:
        given: the arguments as the script has them.
        args: what this first pass gets, whose hooks are chosen already.
        finite_targets: targets of regressions become finite.
        first_hooks: of the model, what changes its inputs.
        patches: of what changes wrap; the trial undoes them.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        args: Any = (),
        *,
        schedulers: Sequence[Any] = (),
        scalers: Sequence[Any] = (),
        substitute: Substitute | None = None,
        note: Callable[[str], None] = lambda _: None,
        stepping: bool = False,
    ) -> None:
        self.stepping = stepping
        self.model, self.optimizer = model, optimizer
        self.schedulers, self.scalers = list(schedulers), list(scalers)
        self.given = self.args = args
        self.substitute = substitute or Substitute()
        self.note = note
        self.first_hooks: list[int] = []
        self.finite_targets = False
        self.patches = Patches()

    def layer(self, name: str) -> Any:
        """The module of that name. Raises CannotChangeError where there is none."""
        try:
            return self.model.get_submodule(name)
        except AttributeError:
            raise CannotChangeError(
                f"{type(self.model).__name__} has no layer {name!r}; it has "
                f"{', '.join(n for n, m in self.model.named_modules() if hasattr(m, 'weight'))}."
            ) from None

    def weighted(self, name: str) -> Any:
        """The layer of that name. Raises CannotChangeError where it has no weight matrix."""
        layer = self.layer(name)
        weight = getattr(layer, "weight", None)
        if weight is None or weight.ndim < 2:
            raise CannotChangeError(f"{name!r} has no weight matrix.")
        return layer

    def train(self, parameters: Sequence[Any]) -> None:
        """Let the optimizer train these, too: in its first group, for a group of their own would be one more
        than the script's schedule knows.
        """
        self.optimizer.param_groups[0]["params"].extend(parameters)

    def forward(self) -> None:
        """One forward pass of the first batch without gradients, which leaves the model as it was."""
        self.substitute.restart()
        with untouched(self.model), torch.no_grad():
            try:
                self.model(*self.given)
            except TypeError as error:
                raise CannotChangeError(
                    f"{type(self.model).__name__} cannot be run on the first batch once more ({error}); pass "
                    "its inputs by position."
                ) from error


@contextmanager
def hooked(handles: Sequence[Any]) -> Iterator[None]:
    """Module hooks that are removed at the end."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
