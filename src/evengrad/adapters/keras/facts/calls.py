"""Hears the calls of losses and of closing activations, however the script came by the functions."""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import sys
import textwrap
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import CodeType, FrameType
from typing import Any

import keras

from evengrad.adapters.common.source import where
from evengrad.values.fact import Where

_LOSSES = (
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "ctc",
    "dice",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
)
_OPERATIONS = (
    "binary_crossentropy",
    "categorical_crossentropy",
    "ctc_loss",
    "sparse_categorical_crossentropy",
)
_OF_TENSORFLOW = (
    "ctc_loss",
    "sigmoid_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits",
    "sparse_softmax_cross_entropy_with_logits",
)
_HEADS = (
    *("sigmoid", "softmax", "tanh", "relu", "relu6", "softplus", "exponential"),
    *("hard_sigmoid", "hard_tanh", "elu", "selu", "clip", "clip_by_value"),
)
_TARGETS = ("y_true", "target", "labels")
_LARGE = 10  # no weight or epsilon of a loss, but what a range is divided by
_OUTPUTS = ("y_pred", "output", "logits")
_SUMMED = ("x", "input_tensor")
_STEPS = ("round", "sign", "floor", "ceil", "trunc", "heaviside", "floor_divide", "argmax")


@dataclass(frozen=True, slots=True)
class LossHeard:
    """A loss was called.

    Attributes:
        function: its name, as Keras or TensorFlow has it, or the user's own function's.
        own: it is a function or class of the user's, which takes the targets as they are.
        target: what it compares with.
        output: what it compares.
        logits: it takes the output for logits.
        ignored: the class number that counts as no label.
        head: the activation that made the output, None where it is none or not known.
        ends: the least and the largest value that it can give, None for each where there is none.
        where: the user's line.
        options: its other arguments by name.
    """

    function: str
    own: bool
    target: Any
    output: Any
    logits: bool
    ignored: int | None
    head: str | None
    ends: tuple[float | None, float | None]
    where: Where | None
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class SumHeard:
    """All of something was summed up to one number, by a loss or by the user.

    Attributes:
        function: that summed, as a user would write it.
        value: the sum.
        elements: how many losses there were to sum up.
        where: the user's line.
        reduced: a loss did, by its reduction.
    """

    function: str
    value: Any
    elements: int
    where: Where | None
    reduced: bool = False


@dataclass(frozen=True, slots=True)
class StepHeard:
    """A function was called whose slope is 0 wherever it has one. function: as the user writes it."""

    function: str
    where: Where | None


@dataclass(frozen=True, slots=True, eq=False)
class NormHeard:
    """A normalisation was called. training: its argument."""

    layer: Any
    inputs: Any
    training: bool
    where: Where | None


Ends = tuple[float | None, float | None]
_ENDS: dict[str, Ends] = {
    **dict.fromkeys(("sigmoid", "softmax", "hard_sigmoid"), (0.0, 1.0)),
    **dict.fromkeys(("tanh", "hard_tanh"), (-1.0, 1.0)),
    **dict.fromkeys(("softplus", "exponential"), (0.0, None)),
    "relu6": (0.0, 6.0),
    "selu": (-1.7581, None),
}
_BOUNDS = (("x_min", "x_max"), ("clip_value_min", "clip_value_max"))


def _ends(head: str, given: Mapping[str, Any]) -> Ends:
    """Of what an activation gives, by its arguments."""
    if head == "relu":
        least = None if given.get("negative_slope") else 0.0
        return least, _number(given.get("max_value"))
    if head == "elu":
        return -(_number(given.get("alpha", 1.0)) or 1.0), None
    if head in ("clip", "clip_by_value"):
        return next((_number(given[a]), _number(given[b])) for a, b in _BOUNDS if a in given)
    return _ENDS.get(head, (None, None))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _unheard(_: Any) -> None: ...


@contextmanager
def hearing_losses(
    told: Callable[[LossHeard], None],
    summed: Callable[[SumHeard], None] = _unheard,
    stepped: Callable[[StepHeard], None] = _unheard,
    normed: Callable[[NormHeard], None] = _unheard,
) -> Iterator[None]:
    """While it lasts, and in this thread, each call of a loss is told before it is made, and each sum, step
    function and normalisation after.
    """
    ear, before = _Ear(told, summed, stepped, normed), sys.getprofile()
    sys.setprofile(ear)
    try:
        yield
    finally:
        sys.setprofile(before)


