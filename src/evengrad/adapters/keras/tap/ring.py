"""Where a watched step leaves what it read: rows of figures, flags, and what a clip remembers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from evengrad.adapters.keras import compat
from evengrad.recording.clip import NormClip
from evengrad.recording.settings import Settings
from evengrad.values.run import Floats

TOTAL, FACTOR, PASSED, CALLED, LOSS, RATE = range(6)  # behind three columns a tensor
COLUMNS = 6
NO_CEILING = 3e38
_MOST = np.array([np.inf, np.inf, 1.0, np.inf], np.float32)


@dataclass(frozen=True, slots=True)
class RingRow:
    """One step as the host read it.

    Attributes:
        norms: of the gradients, (tensors,).
        largest: absolute value of each gradient's elements, (tensors,); NaN where the step was not observed.
        zeros: share of each gradient's elements, (tensors,); NaN where the step was not observed.
        total: norm of all gradients before the clip.
        factor: norm after the clip over before.
        passed: the guard's word.
        called: the update was reached (a loss scaler may skip it).
        loss: NaN where not known.
        rate: the learning rate.
    """

    norms: Floats
    largest: Floats
    zeros: Floats
    total: float
    factor: float
    passed: bool
    called: bool
    loss: float
    rate: float


def row_of(values: Any, tensors: int) -> RingRow:
    """A row of the ring, (3 * tensors + 6,)."""
    values = np.asarray(values, dtype=np.float64)
    rest = values[3 * tensors :]
    return RingRow(
        norms=values[:tensors],
        largest=values[tensors : 2 * tensors],
        zeros=values[2 * tensors : 3 * tensors],
        total=float(rest[TOTAL]),
        factor=float(rest[FACTOR]),
        passed=bool(rest[PASSED]),
        called=bool(rest[CALLED]),
        loss=float(rest[LOSS]),
        rate=float(rest[RATE]),
    )


class VariableAccess(Protocol):
    """Reads and writes a Keras variable between steps, wherever its value is then."""

    def read(self, variable: Any) -> Any: ...
    def write(self, variable: Any, value: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class RingStatus:
    """How far the ring is.

    Attributes:
        begun: steps so far.
        refused: of them, those that did not pass.
        halted: all are held back now.
    """

    begun: int
    refused: int
    halted: bool


class Ring:
    """Variables added to an optimizer, so that each backend carries them through its compiled step.

    Args:
        optimizer: whose state they join.
        tensors: how many are trained.
        size: rows, a step each.
        settings: how to watch.
        corruptible: variables that a bad step may corrupt before the optimizer is asked.

    Attributes:
        status: steps begun, steps refused, whether all are held back now, and what of the second the host has
            seen.
        before: each corruptible variable with a copy of before the first step that was refused since the host
            last looked.
    """

    def __init__(
        self,
        optimizer: Any,
        tensors: int,
        size: int,
        settings: Settings,
        corruptible: Sequence[Any] = (),
    ) -> None:
        self.tensors, self.size = tensors, size
        self.variables: list[Any] = []
        self._starts: list[Any] = []
        self._optimizer = optimizer

        def add(name: str, value: Any) -> Any:
            value = np.asarray(value, dtype=np.float32)
            variable = self._made(name, value.shape)
            variable.assign(value)
            self.variables.append(variable)
            self._starts.append(value)
            return variable

        self.rows = add("rows", np.full((size, 3 * tensors + COLUMNS), np.nan))
        self.status = add("status", np.zeros(4))
        self.reach = add("reach", np.zeros(tensors))
        self.ceiling = add("ceiling", NO_CEILING)
        clip = settings.clip
        start = clip.start(tensors) if isinstance(clip, NormClip) else {}
        self.memory = {name: add(name, value) for name, value in start.items()}
        self.before = [(v, add("before", np.zeros(tuple(v.shape)))) for v in corruptible]

    def _made(self, name: str, shape: tuple[int, ...]) -> Any:
        return self._optimizer.add_variable(shape, "zeros", "float32", name=f"evengrad_{name}")

    def restart(self) -> None:
        """As at the start of a run."""
        for variable, value in zip(self.variables, self._starts, strict=True):
            variable.assign(value)

    def take_out(self) -> None:
        """Out of the optimizer; they can be put in again."""
        compat.take_out(self._optimizer, self.variables)

    def put_in(self) -> None:
        """Into the optimizer again, at its end."""
        compat.add_again(self._optimizer, self.variables)

    @contextmanager
    def out(self) -> Iterator[None]:
        """The optimizer as if it were not watched."""
        self.take_out()
        try:
            yield
        finally:
            self.put_in()

    # --- inside the step -----------------------------------------------------------------------

    def unseen(self) -> Any:
        """Whether a step was refused since the host last looked."""
        return self.status[1] > self.status[3]

    def begin(self) -> None:
        """A step begins; its row is empty."""
        self.status.assign_add([1.0, 0.0, 0.0, 0.0])
        empty = np.full(3 * self.tensors + COLUMNS, np.nan, np.float32)
        empty[3 * self.tensors + CALLED] = 0.0
        self.write(ops.convert_to_tensor(empty))

    def write(self, row: Any) -> None:
        """Put in the row of this step."""
        rows = ops.convert_to_tensor(self.rows)
        self.rows.assign(ops.where(self._here(self.status), ops.expand_dims(row, 0), rows))

    def amend(self, column: int, value: Any) -> None:
        """One of the last columns of this step's row."""
        rows = ops.convert_to_tensor(self.rows)
        self.rows.assign(self.amended(rows, self.status, column, value))

    def spoil(self, fine: Any, halts: bool) -> None:
        """Count the step as refused unless its update is fine. halts: the next ones are then held back."""
        rows, status = ops.convert_to_tensor(self.rows), ops.convert_to_tensor(self.status)
        passed = ops.where(fine, rows, self.amended(rows, status, PASSED, 0.0))
        lost = 1 - ops.cast(fine, "float32")
        marks = [lost * 0, lost, lost * float(halts), lost * 0]
        self.rows.assign(passed)
        self.status.assign(ops.minimum(status + ops.stack(marks), ops.convert_to_tensor(_MOST)))

    def amended(self, rows: Any, status: Any, column: int, value: Any) -> Any:
        """The same, as values."""
        here = np.arange(3 * self.tensors + COLUMNS) == 3 * self.tensors + column
        return ops.where(self._here(status) & here[None], ops.cast(value, "float32"), rows)

    def _here(self, status: Any) -> Any:
        now = ops.mod(ops.cast(status[0], "int32") - 1, self.size)
        return ops.expand_dims(ops.equal(ops.arange(self.size, dtype="int32"), now), 1)

    # --- between steps -------------------------------------------------------------------------

    def read_status(self, access: VariableAccess) -> RingStatus:
        """What the last step left."""
        begun, refused, halted, _ = np.asarray(access.read(self.status)).tolist()
        return RingStatus(int(begun), int(refused), bool(halted))

    def read(self, access: VariableAccess, steps: range) -> list[RingRow]:
        """The rows of the given steps; at most the last ``size`` are known."""
        rows = np.asarray(access.read(self.rows))
        return [row_of(rows[step % self.size], self.tensors) for step in steps]

    def resume(self, access: VariableAccess, begun: int, refused: int) -> None:
        """The host has dealt with what was held back."""
        access.write(self.status, np.array([begun, refused, 0, refused], np.float32))

    def limits(self, access: VariableAccess, reach: Floats, ceiling: float) -> None:
        """For the steps to come; see ``guard``."""
        access.write(self.reach, reach.astype(np.float32))
        access.write(self.ceiling, np.float32(min(ceiling, NO_CEILING)))


