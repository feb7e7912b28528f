"""The rate that a torch loss bears, against closed forms of a linear model."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import evengrad
from evengrad.adapters.torch.measure.update import coming_step, coming_update
from evengrad.theory.stability import PASSES


def linear(seed, batch=40, width=5):
    torch.manual_seed(seed)
    model = nn.Linear(width, 1, bias=False).double()
    x = torch.randn(batch, width, dtype=torch.float64) * torch.linspace(0.5, 2, width)
    y = torch.randn(batch, 1, dtype=torch.float64)
    hessian = (2 / batch * x.T @ x).numpy()
    w = model.weight.detach().numpy()[0]
    gradient = hessian @ w - (2 / batch * (x.T @ y)).numpy()[:, 0]
    return model, (x, y), hessian, gradient


@pytest.mark.parametrize("seed", range(4))
def test_critical_rate_and_sharpness_of_sgd(seed):
    model, batch, hessian, g = linear(seed)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    rate = evengrad.check(
        model, loss=nn.MSELoss(), batch=batch, optimizer=optimizer, precise=True
    ).probe.rate
    exact = 2 * (g @ g) / (g @ hessian @ g)
    assert rate.passes <= PASSES
    assert rate.critical == pytest.approx(exact, rel=0.35)
    assert rate.sharpness == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_sharpness_is_preconditioned_as_adam_does(seed):
    model, batch, hessian, g = linear(seed)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    rate = evengrad.check(
        model, loss=nn.MSELoss(), batch=batch, optimizer=optimizer, precise=True
    ).probe.rate
    root = 1 / np.sqrt(np.abs(g) + 1e-8)
    scaled = root[:, None] * hessian * root
    assert rate.sharpness == pytest.approx(np.linalg.eigvalsh(scaled)[-1], rel=0.02)
    u = np.sign(g)
    assert rate.critical == pytest.approx(2 * (g @ u) / (u @ hessian @ u), rel=0.35)


def test_nothing_is_changed():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    noise = torch.get_rng_state()
    batch = torch.randn(16, 6, generator=torch.Generator().manual_seed(1)), torch.arange(16) % 3
    rate = evengrad.check(
        model, loss=nn.CrossEntropyLoss(), batch=batch, optimizer=optimizer
    ).probe.rate
    assert rate is not None
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(noise, torch.get_rng_state())
    assert optimizer.state_dict()["state"] == {}


def test_no_rate_without_an_optimizer_or_when_not_wanted():
    model, batch, *_ = linear(0)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    assert evengrad.check(model, loss=nn.MSELoss(), batch=batch).probe.rate is None
    quick = evengrad.check(model, loss=nn.MSELoss(), batch=batch, optimizer=optimizer, rate=False)
    assert quick.probe.rate is None


class Attention(nn.Module):
    """One head; plain: the same by hand."""

    def __init__(self, plain):
        super().__init__()
        self.qkv, self.out, self.plain = nn.Linear(8, 24), nn.Linear(8, 3), plain

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.plain:
            y = (q @ k.mT / 8**0.5).softmax(-1) @ v
        else:
            y = functional.scaled_dot_product_attention(*(t[:, None] for t in (q, k, v)))[:, 0]
        return self.out(y).mean(1)


@pytest.mark.parametrize("seed", range(2))
def test_fused_attention_has_a_sharpness(seed):
    rates = []
    for plain in (True, False):
        torch.manual_seed(seed)
        model = Attention(plain)
        optimizer = torch.optim.SGD(model.parameters(), 1e-2)
        batch = torch.randn(6, 5, 8), torch.arange(6) % 3
        found = evengrad.check(
            model, loss=nn.CrossEntropyLoss(), batch=batch, optimizer=optimizer, precise=True
        ).probe
        assert found.notes == ()
        rates.append(found.rate)
    assert rates[1].sharpness == pytest.approx(rates[0].sharpness, rel=1e-3)
    assert rates[1].critical == pytest.approx(rates[0].critical, rel=0.05)


class Once(torch.autograd.Function):
    """A square whose gradient cannot be differentiated again."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


