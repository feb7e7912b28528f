"""What a remedy changes in a training, as values: an adapter applies them to the live model and optimizer,
``patch`` writes the same into the user's source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

Scheme = Literal["normal", "orthogonal", "zeros"]
OptimizerName = Literal["adam", "adamw", "rmsprop", "adagrad", "sgd"]
ClipKind = Literal[
    "norm", "value", "tensor", "agc", "percentile", "zscore", "adagc", "update", "auto"
]
NormKind = Literal["batch", "layer", "group"]


@dataclass(frozen=True, slots=True)
class Initialise:
    """Draw the weights of some layers anew, with ``Var W = gain^2 / fan_in``, and zero their biases.

    layers: their names, forward order. activation: the type that follows them ("relu", "tanh", ...; "linear"
    for none), for which gain keeps the variance (He 2015, 1502.01852; THEORY section 2). scheme: orthogonal
    is scaled by the same gain (Saxe 2013, 1312.6120; delta-orthogonal for convolutions, Xiao 2018, 1806.05393);
    zeros are for the ends of residual branches, and have the gain 0.
    """

    layers: tuple[str, ...]
    activation: str
    gain: float
    scheme: Scheme = "normal"


@dataclass(frozen=True, slots=True)
class Activation:
    """Another activation wherever ``old`` is now, but not in the loss head. slope: of a leaky_relu's
    negative side.
    """

    old: str
    new: str
    slope: float | None = None


@dataclass(frozen=True, slots=True)
class SetRate:
    """Another learning rate: what the optimizer starts with; a schedule of the script's is scaled alike."""

    value: float


@dataclass(frozen=True, slots=True)
class Warmup:
    """The learning rate rises linearly from rate / steps to the script's own in the first ``steps`` updates."""

    steps: int


@dataclass(frozen=True, slots=True)
class Decay:
    """The learning rate falls as a half cosine to zero over ``steps`` updates (Loshchilov 2016, 1608.03983)."""

    steps: int


@dataclass(frozen=True, slots=True)
class UseOptimizer:
    """Another optimizer with its framework's defaults but for the rate."""

    name: OptimizerName
    rate: float


@dataclass(frozen=True, slots=True)
class Beta2:
    """Adam's memory of squared gradients."""

    value: float


@dataclass(frozen=True, slots=True)
class ClipGradients:
    """Clip the gradients before each update. kind, bound: a clip's name and first parameter (``clip.py``)."""

    kind: ClipKind
    bound: float


@dataclass(frozen=True, slots=True)
class AddNormalisation:
    """A normalisation behind each of these weighted layers, before their activation."""

    kind: NormKind
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Logits:
    """The loss takes logits. from_logits: the network gives logits, and the loss must be told (Keras); else
    the closing softmax or sigmoid is taken away, for the loss applies it itself (PyTorch).
    """

    from_logits: bool


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs less ``mean``, divided by ``std``."""

    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Finite:
    """Values of the inputs that are not finite become 0."""


@dataclass(frozen=True, slots=True)
class FiniteTargets:
    """Values of a regression's targets that are not finite become 0."""


@dataclass(frozen=True, slots=True)
class UnitVariance:
    """Draw the weights of some layers orthogonal, then divide each by the standard deviation of its layer's
    output on the first batch, in forward order (LSUV, Mishkin 2015, 1511.06422); biases become zero.
    """

    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """A residual connection around each of these weighted layers, before the activation: ``x + a f(x)`` with a
    trained scalar a that begins at 0 (SkipInit, De 2020, 2002.10444). Input and output have one shape.
    """

    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LossScale:
    """The loss times ``value`` before differentiation, the gradients divided by it before the update, in a
    framework's own scaler, which adapts the value (Micikevicius 2018, 1710.03740).
    """

    value: float


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Weights out of a file (safetensors, Keras', PyTorch's), wherever name and shape agree.

    factor: of the learning rate in the layers that were matched, 0 to freeze them.
    """

    file: str
    factor: float


Change = (
    Initialise
    | Activation
    | SetRate
    | Warmup
    | Decay
    | UseOptimizer
    | Beta2
    | ClipGradients
    | AddNormalisation
    | Logits
    | Inputs
    | Finite
    | FiniteTargets
    | UnitVariance
    | Skip
    | LossScale
    | Pretrained
)
_KINDS = {kind.__name__: kind for kind in get_args(Change)}


_ORDER: tuple[type, ...] = (
    Logits,
    Finite,
    FiniteTargets,
    Inputs,
    Activation,
    AddNormalisation,
    Skip,
    Initialise,
    UnitVariance,
    Pretrained,
    UseOptimizer,
    LossScale,
    SetRate,
    Beta2,
    Warmup,
    Decay,
    ClipGradients,
)


def in_order(changes: Iterable[Change]) -> tuple[Change, ...]:
    """In an order in which none undoes another: the network before its weights before their training."""

    def place(change: Change) -> tuple[int, bool]:
        return _ORDER.index(type(change)), isinstance(
            change, Initialise
        ) and change.scheme == "zeros"

    return tuple(sorted(changes, key=place))


def to_json(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """As plain values, each with the name of its class."""
    return [{"change": type(change).__name__, **asdict(change)} for change in changes]


def from_json(values: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """What ``to_json`` gave. Raises KeyError on an unknown kind."""
    return tuple(_one(_KINDS[value["change"]], value) for value in values)


def _one(kind: type[Any], value: Mapping[str, Any]) -> Any:
    given = {f.name: value[f.name] for f in fields(kind)}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
