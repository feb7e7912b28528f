"""A torch model as a ModelSpec: operations, laws and names, without a run."""

import functools
import gc
import math
import random

import numpy as np
import pytest
import torch
from torch import nn

import evengrad
from evengrad.adapters.torch.describe import abstract, describe
from evengrad.adapters.torch.laws import laws
from evengrad.adapters.torch.laws.laws import heard
from evengrad.errors import CannotCheckError
from evengrad.theory.prediction import predict
from evengrad.values import spec as ops
from evengrad.values.spec import Composite, Opaque

F = nn.functional
FLOAT, INTEGER = "float32", "int64"


class Apply(nn.Module):
    """A function of an activation (behind a convolution or dense layer) and of a weight of its shape."""

    def __init__(self, function, shape):
        super().__init__()
        self.function = function
        self.first = (dense if len(shape) < 4 else convolution)(shape)
        self.weight = nn.Parameter(torch.rand(shape[1:]) + 0.5)

    def forward(self, x):
        return self.function(self.first(x), self.weight)


def dense(shape):
    return nn.Linear(shape[-1], shape[-1])


def convolution(shape):
    return {4: nn.Conv2d, 5: nn.Conv3d}[len(shape)](shape[1], shape[1], 1)


def inner(nodes):
    for node in nodes:
        if isinstance(node.op, Composite):
            yield from inner(node.op.nodes)
        else:
            yield node


