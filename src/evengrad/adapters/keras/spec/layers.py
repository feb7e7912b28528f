"""The rule of each Keras layer that is more than its operations, by its class.

All others are opened: called on symbolic tensors, and each operation inside goes by its own rule.
"""

from __future__ import annotations

from typing import Any

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.spec import attention, linear, moves, pointwise
from evengrad.adapters.keras.spec import normalise as norm
from evengrad.adapters.keras.spec.draft import LayerDraft, LayerRule, RuleResult


def recurrent(draft: LayerDraft) -> RuleResult:
    """No rule."""
    return draft.opaque("recurrent layers are not forecast")


def spectral(draft: LayerDraft) -> RuleResult:
    """No rule: the weights are divided by their own spectral norm in the forward pass."""
    return draft.opaque("weights are divided by their spectral norm")


_RULES: dict[LayerRule, str] = {
    linear.dense: "Dense",
    linear.einsum_dense: "EinsumDense",
    linear.embedding: "Embedding",
    linear.convolution: "Conv1D Conv2D Conv3D",
    linear.transposed: "Conv1DTranspose Conv2DTranspose Conv3DTranspose",
    linear.depthwise: "DepthwiseConv1D DepthwiseConv2D",
    linear.separable: "SeparableConv1D SeparableConv2D",
    pointwise.activation_layer: "Activation ReLU",
    norm.batch_normalisation: "BatchNormalization",
    norm.layer_normalisation: "LayerNormalization",
    norm.group_normalisation: "GroupNormalization",
    norm.rms_normalisation: "RMSNormalization",
    norm.dropout: "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout",
    norm.alpha_dropout: "AlphaDropout",
    norm.gaussian_noise: "GaussianNoise",
    norm.stochastic_depth: "StochasticDepth DropPath",
    norm.standardised: "Normalization",
    norm.rescaling: "Rescaling",
    moves.adaptive_pooling: (
        "AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D "
        "AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D"
    ),
    moves.reshape: "Masking",
    moves.upsampling: "UpSampling1D UpSampling2D UpSampling3D",
    attention.multi_head: "MultiHeadAttention",
    attention.grouped_query: "GroupQueryAttention GroupedQueryAttention",
    attention.dot_product: "Attention AdditiveAttention",
    spectral: "SpectralNormalization",
    recurrent: "LSTM GRU SimpleRNN RNN Bidirectional ConvLSTM1D ConvLSTM2D ConvLSTM3D",
}
_BY_CLASS = {name: rule for rule, names in _RULES.items() for name in names.split()}
_USERS = {"StochasticDepth", "DropPath"}  # no layer of Keras' own, known by name


def rule_of(layer: Any) -> LayerRule | None:
    """By its class, if that is Keras' own or keeps the ``call`` of one."""
    for cls in type(layer).__mro__:
        if cls.__name__ in _USERS and "call" in cls.__dict__:
            return _BY_CLASS[cls.__name__]
        if compat.is_keras_class(cls) and cls.__name__ in _BY_CLASS:
            return _BY_CLASS[cls.__name__]
        if "call" in cls.__dict__ and not compat.is_keras_class(cls):
            return None
    return None
