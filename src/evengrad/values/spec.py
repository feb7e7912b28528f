"""A model as a framework-free graph of operations: what a forecast is made from.

Tensors are integers; ``ModelSpec.tensors`` has their shapes, batch included. Axes are counted from 0.
Weights are known by their moments only, so that a model of any size fits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evengrad.values.wording import count

Array = npt.NDArray[np.float64]
Shape = tuple[int, ...]


class Kind(StrEnum):
    """What an operation does to a gradient."""

    WEIGHTS = "weights"  # convolution, dense: a linear map by trainable weights, bias included
    EMBEDDING = "embedding"
    ACTIVATION = "activation"  # elementwise slope, or softmax
    NORMALISATION = "normalisation"
    POOLING = "pooling"
    DROPOUT = "dropout"
    MERGE = "merge"  # add, concatenate, multiply, matmul of two activations
    RESHAPE = "reshape"  # moves, pads, casts or drops elements
    ATTENTION = "attention"
    RECURRENT = "recurrent"
    LOSS = "loss"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Law:
    """The law of a tensor's elements over seeds: taken for independent, with these moments.

    Attributes:
        mean: E[w].
        rms: sqrt(E[w^2]).
        origin: "he_normal", "uniform(-0.1, 0.1)", "measured", ...
        taps: of a convolution kernel, the share of the energy at each of its positions, row-major, summing to
            1; None where all are alike.
        centred: the weights of each unit sum to zero (weight standardisation), so that what all its inputs
            share does not get through.
        bounds: the least and the largest value, where known: a decay that is never positive.
    """

    mean: float
    rms: float
    origin: str = "measured"
    taps: tuple[float, ...] | None = None
    centred: bool = False
    bounds: tuple[float, float] | None = field(default=None, compare=False)

    @property
    def variance(self) -> float:
        """Var w."""
        return max(self.rms**2 - self.mean**2, 0.0)


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """One weight tensor.

    Attributes:
        name: as in ``Probe.weights``.
        shape: its shape.
        law: of its elements.
        fan_in: as in ``probe.Weight``.
    """

    name: str
    shape: Shape
    law: Law
    fan_in: float | None = None


# --- operations -----------------------------------------------------------------------------------
# One input and one output unless said otherwise. ``weight``, ``bias``, ``scale``, ``shift`` are Laws;
# None where there is none.


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear map over some axes. All other axes stay, in their order.

    Attributes:
        weight: law of the kernel.
        bias: law of the bias; None where there is none.
        reads: axes of the input that are summed over.
        makes: the new axes of the output.
    """

    weight: Law
    bias: Law | None
    reads: tuple[int, ...]
    makes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution of any dimension.

    Attributes:
        weight: law of the kernel.
        bias: law of the bias; None where there is none.
        channels: that axis, the same in input and output.
        spatial: axes, in the order of the figures that follow.
        kernel: length along each.
        stride: along each.
        dilation: along each.
        padding: (before, after) along each; of a transposed one what it crops.
        groups: of channels; depthwise: as many as channels.
        transposed: whether it is the adjoint of the convolution with these figures.
    """

    weight: Law
    bias: Law | None
    channels: int
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    groups: int = 1
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Embedding:
    """Rows of a table, by integers; the new axis is the last."""

    weight: Law


@dataclass(frozen=True, slots=True)
class Pointwise:
    """An elementwise function of one tensor, constants and all.

    Attributes:
        name: such as "relu".
        phi: the function, on float64 NumPy arrays.
    """

    name: str
    phi: Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Combine:
    """An elementwise function of two tensors, broadcast as NumPy does (add, multiply, ...).

    A weight or a constant (position embedding, LayerScale) is a tensor in ``ModelSpec.constants``.

    Attributes:
        name: such as "add".
        phi: the function, on float64 NumPy arrays.
    """

    name: str
    phi: Callable[[Array, Array], Array]


@dataclass(frozen=True, slots=True)
class Normalise:
    """Batch, layer, instance, group and RMS normalisation with the batch's own statistics.

    Attributes:
        axes: those that the statistics are taken over.
        centred: whether the mean is taken out.
        epsilon: added to the variance.
        scale: per element of the other axes; None for 1.
        shift: per element of the other axes; None for 0.
        groups: with more than one, the statistics are also over the channels of a group along ``group_axis``.
        group_axis: that of the channels.
    """

    axes: tuple[int, ...]
    centred: bool = True
    epsilon: float = 1e-5
    scale: Law | None = None
    shift: Law | None = None
    groups: int = 1
    group_axis: int | None = None


@dataclass(frozen=True, slots=True)
class Softmax:
    """Softmax over one axis.

    Attributes:
        axis: which one.
        log: log_softmax.
    """

    axis: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class Einsum:
    """A product of two tensors, summed over the letters that are not in the output:
    "bhic,bhjc->bhij". Axes of length 1 that are broadcast have letters of their own.
    """

    equation: str


@dataclass(frozen=True, slots=True)
class Attention:
    """softmax(scale q k^T) v. Inputs q, k, v of shape (..., tokens, features), the same number of axes;
    k and v may have fewer heads.

    Attributes:
        causal: each token sees those up to it.
        scale: None: 1/sqrt(features).
        dropout: share of the attention weights that is zeroed, 0 to 1.
    """

    causal: bool = False
    scale: float | None = None
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """Windows over spatial axes.

    Attributes:
        reduction: what of each window.
        spatial: axes, in the order of the figures that follow.
        kernel: length along each.
        stride: along each.
        padding: (before, after) along each; never counted by a maximum, by an average if ``count_padding``.
        dilation: along each.
        count_padding: see padding.
    """

    reduction: Literal["max", "average"]
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    count_padding: bool = False


@dataclass(frozen=True, slots=True)
class Reduce:
    """Whole axes to one figure.

    Attributes:
        reduction: which figure.
        axes: which axes.
        keepdims: whether they stay, with length 1.
    """

    reduction: Literal["mean", "sum", "max", "min"]
    axes: tuple[int, ...]
    keepdims: bool = False


@dataclass(frozen=True, slots=True)
class Dropout:
    """Zeroes a share of the elements and scales the rest by 1 / (1 - rate).

    Attributes:
        rate: that share, 0 to 1.
        shared: axes along which one coin is tossed for all (spatial dropout, stochastic depth).
    """

    rate: float
    shared: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same elements in the same order in another shape; also flatten, squeeze and identity."""


