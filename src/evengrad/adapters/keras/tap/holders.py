"""The models that hold an optimizer's weights, by the names that the script gives them."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from evengrad.adapters.common.source import own_frames
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.spec.specify import model_name
from evengrad.adapters.keras.trace.weights import trainables


class Holders:
    """Models whose weights one optimizer moves, in what a single model would answer.

    Attributes:
        models: the outermost ones that have none but its weights, else the smallest that has them; empty where
            no model does.
        name: of the only model; empty where there are several.
        shown: the names by which the script knows them, such as "critic".
        jit_compile: False.
        loss: None: it is the script's own affair.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self._loose = list(variables)
        self.models = _holders(variables)
        self.name = self.models[0].name if len(self.models) == 1 else ""
        self.shown = ", ".join(dict.fromkeys(map(shown, self.models))) or "variables"
        self.jit_compile = False
        self.loss = None

    @property
    def variables(self) -> list[Any]:
        """All of the models, and those of the optimizer that are in none; each once."""
        found = [v for model in self.models for v in model.variables]
        return list({id(v): v for v in [*found, *self._loose]}.values())

    @property
    def trainable_variables(self) -> list[Any]:
        """What the optimizer moves, in the models' order."""
        own = {id(v) for v in self._loose}
        return [v for v in self.variables if id(v) in own]

    @property
    def non_trainable_variables(self) -> list[Any]:
        """Of the models, moving statistics for example."""
        found = [v for model in self.models for v in model.non_trainable_variables]
        return list({id(v): v for v in found}.values())

    def layer_of(self) -> dict[int, Any]:
        """The layer of each weight, by its id."""
        return {id(v): layer for model in self.models for v, layer in trainables(model)}


def shown(model: Any) -> str:
    """Its given name, its class where the user wrote one, or the variable or attribute that holds it."""
    made_up = compat.snake_case(type(model).__name__)
    if not re.fullmatch(rf"({made_up}|functional)(_\d+)?", str(model.name)):
        return str(model.name)
    for space in _spaces():
        for name, value in list(space.items()):
            if value is model and not name.startswith("_") and name != "self":
                return name
    return model_name(model)


def _spaces() -> Iterator[dict[str, Any]]:
    """The script's own names, from the line that is being executed outwards; attributes of its ``self`` too."""
    for frame in own_frames(sys._getframe(1)):
        yield frame.f_locals
        own = frame.f_locals.get("self")
        if isinstance(own, keras.Model):
            yield vars(own)
        yield frame.f_globals
        if frame.f_code.co_name == "<module>":
            return


def _holders(variables: Sequence[Any]) -> list[Any]:
    wanted = {id(v) for v in variables}
    known = [(m, {id(v) for v in m.trainable_variables}) for m in models() if m.built]
    within = [(m, ids) for m, ids in known if ids and ids <= wanted]
    within.sort(key=lambda pair: (-len(pair[1]), len(compat.layers_of(pair[0]))))
    found: list[Any] = []
    covered: set[int] = set()
    for model, ids in within:
        if not ids <= covered:
            found.append(model)
            covered |= ids
    if covered == wanted:
        return found
    around = [(m, ids) for m, ids in known if wanted <= ids]
    if around:
        return [min(around, key=lambda pair: len(pair[1]))[0]]
    return found


def models() -> list[Any]:
    """Every Keras model of this process, those aside that a Sequential keeps for itself."""
    found = [value for value in gc.get_objects() if issubclass(type(value), keras.Model)]
    inner = {id(compat.inner_model(model)) for model in found}
    return [model for model in found if id(model) not in inner]
