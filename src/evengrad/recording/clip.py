"""The arithmetic of clipping, on whatever computes: NumPy, PyTorch, or Keras' ops inside a compiled step.

A clip turns the gradients' norms, one a tensor, into factors. What it remembers between steps is a dict of
small arrays that the caller keeps. Norms that are not finite never enter that memory: the published code of
AutoClip and ZClip lets one NaN poison it for ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from evengrad.errors import EvengradError
from evengrad.values.message import msg

AnyArray = Any
State = Mapping[str, AnyArray]
Scope = Literal["norms", "elements", "units", "updates"]
"""What a clip works on: the tensors' norms; each element; each output unit with its weights; the update
that the optimizer makes."""


class Namespace(Protocol):
    """The functions that the arithmetic needs, under NumPy's names; adapters hand in their own."""

    def sqrt(self, x: AnyArray) -> AnyArray: ...
    def exp(self, x: AnyArray) -> AnyArray: ...
    def log(self, x: AnyArray) -> AnyArray: ...
    def abs(self, x: AnyArray) -> AnyArray: ...
    def sum(self, x: AnyArray) -> AnyArray: ...
    def sort(self, x: AnyArray) -> AnyArray: ...
    def where(self, condition: AnyArray, x: AnyArray, y: AnyArray) -> AnyArray: ...
    def minimum(self, x: AnyArray, y: AnyArray) -> AnyArray: ...
    def maximum(self, x: AnyArray, y: AnyArray) -> AnyArray: ...
    def isfinite(self, x: AnyArray) -> AnyArray: ...
    def arange(self, n: int) -> AnyArray:
        """0 to n - 1, as floats."""

    def take(self, x: AnyArray, index: AnyArray) -> AnyArray:
        """The element of a vector at a whole number that is a float scalar."""


class OnHost:
    """The arithmetic on NumPy arrays."""

    sqrt = staticmethod(np.sqrt)
    exp = staticmethod(np.exp)
    log = staticmethod(np.log)
    abs = staticmethod(np.abs)
    sum = staticmethod(np.sum)
    sort = staticmethod(np.sort)
    where = staticmethod(np.where)
    minimum = staticmethod(np.minimum)
    maximum = staticmethod(np.maximum)
    isfinite = staticmethod(np.isfinite)

    @staticmethod
    def arange(n: int) -> AnyArray:
        """0 to n - 1, as floats."""
        return np.arange(n, dtype=np.float64)

    @staticmethod
    def take(x: AnyArray, index: AnyArray) -> AnyArray:
        """The element at a whole number that is a float."""
        return x[int(index)]