@dataclass(frozen=True, slots=True)
class Transpose:
    """The same elements, the axes in another order.

    Attributes:
        permutation: [i]: the input's axis that becomes axis i.
    """

    permutation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Expand:
    """Broadcast to the output's shape (right-aligned, as NumPy does)."""


@dataclass(frozen=True, slots=True)
class Shuffle:
    """The same shape, the elements moved along some axes (flip, roll, channel shuffle)."""


@dataclass(frozen=True, slots=True)
class Concatenate:
    """Several inputs along one axis; a stack is a reshape of each and this."""

    axis: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Parts of one axis, one for each output (several: a split).

    Attributes:
        axis: which one.
        parts: (start, length) of each.
        step: places between two that are taken.
    """

    axis: int
    parts: tuple[tuple[int, int], ...]
    step: int = 1


@dataclass(frozen=True, slots=True)
class Select:
    """One index of an axis, which is dropped; several outputs: unbind.

    Attributes:
        axis: which one.
        index: which, if one and known.
    """

    axis: int
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Pad:
    """Elements put around.

    Attributes:
        axes: which axes.
        padding: (before, after) along each.
        zeros: constant zero; otherwise copies (reflect, replicate, circular).
    """

    axes: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    zeros: bool = True


@dataclass(frozen=True, slots=True)
class Upsample:
    """Spatial axes enlarged.

    Attributes:
        spatial: which axes.
        smooth: by interpolation, otherwise by repeating the nearest.
    """

    spatial: tuple[int, ...]
    smooth: bool = False


@dataclass(frozen=True, slots=True)
class Composite:
    """Several operations that count as one (multi-head attention); tensors are numbered in the same table."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Opaque:
    """No rule. The forecast lets the norm through and gives it a wide band. reason: for the note."""

    reason: str


Op = (
    Dense
    | Convolution
    | Embedding
    | Pointwise
    | Combine
    | Normalise
    | Softmax
    | Einsum
    | Attention
    | Pool
    | Reduce
    | Dropout
    | Reshape
    | Transpose
    | Expand
    | Shuffle
    | Concatenate
    | Slice
    | Select
    | Pad
    | Upsample
    | Composite
    | Opaque
)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Attributes:
        name: as in ``Probe.operations``, and so the next three.
        layer: the user's own name of the layer.
        kind: what it is in evengrad's words.
        type: what it is in the framework's.
        op: one of Op.
        inputs: the tensors that carry data or constants, in the op's order.
        outputs: what it makes.
        weights: names of those that it uses.
        source: "model.py:31", where it was called; None where not known.
    """

    name: str
    layer: str
    kind: Kind
    type: str
    op: Any  # one of Op
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    weights: tuple[str, ...] = ()
    source: str | None = None


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of the model.

    Attributes:
        name: as in ``Probe.inputs``.
        tensor: its number.
        integer: token ids, class numbers: no gradient goes there.
    """

    name: str
    tensor: int
    integer: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class ModelSpec:
    """A model as a graph of operations, its weights by their moments only.

    Attributes:
        frontend: whose vocabulary the user writes.
        backend: what computes.
        versions: such as "torch 2.13.0".
        model: its class.
        tensors: shape of each, batch included; other fields name a tensor by its place here.
        inputs: of the model.
        outputs: before a closing softmax, log_softmax or sigmoid, as ``Probe.outputs``.
        nodes: in an order in which they can run.
        weights: the trained tensors.
        constants: tensor -> its law, of what is neither made by a node nor an input.
        notes: what could not be read, and why.
    """

    frontend: Literal["keras", "torch", "jax"]
    backend: Literal["tensorflow", "jax", "torch"]
    versions: tuple[str, ...]
    model: str
    tensors: tuple[Shape, ...]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[int, ...]
    nodes: tuple[Node, ...]
    weights: tuple[WeightSpec, ...] = ()
    constants: dict[int, Law] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [count(len(self.nodes), "operation"), count(len(self.weights), "weight")]
        return f"<ModelSpec of {self.model} ({', '.join(self.versions)}): {', '.join(parts)}>"
