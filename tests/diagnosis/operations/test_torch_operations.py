"""Each cure of the catalogue, executed where the operation goes wrong: value and gradient are finite."""

from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F

from evengrad.diagnosis import operations
from evengrad.diagnosis.operations import all_operations
from evengrad.values.fact import Fact

INF = float("inf")


@dataclass
class Cure:
    """x: what the sick expression is given. said: what of the advice is executed; it must stand in it."""

    operation: str
    x: torch.Tensor
    sick: str
    said: str
    cured: str = "{said}"
    values: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)


def half(*values):
    return torch.tensor(values, dtype=torch.float16)


ZERO = torch.tensor([0.0, 1.0])
LABELS = torch.full((3,), -100)
MASK = torch.tensor([[True, True], [False, True]])
CASES = [
    Cure("sqrt", ZERO, "torch.sqrt(x)", "torch.sqrt(x + 1e-8)"),
    Cure("sqrt", torch.tensor([-1.0, 1.0]), "x.sqrt()", "torch.sqrt(x.clamp(min=1e-8))"),
    Cure("sqrt", half(0, 1), "torch.sqrt(x)", "torch.sqrt(x + 1e-4)"),
    Cure("rsqrt", ZERO, "torch.rsqrt(x)", "torch.rsqrt(x.clamp(min=1e-8))"),
    Cure("log", ZERO, "torch.log(x)", "torch.log(x.clamp(min=1e-8))"),
    Cure("log1p", torch.tensor([-1.0, 0]), "torch.log1p(x)", "torch.log1p(x.clamp(min=-1 + 1e-6))"),
    Cure("exp", torch.tensor([100.0]), "torch.exp(x)", "torch.exp(x.clamp(max=80))"),
    Cure("exp", half(20), "torch.exp(x)", "torch.exp(x.clamp(max=10))"),
    Cure("exp", torch.tensor([100.0]), "torch.log(1 + torch.exp(x))", "F.softplus(x)"),
    Cure("pow", torch.tensor([-1.0]), "x ** 0.5", "x.clamp(min=1e-8) ** p", names={"p": 0.5}),
    Cure("pow", ZERO, "x ** 0.3", "x.clamp(min=1e-8) ** p", names={"p": 0.3}),
    Cure(
        "pow",
        torch.tensor([1e30]),
        "x ** 2",
        "x.clamp(-1e15, 1e15)",
        "{said} ** 2",
        {"overflow": True},
    ),
    Cure(
        "acos",
        torch.tensor([1.0, -1.0]),
        "torch.acos(x)",
        "torch.acos(x.clamp(-1 + 1e-6, 1 - 1e-6))",
    ),
    Cure("asin", torch.tensor([1.1]), "torch.asin(x)", "torch.asin(x.clamp(-1 + 1e-6, 1 - 1e-6))"),
    Cure("asin", half(1), "torch.asin(x)", "torch.asin(x.clamp(-1 + 1e-3, 1 - 1e-3))"),
    Cure(
        "norm",
        torch.zeros(2, 3),
        "torch.autograd.grad(x.norm(), x, create_graph=True)[0]",
        "(x.square().sum(-1) + 1e-8).sqrt()",
        "torch.autograd.grad({said}.sum(), x, create_graph=True)[0]",
    ),
    Cure(
        "norm",
        torch.tensor([1e30, 1.0]),
        "x.norm()",
        "x.double().norm()",
        values={"overflow": True},
    ),
    Cure("std", torch.ones(1), "x.std()", "x.std(unbiased=False)", "{said} + 1e-8"),
    Cure("std", torch.ones(1, 4), "x.std(0)", "x.std(unbiased=False)"),
    Cure(
        "std",
        torch.ones(3),
        "x.var(unbiased=False).sqrt()",
        "(x.var(unbiased=False) + 1e-8).sqrt()",
        values={"direction": "backward"},
    ),
    Cure("var", torch.ones(1), "x.var()", "x.var(unbiased=False)"),
    Cure(
        "var",
        torch.tensor([1e30, 0]),
        "x.var()",
        "x.double().var(unbiased=False)",
        values={"overflow": True},
    ),
    Cure(
        "softmax",
        torch.zeros(2, 2),
        "x.masked_fill(mask, -inf).softmax(-1)",
        "scores.masked_fill(mask, -1e9)",
        "{said}.softmax(-1)",
        names={"mask": MASK},
    ),
    Cure(
        "softmax",
        torch.zeros(2, 2),
        "x.masked_fill(mask, -inf).softmax(-1)",
        "mask[..., 0] = False",
        "x.masked_fill(kept, -inf).softmax(-1)",
        names={"mask": MASK, "kept": torch.tensor([[False, True], [False, True]])},
    ),
    Cure(
        "log_softmax",
        torch.zeros(2, 2),
        "F.log_softmax(x.masked_fill(mask, -inf), -1)",
        "F.log_softmax(scores.masked_fill(mask, -1e9), -1)",
        names={"mask": MASK},
    ),
    Cure(
        "logsumexp",
        torch.zeros(2, 2),
        "torch.logsumexp(x.masked_fill(mask, -inf), -1)",
        "torch.logsumexp(x.clamp(min=-1e9), -1)",
        "torch.logsumexp(x.masked_fill(mask, -inf).clamp(min=-1e9), -1)",
        names={"mask": MASK},
    ),
    Cure(
        "cross_entropy",
        torch.zeros(3, 4),
        "F.cross_entropy(x, target)",
        'F.cross_entropy(logits, target, ignore_index=-100, reduction="sum") / '
        "(target != -100).sum().clamp(min=1)",
        values={"what": "nan"},
        names={"target": LABELS},
    ),
    Cure(
        "cross_entropy",
        torch.zeros(2, 2),
        "F.cross_entropy(x.masked_fill(mask, -inf), target, label_smoothing=0.1)",
        "scores.masked_fill(mask, -1e4)",
        "F.cross_entropy({said}, target, label_smoothing=0.1)",
        values={"low": None, "high": None},
        names={
            "mask": MASK & torch.tensor([[False, True], [False, True]]),
            "target": torch.tensor([0, 0]),
        },
    ),
    Cure(
        "nll",
        torch.zeros(3, 4),
        "F.nll_loss(x.log_softmax(1), target)",
        'F.nll_loss(log_probs, target, reduction="sum") / (target != -100).sum().clamp(min=1)',
        values={"what": "nan"},
        names={"target": LABELS},
    ),
    Cure(
        "nll",
        torch.tensor([100.0]),
        "F.poisson_nll_loss(x, target)",
        "x.clamp(max=20)",
        "F.poisson_nll_loss({said}, target)",
        values={"call": "F.poisson_nll_loss"},
        names={"target": torch.ones(1)},
    ),
    Cure(
        "nll",
        torch.tensor([-200.0]),
        "(torch.exp(x).log() + 1 / torch.exp(x)).sum()",
        "F.softplus(raw) + 1e-6",
        "F.gaussian_nll_loss(torch.zeros(1), torch.ones(1), {said})",
        values={"call": "F.gaussian_nll_loss"},
    ),
    Cure(
        "binary_cross_entropy",
        torch.tensor([200.0]),
        "-(1 - torch.sigmoid(x)).log()",
        "F.binary_cross_entropy_with_logits(logits, target)",
        names={"target": torch.zeros(1)},
    ),
    Cure(
        "binary_cross_entropy",
        torch.tensor([1.0]),
        "-(1 - x).log()",
        "x.clamp(1e-6, 1 - 1e-6)",
        "-(1 - {said}).log()",
    ),
    Cure(
        "ctc",
        torch.zeros(2, 2, 3),
        "F.ctc_loss(log_probs, targets, input_lengths, target_lengths)",
        "F.ctc_loss(log_probs, targets, input_lengths, target_lengths, zero_infinity=True)",
        names={
            "targets": torch.tensor([[1, 1, 2], [1, 2, 1]]),
            "input_lengths": torch.tensor([2, 2]),
            "target_lengths": torch.tensor([3, 1]),
        },
    ),
    Cure(
        "kl_div",
        torch.tensor([[200.0, 0.0]]),
        'F.kl_div(x.softmax(-1).log(), target, reduction="batchmean")',
        'F.kl_div(F.log_softmax(logits, -1), target, reduction="batchmean")',
        names={"target": torch.tensor([[1.0, 0.0]])},
    ),
    Cure(
        "kl_div",
        torch.tensor([[1.0, 0.0]]),
        "F.kl_div(x.log(), target)",
        "q.clamp(min=1e-8).log()",
        "F.kl_div({said}, target)",
        names={"target": torch.tensor([[1.0, 0.0]])},
    ),
    Cure("matmul", half(300), "x * x", "q.float() @ k.float()", "(x.float() @ x.float())"),
    Cure(
        "matmul",
        torch.full((2, 2), 1e25),
        "x @ x",
        "x / d ** 0.5",
        "({said}) @ ({said})",
        names={"d": 1e20},
    ),
    Cure(
        "normalize",
        half(0, 0)[None],
        "F.normalize(x, dim=-1)",
        "x / (x.square().sum(-1, keepdim=True) + 1e-3).sqrt()",
    ),
    Cure(
        "normalize", half(0, 0)[None], "F.normalize(x, dim=-1)", "F.normalize(x, dim=-1, eps=1e-3)"
    ),
    Cure(
        "cosine_similarity",
        half(0, 0)[None],
        "F.cosine_similarity(x, b)",
        "F.cosine_similarity(a.float(), b.float(), dim=-1, eps=1e-3)",
        names={"a": None, "b": torch.ones(1, 2, dtype=torch.float16)},
    ),
    Cure(
        "mean",
        torch.ones(3),
        "x[x > 2].mean()",
        "x.sum() / max(x.numel(), 1)",
        "(x[x > 2].sum() / max(0, 1))",
    ),
    Cure(
        "mean",
        torch.ones(3),
        "x[mask > 0].mean()",
        "(x * mask).sum() / mask.sum().clamp(min=1)",
        names={"mask": torch.zeros(3)},
    ),
    Cure(
        "mean",
        half(6e4, 6e4),
        "x.sum() / 2",
        "x.float().mean()",
        values={"overflow": True, "zeros": 0.0},
    ),
    Cure("sum", half(6e4, 6e4), "x.sum()", "x.float().sum()", values={"overflow": True}),
    Cure(
        "sum", torch.tensor([3e38, 3e38]), "x.sum()", "x.double().sum()", values={"overflow": True}
    ),
    Cure("divide", ZERO, "1 / x", "a / (x + 1e-8)", names={"a": 1.0}, values={"zeros": 0.5}),
    Cure("divide", ZERO, "1 / x", "a / x.clamp(min=1e-8)", names={"a": 1.0}),
    Cure(
        "divide",
        torch.tensor([-1.0, 0.0]),
        "1 / x",
        "a / torch.where(x == 0, torch.full_like(x, 1e-8), x)",
        names={"a": 1.0},
    ),
    Cure(
        "divide",
        ZERO,
        "x / x.square().sqrt()",
        "inside of the square root",
        "x / (x.square() + 1e-8).sqrt()",
        values={"operand": "torch.sqrt(x.square())", "zeros": 0.5},
    ),
    Cure(
        "divide",
        torch.ones(3),
        "(x * mask).sum() / mask.sum()",
        "a / mask.sum().clamp(min=1)",
        "(x * mask).sum() / mask.sum().clamp(min=1)",
        values={"operand": "mask.sum()", "low": 0.0, "high": 0.0},
        names={"mask": torch.zeros(3), "a": 1.0},
    ),
    Cure(
        "other",
        torch.tensor([1.5]),
        "torch.atanh(x)",
        ".clamp(min=..., max=...)",
        "torch.atanh(x.clamp(-0.9, 0.9))",
    ),
]
EXECUTED = {case.operation for case in CASES} | {"update", "embedding", "batch_norm", "atan2"}


