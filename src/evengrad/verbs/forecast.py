"""``evengrad.forecast``: the budget of a model from its architecture alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evengrad.adapters import adapter_of
from evengrad.diagnosis.diagnose import diagnose_probe
from evengrad.diagnosis.even import Even, even_initialisation
from evengrad.errors import CannotCheckError
from evengrad.theory.prediction import Band, Prediction, predict
from evengrad.values import wording
from evengrad.values.display import Displayed, Headline, finding_lines
from evengrad.values.finding import Finding
from evengrad.values.message import msg
from evengrad.values.probe import Probe
from evengrad.values.spec import ModelSpec, Shape
from evengrad.verbs.check import Check

InputShapes = Shape | Sequence[Shape] | Mapping[str, Shape]


@dataclass(frozen=True, slots=True, repr=False)
class Forecast(Displayed):
    """What a probe would measure, with a 95% band over seeds; natural logarithms.

    Attributes:
        prediction: the figures.
        findings: what the rules make of the median seed, most important first.
        initialisation: the weights that would make the budget even, one entry a kind of layer.

    References:
        docs/theory.md, "Growth through depth".
    """

    prediction: Prediction
    findings: tuple[Finding, ...]
    initialisation: tuple[Even, ...]

    def headline(self) -> Headline:
        """In a few lines."""
        low, middle, high = map(
            wording.factor, (self.total.low, self.total.median, self.total.high)
        )
        band = "" if low == high else msg(" ({low} to {high})", low=low, high=high)
        title = msg(
            "Forecast of {model}: gradient {middle}{band} from output to input",
            model=self.expected.model,
            middle=middle,
            band=band,
        )
        return Headline(title, finding_lines(self.findings))

    @property
    def expected(self) -> Probe:
        """What a probe of the median seed would measure; norms are relative to the outputs'."""
        return self.prediction.expected

    @property
    def levels(self) -> dict[str, Band]:
        """Operation -> log(norm of dL/dy at its output / norm at the outputs)."""
        return self.prediction.levels

    @property
    def terms(self) -> dict[str, Band]:
        """Operation -> its log gain."""
        return self.prediction.terms

    @property
    def total(self) -> Band:
        """log(norm at the model's inputs / norm at its outputs)."""
        return self.prediction.total

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read, and operations without a rule."""
        return self.expected.notes

    @property
    def check(self) -> Check:
        """As a check of the median seed, for the reports."""
        return Check(self.expected, self.findings, self.prediction)


def forecast(
    model: Any,
    input_shape: InputShapes | None = None,
    *,
    batch_size: int = 32,
    dtype: str | None = None,
) -> Forecast:
    """Forecast the gradients' budget of a model without data and without running it.

    Args:
        model: a ``torch.nn.Module`` or a Keras 3 model (weights may be on ``meta`` or not made at all), a
            function without arguments that builds one (it is then built without memory), or a ModelSpec.
            Weights with values count by their mean and rms, others by their initialiser.
        input_shape: of one sample, (3, 224, 224); several inputs: a list, or a dict by argument name. Keras
            models that know theirs need none.
        batch_size: samples in a batch.
        dtype: "int64" for token ids; without it float32 is tried first.

    Raises:
        CannotCheckError: the model cannot be described; the message says what to do.

    References:
        docs/theory.md, "Growth through depth".

    >>> evengrad.forecast(model, (3, 224, 224)).total.median  # doctest: +SKIP
    """
    if isinstance(model, ModelSpec):
        return judged(predict(model))
    if batch_size < 1:
        raise CannotCheckError(
            msg("Expected batch_size of at least 1, got {batch_size}.", batch_size=batch_size)
        )
    if not is_model(model) and callable(model):
        model = built(model)
    return judged(predict(_described(model, input_shape, batch_size, dtype)))


def _described(
    model: Any, shapes: InputShapes | None, batch_size: int, dtype: str | None
) -> ModelSpec:
    describe = adapter_of(model, "describe")
    inputs = _with_batch(shapes, batch_size, dtype or "float32")
    try:
        spec: ModelSpec = describe(model, inputs, batch_size=batch_size)
    except CannotCheckError:
        if dtype is not None or shapes is None:
            raise
        try:
            whole: ModelSpec = describe(
                model, _with_batch(shapes, batch_size, "int64"), batch_size=batch_size
            )
        except CannotCheckError:
            whole = None  # type: ignore[assignment]
        if whole is None:
            raise
        return whole
    return spec


TypedShape = tuple[Shape, str]


def _with_batch(
    shapes: InputShapes | None, batch_size: int, dtype: str
) -> tuple[TypedShape, ...] | dict[str, TypedShape] | None:
    """Shapes with the batch in front, and their dtype."""
    if shapes is None:
        return None
    if isinstance(shapes, Mapping):
        return {name: _typed(shape, batch_size, dtype) for name, shape in shapes.items()}
    several = bool(shapes) and isinstance(shapes[0], Sequence)
    parts: Sequence[Any] = shapes if several else [shapes]
    return tuple(_typed(shape, batch_size, dtype) for shape in parts)


def _typed(shape: Any, batch_size: int, dtype: str) -> TypedShape:
    if not isinstance(shape, Sequence) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise CannotCheckError(
            msg(
                "Expected input_shape to hold positive whole numbers, such as (3, 224, 224), got {shape!r}. "
                "Leave the batch out (batch_size has it), and give dynamic lengths a figure.",
                shape=shape,
            )
        )
    return (batch_size, *shape), dtype


def judged(prediction: Prediction) -> Forecast:
    """With what the rules and the theory of initialisation say of it."""
    expected = prediction.expected
    return Forecast(prediction, diagnose_probe(expected), even_initialisation(expected))


def is_model(value: Any) -> bool:
    """Whether it is a model already, and not what builds one."""
    try:
        adapter_of(value, "describe")
    except CannotCheckError:
        return False
    return True


def built(factory: Callable[[], Any]) -> Any:
    """Build a model of any size without memory for its weights."""
    framework = _framework_of(factory)
    adapter = importlib.import_module(f"evengrad.adapters.{framework}.describe")
    return adapter.abstract(factory)


def _framework_of(factory: Any) -> str:
    """By what the factory is or sees; Keras first, which may run on torch."""
    bases = getattr(factory, "__mro__", ())
    names = {b.__module__.split(".")[0] for b in bases}
    seen = getattr(factory, "__globals__", {})
    names |= {getattr(v, "__name__", "").split(".")[0] for v in seen.values() if _is_module(v)}
    names |= {str(getattr(v, "__module__", "")).split(".")[0] for v in seen.values()}
    for framework in ("keras", "torch"):
        if framework in names and framework in sys.modules:
            return framework
    for framework in ("torch", "keras"):
        if framework in sys.modules:
            return framework
    raise CannotCheckError(
        msg(
            "Expected a model, or a function that builds one with torch or Keras 3; neither framework has been "
            "imported. Import it in the module that defines the function."
        )
    )


def _is_module(value: Any) -> bool:
    return type(value).__name__ == "module"
