"""From the tensors of a replay and their gradients to the operations of a Probe."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras.differentiate import Gradients, array
from evengrad.adapters.keras.health import health_of
from evengrad.adapters.keras.replay import Replay, Step
from evengrad.probe import Input, Kind, Operation, Port
from evengrad.statistics import Summary, root_sum_squares, summarise

HEADS = {"softmax", "sigmoid", "log_softmax"}


class Measured:
    """Figures by tensor number. scale: by how much the loss, and so each gradient, was multiplied."""

    def __init__(self, replay: Replay, found: Gradients, scale: float) -> None:
        self._replay = replay
        self._found = found
        self._scale = scale
        self._forward: dict[int, Summary] = {}
        self._backward: dict[str, Summary] = {}

    def forward(self, number: int) -> Summary:
        """Of a tensor."""
        if number not in self._forward:
            self._forward[number] = summarise(array(self._found.kept[str(number)]))
        return self._forward[number]

    def gradient(self, key: str, number: int) -> Summary:
        """Of the gradient at a tap; zero where no path leads to the loss."""
        if key not in self._backward:
            gradient = self._found.taps.get(key)
            if gradient is None:
                shape = tuple(self._found.kept[str(number)].shape)
                self._backward[key] = Summary(shape, 0.0, 0.0, 0.0, 1.0, 0.0)
            else:
                self._backward[key] = self.unscaled(gradient)
        return self._backward[key]

    def unscaled(self, gradient: Any) -> Summary:
        """Figures of a gradient of the loss as the user has it."""
        found = summarise(array(gradient))
        if self._scale == 1.0:
            return found
        s = self._scale
        return replace(found, mean=found.mean / s, rms=found.rms / s, max=found.max / s)

    def port(self, number: int, key: str | None = None) -> Port:
        """A tensor, and its gradient: by all paths, or at the tap of that key."""
        key = self._replay.inner_key(number) if key is None else key
        return Port(number, self.gradient(key, number).norm)

    def operation(self, step: Step, names: dict[int, str]) -> Operation:
        """One step with all that was measured at it."""
        above = [self.gradient(self._replay.inner_key(n), n) for n in step.makes]
        health = None
        if step.kind is Kind.ACTIVATION:
            first = getattr(step.call.operation, "data_format", keras.config.image_data_format())
            output = array(self._found.kept[str(step.makes[0])])
            health = health_of(step.type, output, channels_first=first == "channels_first")
        return Operation(
            name=step.name,
            layer=step.layer,
            kind=step.kind,
            type=step.type,
            inputs=tuple(self.port(number, key) for number, key in step.reads),
            outputs=tuple(self.port(number) for number in step.makes),
            forward=together([self.forward(n) for n in step.makes]),
            backward=together(above),
            weights=tuple(names[id(v)] for v in step.weights if id(v) in names),
            health=health,
            source=step.call.source,
        )

    def inputs(self, x: Any) -> tuple[Input, ...]:
        """The model's inputs, by the names that the user gives them."""
        leaves = keras.tree.flatten(self._replay.trace.inputs)
        values = keras.tree.flatten(x)
        names = input_names(self._replay.trace.inputs, len(leaves))
        made = []
        for name, leaf, value in zip(names, leaves, values, strict=True):
            plain = array(value)
            number = self._replay.number(leaf)
            port = self.port(number) if str(number) in self._found.kept else None
            columns: tuple[float, ...] = ()
            if plain.ndim == 2:
                wide = plain.astype(np.float64)
                wide = np.where(np.isfinite(wide), wide, 0.0)
                columns = tuple(float(c) for c in np.sqrt(np.mean(wide**2, axis=0)))
            made.append(Input(name, summarise(plain), port, columns))
        return tuple(made)


def input_names(structure: Any, count: int) -> list[str]:
    """Keys of a dict; else "input", or "input_1", "input_2"."""
    if isinstance(structure, dict) and len(structure) == count:
        return [str(k) for k in sorted(structure)]
    return ["input"] if count == 1 else [f"input_{i + 1}" for i in range(count)]


def together(parts: list[Summary]) -> Summary:
    """Several tensors as one; the shape of the first."""
    if len(parts) == 1:
        return parts[0]
    good = [p.size * (1 - p.non_finite) for p in parts]
    size, count = sum(p.size for p in parts), sum(good) or 1.0
    norm = root_sum_squares(p.rms * math.sqrt(n) for p, n in zip(parts, good, strict=True))
    return Summary(
        shape=parts[0].shape,
        mean=sum(p.mean * n for p, n in zip(parts, good, strict=True)) / count,
        rms=norm / math.sqrt(count),
        max=max(p.max for p in parts),
        zeros=sum(p.zeros * p.size for p in parts) / max(size, 1),
        non_finite=sum(p.non_finite * p.size for p in parts) / max(size, 1),
    )
