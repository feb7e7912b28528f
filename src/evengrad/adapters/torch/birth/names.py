"""What torch's functions are called in the catalogue of operations, and what the user calls them."""

from __future__ import annotations

from typing import Any

import torch

from evengrad.adapters.torch.ops.calls import VIEWED
from evengrad.adapters.torch.ops.kinds import kind_of
from evengrad.values.spec import Kind

OTHER = "other"
_OPERATIONS = {
    "sqrt": "sqrt sqrt_",
    "rsqrt": "rsqrt rsqrt_",
    "log": "log log_ log2 log10 xlogy special_xlogy logit special_logit",
    "log1p": "log1p log1p_ special_log1p",
    "exp": "exp exp_ exp2 special_exp2 expm1 special_expm1 sinh cosh",
    "pow": "pow pow_ float_power square square_ __pow__ __rpow__ __ipow__",
    "divide": "div div_ divide true_divide floor_divide __truediv__ __rtruediv__ __itruediv__ __floordiv__ "
    "__rdiv__ __div__ __idiv__ reciprocal reciprocal_ addcdiv addcdiv_ fmod remainder __mod__",
    "acos": "acos acos_ arccos",
    "asin": "asin asin_ arcsin",
    "atan2": "atan2 atan2_ arctan2 angle",
    "norm": "norm vector_norm linalg_vector_norm linalg_norm linalg_matrix_norm matrix_norm cdist dist "
    "pairwise_distance nuclear_norm",
    "std": "std std_mean",
    "var": "var var_mean",
    "softmax": "softmax softmin gumbel_softmax scaled_dot_product_attention",
    "log_softmax": "log_softmax",
    "logsumexp": "logsumexp logaddexp logcumsumexp",
    "cross_entropy": "cross_entropy",
    "nll": "nll_loss gaussian_nll_loss poisson_nll_loss",
    "binary_cross_entropy": "binary_cross_entropy binary_cross_entropy_with_logits",
    "ctc": "ctc_loss",
    "kl_div": "kl_div",
    "embedding": "embedding embedding_bag",
    "matmul": "matmul mm bmm mv dot linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d "
    "conv_transpose3d einsum addmm baddbmm __matmul__ __rmatmul__ tensordot lstm gru rnn_tanh rnn_relu",
    "normalize": "normalize",
    "cosine_similarity": "cosine_similarity cosine_embedding_loss",
    "mean": "mean",
    "sum": "sum cumsum prod cumprod",
    "batch_norm": "batch_norm layer_norm group_norm instance_norm rms_norm",
}
_TABLE = {name: operation for operation, names in _OPERATIONS.items() for name in names.split()}
_SECOND = "div div_ divide true_divide floor_divide __truediv__ __itruediv__ fmod __mod__"
_PASSED = (
    "size dim stride numel nelement element_size is_floating_point is_complex is_contiguous storage_offset "
    "requires_grad_ register_hook data_ptr item tolist numpy __repr__ __format__ __len__ __bool__ __float__ "
    "__int__ __hash__ retain_grad is_cuda ndimension get_device untyped_storage __reduce_ex__ __array__ "
    "isnan isinf isfinite isneginf isposinf set_default_dtype manual_seed"
)
_FILLS = (
    "masked_fill masked_fill_ full full_like fill_ new_full new_tensor tensor as_tensor asarray where "
    "__setitem__ index_fill index_fill_ masked_scatter masked_scatter_ scalar_tensor constant_pad_nd pad "
    "scatter scatter_ nan_to_num zero_ empty empty_like new_empty"
)
PASSED = frozenset(_PASSED.split())
"""What makes no floating-point tensor of the step."""
FILLS = frozenset(_FILLS.split())
"""What puts an infinity in because it was told to."""


def plain(function: Any) -> str:
    """A function's own name; of a property its name."""
    name = getattr(function, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(function, "__self__", None), "__name__", "")
    return str(name)


def passed(function: Any, name: str) -> bool:
    """Whether a call makes no floating-point tensor of the step: a question, or a property that is none."""
    prop = getattr(function, "__name__", "") in ("__get__", "__set__", "__delete__")
    return name in PASSED or (prop and name not in VIEWED and name != "data")


def canonical(name: str) -> str:
    """The catalogue's word for a function, by its plain name."""
    return _TABLE.get(name, OTHER)


def shown(function: Any, name: str) -> str:
    """As the user writes it: "torch.sqrt", "F.cross_entropy", ".norm()"."""
    known = torch.overrides.resolve_name(function) if callable(function) else None
    if known is None:
        return name
    if known.startswith("torch.Tensor."):
        return f".{name}()"
    return str(known).replace("torch.nn.functional.", "F.")


def at_fault(name: str) -> int:
    """Index of the operand that decides whether the result is finite: of a division the divisor."""
    return 1 if name in _SECOND.split() else 2 if name.startswith("addcdiv") else 0


def moves(name: str) -> bool:
    """Whether an infinity goes through unchanged: what reshapes, masks, adds or scales."""
    if name in FILLS or name in ("detach", "data", "contiguous", "to", "roll", "sort", "topk"):
        return True
    return kind_of(name, weighted=False, inputs=2) in (Kind.RESHAPE, Kind.MERGE)
