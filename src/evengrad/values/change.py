"""A change of a training, as the rooms below ``fixing`` know it; ``fixing/changes`` has them all."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

from evengrad.errors import CannotChangeError
from evengrad.values.message import msg


class Advice(NamedTuple):
    """What to write by hand. verb, place: "write" ... "where the optimizer is made"."""

    code: str
    place: str
    verb: str


@dataclass(frozen=True, slots=True)
class Change:
    """Base of all changes: frozen dataclasses of plain values, which can be made live and written as a patch.

    Fields called ``layers`` are names of layers.

    Attributes:
        stage: its place among the changes made live; the network before its weights before their training.
        patch_stage: its place among the edits of a script.
        substitutes: it stands in for calls of functions, also in code that has not run yet.
        scheduled: its effect depends on how many steps there are.
        trained: the weights begin trained, with a low loss.
        sets_rate: it sets the learning rate at each step, whatever others make of it.
    """

    stage: ClassVar[int]
    patch_stage: ClassVar[int] = 30
    substitutes: ClassVar[bool] = False
    scheduled: ClassVar[bool] = False
    trained: ClassVar[bool] = False
    sets_rate: ClassVar[bool] = False

    def order(self) -> int:
        """Its place among the changes made live."""
        return self.stage

    def settings(self) -> dict[str, Any]:
        """What it asks of the watch (``recording.settings``) instead of the model, which then makes it."""
        return {}

    def live_torch(self, live: Any) -> None:
        """Make it. live: ``adapters.torch.change.model.LiveTraining``. Raises CannotChangeError."""
        raise CannotChangeError(f"{type(self).__name__} cannot be made in PyTorch.")

    def live_keras(self, live: Any) -> None:
        """Make it. live: ``adapters.keras.change.model.LiveModel``. Raises CannotChangeError."""
        raise CannotChangeError(f"{type(self).__name__} cannot be made in Keras.")

    def write_torch(self, draft: Any) -> None:
        """Write it into a script. draft: ``fixing.patch.script.draft.SourceDraft``. Raises CannotChangeError
        (``Manual`` is one) where only the user can.
        """
        raise CannotChangeError(f"{type(self).__name__} has no patch for PyTorch.")

    def write_keras(self, draft: Any) -> None:
        """As ``write_torch``."""
        raise CannotChangeError(f"{type(self).__name__} has no patch for Keras.")

    def advice(self, *, keras: bool) -> Advice:
        """What the user is to write where a patch could not. keras: else in PyTorch."""
        title = (type(self).__doc__ or "").strip().partition("\n")[0]
        place = msg("in the Keras script") if keras else msg("in the PyTorch script")
        return Advice(f"{self} ({title})", place, msg("make"))


def calls(place: str) -> Any:
    """A method for long code elsewhere: it calls a function with what is given and the fields of the change.

    place: "module:function", imported only then.
    """
    module, _, function = place.partition(":")

    def method(change: Any, given: Any) -> None:
        values = (getattr(change, field.name) for field in fields(change))
        getattr(importlib.import_module(module), function)(given, *values)

    return method


def in_order(changes: Iterable[Change]) -> tuple[Change, ...]:
    """In an order in which none undoes another."""
    return tuple(sorted(changes, key=lambda change: change.order()))
