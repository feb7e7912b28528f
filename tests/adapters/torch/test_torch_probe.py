"""What the torch probe measures, against plain autograd, on the operations that real networks use."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import evengrad
from evengrad.adapters.torch.probe import probe
from evengrad.diagnosis.budget import budget, operations_on_path
from evengrad.values.spec import Kind
from evengrad.verbs.check import check_probe

F = nn.functional


def measure(model, shape, *, classes=4, loss=None, optimizer=None, seed=0):
    torch.manual_seed(seed)
    x = torch.randn(shape)
    y = torch.randint(0, classes, shape[:1])
    return probe(model, loss=loss or nn.CrossEntropyLoss(), batch=(x, y), optimizer=optimizer)


def assert_adds_up(measured):
    """Total = blocks = terms + branching, and the total is the gradient's growth by plain autograd."""
    split = budget(measured)
    assert math.isfinite(split.total)
    assert sum(b.log_gain for b in split.blocks) == pytest.approx(split.total, abs=1e-9)
    everything = sum(split.terms.values()) + sum(b.branching for b in split.blocks)
    assert everything == pytest.approx(split.total, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_norms_equal_plain_autograd(seed):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4))
    x, y = torch.randn(9, 5), torch.randint(0, 4, (9,))
    measured = probe(net, loss=nn.CrossEntropyLoss(), batch=(x, y))

    net = net.double()
    h = x.double().requires_grad_()
    tensors = [h]
    for layer in net:
        h = layer(h)
        tensors.append(h)
    exact = torch.autograd.grad(F.cross_entropy(h, y), [*tensors, *net.parameters()])
    path = operations_on_path(measured)
    norms = [measured.inputs[0].port.norm, *(op.outputs[0].norm for op in path)]
    assert norms == pytest.approx([g.norm().item() for g in exact[:6]], rel=1e-5)
    for op, below, above in zip(path, exact, exact[1:], strict=False):
        assert op.log_gain == pytest.approx(math.log(below.norm() / above.norm()), abs=1e-5)
        assert op.backward.rms == pytest.approx(above.pow(2).mean().sqrt().item(), rel=1e-5)
    for weight, gradient in zip(measured.weights, exact[6:], strict=True):
        assert weight.gradient.rms == pytest.approx(gradient.pow(2).mean().sqrt().item(), rel=1e-5)


