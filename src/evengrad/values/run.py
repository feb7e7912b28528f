"""A watched training as values: what was read at each step, and what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evengrad.errors import EvengradError
from evengrad.values.display import Displayed, Headline
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.wording import count

Floats = npt.NDArray[np.float64]

TENSOR_FIGURES = ("gradient_rms", "gradient_max", "gradient_zeros", "weight_rms", "update_rms")
"""Columns of ``Detail.tensors``. gradient_*: before any clip; zeros: a share, 0 to 1. update_rms: of the
weights' actual change in that step. NaN where not known."""

LAYER_FIGURES = ("activation_rms", "saturated", "dead")
"""Columns of ``Detail.layers``, of a sample of each activation; shares 0 to 1, as in a probe."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A trained tensor.

    Attributes:
        name: the framework's.
        layer: the user's own name of its layer.
        shape: its shape.
        fan_in: how many inputs each output element sums; None for biases, scales and embeddings.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    fan_in: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Subject:
    """What is watched.

    Attributes:
        script: its name.
        model: its class.
        optimizer: its class.
        frontend: whose vocabulary the user writes.
        backend: what computes.
        versions: such as "torch 2.13.0".
        tensors: the trained ones, in the model's order.
        settings: clip, clip_kind, clip_bound, guard, every, beta2 of an optimizer that has one, and under
            ``evengrad run`` the command: target, arguments, module, folder.
    """

    script: str
    model: str
    optimizer: str
    frontend: Literal["keras", "torch", "jax"]
    backend: Literal["tensorflow", "jax", "torch"]
    versions: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        tensors = count(len(self.tensors), "trained tensor")
        return f"<Subject {self.model} in {self.script}: {self.optimizer}, {tensors}>"


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step.

    Attributes:
        step: 0-based.
        time: seconds since the start of the run.
        loss: before the step; NaN where not known.
        rate: the learning rate; NaN where not known.
        norm: Euclidean norm of all gradients before the clip; NaN or inf as it is.
        clipped: the same after the clip.
        coefficient: clipped / norm, 1 where the clip did not bind.
        non_finite: elements of the gradients that are NaN or inf.
        applied: whether the weights were updated.
    """

    step: int
    time: float
    loss: float
    rate: float
    norm: float
    clipped: float
    coefficient: float = 1.0
    non_finite: int = 0
    applied: bool = True


@dataclass(frozen=True, slots=True, repr=False)
class Detail:
    """An observed step in full.

    Attributes:
        step: 0-based.
        tensors: (tensors, TENSOR_FIGURES).
        layers: (layers, LAYER_FIGURES), of the sampled activations.
        layer_names: their names.
    """

    step: int
    tensors: Floats
    layers: Floats
    layer_names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        tensors, layers = count(len(self.tensors), "tensor"), count(len(self.layers), "layer")
        return f"<Detail of step {self.step}: {tensors}, {layers}>"


class EventKind(StrEnum):
    """What can happen in a run."""

    SPIKE = "spike"
    NON_FINITE = "non_finite"
    OVERWRITE = "overwrite"
    CLIP = "clip"
    STOP = "stop"
    SKIP = "skip"
    ROLLBACK = "rollback"
    DYING = "dying"
    VANISHING = "vanishing"
    DIVERGENCE = "divergence"
    SCALER = "scaler"
    NOTE = "note"
    FACT = "fact"

    @property
    def words(self) -> str:
        """For people."""
        return _KINDS[self]


_KINDS = {
    EventKind.SPIKE: msg("spike"),
    EventKind.NON_FINITE: msg("non finite"),
    EventKind.OVERWRITE: msg("overwrite"),
    EventKind.CLIP: msg("clip"),
    EventKind.STOP: msg("stop"),
    EventKind.SKIP: msg("skip"),
    EventKind.ROLLBACK: msg("rollback"),
    EventKind.DYING: msg("dying"),
    EventKind.VANISHING: msg("vanishing"),
    EventKind.DIVERGENCE: msg("divergence"),
    EventKind.SCALER: msg("scaler"),
    EventKind.NOTE: msg("note"),
    EventKind.FACT: msg("fact"),
}


