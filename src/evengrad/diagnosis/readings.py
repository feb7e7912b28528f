"""What a run's tables say, in the shapes that its rules and its report need."""

from __future__ import annotations

import math
import re

import numpy as np
import numpy.typing as npt

from evengrad.values.run import Event, EventKind, Floats, Run

StepNumbers = npt.NDArray[np.int64]
ENOUGH = 40
"""Steps of which a loss must be known before anything is said of whether it falls: ten at either end make a
mean, and as many again lie between."""


def events_of_kind(run: Run, *kinds: EventKind) -> list[Event]:
    """The events of these kinds, in order."""
    return [event for event in run.events if event.kind in kinds]


def tensor_figure(run: Run, figure: str) -> tuple[StepNumbers, Floats]:
    """A figure of the tensors over the observed steps: (steps,), (steps, tensors); NaN where missing."""
    return _grid(run.details, figure, "tensor", len(run.subject.tensors))


def layer_figure(run: Run, figure: str) -> tuple[StepNumbers, Floats]:
    """A figure of the activations over the observed steps: (steps,), (steps, layers); NaN where missing."""
    return _grid(run.samples, figure, "layer", len(run.layers))


def ratios(run: Run) -> tuple[StepNumbers, Floats]:
    """rms(update) / rms(weights) over the observed steps, (steps, tensors); NaN where there is none."""
    steps, updates = tensor_figure(run, "update_rms")
    weights = tensor_figure(run, "weight_rms")[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(weights > 0, updates / weights, np.nan)
    return steps, found


def matrices(run: Run) -> list[int]:
    """The tensors with a fan-in: weights, not biases, scales or embeddings."""
    return [i for i, tensor in enumerate(run.subject.tensors) if tensor.fan_in]


def by_layer(run: Run, values: Floats) -> tuple[list[str], Floats]:
    """Rms over each layer's tensors: layer names, (steps, layers). values: rms figures, (steps, tensors).

    A layer's matrices stand for it; its other tensors only where it has none.
    """
    layers = list(dict.fromkeys(tensor.layer for tensor in run.subject.tensors))
    out = np.full((len(values), len(layers)), np.nan)
    for column, layer in enumerate(layers):
        own = [i for i, tensor in enumerate(run.subject.tensors) if tensor.layer == layer]
        own = [i for i in own if run.subject.tensors[i].fan_in] or own
        sizes = np.array([max(math.prod(run.subject.tensors[i].shape), 1) for i in own])
        top = np.abs(values[:, own]).max(axis=1, initial=0.0, keepdims=True)
        safe = np.where((top > 0) & np.isfinite(top), top, 1.0)
        squares = (values[:, own] / safe) ** 2 * sizes
        out[:, column] = safe[:, 0] * np.sqrt(squares.sum(axis=1) / sizes.sum())
    return layers, out


def gradient_profile(run: Run, observed: int = 5) -> tuple[list[str], Floats, Floats]:
    """Layer names, and each layer's gradient rms at the start and now, (layers,): medians of the first and
    last few observed steps, over the finite ones.
    """
    layers, values = by_layer(run, tensor_figure(run, "gradient_rms")[1])
    return layers, medians(values[:observed]), medians(values[-observed:])


def medians(values: Floats) -> Floats:
    """Medians down the rows over the finite values; NaN where there are none."""
    finite = np.where(np.isfinite(values), values, np.nan)
    found = np.full(values.shape[1], np.nan)
    some = np.isfinite(finite).any(axis=0) if len(values) else np.zeros(values.shape[1], bool)
    found[some] = np.nanmedian(finite[:, some], axis=0)
    return found


def first_to_last(gradients: Floats, own: list[int]) -> float:
    """The gradient of the first weight matrix over the last one's, by the medians of some steps'
    ``gradient_rms``, (steps, tensors); NaN where it is not known. own: see ``matrices``; one at least.
    """
    first, last = medians(gradients)[[own[0], own[-1]]]
    return float(first / last) if last > 0 else math.nan


def losses(run: Run) -> tuple[StepNumbers, Floats]:
    """The finite losses and their steps."""
    loss = run.steps["loss"]
    good = np.isfinite(loss)
    return run.steps["step"][good], loss[good]


def applied(run: Run, column: str) -> Floats:
    """A column of the steps that reached the weights, where it is finite."""
    values: Floats = run.steps[column][run.steps["applied"] > 0]
    return values[np.isfinite(values)]


def half_precision(run: Run) -> bool:
    """Whether a loss scaler has spoken."""
    return bool(events_of_kind(run, EventKind.SCALER))


def adam_like(run: Run) -> bool:
    """Whether the optimizer divides by the root of a running mean of squares."""
    return re.search("adam|rmsprop|nadam|lamb", run.subject.optimizer, re.IGNORECASE) is not None


def clip_bound(run: Run) -> float | None:
    """The bound on the global norm, where that is the clip that was asked for and the run says so."""
    settings = run.subject.settings
    return float(settings["clip_bound"]) if settings.get("clip_kind") == "norm" else None


def rate_at(run: Run, step: int) -> float:
    """The learning rate at a step; NaN where it is not known."""
    at = np.flatnonzero(run.steps["step"] == step)
    return float(run.steps["rate"][at[-1]]) if len(at) else math.nan


def _grid(table: object, figure: str, item: str, count: int) -> tuple[StepNumbers, Floats]:
    columns: dict[str, npt.NDArray[np.float64]] = dict(table)  # type: ignore[call-overload]
    steps, row = np.unique(columns["step"], return_inverse=True)
    out = np.full((len(steps), count), np.nan)
    out[row, columns[item].astype(np.int64)] = columns[figure]
    return steps.astype(np.int64), out