def test_without_a_second_derivative_the_critical_rate_stays():
    torch.manual_seed(0)

    class Squared(nn.Linear):
        def forward(self, x):
            return Once.apply(super().forward(x))

    model, batch = Squared(4, 2), (torch.randn(8, 4), torch.randn(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    noise = torch.get_rng_state()
    found = [
        evengrad.check(
            model, loss=nn.MSELoss(), batch=batch, optimizer=optimizer, precise=precise
        ).probe
        for precise in (False, True)
    ]
    assert found[1].rate.critical == pytest.approx(found[0].rate.critical, rel=1e-3)
    assert found[1].rate.sharpness is None
    assert any("eigenvalue" in note for note in found[1].notes)
    assert torch.equal(noise, torch.get_rng_state())


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("seed", range(2))
def test_the_rate_does_not_hang_on_how_small_the_present_one_is(name, seed):
    """In float32, where a step of 1e-9 changes no bit of most weights."""
    model, (x, y), hessian, g = linear(seed)
    model, x, y = model.float(), x.float(), y.float()
    u = g if name == "SGD" else np.sign(g)
    exact = 2 * (g @ u) / (u @ hessian @ u)
    for now in (1e-3, 1e-6, 1e-9, 1e-12):
        optimizer = getattr(torch.optim, name)(model.parameters(), now)
        rate = evengrad.check(
            model, loss=nn.MSELoss(), batch=(x, y), optimizer=optimizer
        ).probe.rate
        assert rate.learning_rate == now
        assert rate.passes <= PASSES
        assert rate.critical == pytest.approx(exact, rel=0.35)


def test_an_update_that_moves_nothing_is_a_note():
    model, (x, y), *_ = linear(0)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    found = evengrad.check(model, loss=nn.MSELoss(), batch=(0 * x, y), optimizer=optimizer).probe
    assert found.rate is None
    assert any("moves no weight" in note for note in found.notes)


def _adam(g, steps):
    second, largest = np.zeros_like(g[0]), np.zeros_like(g[0])
    for one in g[:steps]:
        second = 0.99 * second + 0.01 * one**2
        largest = np.maximum(largest, second)
    return np.sqrt(largest / (1 - 0.99**steps)) + 1e-8


def _centred(g, steps):
    second, mean = np.zeros_like(g[0]), np.zeros_like(g[0])
    for one in g[:steps]:
        second, mean = 0.9 * second + 0.1 * one**2, 0.9 * mean + 0.1 * one
    return np.sqrt(second - mean**2) + 1e-8


def _adamax(g, steps):
    largest = np.zeros_like(g[0])
    for one in g[:steps]:
        largest = np.maximum(0.99 * largest, np.abs(one) + 1e-8)
    return largest


@pytest.mark.parametrize(
    ("optimizer", "by_hand"),
    [
        (lambda p: torch.optim.Adam(p, 1e-2, (0.9, 0.99), amsgrad=True), _adam),
        (lambda p: torch.optim.RMSprop(p, 1e-2, 0.9, centered=True), _centred),
        (lambda p: torch.optim.Adamax(p, 1e-2, (0.9, 0.99)), _adamax),
    ],
)
def test_sharpness_is_preconditioned_as_each_optimizer_does(optimizer, by_hand):
    """After two steps, so that no formula coincides with another."""
    model, (x, y), hessian, g = linear(4)
    optimizer, gradients = optimizer(model.parameters()), [g]
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
        w = model.weight.detach().numpy()[0]
        gradients.append(hessian @ w - (2 / len(x) * (x.T @ y)).numpy()[:, 0])
    rate = evengrad.check(
        model, loss=nn.MSELoss(), batch=(x, y), optimizer=optimizer, precise=True
    ).probe.rate
    root = 1 / np.sqrt(by_hand(gradients, 3))
    scaled = root[:, None] * hessian * root
    assert rate.sharpness == pytest.approx(np.linalg.eigvalsh(scaled)[-1], rel=0.02)


def test_a_subclass_of_sgd_is_sgd():
    class Mine(torch.optim.SGD):
        pass

    model, batch, *_ = linear(1)
    rate = evengrad.check(
        model,
        loss=nn.MSELoss(),
        batch=batch,
        optimizer=Mine(model.parameters(), 1e-2, momentum=0.8),
    ).probe.rate
    assert rate.method.family == "sgd"
    assert rate.method.momentum == 0.8


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_the_step_that_was_taken_serves_where_the_weights_swallow_next_to_nothing(make):
    """Against the step in float64; where they swallow more, that is taken."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 4))
    nn.CrossEntropyLoss()(net(torch.randn(16, 20)), torch.randint(4, (16,))).backward()
    for rate, taken in ((1e-2, True), (1e-8, False)):
        optimizer = make(net.parameters(), rate)
        coming = coming_update(optimizer)
        long, _ = coming_step(optimizer)
        short, _ = coming_step(optimizer, coming=coming)
        for (p, exact), (own, move) in zip(long, short, strict=True):
            assert p is own
            assert torch.linalg.norm(move - exact) <= 1e-2 * torch.linalg.norm(exact)
        after = [a - p.detach() for p, a in coming.after]
        assert taken == all(torch.equal(a, move) for a, (_, move) in zip(after, short, strict=True))