class OfNorms:
    """A clip by the norms of the tensors' gradients."""

    __slots__ = ()
    scope: ClassVar[Scope] = "norms"

    def start(self, tensors: int) -> dict[str, Any]:
        """What the first step is given as state.

        Args:
            tensors: how many.

        Returns:
            Arrays by name; by default nothing is remembered.
        """
        return {}

    def factors(self, xp: Namespace, norms: AnyArray, state: State) -> tuple[AnyArray, State]:
        """The factors of one step.

        Args:
            xp: the functions that the arithmetic needs.
            norms: of the gradients, (tensors,).
            state: what the step before returned, at first that of ``start``.

        Returns:
            One factor for all tensors, (), or one for each, (tensors,); and the new state.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class GlobalNorm(OfNorms):
    """All gradients by one factor, min(1, bound / norm): the direction stays.

    Attributes:
        bound: of the Euclidean norm of all gradients together; the field's usual value is 1.

    References:
        Pascanu 2013, 1211.5063, algorithm 1.
    """

    name: ClassVar[str] = "norm"
    bound: float = 1.0

    def factors(self, xp: Namespace, norms: AnyArray, state: State) -> tuple[AnyArray, State]:
        """See OfNorms; one factor for all tensors."""
        return _at_most(xp, global_norm(xp, norms), self.bound), state


@dataclass(frozen=True, slots=True)
class TensorNorm(OfNorms):
    """Each tensor by a factor of its own, min(1, bound / norm); Keras' ``clipnorm``.

    Changes the direction of the whole update, unlike the global norm.

    Attributes:
        bound: of each tensor's Euclidean norm.
    """

    name: ClassVar[str] = "tensor"
    bound: float = 1.0

    def factors(self, xp: Namespace, norms: AnyArray, state: State) -> tuple[AnyArray, State]:
        """See OfNorms; a factor for each tensor."""
        return _at_most(xp, norms, self.bound), state


@dataclass(frozen=True, slots=True)
class AutoClip(OfNorms):
    """The bound is a percentile of the run's own norms.

    Attributes:
        percentile: 0 to 100; the paper's 10, so that nine of ten steps are clipped.
        window: norms that are remembered; the paper keeps all.

    References:
        Seetharaman 2020, 2007.14469.
    """

    name: ClassVar[str] = "percentile"
    percentile: float = 10.0
    window: int = 1024

    def start(self, tensors: int) -> dict[str, Any]:
        """history: the last norms, (window,); count: of finite norms so far."""
        return _no_history(self.window)

    def factors(self, xp: Namespace, norms: AnyArray, state: State) -> tuple[AnyArray, State]:
        """See OfNorms; one factor for all tensors. The present norm is part of the history."""
        norm = global_norm(xp, norms)
        state = _remember(xp, norm, state, self.window)
        bound = _quantile(xp, state, self.percentile / 100, self.window)
        return _at_most(xp, norm, bound), state


@dataclass(frozen=True, slots=True)
class ZClip(OfNorms):
    """Steps whose norm stands out of its running mean are pulled in.

    A norm at z = (norm - mean) / sd above the threshold is clipped to mean + threshold^2 / z * sd, and enters
    the moving averages of mean and variance as such.

    Attributes:
        threshold: the largest z that is left alone, in standard deviations.
        alpha: weight of the past in the moving averages, 0 to 1.
        warm_up: norms from which mean and variance are made at first; none of them is clipped.

    References:
        Kumar 2025, 2504.02507.
    """

    name: ClassVar[str] = "zscore"
    threshold: float = 2.5
    alpha: float = 0.97
    warm_up: int = 25

    def start(self, tensors: int) -> dict[str, Any]:
        """count: of finite norms so far; mean, variance: of the norms."""
        zero = np.zeros((), np.float32)
        return {"count": zero, "mean": zero.copy(), "variance": zero.copy()}

    def factors(self, xp: Namespace, norms: AnyArray, state: State) -> tuple[AnyArray, State]:
        """See OfNorms; one factor for all tensors."""
        norm = global_norm(xp, norms)
        count, mean, variance = state["count"], state["mean"], state["variance"]
        warm = count < self.warm_up
        deviation = xp.maximum(xp.sqrt(variance), mean * 0 + 1e-6)
        z = (norm - mean) / deviation
        over = z > self.threshold
        clipped = mean + self.threshold**2 * deviation / xp.where(over, z, z * 0 + 1)
        kept = xp.where(warm, norm, xp.where(over, clipped, norm))
        # Welford in the warm-up, an exponential average after it.
        weight = xp.where(warm, 1 / (count + 1), count * 0 + (1 - self.alpha))
        new_mean = mean + weight * (kept - mean)
        spread = xp.where(warm, (kept - mean) * (kept - new_mean), (kept - new_mean) ** 2)
        new_variance = variance + weight * (spread - variance)
        good = xp.isfinite(norm)
        state = {
            "count": xp.where(good, count + 1, count),
            "mean": xp.where(good, new_mean, mean),
            "variance": xp.where(good, new_variance, variance),
        }
        return _at_most(xp, norm, kept), state


@dataclass(frozen=True, slots=True)
class AdaGC(OfNorms):
    """Each tensor against a moving average of its own clipped norm.

    Attributes:
        limit: a tensor's norm may be this many times its average (the paper's lambda).
        beta: weight of the past in the average, 0 to 1.
        warm_up: steps of global-norm clipping, in which each average is the smallest norm so far.
        bound: of the global norm in the warm-up.

    References:
        Wang 2025, 2502.11034, algorithm 1.
    """

    name: ClassVar[str] = "adagc"
    limit: float = 1.05
    beta: float = 0.98
    warm_up: int = 100
    bound: float = 1.0

    def start(self, tensors: int) -> dict[str, Any]:
        """average: of each tensor's norm, (tensors,); count: of finite steps so far."""
        return {"average": np.full(tensors, np.inf, np.float32), "count": np.zeros((), np.float32)}

    def factors(self, xp: Namespace, norms: AnyArray, state: State) -> tuple[AnyArray, State]:
        """See OfNorms; a factor for each tensor."""
        average, count = state["average"], state["count"]
        warm = count < self.warm_up
        whole = _at_most(xp, global_norm(xp, norms), self.bound) + norms * 0
        own = _at_most(xp, norms, self.limit * average)
        factors = xp.where(warm, whole, own)
        clipped = norms * factors
        moved = self.beta * average + (1 - self.beta) * clipped
        new = xp.where(warm, xp.minimum(average, clipped), moved)
        good = xp.isfinite(global_norm(xp, norms))
        state = {
            "average": xp.where(good, new, average),
            "count": xp.where(good, count + 1, count),
        }
        return factors, state