class LooseRing(Ring):
    """The same for TensorFlow's own loops, which reach any variable: nothing is added to the optimizer."""

    def _made(self, name: str, shape: tuple[int, ...]) -> Any:
        return keras.Variable(np.zeros(shape, np.float32), trainable=False, name=f"evengrad_{name}")

    def take_out(self) -> None:
        """Nothing was put in."""

    def put_in(self) -> None:
        """Nothing needs to be."""

    @contextmanager
    def out(self) -> Iterator[None]:
        """The optimizer is as if it were not watched."""
        yield


class HostRing:
    """The same for PyTorch, where each step is run by the host: nothing is added to the optimizer."""

    def __init__(
        self, tensors: int, size: int, settings: Settings, corruptible: Sequence[Any] = ()
    ) -> None:
        self.tensors, self.size = tensors, size
        self.variables: list[Any] = []
        self._settings = settings
        self.before = [
            (v, keras.Variable(np.zeros(tuple(v.shape)), dtype=v.dtype, trainable=False))
            for v in corruptible
        ]
        self.restart()

    def restart(self) -> None:
        """As at the start of a run."""
        clip = self._settings.clip
        self.rows: list[Any] = [None] * self.size
        self.begun, self.refused, self.halted, self._seen = 0, 0, False, 0
        self.reach_values: Floats = np.zeros(self.tensors)
        self.ceiling_value = NO_CEILING
        self.memory: Any = clip.start(self.tensors) if isinstance(clip, NormClip) else {}

    def take_out(self) -> None:
        """Nothing was put in."""

    def put_in(self) -> None:
        """Nothing needs to be."""

    @contextmanager
    def out(self) -> Iterator[None]:
        """The optimizer is as if it were not watched."""
        yield

    def unseen(self) -> bool:
        """Whether a step was refused since the host last looked."""
        return self.refused > self._seen

    def begin(self) -> None:
        """A step begins; its row is empty."""
        self.begun += 1
        empty = np.full(3 * self.tensors + COLUMNS, np.nan)
        empty[3 * self.tensors + CALLED] = 0.0
        self.write(empty)

    def write(self, row: Any) -> None:
        """Put in the row of this step."""
        self.rows[(self.begun - 1) % self.size] = row

    def amend(self, column: int, value: Any) -> None:
        """One of the last columns of this step's row."""
        self.rows[(self.begun - 1) % self.size][3 * self.tensors + column] = float(value)

    def spoil(self, fine: Any, halts: bool) -> None:
        """Count the step as refused unless its update is fine. halts: the next ones are then held back."""
        if not bool(fine):
            self.amend(PASSED, 0.0)
            self.refused += 1
            self.halted = self.halted or halts

    def read_status(self, _access: VariableAccess) -> RingStatus:
        """What the last step left."""
        return RingStatus(self.begun, self.refused, self.halted)

    def read(self, _access: VariableAccess, steps: range) -> list[RingRow]:
        """The rows of the given steps."""
        return [row_of(self.rows[step % self.size], self.tensors) for step in steps]

    def resume(self, _access: VariableAccess, begun: int, refused: int) -> None:
        """The host has dealt with what was held back."""
        self.begun, self.refused, self.halted, self._seen = begun, refused, False, refused

    def limits(self, _access: VariableAccess, reach: Floats, ceiling: float) -> None:
        """For the steps to come."""
        self.reach_values, self.ceiling_value = reach, ceiling


AnyRing = Ring | HostRing