class Branching(nn.Module):
    """In-place ReLU, in-place add, concatenation, a shared layer called twice."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(12 * 16, 4)

    def forward(self, x):
        x = self.relu(self.conv1(x))
        y = self.conv2(x)
        y += x
        y = self.relu(y)
        z = self.conv2(y).relu_()
        return self.head(torch.cat([y, z], 1).flatten(1))


def plain_branching(net, x):
    a = F.relu(net.conv1(x))
    b = F.relu(net.conv2(a) + a)
    c = F.relu(net.conv2(b))
    return {"a": a, "b": b, "c": c, "out": net.head(torch.cat([b, c], 1).flatten(1))}


@pytest.mark.parametrize("seed", range(3))
def test_in_place_branches_and_shared_layers(seed):
    """PEERS trap 5: in-place ReLU neither crashes nor is flipped, and the figures are right."""
    torch.manual_seed(seed)
    net = Branching()
    x, y = torch.randn(5, 3, 4, 4), torch.randint(0, 4, (5,))
    measured = probe(net, loss=nn.CrossEntropyLoss(), batch=(x, y))
    assert net.relu.inplace

    tensors = plain_branching(net, x)
    exact = torch.autograd.grad(F.cross_entropy(tensors["out"], y), list(tensors.values()))
    norm = dict(zip(tensors, (g.norm().item() for g in exact), strict=True))
    by_name = {op.name: op for op in measured.operations}
    relus = [op for op in measured.operations if op.kind is Kind.ACTIVATION]
    assert [op.outputs[0].norm for op in relus] == pytest.approx([norm["a"], norm["b"], norm["c"]])
    assert by_name["head"].outputs[0].norm == pytest.approx(norm["out"])
    assert [op.layer for op in measured.operations].count("conv2") == 2
    assert_adds_up(measured)
    assert measured.loss.value == pytest.approx(F.cross_entropy(tensors["out"], y).item())


def conv(n_in, n_out, **options):
    return nn.Conv2d(n_in, n_out, 3, padding=1, **options)


OPERATIONS = {
    "depthwise": (lambda: [conv(4, 4, groups=4)], (3, 4, 6, 6), "Conv2d", Kind.WEIGHTS),
    "strided": (lambda: [conv(4, 8, stride=2)], (3, 4, 6, 6), "Conv2d", Kind.WEIGHTS),
    "dilated": (lambda: [nn.Conv2d(4, 8, 3, dilation=2)], (3, 4, 6, 6), "Conv2d", Kind.WEIGHTS),
    "transposed": (
        lambda: [nn.ConvTranspose2d(4, 2, 4, stride=2)],
        (3, 4, 6, 6),
        "ConvTranspose2d",
        Kind.WEIGHTS,
    ),
    "conv1d": (lambda: [nn.Conv1d(4, 8, 3)], (3, 4, 9), "Conv1d", Kind.WEIGHTS),
    "batch norm": (lambda: [nn.BatchNorm2d(4)], (3, 4, 6, 6), "BatchNorm2d", Kind.NORMALISATION),
    "layer norm": (lambda: [nn.LayerNorm(6)], (3, 4, 6, 6), "LayerNorm", Kind.NORMALISATION),
    "group norm": (lambda: [nn.GroupNorm(2, 4)], (3, 4, 6, 6), "GroupNorm", Kind.NORMALISATION),
    "max pool": (lambda: [nn.MaxPool2d(2)], (3, 4, 6, 6), "MaxPool2d", Kind.POOLING),
    "average pool": (lambda: [nn.AvgPool2d(2)], (3, 4, 6, 6), "AvgPool2d", Kind.POOLING),
    "dropout": (lambda: [nn.Dropout(0.5)], (3, 4, 6, 6), "Dropout", Kind.DROPOUT),
    "in-place dropout": (lambda: [nn.Dropout(0.5, inplace=True)], (3, 8), "Dropout", Kind.DROPOUT),
    "gelu": (lambda: [nn.GELU()], (3, 8), "GELU", Kind.ACTIVATION),
    "prelu": (lambda: [nn.PReLU()], (3, 8), "PReLU", Kind.ACTIVATION),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name):
    make, shape, kind_name, kind = OPERATIONS[name]
    torch.manual_seed(1)
    layers = [*make(), nn.Flatten()]
    width = nn.Sequential(*layers)(torch.randn(shape)).shape[1]
    measured = measure(nn.Sequential(*layers, nn.Linear(width, 4)), shape)
    op = next(o for o in measured.operations if o.name == "0")
    assert (op.type, op.kind) == (kind_name, kind)
    assert op.log_gain is not None
    assert math.isfinite(op.log_gain)
    assert_adds_up(measured)


@pytest.mark.parametrize("name", ["depthwise", "strided", "dilated", "transposed", "conv1d"])
def test_fan_in_is_what_random_weights_show(name):
    """Energy back through random weights is Var W * fan_in, away from the borders."""
    make = OPERATIONS[name][0]
    energies = []
    for seed in range(200):
        torch.manual_seed(seed)
        layer = make()[0]
        layer.padding = type(layer.padding)(0 for _ in layer.padding)
        nn.init.normal_(layer.weight)
        side = (32,) if "1d" in type(layer).__name__ else (32, 32)
        x = torch.randn(1, layer.in_channels, *side, requires_grad=True)
        y = layer(x)
        delta = torch.randn_like(y)
        (grad,) = torch.autograd.grad(y, x, delta)
        energies.append((grad.pow(2).sum() / delta.pow(2).sum()).item())
    layers = [*make(), nn.Flatten()]
    shape = OPERATIONS[name][1]
    width = nn.Sequential(*layers)(torch.randn(shape)).shape[1]
    measured = measure(nn.Sequential(*layers, nn.Linear(width, 4)), shape)
    fan_in = measured.weight("0.weight").fan_in
    assert np.mean(energies) == pytest.approx(fan_in, rel=0.07)


class Tokens(nn.Module):
    def __init__(self, core):
        super().__init__()
        self.embed, self.core, self.head = nn.Embedding(11, 8), core, nn.Linear(8, 4)

    def forward(self, tokens):
        x = self.embed(tokens)
        if isinstance(self.core, nn.MultiheadAttention):
            x, _ = self.core(x, x, x)
        else:
            x, _ = self.core(x)
        return self.head(x[:, -1])


@pytest.mark.parametrize(
    ("core", "kind"),
    [
        (lambda: nn.MultiheadAttention(8, 2, batch_first=True), Kind.ATTENTION),
        (lambda: nn.LSTM(8, 8, batch_first=True), Kind.RECURRENT),
        (lambda: nn.GRU(8, 8, batch_first=True), Kind.RECURRENT),
    ],
)
def test_tokens_through_attention_and_recurrence(core, kind):
    torch.manual_seed(2)
    tokens, y = torch.randint(0, 11, (5, 6)), torch.randint(0, 4, (5,))
    measured = probe(Tokens(core()), loss=nn.CrossEntropyLoss(), batch=(tokens, y))
    cores = [op for op in measured.operations if op.layer == "core"]
    assert [op.kind for op in cores] == [kind], "one operation each"
    assert any(op.kind is Kind.EMBEDDING for op in measured.operations)
    assert measured.inputs[0].port is None
    assert_adds_up(measured)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(3, 5), nn.Linear(4, 5), nn.Linear(5, 4)

    def forward(self, *, a, b):
        return self.head(torch.tanh(self.left(a)) * self.right(b))


def test_dict_inputs_by_name():
    torch.manual_seed(3)
    batch = {"a": torch.randn(6, 3), "b": torch.randn(6, 4)}, torch.randint(0, 4, (6,))
    measured = probe(Two(), loss=nn.CrossEntropyLoss(), batch=batch)
    assert {i.name for i in measured.inputs} == {"a", "b"}
    assert_adds_up(measured)


def test_numpy_batches_are_taken():
    x, y = np.random.default_rng(0).normal(size=(6, 5)), np.arange(6) % 4
    measured = probe(nn.Linear(5, 4), loss=nn.CrossEntropyLoss(), batch=(x, y))
    assert measured.batch_size == 6


# --- the traps of PEERS ------------------------------------------------------------------------


class OneBadGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        grad = grad.clone()
        grad.view(-1)[0] = math.nan
        return grad


class Forked(nn.Module):
    """Two separate paths; a NaN is born in the gradient of one."""

    def __init__(self):
        super().__init__()
        self.good, self.bad = nn.Linear(5, 4), nn.Linear(5, 4)

    def forward(self, x):
        return self.good(x) + OneBadGradient.apply(self.bad(x))


def test_trap_1_one_nan_does_not_spread():
    measured = measure(Forked(), (6, 5))
    assert measured.weight("bad.weight").gradient.non_finite > 0
    good = measured.weight("good.weight").gradient
    assert good.non_finite == 0
    assert good.rms > 0
    found = check_probe(measured).findings
    assert found[0].code == "EG103"


@pytest.mark.parametrize("size", [1e19, 1e-24])
def test_trap_2_huge_and_tiny_gradients_keep_their_norm(size):
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4))
    plain = measure(net, (6, 5))
    scaled = measure(net, (6, 5), loss=lambda out, y: F.cross_entropy(out, y) * size)
    for small, large in zip(plain.operations[:3], scaled.operations[:3], strict=True):
        assert large.outputs[0].norm == pytest.approx(small.outputs[0].norm * size, rel=1e-4)
    for a, b in zip(plain.weights, scaled.weights, strict=True):
        assert b.gradient.rms == pytest.approx(a.gradient.rms * size, rel=1e-4)
    assert budget(scaled).total == pytest.approx(budget(plain).total, rel=1e-4)


def sigmoid_stack(depth):
    torch.manual_seed(6)
    layers = [nn.Flatten(), nn.Linear(25, 32)]
    for _ in range(depth):
        layers += [nn.Sigmoid(), nn.Linear(32, 32)]
    return nn.Sequential(*layers, nn.Linear(32, 4))


def test_trap_6_vanishing_is_seen_where_the_global_norm_is_not_small():
    measured = measure(sigmoid_stack(20), (16, 1, 5, 5))
    total = math.hypot(*(w.gradient.norm for w in measured.weights))
    first = measured.weight("1.weight").gradient.norm
    assert total > 0.1, "an absolute threshold on the global norm sees nothing"
    assert first < 1e-12
    assert check_probe(measured).findings[0].cause is evengrad.Cause.ACTIVATION


def test_trap_9_the_penalty_does_not_hide_vanishing():
    net = sigmoid_stack(20)

    def penalised(out, y):
        return F.cross_entropy(out, y) + 0.05 * sum(w.pow(2).sum() for w in net.parameters())

    plain, measured = measure(net, (16, 1, 5, 5)), measure(net, (16, 1, 5, 5), loss=penalised)
    for a, b, parameter in zip(plain.weights, measured.weights, net.parameters(), strict=True):
        assert b.gradient.rms == pytest.approx(a.gradient.rms, rel=1e-6), "the data's alone"
        exact = 0.1 * parameter.detach().double().pow(2).mean().sqrt().item()
        assert b.penalty == pytest.approx(exact, rel=1e-5)
    first = measured.weight("1.weight")
    assert first.gradient.rms < 1e-13
    assert first.penalty > 1e-3
    codes = {f.code for root in check_probe(measured).findings for f in (root, *root.echoes)}
    assert "EG102" in codes
    exact = 0.05 * sum(w.detach().double().pow(2).sum().item() for w in net.parameters())
    assert measured.loss.penalty == pytest.approx(exact, rel=1e-5)
    assert measured.loss.value == pytest.approx(plain.loss.value, rel=1e-4)


@pytest.mark.parametrize(
    "penalty",
    [
        lambda loss, ps: loss + 0.1 * torch.stack([p.norm() for p in ps]).sum(),
        lambda loss, ps: 0.5 * (loss + sum(p.abs().sum() for p in ps)),
        lambda loss, ps: sum((p.pow(2).sum() for p in ps), loss),
    ],
    ids=["stacked norms", "halved L1", "summed one by one"],
)
def test_penalties_as_people_write_them(penalty):
    torch.manual_seed(8)
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4))
    x, y = torch.randn(6, 5), torch.randint(0, 4, (6,))
    loss = lambda out, y: penalty(F.cross_entropy(out, y), list(net.parameters()))  # noqa: E731
    measured = probe(net, loss=loss, batch=(x, y))
    without = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
    total = torch.autograd.grad(loss(net(x), y), list(net.parameters()))
    factor = 0.5 if "0.5" in str(penalty.__code__.co_consts) else 1.0
    for weight, data, both in zip(measured.weights, without, total, strict=True):
        assert weight.gradient.rms == pytest.approx(
            factor * data.pow(2).mean().sqrt().item(), rel=1e-5
        )
        exact = (both - factor * data).pow(2).mean().sqrt().item()
        assert weight.penalty == pytest.approx(exact, rel=1e-4)


def test_weight_norm_is_no_penalty():
    torch.manual_seed(9)
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(5, 7))
    measured = measure(nn.Sequential(layer, nn.ReLU(), nn.Linear(7, 4)), (6, 5))
    assert measured.loss.penalty == 0
    assert all(w.gradient is not None and w.gradient.rms > 0 for w in measured.weights)
    assert_adds_up(measured)


# --- loss heads, labels, updates --------------------------------------------------------------


def test_a_closing_softmax_belongs_to_the_loss():
    net = nn.Sequential(nn.Linear(5, 4), nn.Softmax(-1))
    measured = measure(net, (6, 5))
    assert measured.loss.head == "softmax"
    assert measured.loss.reads == "logits"
    assert [op.type for op in operations_on_path(measured)] == ["Linear"]


def test_softmax_outside_of_the_model_is_seen():
    measured = measure(
        nn.Linear(5, 4), (6, 5), loss=lambda out, y: F.cross_entropy(torch.softmax(out, -1), y)
    )
    assert measured.loss.head == "softmax"
    assert check_probe(measured).findings[0].code == "EG501"


def test_labels_out_of_range_are_reported_not_raised():
    x, y = torch.randn(8, 5), torch.randint(0, 4, (8,)) + 1
    y[0] = 4
    measured = probe(nn.Linear(5, 4), loss=nn.CrossEntropyLoss(), batch=(x, y))
    assert measured.loss.targets.max == 4
    assert check_probe(measured).findings[0].code == "EG602"
    ignored = torch.full((8,), -100)
    ignored[:4] = 1
    measured = probe(nn.Linear(5, 4), loss=nn.CrossEntropyLoss(), batch=(x, ignored))
    assert check_probe(measured).findings == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda ps: torch.optim.Adam(ps, lr=1e-3),
        lambda ps: torch.optim.AdamW(ps, lr=1e-2, fused=True),
        lambda ps: torch.optim.RMSprop(ps, lr=1e-3),
        lambda ps: torch.optim.Adagrad(ps, lr=1e-2),
    ],
    ids=["sgd", "adam", "fused adamw", "rmsprop", "adagrad"],
)
def test_the_coming_update_is_the_one_that_comes(make):
    torch.manual_seed(10)
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4))
    optimizer = make(net.parameters())
    x, y = torch.randn(6, 5), torch.randint(0, 4, (6,))
    measured = probe(net, loss=nn.CrossEntropyLoss(), batch=(x, y), optimizer=optimizer)
    before = [p.detach().clone() for p in net.parameters()]
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
    for weight, old, new in zip(measured.weights, before, net.parameters(), strict=True):
        real = (new.detach().double() - old.double()).pow(2).mean().sqrt().item()
        assert weight.update == pytest.approx(real, rel=1e-4)


# --- input that cannot be probed -------------------------------------------------------------


def frozen():
    return nn.Linear(5, 4).requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "loss", "batch", "words"),
    [
        (frozen(), nn.CrossEntropyLoss(), (torch.randn(3, 5), torch.zeros(3).long()), "trainable"),
        (nn.ReLU(), nn.CrossEntropyLoss(), (torch.randn(3, 5), torch.zeros(3).long()), "trainable"),
        (
            nn.Linear(5, 4),
            nn.CrossEntropyLoss(),
            (torch.randn(0, 5), torch.zeros(0).long()),
            "empty",
        ),
        (
            nn.Linear(5, 4),
            nn.CrossEntropyLoss(reduction="none"),
            (torch.randn(3, 5), torch.zeros(3).long()),
            "scalar",
        ),
        (nn.Linear(5, 4), lambda out, y: out.mean().item(), (torch.randn(3, 5), None), "scalar"),
        (
            nn.Linear(5, 4),
            lambda out, y: out.detach().mean(),
            (torch.randn(3, 5), None),
            "detached",
        ),
        (nn.Linear(5, 4), None, (torch.randn(3, 5), None), "loss="),
        (nn.Linear(5, 4), nn.CrossEntropyLoss(), torch.randn(3, 5), "batch=\\(inputs, targets\\)"),
    ],
)
def test_clear_errors(model, loss, batch, words):
    with pytest.raises(evengrad.CannotCheckError, match=words):
        evengrad.check(model, loss=loss, batch=batch)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_figures_are_the_same():
    torch.manual_seed(11)
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4))
    on_cpu = measure(net, (6, 5))
    x = torch.manual_seed(0) and torch.randn(6, 5)
    y = torch.randint(0, 4, (6,))
    on_gpu = probe(net.cuda(), loss=nn.CrossEntropyLoss(), batch=(x.cuda(), y.cuda()))
    for a, b in zip(on_cpu.operations, on_gpu.operations, strict=True):
        assert b.outputs[0].norm == pytest.approx(a.outputs[0].norm, rel=1e-3)