def fact(case):
    values = {
        "operation": case.operation,
        "call": "torch." + case.operation,
        "direction": "forward",
        "operand": "x",
        "low": float(case.x.min()),
        "high": float(case.x.max()),
        "zeros": float((case.x == 0).float().mean()),
        "dtype": str(case.x.dtype).removeprefix("torch."),
    }
    return Fact("born", None, 0, values | case.values)


def finite(code, case):
    """Whether the value and the gradient of an expression are."""
    x = case.x.clone().requires_grad_()
    names = {"torch": torch, "F": F, "inf": INF, "x": x, "logits": x, "scores": x, "q": x, "raw": x}
    names |= {"log_probs": x.log_softmax(-1), "k": x} | case.names
    names |= {"a": x} if "a" in names and names["a"] is None else {}
    value = eval(code, names)
    value.sum().backward()
    return bool(torch.isfinite(value).all() and (x.grad is None or torch.isfinite(x.grad).all()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.operation)
def test_the_advised_change_is_finite_where_the_operation_is_not(case):
    text = "\n".join(operations.advice(fact(case), "torch"))
    assert case.said in text
    assert not finite(case.sick, case)
    assert finite(case.cured.format(said=case.said), case)


def test_every_operation_is_executed():
    assert set(all_operations()) == EXECUTED


def test_a_discarded_branch_is_made_harmless_before_the_operation():
    x = torch.tensor([0.0, 4.0], requires_grad=True)
    mask = x > 0
    values = {"operation": "sqrt", "operand": "x", "hidden": True, "low": 0.0}
    text = "\n".join(operations.advice(Fact("born", None, 0, values), "torch"))
    assert "torch.where(mask, x, torch.ones_like(x))" in text
    torch.where(mask, torch.sqrt(x), 0 * x).sum().backward()
    assert x.grad.isnan().any()
    x.grad = None
    torch.where(mask, torch.sqrt(torch.where(mask, x, torch.ones_like(x))), 0 * x).sum().backward()
    assert x.grad.isfinite().all()


def half_step(**options):
    weight = torch.ones(2, dtype=torch.float16, requires_grad=True)
    weight.grad = torch.tensor([0.0, 1.0], dtype=torch.float16)
    torch.optim.Adam([weight], lr=0.1, **options).step()
    return bool(torch.isfinite(weight).all())


def test_half_precision_adam_with_the_advised_eps():
    values = {"operation": "update", "dtype": "float16", "eps": 1e-8}
    text = "\n".join(operations.advice(Fact("born", None, 0, values), "torch"))
    assert "eps=1e-4" in text
    assert "float32" in text
    assert not half_step()
    assert half_step(eps=1e-4)


def test_an_embedding_has_a_row_for_every_id():
    values = {"operation": "embedding", "high": 10.0}
    text = "\n".join(operations.advice(Fact("born", None, 0, values), "torch"))
    assert "nn.Embedding(11, dim)" in text
    ids = torch.tensor([10])
    with pytest.raises(IndexError):
        torch.nn.Embedding(10, 4)(ids)
    assert torch.nn.Embedding(11, 4)(ids).isfinite().all()


def test_a_normalisation_without_an_epsilon():
    values = {"operation": "batch_norm"}
    text = "\n".join(operations.advice(Fact("born", None, 0, values), "torch"))
    assert "eps=1e-5" in text
    x = torch.ones(4, 2)
    assert not F.layer_norm(x, (2,), eps=0).isfinite().all()
    assert F.layer_norm(x, (2,), eps=1e-5).isfinite().all()


def test_an_angle_is_the_same_away_from_the_origin():
    """PyTorch has a gradient there itself; other frameworks have not."""
    values = {"operation": "atan2"}
    text = "\n".join(operations.advice(Fact("born", None, 0, values), "torch"))
    code = "torch.atan2(y, torch.where((x == 0) & (y == 0), torch.ones_like(x), x))"
    assert code in text
    y, x = torch.randn(2, 9), torch.randn(2, 9)
    assert torch.equal(eval(code), torch.atan2(y, x))
    assert eval(code, {"torch": torch, "y": 0 * y, "x": 0 * x}).isfinite().all()


@pytest.mark.parametrize("operation", sorted(all_operations()))
@pytest.mark.parametrize("frontend", ["torch", "keras"])
def test_every_operation_says_why_and_what_to_change(operation, frontend):
    for values in (
        {},
        {"overflow": True},
        {"low": 0.0, "high": 1.0},
        {"dtype": "float16", "low": -2.0},
    ):
        said = Fact("born", None, 0, {"operation": operation, "operand": "self.gap", **values})
        assert operations.why(said)
        for line in operations.advice(said, frontend):
            assert "{" not in line
            assert "ops." not in line or frontend == "keras"
        assert operations.cause(said)
