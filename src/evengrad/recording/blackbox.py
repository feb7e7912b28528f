"""The black box: what is needed to see a held-back step again, in files that need no unpickling."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evengrad.errors import EvengradError
from evengrad.values.message import msg
from evengrad.values.wording import count

Phase = Literal["batch", "weights", "forward", "backward", "update"]
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class ReplayedOperation:
    """One operation of the failing step, as it was seen again. forward, backward: rms of its output and of
    the gradient there (over the finite elements); *_non_finite: shares, 0 to 1; None: not seen.
    """

    layer: str
    type: str
    forward: float | None
    forward_non_finite: float
    backward: float | None = None
    backward_non_finite: float = 0.0


@dataclass(frozen=True, slots=True, repr=False)
class Origin:
    """Where a step went wrong first.

    Attributes:
        layer: the user's own name, "input", "labels" or "loss".
        phase: in the forward or the backward pass, in the weights, in the batch, or in the optimizer's update.
        message: one line for people.
        operations: of a probe of that step, forward order.
    """

    layer: str
    phase: Phase
    message: str
    operations: tuple[ReplayedOperation, ...] = ()

    def __repr__(self) -> str:
        return f"<Origin {self.phase} of {self.layer}: {self.message}>"


@dataclass(frozen=True, slots=True, repr=False)
class BlackBox:
    """Everything about a step that was refused.

    Attributes:
        step: 0-based.
        kind: why it was refused.
        batch: what the model (and, where it is known, the loss) was given, by name.
        weights: of the model before the step, buffers included, by the framework's names.
        optimizer: its state before the step, by "tensor name/slot".
        noise: random states, by generator.
        gradients: norm of each weight's gradient.
        origin: where it went wrong first; None where not known.
        facts: plain values.
    """

    step: int
    kind: str
    batch: Arrays
    weights: Arrays
    optimizer: Arrays
    noise: Arrays
    gradients: Mapping[str, float]
    origin: Origin | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        where = "" if self.origin is None else f", {self.origin.phase} of {self.origin.layer}"
        return f"<BlackBox of step {self.step} ({self.kind}{where}): {count(len(self.weights), 'weight')}>"


def save(box: BlackBox, folder: Path) -> Path:
    """Write a box into a new folder ``step-N`` and return it. Raises OSError."""
    from safetensors.numpy import save_file

    target = folder / f"step-{box.step}"
    target.mkdir(parents=True, exist_ok=True)
    for name, arrays in (("weights", box.weights), ("optimizer", box.optimizer)):
        whole = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        save_file(whole, target / f"{name}.safetensors")
    np.savez(target / "batch.npz", allow_pickle=False, **_positional(box.batch))
    np.savez(target / "noise.npz", allow_pickle=False, **_positional(box.noise))
    facts = {
        "step": box.step,
        "kind": box.kind,
        "batch": list(box.batch),
        "noise": list(box.noise),
        "gradients": dict(box.gradients),
        "origin": None if box.origin is None else asdict(box.origin),
        "facts": dict(box.facts),
    }
    (target / "box.json").write_text(json.dumps(facts, indent=1, default=str))
    return target


def boxes(folder: str | Path) -> dict[int, Path]:
    """The folders of a run's black boxes by their steps, the first step first: the one nearest to the cause.

    The steps are those in the boxes, whatever a copy has made of the files' names and times. A box whose facts
    cannot be read comes last, under a negative number.
    """
    found: dict[int, Path] = {}
    for number, path in enumerate(sorted(Path(folder).glob("step-*/box.json"))):
        try:
            step = int(json.loads(path.read_text())["step"])
        except (OSError, KeyError, ValueError, TypeError):
            step = -1 - number
        found.setdefault(step, path.parent)
    return dict(sorted(found.items(), key=lambda item: (item[0] < 0, item[0])))


def load(folder: str | Path, *, tensors: bool = True) -> BlackBox:
    """Read a black box.

    Args:
        folder: of the box, or of a run (or its file), whose first box is taken.
        tensors: whether to read the weights and the optimizer's state, too, which may be large.

    Raises:
        EvengradError: there is none, or it cannot be read.
    """
    found = _find(Path(folder))
    try:
        from safetensors.numpy import load_file

        facts = json.loads((found / "box.json").read_text())
        origin = facts["origin"]
        if origin is not None:
            recorded = origin.pop("operations", ()) or origin.pop("passages", ())
            operations = tuple(ReplayedOperation(**operation) for operation in recorded)
            origin = Origin(**origin, operations=operations)
        return BlackBox(
            step=facts["step"],
            kind=facts["kind"],
            batch=_named(found / "batch.npz", facts["batch"]),
            weights=load_file(found / "weights.safetensors") if tensors else {},
            optimizer=load_file(found / "optimizer.safetensors") if tensors else {},
            noise=_named(found / "noise.npz", facts["noise"]),
            gradients=facts["gradients"],
            origin=origin,
            facts=facts["facts"],
        )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise EvengradError(
            msg("The black box {found!r} cannot be read: {error}", found=str(found), error=error)
        ) from error


def _find(folder: Path) -> Path:
    folder = folder.parent if folder.name == "run.sqlite" else folder
    if (folder / "box.json").exists():
        return folder
    found = boxes(folder)
    if not found:
        raise EvengradError(
            msg(
                "There is no black box in {folder!r}. A run has one where its guard refused a step; "
                "`evengrad runs` lists the runs.",
                folder=str(folder),
            )
        )
    return next(iter(found.values()))


def _positional(arrays: Arrays) -> dict[str, Any]:
    """Members of an npz file may not hold slashes: numbered, the names stand in box.json."""
    return {f"a{i}": np.asarray(value) for i, value in enumerate(arrays.values())}


def _named(path: Path, names: Sequence[str]) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as members:
        return {name: members[f"a{i}"] for i, name in enumerate(names)}