@dataclass(frozen=True, slots=True)
class Auto(OfNorms):
    """The bound from the run's own history: it binds on what stands out, and on nothing else.

    The bound is exp(median + spread * deviation) of the logarithms of the last norms, deviation being
    1.4826 times their median absolute deviation, at least 0.05 (gradient norms are close to log-normal, and
    medians are robust to outliers).

    Attributes:
        spread: in standard deviations of the log norm; 4 is measured: on healthy trainings it binds on about 1
            step in a hundred.
        window: norms that are remembered.
        warm_up: steps at the start in which nothing is clipped.

    References:
        docs/theory.md, "Clipping".
    """

    name: ClassVar[str] = "auto"
    spread: float = 4.0
    window: int = 128
    warm_up: int = 10

    def start(self, tensors: int) -> dict[str, Any]:
        """history: the last norms, (window,); count: of finite norms so far."""
        return _no_history(self.window)

    def factors(self, xp: Namespace, norms: AnyArray, state: State) -> tuple[AnyArray, State]:
        """See OfNorms; one factor for all tensors. The bound is that of the steps before."""
        norm = global_norm(xp, norms)
        middle = xp.log(_quantile(xp, state, 0.5, self.window) + _TINY)
        away = xp.abs(xp.log(state["history"] + _TINY) - middle)
        away = xp.where(xp.isfinite(state["history"]), away, state["history"])
        deviation = 1.4826 * _quantile(xp, {**state, "history": away}, 0.5, self.window)
        bound = xp.exp(middle + self.spread * xp.maximum(deviation, deviation * 0 + 0.05))
        warm = state["count"] < self.warm_up
        factor = xp.where(warm, norm * 0 + 1, _at_most(xp, norm, bound))
        return factor, _remember(xp, norm, state, self.window)


@dataclass(frozen=True, slots=True)
class Value:
    """Each element into [-bound, bound]; changes the direction. Keras' ``clipvalue``.

    Attributes:
        bound: of the absolute value of each element.
    """

    name: ClassVar[str] = "value"
    scope: ClassVar[Scope] = "elements"
    bound: float = 0.5


@dataclass(frozen=True, slots=True)
class AGC:
    """Each output unit's gradient against that unit's weights.

    g <- g * limit * max(||w||, eps) / ||g|| where ||g|| / max(||w||, eps) exceeds limit. Not on the last
    matrix of the model: the paper leaves out the final linear layer.

    Attributes:
        limit: the largest ratio of the norms, the paper's lambda.
        eps: the least norm that a unit's weights count with.

    References:
        Brock 2021 (NFNets), 2102.06171, section 4.
    """

    name: ClassVar[str] = "agc"
    scope: ClassVar[Scope] = "units"
    limit: float = 0.01
    eps: float = 1e-3

    def unit_factors(self, xp: Namespace, gradients: AnyArray, weights: AnyArray) -> AnyArray:
        """The factors of one tensor.

        Args:
            xp: the functions that the arithmetic needs.
            gradients: norm of each unit's gradient, (units,) or any shape that broadcasts to the tensor's.
            weights: norm of each unit's weights, of the same shape.

        Returns:
            A factor for each unit, of the same shape.
        """
        bound = self.limit * xp.maximum(weights, weights * 0 + self.eps)
        return _at_most(xp, gradients, bound)


@dataclass(frozen=True, slots=True)
class UpdateClip:
    """A tensor's step is divided by max(1, RMS_t / limit).

    RMS_t = sqrt(mean(g^2 / max(v, eps^2))) with Adam's second moment v of this step, bias-corrected.

    Attributes:
        limit: the largest RMS_t that is left alone, Adafactor's d.
        eps: the least root of the second moment.

    References:
        Wortsman 2023 (StableAdamW), 2304.13013, algorithm 2; Shazeer 2018 (Adafactor), 1804.04235, section 6.
    """

    name: ClassVar[str] = "update"
    scope: ClassVar[Scope] = "updates"
    limit: float = 1.0
    eps: float = 1e-8

    def factor(self, xp: Namespace, rms: AnyArray) -> AnyArray:
        """The factor of one tensor's update.

        Args:
            xp: the functions that the arithmetic needs.
            rms: the tensor's RMS_t, ().

        Returns:
            The factor, (), at most 1.
        """
        return 1 / xp.maximum(rms / self.limit, rms * 0 + 1)