class Cube(torch.autograd.Function):
    """A user's own elementwise function."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3 + x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (3 * x**2 + 1)


def in_place(method, *args):
    def run(x, w):
        y = x.clone()
        getattr(y, method)(*args)
        return y

    return run


IMAGE, MATRIX, TOKENS, VOLUME = (3, 4, 8, 8), (6, 12), (3, 8, 16), (2, 4, 4, 4, 4)
CASES = {
    IMAGE: {
        "conv same": lambda x, w: F.conv2d(x, torch.ones(6, 4, 3, 3) * w.mean(), padding="same"),
        "max_pool": lambda x, w: F.max_pool2d(x, 2),
        "torch.max_pool": lambda x, w: torch.max_pool2d(x, 3, 2, 1),
        "avg_pool": lambda x, w: F.avg_pool2d(x, 3, stride=2, padding=1),
        "adaptive_avg": lambda x, w: F.adaptive_avg_pool2d(x, 1),
        "adaptive_avg 4": lambda x, w: F.adaptive_avg_pool2d(x, (4, 2)),
        "adaptive_max": lambda x, w: F.adaptive_max_pool2d(x, 2),
        "batch_norm": lambda x, w: F.batch_norm(x, None, None, training=True),
        "group_norm": lambda x, w: F.group_norm(x, 2),
        "one group": lambda x, w: F.group_norm(x, 1),
        "instance_norm": lambda x, w: F.instance_norm(x),
        "normalize": lambda x, w: F.normalize(x, dim=1),
        "dropout2d": lambda x, w: F.dropout2d(x, 0.3),
        "pad": lambda x, w: F.pad(x, (1, 2, 0, 1)),
        "reflect": lambda x, w: F.pad(x, (1, 1, 1, 1), mode="reflect"),
        "interpolate": lambda x, w: F.interpolate(x, scale_factor=2),
        "bilinear": lambda x, w: F.interpolate(x, size=16, mode="bilinear"),
        "pixel_shuffle": lambda x, w: F.pixel_shuffle(x, 2),
        "pixel_unshuffle": lambda x, w: F.pixel_unshuffle(x, 2),
        "channel_shuffle": lambda x, w: F.channel_shuffle(x, 2),
        "roll": lambda x, w: torch.roll(x, (1, 1), (2, 3)),
        "flip": lambda x, w: x.flip(2),
        "mean": lambda x, w: x.mean((2, 3)),
        "vector norm": lambda x, w: torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True),
        "response norm": lambda x, w: x / (x.norm(p=2, dim=(2, 3), keepdim=True) + 1),
        "var": lambda x, w: torch.var(x, dim=1, keepdim=True, unbiased=False),
        "mean keep": lambda x, w: x.mean(dim=[2, 3], keepdim=True),
        "sum": lambda x, w: torch.sum(x, (2, 3)),
        "amax": lambda x, w: x.amax((2, 3)),
        "max": lambda x, w: x.max(dim=3).values,
        "flatten": lambda x, w: x.flatten(1),
        "torch.flatten": lambda x, w: torch.flatten(x, 2),
        "view": lambda x, w: x.view(3, -1),
        "unflatten": lambda x, w: x.unflatten(1, (2, 2)),
        "squeeze": lambda x, w: x[:, :, :1].squeeze(2),
        "permute": lambda x, w: x.permute(0, 2, 3, 1),
        "torch.permute": lambda x, w: torch.permute(x, (0, 2, 3, 1)),
        "movedim": lambda x, w: x.movedim(1, -1),
        "swapaxes": lambda x, w: x.swapaxes(1, 2),
        "repeat": lambda x, w: x.repeat(1, 2, 1, 1),
        "expand": lambda x, w: x[:, :1].expand(3, 4, 8, 8),
        "cat": lambda x, w: torch.cat([x, x * 2], 1),
        "concat": lambda x, w: torch.concat((x, x.relu()), dim=1),
        "stack": lambda x, w: torch.stack([x, x.tanh()]),
        "strided": lambda x, w: x[:, :, ::2, 1::2],
        "getitem": lambda x, w: x[..., 0],
        "none": lambda x, w: x[:, None, 1:3],
        "chunk": lambda x, w: x.chunk(2, 1)[0] * x.chunk(2, 1)[1],
        "split": lambda x, w: torch.split(x, [1, 3], dim=1)[1],
        "unbind": lambda x, w: x.unbind(1)[2],
        "narrow": lambda x, w: x.narrow(1, 1, 2),
        "select": lambda x, w: x.select(1, 0),
        "scale by weight": lambda x, w: x * w,
        "add weight": lambda x, w: w + x,
        "squeeze-excite": lambda x, w: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
        "glu": lambda x, w: F.glu(x, 1),
        "prelu": lambda x, w: F.prelu(x, w.mean().reshape(1)),
    },
    MATRIX: {
        "linear": lambda x, w: F.linear(x, w.expand(5, 12)),
        "matmul": lambda x, w: x @ w.diag(),
        "torch.matmul": lambda x, w: torch.matmul(x, w.diag()),
        "rmatmul": lambda x, w: w.expand(4, 12).t().t() @ x.t(),
        "mm": lambda x, w: x.mm(w.diag()),
        "addmm": lambda x, w: torch.addmm(w, x, w.diag()),
        "einsum": lambda x, w: torch.einsum("bi,ij->bj", x, w.diag()),
        "x * 2 + 1": lambda x, w: x * 2 + 1,
        "2 - x": lambda x, w: 2 - x,
        "-x": lambda x, w: -x,
        "torch.neg": lambda x, w: torch.neg(x),
        "x ** 2": lambda x, w: x**2,
        "x / 3": lambda x, w: x / 3,
        "1 / (x^2 + 1)": lambda x, w: 1 / (x.pow(2) + 1),
        "rsqrt": lambda x, w: torch.rsqrt(x.square() + 1),
        "exp": lambda x, w: (0.1 * x).exp(),
        "log": lambda x, w: (x.abs() + 1).log(),
        "sqrt": lambda x, w: torch.sqrt(x * x + 1),
        "clamp": lambda x, w: x.clamp(-1, 1),
        "where": lambda x, w: torch.where(x > 0, x, 0.1 * x),
        "maximum": lambda x, w: torch.maximum(x, 0.5 * x),
        "minimum": lambda x, w: torch.minimum(x, x.tanh()),
        "two tensors": lambda x, w: (x.tanh() + x.sigmoid()) * (x - x.relu()) / (2 + x.cos()),
        "subtract": lambda x, w: torch.sub(x, x.relu(), alpha=2),
        "add alpha": lambda x, w: torch.add(x, x.tanh(), alpha=0.5),
        "add_": in_place("add_", 1.0),
        "mul_": in_place("mul_", 2.0),
        "relu_": in_place("relu_"),
        "tanh_": in_place("tanh_"),
        "iadd": lambda x, w: augmented(x),
        "to": lambda x, w: x.to(torch.float64).float(),
        "type": lambda x, w: x.double().type(torch.float32),
        "contiguous": lambda x, w: x.t().contiguous().T,
        "clone": lambda x, w: x.clone(),
        "unsqueeze": lambda x, w: x.unsqueeze(1),
        "masked_fill": lambda x, w: x.masked_fill(torch.zeros(6, 12, dtype=torch.bool), 0.0),
        "own function": lambda x, w: Cube.apply(x),
        "softmax": lambda x, w: torch.softmax(x, -1) * x,
        "log_softmax": lambda x, w: F.log_softmax(x, 1) * x,
        "dropout": lambda x, w: F.dropout(x, 0.5),
        "constant": lambda x, w: x + torch.arange(12) / 12,
        "coins": lambda x, w: x * torch.empty(6, 1).bernoulli_(0.8),
        "like": lambda x, w: x * torch.rand_like(x),
        "stochastic depth": lambda x, w: x.div(0.9) * (0.9 + torch.rand(6, 1)).floor_(),
    },
    TOKENS: {
        "layer_norm": lambda x, w: F.layer_norm(x, (16,)),
        "rms_norm": lambda x, w: F.rms_norm(x, (16,)),
        "rms by hand": lambda x, w: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
        "std": lambda x, w: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-3),
        "baddbmm": lambda x, w: torch.baddbmm(x @ x.mT, x, x.mT, beta=0.5, alpha=0.25),
        "bmm": lambda x, w: torch.bmm(x, x.transpose(1, 2)),
        "einsum": lambda x, w: torch.einsum("bic,bjc->bij", x, x.tanh()),
        "attention": lambda x, w: F.scaled_dot_product_attention(x, x.tanh(), x.relu()),
        "causal": lambda x, w: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        "by hand": lambda x, w: ((x @ x.mT) / 4).softmax(-1) @ x,
        "masked by hand": lambda x, w: (
            ((x @ x.mT) / 4 + torch.full((8, 8), -math.inf).triu(1)).softmax(-1) @ x
        ),
        "dropout1d": lambda x, w: F.dropout1d(x, 0.2),
        "max_pool1d": lambda x, w: F.max_pool1d(x, 2),
        "avg_pool1d": lambda x, w: F.avg_pool1d(x, 3, 2, 1),
        "conv1d": lambda x, w: F.conv1d(x, w[None, :, :3].expand(8, 8, 3)),
        "transposed": lambda x, w: F.conv_transpose1d(x, w[:, None, :4].expand(8, 8, 4), stride=2),
        "repeat_interleave": lambda x, w: x.repeat_interleave(2, 1),
        "cls token": lambda x, w: torch.cat([w[:1].expand(3, 1, 16), x], 1),
        "positions": lambda x, w: x + w,
        "rotary": lambda x, w: x * torch.arange(8.0)[:, None].cos() + turned(x),
    },
    VOLUME: {
        "avg_pool3d": lambda x, w: F.avg_pool3d(x, 2),
        "max_pool3d": lambda x, w: F.max_pool3d(x, 2),
        "dropout3d": lambda x, w: F.dropout3d(x, 0.2),
    },
}
ACTIVATIONS = (
    "relu relu6 leaky_relu elu selu celu gelu silu mish softplus softsign tanh sigmoid logsigmoid hardtanh "
    "hardsigmoid hardswish hardshrink softshrink tanhshrink"
)


def augmented(x):
    y = x.tanh()
    y += x
    y *= 2
    return y


def turned(x):
    return torch.cat([-x[..., 8:], x[..., :8]], -1) * torch.arange(8.0)[:, None].sin()


ROWS = [pytest.param(s, f, id=f"{n}-{len(s)}") for s, fs in CASES.items() for n, f in fs.items()]
ROWS += [
    pytest.param(MATRIX, lambda x, w, a=a: getattr(F, a)(x), id=a) for a in ACTIVATIONS.split()
]


@pytest.mark.parametrize(("shape", "function"), ROWS)
def test_every_function_has_a_rule(shape, function):
    torch.manual_seed(0)
    model = Apply(function, shape)
    found = describe(model, ((shape, FLOAT),))
    for node in inner(found.nodes):
        assert not isinstance(node.op, Opaque), (node.name, node.op.reason)
    prediction = predict(found)
    assert not prediction.unknown
    assert math.isfinite(prediction.total.median)
    with torch.no_grad():
        assert found.tensors[found.outputs[0]] == tuple(model(torch.randn(shape)).shape)


# --- names, against a probe's -----------------------------------------------------------------------


class Residual(nn.Module):
    """In-place activations, a shared layer, a branch, a joined pair."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.shared = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.relu = nn.ReLU(inplace=True)
        self.scale = nn.Parameter(torch.full((8, 1, 1), 0.1))
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = self.relu(self.norm(self.stem(x)))
        x = x + self.scale * self.relu(self.shared(x))
        x += self.shared(torch.relu(x))
        x = F.max_pool2d(x, 2)
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


