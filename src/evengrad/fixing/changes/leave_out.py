"""Steps that the guard refuses are left out, and the training goes on with the next batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from evengrad.fixing.wording import ADD, FIT, LOOP, WRITE
from evengrad.recording.guard import Action, Guard
from evengrad.values.change import Advice, Change


@dataclass(frozen=True, slots=True)
class LeaveOut(Change):
    """A step that the guard refuses is left out; after ``limit`` of them in a row the training stops."""

    stage: ClassVar[int] = 180
    limit: int

    def settings(self) -> dict[str, Any]:
        """The guard of the watch does it."""
        return {"guard": Guard(Action.SKIP, self.limit)}

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        given = f'guard="skip:{self.limit}"'
        if keras:
            return Advice(f"callbacks=[evengrad.keras.Watch({given})]", FIT, WRITE)
        return Advice(f"evengrad.watch(model, optimizer, {given})", LOOP, ADD)
