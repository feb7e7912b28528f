"""What each torch function does to a gradient, by its name."""

from __future__ import annotations

from evengrad.values.probe import Family, Reads
from evengrad.values.spec import Kind

_WEIGHTS = "linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"
_PRODUCT = "matmul mm bmm mv addmm baddbmm einsum __matmul__ __rmatmul__ tensordot chain_matmul dot"
_ACTIVATION = (
    "relu leaky_relu prelu rrelu elu selu celu gelu silu mish softplus softsign tanh sigmoid logsigmoid "
    "hardtanh hardsigmoid hardswish hardshrink softshrink tanhshrink relu6 threshold glu softmax "
    "log_softmax softmin gumbel_softmax clamp clamp_min clip sin cos erf"
)
_NORMALISATION = (
    "batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm normalize"
)
_POOLING = "mean max min amax amin sum"
_RESHAPE = (
    "flatten view view_as reshape reshape_as permute transpose t T mT swapaxes movedim moveaxis contiguous "
    "__getitem__ __setitem__ pad squeeze unsqueeze expand expand_as chunk split unbind narrow select "
    "index_select gather clone to float double half bfloat16 type type_as cpu cuda unfold fold roll flip "
    "repeat repeat_interleave tile channel_shuffle pixel_shuffle pixel_unshuffle interpolate upsample "
    "masked_fill tril triu unflatten take_along_dim copy_ real imag"
)
_MERGE = (
    "add sub mul div __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ __imul__ "
    "__truediv__ __rtruediv__ __itruediv__ cat concat concatenate stack hstack vstack where maximum minimum "
    "lerp addcmul addcdiv"
)

_TABLE: dict[str, Kind] = {
    name: kind
    for names, kind in (
        (_WEIGHTS, Kind.WEIGHTS),
        (_PRODUCT, Kind.WEIGHTS),
        (_ACTIVATION, Kind.ACTIVATION),
        (_NORMALISATION, Kind.NORMALISATION),
        (_POOLING, Kind.POOLING),
        (_RESHAPE, Kind.RESHAPE),
        (_MERGE, Kind.MERGE),
        ("embedding embedding_bag", Kind.EMBEDDING),
        ("scaled_dot_product_attention multi_head_attention_forward", Kind.ATTENTION),
        (
            "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell",
            Kind.RECURRENT,
        ),
    )
    for name in names.split()
}

LOSSES: dict[str, tuple[Family, Reads]] = {
    "cross_entropy": ("sparse_categorical", "logits"),
    "nll_loss": ("sparse_categorical", "log_probabilities"),
    "binary_cross_entropy": ("binary", "probabilities"),
    "binary_cross_entropy_with_logits": ("binary", "logits"),
    "mse_loss": ("regression", "values"),
    "l1_loss": ("regression", "values"),
    "smooth_l1_loss": ("regression", "values"),
    "huber_loss": ("regression", "values"),
    "gaussian_nll_loss": ("regression", "values"),
    "poisson_nll_loss": ("regression", "values"),
    "kl_div": ("other", "log_probabilities"),
    "multi_margin_loss": ("other", "values"),
    "multilabel_margin_loss": ("other", "values"),
    "multilabel_soft_margin_loss": ("binary", "logits"),
    "soft_margin_loss": ("other", "values"),
    "hinge_embedding_loss": ("other", "values"),
    "margin_ranking_loss": ("other", "values"),
    "cosine_embedding_loss": ("other", "values"),
    "triplet_margin_loss": ("other", "values"),
    "ctc_loss": ("other", "log_probabilities"),
}


def kind_of(name: str, *, weighted: bool, inputs: int) -> Kind:
    """Kind of a function. weighted: it reads a parameter; inputs: how many activations it reads."""
    plain = name if name.startswith("__") else name.rstrip("_")
    if plain in LOSSES or plain.endswith("_loss"):
        return Kind.LOSS
    if "dropout" in plain:
        return Kind.DROPOUT
    if "pool" in plain:
        return Kind.POOLING
    kind = _TABLE.get(plain, Kind.OTHER)
    if plain in _PRODUCT.split() and not weighted:
        return Kind.MERGE
    if kind is Kind.MERGE and inputs < 2:
        return Kind.OTHER
    return kind


def in_place(name: str, kwargs: dict[str, object]) -> bool:
    """Whether a call overwrites its first argument."""
    if name.startswith("__"):
        return name == "__setitem__" or (name.startswith("__i") and name not in _NOT_IN_PLACE)
    return name.endswith("_") or bool(kwargs.get("inplace"))


_NOT_IN_PLACE = {"__invert__", "__int__", "__index__"}