class Words(nn.Module):
    """Embeddings with positions, a decoder block by hand, tied to the output."""

    def __init__(self, width=16):
        super().__init__()
        self.tokens = nn.Embedding(11, width)
        self.places = nn.Parameter(torch.randn(1, 7, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, width)
        )

    def forward(self, ids):
        x = self.tokens(ids) + self.places
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        heads = [t.view(*t.shape[:2], 2, -1).transpose(1, 2) for t in (q, k, v)]
        y = F.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        x = x + self.mlp(x)
        return (x @ self.tokens.weight.T).mean(1)


class Gated(nn.Module):
    """A recurrent layer, a gate, one index."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(5, 8, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        y, _ = self.gru(x)
        y = y[:, -1]
        return self.head(y * torch.sigmoid(y))


def normalised():
    return nn.utils.parametrizations.weight_norm(nn.Linear(6, 8))


encoder = nn.TransformerEncoderLayer
NETS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)), (5, 6), FLOAT),
    "softmax": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Softmax(-1)), (5, 6), FLOAT),
    "frozen": (
        lambda: frozen(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))),
        (5, 6),
        FLOAT,
    ),
    "weight norm": (lambda: nn.Sequential(normalised(), nn.SELU(), nn.Linear(8, 4)), (5, 6), FLOAT),
    "residual": (Residual, (3, 3, 8, 8), FLOAT),
    "words": (Words, (3, 7), INTEGER),
    "recurrent": (Gated, (3, 6, 5), FLOAT),
    "multi-head": (lambda: Pooled(encoder(8, 2, 16, batch_first=True), 8), (3, 5, 8), FLOAT),
    "norm first": (
        lambda: Pooled(encoder(8, 2, 16, norm_first=True, activation="gelu"), 8),
        (5, 3, 8),
        FLOAT,
    ),
    "upwards": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(2, 4, 4, 2, 1), nn.Mish(), nn.Flatten(), nn.Linear(256, 4)
        ),
        (3, 2, 4, 4),
        FLOAT,
    ),
    "pools": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 6, 3),
            nn.GroupNorm(2, 6),
            nn.PReLU(),
            nn.AvgPool1d(2),
            nn.Dropout1d(0.1),
            nn.AdaptiveMaxPool1d(1),
            nn.Flatten(),
            nn.Linear(6, 4),
        ),
        (4, 2, 12),
        FLOAT,
    ),
    "bag": (
        lambda: nn.Sequential(nn.Embedding(9, 6), nn.Flatten(), nn.RMSNorm(30), nn.Linear(30, 4)),
        (4, 5),
        INTEGER,
    ),
}


def frozen(net):
    net[0].requires_grad_(False)
    return net


class Pooled(nn.Module):
    """The mean over tokens in front of a dense layer."""

    def __init__(self, layer, width):
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


def data(shape, dtype):
    return torch.randn(shape) if dtype == FLOAT else torch.randint(9, shape)


@pytest.mark.parametrize("name", NETS)
def test_names_and_kinds_are_a_probes(name):
    factory, shape, dtype = NETS[name]
    torch.manual_seed(0)
    model = factory()
    found = describe(model, ((shape, dtype),))
    classes = found.tensors[found.outputs[0]]
    batch = data(shape, dtype), torch.randint(4, (classes[0],))
    probe = evengrad.check(model, loss=nn.CrossEntropyLoss(), batch=batch, rate=False).probe
    assert probe.spec is not None, probe.notes
    measured = [
        (o.name, o.layer, o.kind, o.type, o.weights)
        for o in probe.operations
        if o.kind is not ops.Kind.LOSS
    ]
    described = [(n.name, n.layer, n.kind, n.type, n.weights) for n in found.nodes]
    if name == "softmax":  # the closing activation counts as the loss's
        measured = measured[:-1]
    assert described == measured
    assert [n.name for n in found.nodes] == [n.name for n in probe.spec.nodes]
    assert [type(n.op) for n in found.nodes] == [type(n.op) for n in probe.spec.nodes]
    assert found.tensors[found.outputs[0]] == probe.spec.tensors[probe.spec.outputs[0]]
    of_probe = {w.name: w for w in probe.spec.weights}
    assert {w.name for w in found.weights} == set(of_probe)
    for weight in found.weights:
        assert weight.shape == of_probe[weight.name].shape
        assert weight.fan_in == of_probe[weight.name].fan_in
        assert weight.law.rms == pytest.approx(of_probe[weight.name].law.rms, rel=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_nothing_of_the_model_is_changed(name):
    factory, shape, dtype = NETS[name]
    torch.manual_seed(1)
    model = factory().eval()
    next(model.modules()).marker = "kept"
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    before = [
        (k, id(p), p.requires_grad, p.grad, p.data_ptr()) for k, p in model.named_parameters()
    ]
    noise, numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    describe(model, ((shape, dtype),))
    assert torch.equal(noise, torch.get_rng_state())
    assert np.array_equal(numpy, np.random.get_state()[1])
    assert not any(m.training for m in model.modules())
    assert [
        (k, id(p), p.requires_grad, p.grad, p.data_ptr()) for k, p in model.named_parameters()
    ] == before
    assert all(torch.equal(v, kept[k]) for k, v in model.state_dict().items())
    assert nn.Module.__call__ is torch.nn.modules.module.Module.__call__


@functools.lru_cache(maxsize=4)
def indices(n):
    return torch.arange(n).flip(0)


class Remembering(nn.Module):
    """Positions from a cache that all models share, and a coin of Python's."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(5, 4))
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x) * (1 + random.random()) + self.table[indices(5)]