NormClip = GlobalNorm | TensorNorm | AutoClip | ZClip | AdaGC | Auto
Clip = NormClip | Value | AGC | UpdateClip
"""What bounds the gradients, or the update, of a step; ``parse`` makes one from what a user writes."""
KINDS: tuple[type[Any], ...] = (
    GlobalNorm, TensorNorm, Value, AGC, AutoClip, ZClip, AdaGC, UpdateClip, Auto
)  # fmt: skip
_TINY = 1e-37


def parse(value: str | float | Clip | None) -> Clip | None:
    """A clip from what a user writes.

    Args:
        value: 1.0 (a global norm), "auto", "agc", "agc:0.02", "zscore:3", a clip, or None. The number after
            the colon is the kind's first parameter.

    Returns:
        The clip; None for none.

    Raises:
        EvengradError: anything else.
    """
    if value is None or isinstance(value, KINDS):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return GlobalNorm(_positive(float(value), value))
    name, colon, number = str(value).partition(":")
    if _number(name) is not None and not colon:
        return GlobalNorm(_positive(float(name), value))
    kinds = {kind.name: kind for kind in KINDS}
    if name not in kinds or (colon and _number(number) is None):
        known = ", ".join(f"{k.name}[:{_first(k)}]" for k in KINDS)
        raise EvengradError(
            msg(
                "Expected a clip such as 1.0, auto or agc:0.02, got {value!r}. The kinds, each with its "
                "default: {known}.",
                value=value,
                known=known,
            )
        )
    kind = kinds[name]
    return kind(_positive(float(number), value)) if number else kind()  # type: ignore[no-any-return]


def in_words(clip: Clip | None) -> str | None:
    """Such as "norm 1"; None for no clip."""
    return None if clip is None else f"{clip.name} {getattr(clip, fields(clip)[0].name):g}"


def as_settings(clip: Clip | None) -> dict[str, Any]:
    """What a run file says of its clip, each None where there is none.

    Args:
        clip: that of the run.

    Returns:
        "clip", in words; "clip_kind", its name; "clip_bound", the bound of the gradients themselves (of all, of
        a tensor's or of an element) for the kinds that have one.
    """
    return {
        "clip": in_words(clip),
        "clip_kind": None if clip is None else clip.name,
        "clip_bound": clip.bound if isinstance(clip, GlobalNorm | TensorNorm | Value) else None,
    }


def _first(kind: type[Any]) -> str:
    return f"{fields(kind)[0].default:g}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _positive(number: float, given: object) -> float:
    if not (math.isfinite(number) and number > 0):
        raise EvengradError(
            msg("Expected a clip with a positive, finite number, got {given!r}.", given=given)
        )
    return number


def global_norm(xp: Namespace, norms: AnyArray) -> AnyArray:
    """Norm of all tensors together; scaled by the largest, so that no square overflows."""
    top = xp.sort(norms)[-1]
    safe = xp.where(top > 0, top, top * 0 + 1)
    return safe * xp.sqrt(xp.sum((norms / safe) ** 2))


def _at_most(xp: Namespace, norm: AnyArray, bound: AnyArray) -> AnyArray:
    """min(1, bound / norm)."""
    safe = xp.maximum(norm, norm * 0 + _TINY)
    return xp.minimum(bound / safe, norm * 0 + 1)


def _no_history(window: int) -> dict[str, Any]:
    """The history of no step yet: inf where there is none."""
    return {"history": np.full(window, np.inf, np.float32), "count": np.zeros((), np.float32)}


def _remember(xp: Namespace, norm: AnyArray, state: State, window: int) -> State:
    """The history with this norm instead of the oldest; unchanged where it is not finite."""
    count = state["count"]
    good = xp.isfinite(norm)
    place = xp.arange(window) == count - window * ((count / window) // 1)
    history = xp.where(place, norm, state["history"])
    return {
        "history": xp.where(good, history, state["history"]),
        "count": xp.where(good, count + 1, count),
    }


def _quantile(xp: Namespace, state: State, q: float, window: int) -> AnyArray:
    """Quantile of the norms in the history, lower of the two neighbours; inf where there is none."""
    known = xp.minimum(state["count"], state["count"] * 0 + window)
    index = xp.maximum((q * (known - 1)) // 1, known * 0)
    return xp.take(xp.sort(state["history"]), index)