class _Ear:
    """A profile function: Python calls it at each call and return."""

    def __init__(
        self,
        told: Callable[[LossHeard], None],
        summed: Callable[[SumHeard], None],
        stepped: Callable[[StepHeard], None],
        normed: Callable[[NormHeard], None],
    ) -> None:
        self._told, self._summed, self._stepped, self._normed = told, summed, stepped, normed
        self._norms = {} if normed is _unheard else _norm_codes()
        self._steps = {} if stepped is _unheard else step_codes()
        self._inside: FrameType | None = None
        self._heads: deque[tuple[Any, str, Ends]] = deque(maxlen=16)
        self._losses, self._activations, self._sums = _loss_codes(), _head_codes(), _sum_codes()
        self._around = _code(keras.losses.Loss.__call__)

    def __call__(self, frame: FrameType, event: str, given: Any) -> None:
        code = frame.f_code
        if event == "return":
            if frame is self._inside:
                self._inside = None
            elif code in self._activations and given is not None:
                head = self._activations[code]
                self._heads.append((given, head, _ends(head, frame.f_locals)))
            elif code in self._sums and given is not None:
                self._hear_sum(self._sums[code], frame, given)
            elif code is self._around and given is not None:
                self._hear_reduced(frame, given)
            elif code in self._norms:
                own = frame.f_locals
                training = bool(own.get("training"))
                self._normed(NormHeard(own["self"], own["inputs"], training, where(frame)))
            elif code in self._steps:
                self._stepped(StepHeard(self._steps[code], where(frame)))
        elif event == "call" and self._inside is None:
            if code in self._losses:
                self._inside = frame
                self._hear(self._losses[code], False, frame)
            elif code is self._around:
                self._hear_own(frame)

    def _hear_own(self, frame: FrameType) -> None:
        """A loss as an object: of interest where it is the user's own; Keras' functions speak themselves."""
        loss = frame.f_locals["self"]
        function = getattr(loss, "fn", None)
        if function is None:
            if type(loss).__module__.startswith("keras."):
                return
            function, name = getattr(type(loss), "call", None), type(loss).__name__
        else:
            name = str(getattr(function, "__name__", type(function).__name__))
        known = getattr(function, "__code__", None)
        if known is not None and known not in self._losses and not _scales(function):
            self._hear(name, True, frame)

    def _hear(self, function: str, own: bool, frame: FrameType) -> None:
        given = frame.f_locals
        target, output = (_first(given, names) for names in (_TARGETS, _OUTPUTS))
        if target is None or output is None:
            return
        made = ((h, e) for value, h, e in reversed(self._heads) if value is output)
        head, ends = next(made, (None, (None, None)))
        logits = bool(given.get("from_logits", "logits" in given))
        ignored = given.get("ignore_class")
        place, more = where(frame), dict(given)
        self._told(
            LossHeard(function, own, target, output, logits, ignored, head, ends, place, more)
        )

    def _hear_sum(self, function: str, frame: FrameType, value: Any) -> None:
        """By a function of the framework's."""
        given = frame.f_locals
        shape: Any = getattr(_first(given, _SUMMED), "shape", ())
        whole = given.get("axis") is None and len(shape) and (shape[0] or 0) > 1
        if whole and _is_float(value):
            self._summed(SumHeard(function, value, _product(shape), where(frame)))

    def _hear_reduced(self, frame: FrameType, value: Any) -> None:
        """By a loss that was told to: it sums the means along the last axis."""
        loss, shape = frame.f_locals["self"], getattr(frame.f_locals.get("y_pred"), "shape", ())
        if getattr(loss, "reduction", None) == "sum" and len(shape) > 1:
            name = f'{type(loss).__name__}(reduction="sum")'
            self._summed(SumHeard(name, value, _product(shape[:-1]), where(frame), reduced=True))


def _scales(function: Any) -> bool:
    """Whether a loss of the user's may bring its targets into range itself: it compares something, or has a
    number in it such as 255; or its source is not known.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return True
    return any(
        isinstance(n, ast.Compare)
        or (isinstance(n, ast.Constant) and isinstance(n.value, int | float) and n.value >= _LARGE)
        for n in ast.walk(tree)
    )


def _first(given: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((given[n] for n in names if given.get(n) is not None), None)


def _is_float(value: Any) -> bool:
    """A sum of integers counts something, and is no loss."""
    return "float" in str(getattr(value, "dtype", "float"))


def _product(shape: Any) -> int:
    return math.prod(int(n or 1) for n in shape)


@cache
def _sum_codes() -> dict[CodeType, str]:
    found = {_code(keras.ops.sum): "ops.sum"}
    if keras.backend.backend() == "tensorflow":
        found[_code(importlib.import_module("tensorflow").reduce_sum)] = "tf.reduce_sum"
    return {code: name for code, name in found.items() if code is not None}


@cache
def step_codes() -> dict[CodeType, str]:
    """Functions whose slope is 0, as a user calls them."""
    found = {_code(getattr(keras.ops, n, None)): f"ops.{n}" for n in _STEPS}
    if keras.backend.backend() == "tensorflow":
        math_ = importlib.import_module("tensorflow").math
        found |= {_code(getattr(math_, n, None)): f"tf.{n}" for n in _STEPS}
    return {code: name for code, name in found.items() if code is not None}


@cache
def _norm_codes() -> set[CodeType]:
    kinds = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)
    return {code for kind in kinds if (code := _code(kind.call)) is not None}


@cache
def _loss_codes() -> dict[CodeType, str]:
    found = {_code(getattr(keras.losses, n, None)): n for n in _LOSSES}
    found |= {_code(getattr(keras.ops, n, None)): n for n in _OPERATIONS}
    if keras.backend.backend() == "tensorflow":
        nn = importlib.import_module("tensorflow").nn
        found |= {_code(getattr(nn, n, None)): n for n in _OF_TENSORFLOW}
    return {code: name for code, name in found.items() if code is not None}


@cache
def _head_codes() -> dict[CodeType, str]:
    places: list[Any] = [keras.activations, keras.ops]
    if keras.backend.backend() == "tensorflow":
        places.append(importlib.import_module("tensorflow").nn)
    found = {_code(getattr(place, n, None)): n for place in places for n in _HEADS}
    if keras.backend.backend() == "tensorflow":
        found[_code(importlib.import_module("tensorflow").clip_by_value)] = "clip_by_value"
    return {code: name for code, name in found.items() if code is not None}


def _code(function: Any) -> CodeType | None:
    code = getattr(inspect.unwrap(function), "__code__", None) if function is not None else None
    return code if isinstance(code, CodeType) else None
