"""What each Keras layer and operation does to a gradient, by its class."""

from __future__ import annotations

import re
from typing import Any

from evengrad.adapters.keras import compat
from evengrad.values.spec import Kind


def snake(name: str) -> str:
    """LeakyReLU -> leaky_relu, TrueDivide -> true_divide."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    return {"re_lu": "relu", "leaky_re_lu": "leaky_relu", "p_re_lu": "prelu"}.get(plain, plain)


_LAYERS: dict[Kind, str] = {
    Kind.WEIGHTS: (
        "Dense EinsumDense Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose "
        "DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D"
    ),
    Kind.EMBEDDING: "Embedding ReversibleEmbedding",
    Kind.ACTIVATION: "Activation ReLU LeakyReLU PReLU ELU Softmax",
    Kind.NORMALISATION: (
        "BatchNormalization LayerNormalization GroupNormalization RMSNormalization UnitNormalization"
    ),
    Kind.POOLING: (
        "MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D "
        "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D "
        "GlobalMaxPooling2D GlobalMaxPooling3D AdaptiveAveragePooling1D AdaptiveAveragePooling2D "
        "AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D"
    ),
    Kind.DROPOUT: (
        "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout "
        "GaussianNoise"
    ),
    Kind.MERGE: "Add Subtract Multiply Average Maximum Minimum Concatenate Dot",
    Kind.RESHAPE: (
        "Flatten Reshape Permute RepeatVector ZeroPadding1D ZeroPadding2D ZeroPadding3D Cropping1D "
        "Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D Masking Identity"
    ),
    Kind.ATTENTION: "MultiHeadAttention GroupQueryAttention Attention AdditiveAttention",
    Kind.RECURRENT: "LSTM GRU SimpleRNN RNN Bidirectional ConvLSTM1D ConvLSTM2D ConvLSTM3D",
    Kind.OTHER: "Normalization Rescaling",
}
_OPERATIONS: dict[Kind, str] = {
    Kind.ACTIVATION: (
        "Relu Relu6 Sigmoid Tanh Silu Gelu Selu Elu Celu LeakyRelu Softplus Softsign LogSigmoid "
        "HardSigmoid HardSilu HardTanh HardShrink SoftShrink TanhShrink Softmax LogSoftmax Glu Threshold "
        "Squareplus SparsePlus SparseSigmoid Sparsemax Mish Clip Sin Cos Erf"
    ),
    Kind.NORMALISATION: "BatchNorm Normalize RMSNorm LayerNorm",
    Kind.POOLING: (
        "Mean Sum Max Min MaxPool AveragePool Amax Amin Average ReduceMean ReduceSum ReduceMax ReduceMin "
        "MaxPool2d AvgPool2d AdaptiveAvgPool2d Maxpool Avgpool AvgPool"
    ),
    Kind.MERGE: (
        "Add Subtract Multiply Divide TrueDivide Concatenate Stack Hstack Vstack Matmul Einsum Dot "
        "Tensordot Maximum Minimum Where Outer Inner AddV2 Sub Mul Div Concat Cat AddN Linear"
    ),
    Kind.RESHAPE: (
        "Reshape Transpose GetItem Cast Squeeze ExpandDims Pad Split Flip Roll Swapaxes Moveaxis Ravel "
        "Flatten Permute Unsqueeze StridedSlice Gather ReshapeV2 TransposeV2 SqueezeV2 ExpandDimsV2 "
        "Repeat Tile BroadcastTo Take TakeAlongAxis Slice Resize Unstack Copy Identity Tril Triu ExtractPatches"
    ),
    Kind.WEIGHTS: "Conv DepthwiseConv SeparableConv ConvTranspose",
    Kind.ATTENTION: "DotProductAttention",
}
_BY_LAYER = {name: kind for kind, names in _LAYERS.items() for name in names.split()}
_BY_OPERATION = {snake(name): kind for kind, names in _OPERATIONS.items() for name in names.split()}
_PRODUCTS = {"matmul", "einsum", "tensordot", "dot", "linear"}


def kind_of_layer(layer: Any) -> Kind:
    """Kind of a layer, by the nearest Keras class that it is or descends from."""
    for cls in type(layer).__mro__:
        if cls.__name__ in _BY_LAYER and cls.__module__.startswith("keras"):
            return _BY_LAYER[cls.__name__]
    return Kind.OTHER


def kind_of_operation(name: str, *, inputs: int, weighted: bool) -> Kind:
    """Kind of a ``keras.ops`` class. inputs: activations that it reads; weighted: it reads a variable."""
    name = snake(name)
    if name in _PRODUCTS and weighted:
        return Kind.WEIGHTS
    kind = _BY_OPERATION.get(name, Kind.OTHER)
    return Kind.OTHER if kind is Kind.MERGE and inputs < 2 else kind


def is_keras_layer(layer: Any) -> bool:
    """Whether a layer's own class is one that Keras ships, and so is one operation."""
    return compat.is_keras_class(type(layer))


def type_of_layer(layer: Any, kind: Kind) -> str:
    """Class name; for activations the function's own name."""
    name = type(layer).__name__
    if kind is not Kind.ACTIVATION:
        return name
    if name == "Activation":
        return activation_name(layer.activation)
    if name == "ReLU":
        return (
            "relu"
            if layer.max_value is None
            else "relu6"
            if layer.max_value == 6
            else "clipped_relu"
        )
    return snake(name)


def activation_name(activation: Any) -> str:
    """Keras' name of a callable: a function, an activation layer or a class instance."""
    name = getattr(activation, "__name__", None) or type(activation).__name__
    return snake(str(name))
