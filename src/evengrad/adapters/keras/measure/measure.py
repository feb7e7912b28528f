"""From the tensors of a replay and their gradients to the operations of a Probe."""

from __future__ import annotations

from typing import Any

import keras

from evengrad.adapters.common.health import activation_health
from evengrad.adapters.keras.backend.differentiate import Gradients, array
from evengrad.adapters.keras.trace.replay import Replay, ReplayedStep
from evengrad.values.probe import Input, Operation, Port
from evengrad.values.spec import Kind
from evengrad.values.summary import Summary, column_rms, nothing, summarise, together

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
                self._backward[key] = nothing(shape)
            else:
                self._backward[key] = self.unscaled(gradient)
        return self._backward[key]

    def unscaled(self, gradient: Any) -> Summary:
        """Figures of a gradient of the loss as the user has it."""
        return summarise(array(gradient)).scaled(1 / self._scale)

    def port(self, number: int, key: str | None = None) -> Port:
        """A tensor, and its gradient: by all paths, or at the tap of that key."""
        key = self._replay.inner_key(number) if key is None else key
        return Port(number, self.gradient(key, number).norm)

    def operation(self, step: ReplayedStep, names: dict[int, str]) -> Operation:
        """One step with all that was measured at it."""
        above = [self.gradient(self._replay.inner_key(n), n) for n in step.makes]
        health = None
        if step.kind is Kind.ACTIVATION:
            output = array(self._found.kept[str(step.makes[0])])
            layout = getattr(step.call.operation, "data_format", keras.config.image_data_format())
            axis = 1 if layout == "channels_first" and output.ndim >= 3 else -1
            health = activation_health(step.type, output, axis=axis)
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
            dtype=keras.backend.standardize_dtype(self._found.kept[str(step.makes[0])].dtype),
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
            made.append(Input(name, summarise(plain), port, column_rms(plain)))
        return tuple(made)


def input_names(structure: Any, count: int) -> list[str]:
    """Keys of a dict; else "input", or "input_1", "input_2"."""
    if isinstance(structure, dict) and len(structure) == count:
        return [str(k) for k in sorted(structure)]
    return ["input"] if count == 1 else [f"input_{i + 1}" for i in range(count)]