BAD_EVENTS = {EventKind.NON_FINITE, EventKind.OVERWRITE, EventKind.STOP, EventKind.DIVERGENCE}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a step.

    Attributes:
        step: 0-based.
        kind: what happened.
        message: one line for people.
        layer: the user's own name of where it happened; None where not known.
        values: figures by name.
    """

    step: int
    kind: EventKind
    message: str
    layer: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def event_of(fact: Fact) -> Event:
    """A fact as it stands in a run file; ``Run.facts`` gives it back."""
    text = fact.kind.replace("_", " ") + (f" at {fact.where}" if fact.where else "")
    step = 0 if fact.step is None else fact.step
    return Event(step, EventKind.FACT, text, values=fact.to_values())


RunStatus = Literal["running", "finished", "stopped", "failed", "interrupted"]


@dataclass(frozen=True, slots=True, repr=False)
class Run(Displayed):
    """A watched training, read back from its file by ``evengrad.load``.

    Each table is a dict: column -> array, one row each. In those of tensors and layers the columns "tensor" and
    "layer" are indices into ``subject.tensors`` and ``layers``; ``frame`` gives them names.

    Attributes:
        path: of the run file.
        subject: what was watched.
        status: "running", "finished", "stopped" (by the guard), "failed" or "interrupted".
        started: seconds since 1970.
        layers: names of the sampled activations.
        steps: a row a step; columns as in ``Step``.
        details: a row an observed step and tensor: "step", "tensor" and TENSOR_FIGURES.
        samples: a row an observed step and activation: "step", "layer" and LAYER_FIGURES.
        recent: "step", "tensor", "gradient_rms" of the steps before each thing that happened.
        events: what happened, in order.
        facts: what was seen of the script's loop, for the rules in ``diagnosis/fact_rules``.
        seen: what its first steps showed of what it is to learn, by name; see ``recording.lesson``.
    """

    path: Path
    subject: Subject
    status: RunStatus
    started: float
    layers: tuple[str, ...]
    steps: Mapping[str, npt.NDArray[Any]]
    details: Mapping[str, npt.NDArray[Any]]
    samples: Mapping[str, npt.NDArray[Any]]
    recent: Mapping[str, npt.NDArray[Any]]
    events: tuple[Event, ...]
    facts: tuple[Fact, ...] = ()
    seen: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        steps, events = count(len(self.steps["step"]), "step"), count(len(self.events), "event")
        return (
            f"<Run of {self.subject.script}, {self.status}: {steps}, {events}, {str(self.path)!r}>"
        )

    def headline(self) -> Headline:
        """How it ended, and what happened in it, for a notebook."""
        loss, steps = self.steps["loss"], count(len(self.steps["step"]), "step")
        losses = f", loss {loss[0]:.4g} to {loss[-1]:.4g}" if len(loss) else ""
        title = f"Run of {self.subject.script}: {self.status}, {steps}{losses}"
        return Headline(title, tuple(f"step {e.step:,}: {e.message}" for e in self.events))

    def frame(self, table: Literal["steps", "details", "samples", "recent", "events"]) -> Any:
        """A table as a pandas DataFrame, with names instead of indices.

        Args:
            table: which one.

        Returns:
            The DataFrame, a row for each of the table's.

        Raises:
            EvengradError: pandas is not installed.
        """
        try:
            import pandas  # type: ignore[import-untyped]
        except ImportError as error:
            raise EvengradError(
                msg(
                    "Run.frame gives a pandas DataFrame: pip install pandas. Without it, Run.steps and "
                    "the like "
                    "are NumPy arrays by column."
                )
            ) from error
        if table == "events":
            columns = ("step", "kind", "layer", "message")
            rows = [[getattr(event, name) for name in columns] for event in self.events]
            return pandas.DataFrame(rows, columns=list(columns))
        found = pandas.DataFrame(dict(getattr(self, table)))
        if "tensor" in found:
            found["tensor"] = [self.subject.tensors[i].name for i in found["tensor"]]
        if "layer" in found:
            found["layer"] = [self.layers[i] for i in found["layer"]]
        return found

    @property
    def without_loss(self) -> npt.NDArray[np.bool_]:
        """Which steps have a loss that is NaN or infinite. A NaN that only was not seen is none, as where an
        optimizer steps twice on one loss; nor is what a loss scaler skips now and then, up to a tenth of all.
        """
        loss = self.steps["loss"]
        seen = np.cumsum(~np.isnan(loss)) > 0
        if any(fact.kind == "loss_not_finite" for fact in self.facts):
            seen[:] = True
        else:  # of one that stays NaN to the end it is not known whether it was seen
            last = np.flatnonzero(np.isfinite(loss))
            seen &= np.isinf(loss) | (np.arange(len(loss)) > (last[-1] if len(last) else -1))
        found: npt.NDArray[np.bool_] = ~np.isfinite(loss) & seen
        applied = self.steps["applied"] > 0
        if 10 * (found & ~applied).sum() <= len(loss):
            found &= applied
        return found

    @property
    def failure(self) -> Event | None:
        """The event that stopped it, or the first that is bad; None if nothing is."""
        stops = [event for event in self.events if event.kind is EventKind.STOP]
        return next((e for e in [*stops, *self.events] if e.kind in BAD_EVENTS), None)
