"""The data's loss: how it is computed, what it reads, and the targets that it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common.targets import targets_of
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import array
from evengrad.adapters.keras.backend.state import without_penalties
from evengrad.adapters.keras.trace.kinds import snake
from evengrad.errors import CannotCheckError
from evengrad.values.message import msg
from evengrad.values.probe import Family, Reads, Targets

_FAMILIES: dict[str, Family] = {
    "sparse_categorical_crossentropy": "sparse_categorical",
    "categorical_crossentropy": "categorical",
    "categorical_focal_crossentropy": "categorical",
    "binary_crossentropy": "binary",
    "binary_focal_crossentropy": "binary",
    "mean_squared_error": "regression",
    "mean_absolute_error": "regression",
    "mean_absolute_percentage_error": "regression",
    "mean_squared_logarithmic_error": "regression",
    "huber": "regression",
    "log_cosh": "regression",
    "poisson": "regression",
}
_PROBABILITIES = {"kl_divergence", "dice", "tversky"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a loss takes its input for."""

    name: str
    family: Family
    reads: Reads
    ignored: int | None


class DataLoss:
    """The loss of the data alone, given or compiled; the user's own loss state is left as it is."""

    def __init__(self, model: Any, loss: Any) -> None:
        self._model = model
        compiled = compat.compiled_loss(model)
        overridden = type(model).compute_loss is not keras.Model.compute_loss
        if loss is None and compiled is None and not overridden:
            expected = "a compiled model" if not model.compiled else "a loss in model.compile()"
            raise CannotCheckError(
                msg(
                    "Expected {expected}, or a loss to measure with. Call model.compile(loss=...), or "
                    "evengrad.check(model, loss=..., batch=(x, y)).",
                    expected=expected,
                )
            )
        self._given = loss is not None
        self._fresh: Any = None
        if loss is not None:
            names = getattr(model, "output_names", None)
            self._fresh = compat.compile_loss(_known(loss), names)
        elif compiled is not None:
            self._fresh = compat.fresh_loss(model)

    def build(self, y: Any, outputs: Any) -> Reading:
        """Settle what is compared with what, from symbolic outputs."""
        if self._fresh is None:
            return Reading(f"{type(self._model).__name__}.compute_loss", "other", "unknown", None)
        if y is None and not any(_overrides(self._model)):
            raise CannotCheckError(msg("The batch has no targets; expected batch=(x, y)."))
        if y is not None:
            symbols = keras.tree.map_structure(
                lambda v: keras.KerasTensor(
                    tuple(v.shape), keras.backend.standardize_dtype(v.dtype)
                ),
                y,
            )
            compat.symbolic_result(self._fresh, symbols, outputs)
        return self._reading()

    def __call__(self, outputs: Any, data: Any) -> Any:
        """Loss of (x, y, sample_weight) as a scalar tensor."""
        x, y, sample_weight = data
        if self._given:
            return self._fresh(y, outputs, sample_weight)
        kept = compat.compiled_loss(self._model)
        compat.put_loss(self._model, self._fresh)
        try:
            with without_penalties():
                value = compat.compute_loss(self._model, x, y, outputs, sample_weight)
        finally:
            compat.put_loss(self._model, kept)
        if value is None:
            raise CannotCheckError(
                msg(
                    "compute_loss gave no loss. Call evengrad.check(model, loss=..., batch=(x, y))."
                )
            )
        return value

    def _reading(self) -> Reading:
        found = [reading_of(loss) for loss in compat.single_losses(self._fresh)]
        if len(found) == 1:
            return found[0]
        return Reading(
            " + ".join(r.name for r in found) or "compute_loss", "other", "unknown", None
        )


def _known(loss: Any) -> Any:
    """A loss by its name, or as it is."""
    if isinstance(loss, str):
        try:
            return keras.losses.get(loss)
        except ValueError:
            raise CannotCheckError(
                msg(
                    "Keras knows no loss {loss!r}. Expected a name such as 'mse', a keras.losses.Loss or a "
                    "function of (y_true, y_pred).",
                    loss=loss,
                )
            ) from None
    if not callable(loss) and not isinstance(loss, dict | list | tuple):
        raise CannotCheckError(
            msg(
                "Expected loss= to be a name, a keras.losses.Loss or a function, got {loss!r}.",
                loss=loss,
            )
        )
    return loss


def _overrides(model: Any) -> tuple[bool, ...]:
    return (type(model).compute_loss is not keras.Model.compute_loss,)


def reading_of(loss: Any) -> Reading:
    """What a single loss takes its input for."""
    function = getattr(loss, "fn", None)
    name = type(loss).__name__
    word = snake(name)
    if name == "LossFunctionWrapper" and function is not None:
        name = word = str(getattr(function, "__name__", type(function).__name__))
    word = {"kldivergence": "kl_divergence", "klDivergence": "kl_divergence"}.get(word, word)
    options = compat.loss_options(loss)
    logits = getattr(loss, "from_logits", options.get("from_logits", False))
    ignored = getattr(loss, "ignore_class", options.get("ignore_class"))
    family = _FAMILIES.get(word, "other")
    reads: Reads = "unknown"
    if family == "regression":
        reads = "values"
    elif family != "other" or word in _PROBABILITIES:
        reads = "logits" if logits else "probabilities"
    return Reading(name, family, reads, None if ignored is None else int(ignored))


def targets(y: Any) -> Targets | None:
    """Figures of the targets, where there is one tensor of them."""
    flat = [v for v in keras.tree.flatten(y) if v is not None]
    if len(flat) != 1:
        return None
    return targets_of(array(flat[0]), keras.backend.standardize_dtype(flat[0].dtype))


def in_range(y: Any, classes: int | None, ignored: int | None) -> Any:
    """Class numbers brought into range, which some backends raise on: the rest can be measured."""
    if classes is None:
        return y

    def bring(values: Any) -> Any:
        plain = array(values)
        clipped = np.clip(plain, 0, classes - 1)
        if ignored is not None:
            clipped = np.where(plain == ignored, plain, clipped)
        if np.array_equal(plain, clipped):
            return values
        return keras.ops.convert_to_tensor(clipped.astype(plain.dtype))

    return keras.tree.map_structure(bring, y)