def test_caches_hold_no_tensors_without_values():
    gc.unfreeze()  # that of this file among the collector's objects
    state = random.getstate()
    found = describe(Remembering(), (((5, 4), FLOAT),))
    assert not any(isinstance(n.op, Opaque) for n in found.nodes)
    assert random.getstate() == state
    assert not indices(5).is_meta


# --- laws --------------------------------------------------------------------------------------------


def moments(factory, name, seeds=8):
    """Mean and rms of a weight over several real initialisations."""
    whole = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        whole.append(dict(factory().named_parameters())[name].detach().double())
    values = torch.stack(whole)
    return values.mean().item(), values.square().mean().sqrt().item(), values.numel()


def assert_the_law_is_that(factory, name):
    law = heard(dict(abstract(factory).named_parameters())[name])
    mean, rms, count = moments(factory, name)
    assert law is not None
    assert law.rms == pytest.approx(rms, rel=5 / math.sqrt(count) + 1e-6)
    assert law.mean == pytest.approx(mean, abs=5 * rms / math.sqrt(count) + 1e-7)


LAYERS = {
    "linear": lambda: nn.Linear(30, 40),
    "conv": lambda: nn.Conv2d(8, 12, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(8, 12, 3),
    "embedding": lambda: nn.Embedding(50, 20, padding_idx=3),
    "attention": lambda: nn.MultiheadAttention(24, 3),
    "three widths": lambda: nn.MultiheadAttention(24, 3, kdim=12, vdim=10),
    "bilinear": lambda: nn.Bilinear(10, 12, 14),
    "gru": lambda: nn.GRU(10, 12),
    "norm": lambda: nn.GroupNorm(2, 8),
    "prelu": lambda: nn.PReLU(4),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_laws_of_layers_are_what_they_draw(layer):
    for name, _ in LAYERS[layer]().named_parameters():
        assert_the_law_is_that(LAYERS[layer], name)


def no_grad_uniform(weight):
    with torch.no_grad():
        weight.uniform_(-0.5, 0.5)


init = nn.init
INITIALISERS = {
    "trunc_normal_": lambda w: init.trunc_normal_(w, std=0.02),
    "cut off": lambda w: init.trunc_normal_(w, 0.1, 0.3, 0.0, 0.2),
    "off centre": lambda w: init.trunc_normal_(w, 1.0, 1.5, 0.0, 2.0),
    "orthogonal_": lambda w: init.orthogonal_(w, 1.7),
    "kaiming_uniform_": lambda w: init.kaiming_uniform_(w, a=0.2),
    "kaiming_normal_": lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
    "xavier_uniform_": lambda w: init.xavier_uniform_(w, init.calculate_gain("tanh")),
    "xavier_normal_": init.xavier_normal_,
    "constant_": lambda w: init.constant_(w, -0.4),
    "ones_": init.ones_,
    "eye_": init.eye_,
    "sparse_": lambda w: init.sparse_(w, 0.3, 0.1),
    "data": lambda w: w.data.normal_(0.1, 0.3),
    "copied": lambda w: w.data.copy_(torch.randn(40, 60) * 0.02),
    "scaled": lambda w: w.data.uniform_(-1, 3).mul_(0.5).add_(1),
    "divided": lambda w: w.data.normal_().div_(math.sqrt(60)),
    "rows": lambda w: (w.data.normal_(), w.data[:10].zero_()),
    "no_grad": lambda w: no_grad_uniform(w),  # noqa: PLW0108
    "coins": lambda w: w.data.bernoulli_(0.3),
    "exponential": lambda w: w.data.exponential_(2.0),
}


class One(nn.Module):
    """One weight, initialised by a function."""

    def __init__(self, initialise):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(40, 60))
        initialise(self.weight)

    def forward(self, x):
        return x @ self.weight


@pytest.mark.parametrize("name", INITIALISERS)
def test_laws_of_initialisers_are_what_they_draw(name):
    assert_the_law_is_that(lambda: One(INITIALISERS[name]), "weight")


def test_the_law_of_dirac_is_what_it_sets():
    def make():
        layer = nn.Conv2d(4, 6, 3)
        init.dirac_(layer.weight, groups=2)
        return layer

    weight = make().weight.detach()
    law = heard(abstract(make).weight)
    assert law.mean == pytest.approx(weight.mean().item())
    assert law.rms == pytest.approx(weight.square().mean().sqrt().item())
    assert law.taps == (0, 0, 0, 0, 1, 0, 0, 0, 0)


def test_a_parameter_made_of_random_numbers():
    assert_the_law_is_that(lambda: Words(20), "places")


def test_what_nobody_knows_is_said():
    found = describe(
        abstract(lambda: One(lambda w: w.data.normal_().cumsum_(0))), (((3, 40), FLOAT),)
    )
    assert any("weight" in note for note in found.notes)
    known = describe(abstract(lambda: One(lambda w: w.data.normal_())), (((3, 40), FLOAT),))
    assert not known.notes


@pytest.mark.parametrize("seed", range(3))
def test_an_abstract_model_is_described_as_a_real_one(seed):
    torch.manual_seed(seed)
    for factory, shape, dtype in (NETS["words"], NETS["residual"], NETS["norm first"]):
        empty = abstract(factory)
        assert all(p.is_meta for p in empty.parameters())
        one, other = (describe(m, ((shape, dtype),)) for m in (factory(), empty))
        assert [n.name for n in one.nodes] == [n.name for n in other.nodes]
        assert one.tensors == other.tensors
        a, b = predict(one).total, predict(other).total
        assert a.median == pytest.approx(b.median, abs=0.5)


def test_a_model_on_meta_without_a_history():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(30, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 4))
    found = {w.name: w.law for w in describe(model, (((8, 30), FLOAT),)).weights}
    assert found["0.weight"].rms == pytest.approx(1 / math.sqrt(3 * 30))
    assert found["1.weight"].rms == 1.0
    assert found["3.bias"].rms == pytest.approx(1 / math.sqrt(3 * 40))


