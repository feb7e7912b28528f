"""What a user calls an equation: canonical words for JAX' own names."""

from __future__ import annotations

from collections.abc import Iterable

_BY_FUNCTION = {
    "softmax_cross_entropy_with_integer_labels": "cross_entropy",
    "softmax_cross_entropy": "cross_entropy",
    "safe_softmax_cross_entropy": "cross_entropy",
    "sigmoid_binary_cross_entropy": "binary_cross_entropy",
    "kl_divergence": "kl_div",
    "ctc_loss": "ctc",
    "cosine_similarity": "cosine_similarity",
    "norm": "norm",
    "global_norm": "norm",
    "std": "std",
    "var": "var",
    "normalize": "normalize",
    "standardize": "normalize",
    "log_softmax": "log_softmax",
    "softmax": "softmax",
    "logsumexp": "logsumexp",
    "power": "pow",
    "float_power": "pow",
    "arccos": "acos",
    "arcsin": "asin",
    "arctan2": "atan2",
}
_BY_PRIMITIVE = {
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
    "square": "pow",
    "div": "divide",
    "rem": "divide",
    "acos": "acos",
    "asin": "asin",
    "atan2": "atan2",
    "dot_general": "matmul",
    "conv_general_dilated": "matmul",
    "reduce_sum": "sum",
    "gather": "embedding",
}
OVERFLOWING = {"exp", "pow", "matmul", "sum", "divide", "other"}
_SECOND = {"divide", "atan2"}


def operation(functions: Iterable[str], primitive: str) -> str:
    """The canonical word.

    Args:
        functions: of the libraries, from the user's line inwards.
        primitive: what JAX evaluates.
    """
    for name in functions:
        if name.strip("_") in _BY_FUNCTION:
            return _BY_FUNCTION[name.strip("_")]
    return _BY_PRIMITIVE.get(primitive, "other")


def operand_place(word: str) -> int:
    """Which argument of an operation is to be looked at."""
    return 1 if word in _SECOND else 0
