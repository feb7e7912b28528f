"""What a user calls an operation: canonical words for what the backends' own names say."""

from __future__ import annotations

import re
from collections.abc import Iterable

from evengrad.adapters.keras import compat

_BY_FUNCTION = {
    "binary_crossentropy": "binary_cross_entropy",
    "binary_focal_crossentropy": "binary_cross_entropy",
    "sigmoid_cross_entropy_with_logits": "binary_cross_entropy",
    "categorical_crossentropy": "cross_entropy",
    "categorical_focal_crossentropy": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy",
    "softmax_cross_entropy_with_logits": "cross_entropy",
    "sparse_softmax_cross_entropy_with_logits": "cross_entropy",
    "kl_divergence": "kl_div",
    "ctc": "ctc",
    "ctc_loss": "ctc",
    "ctc_batch_cost": "ctc",
    "cosine_similarity": "cosine_similarity",
    "norm": "norm",
    "reduce_euclidean_norm": "norm",
    "reduce_std": "std",
    "std": "std",
    "reduce_variance": "var",
    "var": "var",
    "l2_normalize": "normalize",
    "normalize": "normalize",
    "log_softmax": "log_softmax",
    "softmax": "softmax",
    "reduce_logsumexp": "logsumexp",
    "logsumexp": "logsumexp",
    "power": "pow",
    "float_power": "pow",
    "batch_normalization": "batch_norm",
    "arccos": "acos",
    "arcsin": "asin",
    "arctan2": "atan2",
}
_BY_TYPE = {
    "log": "log",
    "log1p": "log1p",
    "exp": "exp",
    "exp2": "exp",
    "expm1": "exp",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "cbrt": "pow",
    "pow": "pow",
    "integer_pow": "pow",
    "realdiv": "divide",
    "div": "divide",
    "floordiv": "divide",
    "floormod": "divide",
    "rem": "divide",
    "xdivy": "divide",
    "reciprocal": "divide",
    "inv": "divide",
    "xlogy": "log",
    "acos": "acos",
    "asin": "asin",
    "atan2": "atan2",
    "softmax": "softmax",
    "logsoftmax": "log_softmax",
    "softmaxcrossentropywithlogits": "cross_entropy",
    "sparsesoftmaxcrossentropywithlogits": "cross_entropy",
    "ctcloss": "ctc",
    "ctclossv2": "ctc",
    "euclideannorm": "norm",
    "matmul": "matmul",
    "batchmatmulv2": "matmul",
    "batchmatmulv3": "matmul",
    "einsum": "matmul",
    "dot_general": "matmul",
    "conv2d": "matmul",
    "conv2dbackpropinput": "matmul",
    "conv3d": "matmul",
    "depthwiseconv2dnative": "matmul",
    "conv_general_dilated": "matmul",
    "mean": "mean",
    "sum": "sum",
    "reduce_sum": "sum",
    "fusedbatchnormv3": "batch_norm",
    "fusedbatchnorm": "batch_norm",
    "resourcegather": "embedding",
    "gatherv2": "embedding",
    "gather": "embedding",
}
_ENDING = re.compile(r"(?<=\w)_(v\d|helper)$")
_SECOND = {"divide", "atan2"}
"""Of these the second argument is what makes the result not finite."""


def plain(name: str) -> str:
    """Without the endings that a framework gives its functions: norm_v2 is norm."""
    name = compat.plain_name(name)
    return _ENDING.sub("", name)


def operation(functions: Iterable[str], kind: str) -> str:
    """The canonical word.

    Args:
        functions: of the libraries, from the user's line inwards.
        kind: of the primitive operation, as its backend calls it.
    """
    for name in map(plain, functions):
        if name in _BY_FUNCTION:
            return _BY_FUNCTION[name]
    return _BY_TYPE.get(kind.lower(), "other")


def operand_place(word: str) -> int:
    """Which argument of an operation is to be looked at."""
    return 1 if word in _SECOND else 0