@pytest.mark.parametrize("seed", range(3))
def test_derived_weights_are_measured(seed):
    torch.manual_seed(seed)
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(12, 20, bias=False))
    found = describe(nn.Sequential(layer, nn.ReLU(), nn.Linear(20, 4)), (((5, 12), FLOAT),))
    law = found.nodes[0].op.weight
    assert law.rms == pytest.approx(layer.weight.detach().square().mean().sqrt().item(), rel=0.1)
    weight = nn.Parameter(torch.randn(12, 20))
    found = describe(Transposed(weight), (((5, 12), FLOAT),))
    assert found.nodes[0].op.weight.rms == pytest.approx(
        weight.square().mean().sqrt().item(), rel=1e-5
    )


class Made(nn.Module):
    """A dense layer by what is made of its weight, times a number in a buffer."""

    def __init__(self, make, initialise):
        super().__init__()
        self.make, self.weight = make, nn.Parameter(torch.empty(40, 60))
        initialise(self.weight)
        self.register_buffer("scale", torch.full((), 3.0))

    def forward(self, x):
        return F.linear(x, self.make(self.weight)) * self.scale


def standardised(w):
    return (w - w.mean(1, keepdim=True)) / w.std(1, keepdim=True) + 0.1


MADE = {
    "shifted": (lambda w: 1 + w, lambda w: init.normal_(w, 0, 0.3)),
    "of zeros": (lambda w: 1.0 + w.float(), init.zeros_),
    "squared": (lambda w: w**2, lambda w: init.uniform_(w, -1, 2)),
    "exponential": (lambda w: -w.exp(), lambda w: init.normal_(w, -1, 0.5)),
    "standardised": (standardised, lambda w: init.uniform_(w, 1, 2)),
    "by a view": (lambda w: w.view(2, 20, 60).tanh().view(40, 60), lambda w: init.normal_(w, 1)),
    "scaled": (lambda w: w * 0.1, init.xavier_uniform_),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_a_weight_without_values_has_its_own_law(name, seed):
    make, initialise = MADE[name]
    found = describe(abstract(lambda: Made(make, initialise)), (((5, 60), FLOAT),))
    law = found.nodes[0].op.weight
    torch.manual_seed(seed)
    values = make(Made(make, initialise).weight.detach()).double()
    error = 6 / math.sqrt(values.numel())
    assert law.rms == pytest.approx(values.square().mean().sqrt().item(), rel=error)
    assert law.mean == pytest.approx(values.mean().item(), abs=error * law.rms)
    assert not found.notes
    assert found.nodes[-1].op.phi(np.array([2.0])) == pytest.approx([6.0])


def test_a_number_that_nobody_knows_is_no_zero():
    def factory():
        model = Made(lambda w: w, init.ones_)
        model.scale.cumsum_(0)
        return model

    found = describe(abstract(factory), (((5, 60), FLOAT),))
    assert isinstance(found.nodes[-1].op, Opaque)


def by_hand(x, what, unbiased):
    if what == "norm":
        return np.sqrt((x**2).sum((2, 3)))
    return x.var(1, ddof=unbiased) if what == "var" else x.std(1, ddof=unbiased)


@pytest.mark.parametrize("unbiased", [0, 1])
@pytest.mark.parametrize("what", ["norm", "var", "std"])
def test_the_steps_of_norms_and_deviations(what, unbiased):
    functions = {
        "norm": lambda x, w: torch.linalg.vector_norm(x, 2, (2, 3)),
        "var": lambda x, w: x.var(1, unbiased=bool(unbiased)),
        "std": lambda x, w: torch.std(x, 1, correction=unbiased),
    }
    node = describe(Apply(functions[what], IMAGE), ((IMAGE, FLOAT),)).nodes[-1]
    values = {node.inputs[0]: np.random.default_rng(unbiased).normal(size=IMAGE) + 1}
    for step in node.op.nodes:
        x = [values[t] for t in step.inputs]
        if isinstance(step.op, ops.Reduce):
            reduce = np.mean if step.op.reduction == "mean" else np.sum
            value = reduce(x[0], axis=step.op.axes, keepdims=step.op.keepdims)
        else:
            value = step.op.phi(*x)
        values[step.outputs[0]] = value
    exact = by_hand(values[node.inputs[0]], what, unbiased)
    assert values[node.outputs[0]] == pytest.approx(exact)


class Transposed(nn.Module):
    """Its weight by way of a transpose."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, x):
        return F.linear(x, self.weight.t())


# --- by hand -----------------------------------------------------------------------------------------


def test_a_convolution_in_all_its_figures():
    model = nn.Sequential(
        nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    )
    found = describe(model, (((7, 4, 9, 16), FLOAT),))
    (node,) = found.nodes
    weight = model[0].weight.detach().double()
    assert (node.op.channels, node.op.spatial, node.op.groups) == (1, (2, 3), 2)
    assert (node.op.kernel, node.op.stride, node.op.dilation) == ((3, 5), (2, 1), (1, 2))
    assert node.op.padding == ((1, 1), (0, 0))
    assert not node.op.transposed
    assert node.op.weight.mean == pytest.approx(weight.mean().item(), rel=1e-5)
    assert node.op.weight.rms == pytest.approx(weight.square().mean().sqrt().item(), rel=1e-5)
    assert found.weights[0].fan_in == 2 * 15
    assert found.tensors[found.inputs[0].tensor] == (7, 4, 9, 16)
    assert node.inputs == (found.inputs[0].tensor,)
    assert node.outputs == found.outputs


def test_a_pointwise_function_is_the_models_own():
    z = np.linspace(-3, 3, 50)
    functions = {
        "gelu": lambda x, w: F.gelu(x, approximate="tanh"),
        "elu": lambda x, w: F.elu(x, 0.3),
        "softplus": lambda x, w: F.softplus(x, beta=3),
        "hardtanh": lambda x, w: F.hardtanh(x, -0.5, 2.0),
        "leaky": lambda x, w: F.leaky_relu(x, 0.3),
        "reversed": lambda x, w: 2 - x,
        "quotient": lambda x, w: 1 / (x + 10),
        "power": lambda x, w: 2.0**x,
        "threshold": lambda x, w: F.threshold(x, 0.1, 20.0),
        "own": lambda x, w: Cube.apply(x),
    }
    for name, function in functions.items():
        value = torch.from_numpy(z)
        for node in describe(Apply(function, MATRIX), ((MATRIX, FLOAT),)).nodes[1:]:
            z_in = value.numpy()
            value = torch.from_numpy(np.asarray(node.op.phi(z_in)))
        exact = function(torch.from_numpy(z), None).numpy()
        assert value.numpy() == pytest.approx(exact, abs=1e-9), name


def test_constants_and_masks():
    found = describe(Words(), (((3, 7), INTEGER),))
    attention = next(n.op for n in found.nodes if isinstance(n.op, ops.Attention))
    assert attention.causal
    assert found.inputs[0].integer
    places = next(n for n in found.nodes if n.name == "add")
    (law,) = (found.constants[t] for t in places.inputs if t in found.constants)
    assert law.rms == pytest.approx(0.02, rel=0.3)
    coins = CASES[MATRIX]["coins"]
    found = describe(Apply(coins, MATRIX), ((MATRIX, FLOAT),))
    (law,) = found.constants.values()
    assert (law.mean, law.rms**2) == pytest.approx((0.8, 0.8))
    ramp = describe(Apply(CASES[MATRIX]["constant"], MATRIX), ((MATRIX, FLOAT),))
    (law,) = ramp.constants.values()
    exact = np.arange(12) / 12
    assert (law.mean, law.rms) == pytest.approx(
        (exact.mean(), math.sqrt((exact**2).mean())), rel=1e-5
    )


@pytest.mark.parametrize(
    ("mask", "causal"), [(torch.ones(8, 8).tril(), True), (torch.ones(8, 8), False)]
)
def test_a_mask_counts_as_causal_where_it_is(mask, causal):
    model = Masked(mask.bool())
    op = next(
        n.op for n in describe(model, ((TOKENS, FLOAT),)).nodes if isinstance(n.op, ops.Attention)
    )
    assert op.causal is causal


class Masked(nn.Module):
    """Attention with a mask in a buffer."""

    def __init__(self, mask):
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.register_buffer("mask", mask)

    def forward(self, x):
        x = self.first(x)
        return F.scaled_dot_product_attention(x, x, x, attn_mask=self.mask)


def test_several_inputs_and_outputs():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(4, 5), nn.Linear(6, 7)

        def forward(self, a, *, b):
            return {"a": self.left(a), "b": self.right(b)}

    found = describe(Pair(), {"a": ((2, 4), FLOAT), "b": ((3, 6), FLOAT)})
    assert [i.name for i in found.inputs] == ["a", "b"]
    assert sorted(found.tensors[t] for t in found.outputs) == [(2, 5), (3, 7)]


# --- errors -------------------------------------------------------------------------------------------


class Deciding(nn.Module):
    """What it does hangs on the data."""

    def __init__(self, how):
        super().__init__()
        self.how, self.layer = how, nn.Linear(4, 4)

    def forward(self, x):
        return self.how(self.layer(x))


def branching(x):
    return x if x.sum() > 0 else -x


ERRORS = {
    "no module": (lambda: 3, (((2, 4), FLOAT),), "Module"),
    "lazy": (lambda: nn.LazyLinear(4), (((2, 4), FLOAT),), "lazy"),
    "no shape": (lambda: nn.Linear(4, 4), None, "input_shape"),
    "wrong shape": (lambda: nn.Linear(4, 4), (((2, 5), FLOAT),), r"\(2, 5\)"),
    "too few": (Words, (), "input_shape"),
    "too many": (lambda: nn.Linear(4, 4), (((2, 4), FLOAT), ((2, 4), FLOAT)), "input_shape"),
    "item": (lambda: Deciding(lambda x: x * x.mean().item()), (((2, 4), FLOAT),), "evengrad check"),
    "branch": (lambda: Deciding(branching), (((2, 4), FLOAT),), "evengrad check"),
    "nonzero": (lambda: Deciding(lambda x: x[x > 0]), (((2, 4), FLOAT),), "evengrad check"),
    "numpy": (
        lambda: Deciding(lambda x: x * torch.from_numpy(x.detach().numpy())),
        (((2, 4), FLOAT),),
        "evengrad check",
    ),
    "nothing": (lambda: Deciding(lambda x: x.detach()), (((2, 4), FLOAT),), "returned nothing"),
    "no weights": (nn.ReLU, (((2, 4), FLOAT),), "returned nothing"),
    "integers": (lambda: nn.Linear(4, 4), (((2, 4), INTEGER),), "dtype"),
    "floats": (lambda: nn.Embedding(4, 4), (((2, 4), FLOAT),), "dtype"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_says_what_to_do(name):
    factory, inputs, said = ERRORS[name]
    with pytest.raises(CannotCheckError, match=said) as caught:
        describe(factory(), inputs)
    assert len(str(caught.value)) < 700
    assert nn.Module.__call__.__qualname__ != "ModuleStack.enter.<locals>.call"


def test_an_error_names_the_line():
    with pytest.raises(CannotCheckError, match=r"test_torch_describe\.py:\d+"):
        describe(Deciding(branching), (((2, 4), FLOAT),))


def test_the_laws_of_models_that_are_gone_are_forgotten():
    alive = [abstract(lambda: nn.Linear(3, 3)) for _ in range(2)]
    gc.collect()
    before = len(laws._HEARD)
    for _ in range(5):
        abstract(lambda: nn.Linear(3, 3))
        gc.collect()
    assert len(laws._HEARD) <= before + 2
    assert all(heard(p) is not None for model in alive for p in model.parameters())
