"""Changes in a live PyTorch training: each against the same thing written out by hand."""

import math
import zlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from evengrad.adapters.torch import trying
from evengrad.adapters.torch.change.change import apply
from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.errors import CannotChangeError
from evengrad.fixing.changes import from_json, to_json
from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.beta2 import Beta2
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.fixing.changes.decay import Decay
from evengrad.fixing.changes.finite_targets import FiniteTargets
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.inputs import StandardiseInputs
from evengrad.fixing.changes.logits import Logits
from evengrad.fixing.changes.pretrained import Pretrained
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.changes.skip import Skip
from evengrad.fixing.changes.unit_variance import UnitVariance
from evengrad.fixing.changes.use_optimizer import UseOptimizer
from evengrad.fixing.changes.warmup import Warmup
from evengrad.theory.shaping import tailored
from evengrad.values.change import in_order

SEEDS = (0, 1)


class Over(BaseException):
    pass


class Session:
    """What an adapter reports to, kept."""

    def __init__(self, *changes, seed=0, steps=6, withheld=0):
        self.changes, self.seed, self.steps, self.withheld = changes, seed, steps, withheld
        self.measured = False
        self.held, self.backward = [], []
        self.made, self.begun, self.epochs, self.probes = 0, 0, [], []
        self.heard, self.notes, self.refused = [], [], None

    def started(self):
        self.begun += 1

    def refuse(self, error):
        self.refused = error
        raise Over

    def note(self, text):
        self.notes.append(text)

    def targets(self, loss, values, place=0):
        self.heard.append((loss, values))

    def backpropagated(self, loss, own):
        self.backward.append((loss, own))

    def held_out(self, loss, examples):
        self.held.append((loss, examples))

    def epoch(self, steps):
        self.epochs.append(steps)

    def stepped(self):
        self.made += 1
        return self.made >= self.steps

    def probed(self, probe):
        self.probes.append(probe)

    def over(self):
        raise Over


def net(seed=0, middle=nn.Sigmoid, end=()):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, 40), middle(), nn.Linear(40, 30), middle(), nn.Linear(30, 3), *end
    )


class Functions(nn.Module):
    """The same with functions, and a sigmoid at its end."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(6, 40), nn.Linear(40, 30), nn.Linear(30, 3)

    def forward(self, x):
        x = self.two(torch.sigmoid(self.one(x)))
        return torch.sigmoid(self.three(F.sigmoid(x)))


def batch(seed=0, rows=32):
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(rows, 6)), dtype=torch.float32)
    return x, torch.tensor(rng.integers(0, 3, rows))


def live(model, x, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    return LiveTraining(model, optimizer, (x,))


def train(session, model, make=None, batches=4, rounds=6):
    """A loop of the user's own under a session; the losses."""
    losses = []
    armed = trying.arm(session)
    try:
        optimizer = (make or (lambda p: torch.optim.SGD(p, lr=0.1)))(model.parameters())
        for i in range(rounds * batches):
            x, y = batch(i % batches)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
    except Over:
        pass
    finally:
        armed.disarm()
    return losses


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scheme", ["normal", "orthogonal"])
def test_weights_have_the_variance_asked_for(seed, scheme):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(8, 96, 3), nn.Flatten(), nn.Linear(300, 200), nn.Linear(200, 300)
    )
    apply(LiveTraining(model, None), [Initialise(("0", "2", "3"), "relu", 1.3, scheme)])
    for layer in (model[0], model[2], model[3]):
        weight, fan_in = layer.weight.detach(), layer.weight[0].numel()
        wanted = 1.3 / math.sqrt(fan_in)
        assert float(weight.square().mean().sqrt()) == pytest.approx(wanted, rel=0.05)
        assert not layer.bias.any()
    if scheme == "orthogonal":
        square = model[2].weight.detach() @ model[2].weight.detach().T
        torch.testing.assert_close(square, 1.3**2 * torch.eye(200), rtol=1e-4, atol=1e-4)
        centre = model[0].weight.detach().clone()
        centre[:, :, 1, 1] = 0
        assert not centre.any()


def test_a_branch_begins_at_zero_though_all_weights_are_drawn_anew():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    zeros = Initialise(("1",), "linear", 0.0, "zeros")
    apply(LiveTraining(model, None), in_order([zeros, Initialise(("0", "1"), "relu", 1.4)]))
    assert model[0].weight.all()
    assert not model[1].weight.any()
    assert not model[1].bias.any()


@pytest.mark.parametrize("seed", SEEDS)
def test_hidden_activations_change_and_the_closing_one_does_not(seed):
    torch.manual_seed(seed)
    model, (x, _) = Functions(), batch(seed)
    at = live(model, x)
    apply(at, [Activation("sigmoid", "leaky_relu", 0.2)])
    with at.substitute:
        at.substitute.restart()
        found = model(x)
    hidden = F.leaky_relu(model.two(F.leaky_relu(model.one(x), 0.2)), 0.2)
    torch.testing.assert_close(found, torch.sigmoid(model.three(hidden)))


def test_an_activation_shaped_to_depth():
    model, (x, _) = Functions(), batch(0)
    at, (alpha, beta, gamma, delta) = live(model, x), tailored("sigmoid", 20)
    apply(at, [Activation("sigmoid", "sigmoid", None, (alpha, beta, gamma, delta))])
    with at.substitute:
        at.substitute.restart()
        found = model(x)

    def shaped(z):
        return gamma * (torch.sigmoid(alpha * z + beta) + delta)

    hidden = shaped(model.two(shaped(model.one(x))))
    torch.testing.assert_close(found, torch.sigmoid(model.three(hidden)))


def test_modules_are_functions_too():
    model, (x, _) = net(), batch()
    at = live(model, x)
    apply(at, [Activation("sigmoid", "relu")])
    with at.substitute:
        at.substitute.restart()
        found = model(x)
    torch.testing.assert_close(found, model[4](F.relu(model[2](F.relu(model[0](x))))))


def test_a_closing_softmax_goes():
    model, (x, _) = net(end=(nn.Softmax(1),)), batch()
    at = live(model, x)
    apply(at, [Logits(False)])
    with at.substitute:
        at.substitute.restart()
        found = model(x)
    torch.testing.assert_close(found, model[:5](x))


@pytest.mark.parametrize("kind", ["batch", "layer", "group"])
def test_normalisation_stands_before_the_activation(kind):
    model, (x, _) = net(), batch()
    plain = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    apply(live(model, x, optimizer), [AddNormalisation(kind, ("0", "2"))])
    norms = {
        "batch": lambda v: F.batch_norm(v, None, None, training=True),
        "layer": lambda v: F.layer_norm(v, v.shape[1:]),
        "group": lambda v: F.group_norm(v, {40: 5, 30: 3}[v.shape[1]]),
    }
    h = torch.sigmoid(norms[kind](plain[0](x)))
    h = torch.sigmoid(norms[kind](plain[2](h)))
    torch.testing.assert_close(model(x), plain[4](h))
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in model.parameters()} == trained


def test_inputs_are_normalised_from_the_first_pass_on():
    session, model = Session(StandardiseInputs(2.0, 4.0)), net()
    seen = []
    model[0].register_forward_pre_hook(lambda _m, args: seen.append(args[0].detach().clone()))
    train(session, model)
    for i, found in enumerate(seen[:4]):
        torch.testing.assert_close(found, (batch(i)[0] - 2) / 4)


def test_another_optimizer_does_what_it_would_by_itself():
    def adam(parameters):
        return torch.optim.Adam(parameters, lr=0.01)

    one = train(Session(UseOptimizer("adam", 0.01), steps=99), net())
    assert one == train(Session(steps=99), net(), adam)
    assert one != train(Session(steps=99), net())


def test_another_optimizer_comes_after_a_step_whose_closure_calls_the_model():
    x, y = batch()
    model = net()
    session = Session(UseOptimizer("adam", 1e-3), Warmup(4), steps=9)
    armed = trying.arm(session)
    try:
        optimizer = torch.optim.SGD(model.parameters(), lr=50.0)
        before = [p.detach().clone() for p in model.parameters()]

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
        assert type(optimizer) is torch.optim.Adam
        optimizer.step(closure)
        assert not torch.equal(next(model.parameters()), before[0])
        assert optimizer.param_groups[0]["lr"] == 1e-3
    finally:
        armed.disarm()


def test_a_schedule_of_the_scripts_own_stays():
    def scheduled(parameters):
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        optimizer.register_step_post_hook(
            lambda *_: (rates.append(rate(optimizer)), schedule.step())
        )
        return optimizer

    def rate(optimizer):
        return optimizer.param_groups[0]["lr"]

    rates = []
    train(Session(SetRate(0.04), steps=99), net(), scheduled, rounds=1)
    assert rates == pytest.approx([0.04, 0.02, 0.01, 0.005])


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (Warmup(4), [0.25, 0.5, 0.75, 1.0, 1.0]),
        (Decay(4), [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]),
    ],
)
def test_rates_over_the_first_steps(change, wanted):
    model, factors = net(), []

    def noted(parameters):
        return torch.optim.SGD(parameters, lr=1.0)

    def update(before, gradient):
        return float((before - model[0].weight.detach()).norm() / gradient.norm())

    session, armed = Session(change, steps=99), None
    armed = trying.arm(session)
    try:
        optimizer = noted(model.parameters())
        for i in range(5):
            x, y = batch(i)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            before = model[0].weight.detach().clone()
            optimizer.step()
            factors.append(update(before, model[0].weight.grad))
            assert optimizer.param_groups[0]["lr"] == 1.0
    finally:
        armed.disarm()
    assert factors == pytest.approx(wanted, abs=1e-5)


def test_beta2_needs_an_adam():
    model, (x, _) = net(), batch()
    adam = torch.optim.AdamW(model.parameters())
    apply(live(model, x, adam), [Beta2(0.95)])
    assert adam.param_groups[0]["betas"] == (0.9, 0.95)
    with pytest.raises(CannotChangeError, match="SGD has no beta2"):
        apply(live(model, x), [Beta2(0.95)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Initialise(("9",), "relu", 1.0), "no layer '9'"),
        (Initialise(("1",), "relu", 1.0), "no weight matrix"),
        (Activation("tanh", "relu"), "calls tanh"),
        (Activation("sigmoid", "wobble"), "Expected one of"),
        (Logits(False), "no closing softmax"),
        (Logits(True), "In PyTorch"),
        (AddNormalisation("batch", ("1",)), "no layer|no linear|has no attribute|weight"),
        (ClipGradients("norm", 1.0), "ClipGradients cannot be made"),
        (Skip(("0",)), "takes a tensor of shape (32, 6) and gives one of (32, 40)"),
        (Skip(("1",)), "no weight"),
        (UnitVariance(("1",)), "no weight matrix"),
        (Pretrained("nowhere.safetensors", 0.1), "nowhere.safetensors cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    session = Session(change)
    train(session, net())
    assert session.made == 0
    assert session.refused is not None
    assert session.refused.args[0]
    assert any(word in str(session.refused) for word in words.split("|"))


def test_without_changes_nothing_changes():
    plain, tried = net(), net()
    losses = []
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for i in range(24):
        x, y = batch(i % 4)
        optimizer.zero_grad()
        loss = F.cross_entropy(plain(x), y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert train(Session(steps=99), tried) == losses
    for one, other in zip(plain.parameters(), tried.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_budget_ends_with_a_probe_of_the_trained_model():
    session = Session(Activation("sigmoid", "relu"), steps=6)
    train(session, Functions())
    assert session.begun == 1
    assert session.made == 6
    assert session.epochs == [4]
    (probe,) = session.probes
    types = [op.type.lower() for op in probe.operations if op.kind == "activation"]
    assert types[:2] == ["relu", "relu"]
    assert all(kind == "crossentropy" for kind, _ in session.heard)
    np.testing.assert_array_equal(session.heard[0][1], batch(0)[1].numpy())


@pytest.mark.parametrize("own", [True, False])
def test_seeds_move_the_scripts_own(own):
    def first(seed):
        armed = trying.arm(Session(seed=seed))
        try:
            if own:
                torch.manual_seed(7)
            return torch.rand(3).tolist()
        finally:
            armed.disarm()

    assert first(0) == first(0)
    assert first(0) != first(1)
    found = first(1)
    torch.manual_seed(8 if own else 1)
    assert found == torch.rand(3).tolist()


def test_nothing_is_left_behind():
    def now():
        functions = torch.manual_seed, F.cross_entropy, F.mse_loss, torch.optim.Optimizer.__init__
        return functions, torch._C._len_torch_function_stack()

    before = now()
    train(Session(FiniteTargets(), Activation("sigmoid", "relu"), steps=3), net())
    assert now() == before


def test_changes_as_json():
    changes = (
        Logits(True),
        Activation("tanh", "relu"),
        AddNormalisation("batch", ("a", "b")),
        Initialise(("a",), "relu", 2**0.5),
        UseOptimizer("adam", 1e-3),
        Warmup(10),
        ClipGradients("value", 0.5),
    )
    assert from_json(to_json(changes)) == changes
    assert in_order(reversed(changes)) == changes


# --- withheld examples --------------------------------------------------------------------------------


def known(x, every):
    """Which rows are withheld, by a separate reading of the rule."""
    return np.array([zlib.crc32(row.tobytes()) % every == 0 for row in x.numpy()])


class Clean(nn.Module):
    """Takes what is not finite for 0."""

    def __init__(self, seed):
        super().__init__()
        self.inner = net(seed)

    def forward(self, x):
        return self.inner(torch.nan_to_num(x))


@pytest.mark.parametrize("seed", SEEDS)
def test_withheld_examples_are_not_trained_on(seed):
    """As a loop over the others alone; their own losses are told apart. What is not finite stays."""
    session, model, plain = Session(steps=4, withheld=4), Clean(seed), Clean(seed)
    x, y = batch(seed, 64)
    x[0, 0] = np.nan
    while not known(x, 4)[0]:
        x[0, 1] = torch.randn(())
    out = known(x, 4)
    out[0] = False
    assert 4 < out.sum() < 32
    kept, wanted = torch.tensor(~out), []
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        outputs = plain(x)
        wanted.append(float(F.cross_entropy(outputs[~kept], y[~kept])))
        F.cross_entropy(outputs[kept], y[kept]).backward()
        optimizer.step()
    armed = trying.arm(session)
    try:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(model(x), y).backward()
            optimizer.step()
    except Over:
        pass
    finally:
        armed.disarm()
    assert session.held == [(pytest.approx(loss, rel=1e-5), out.sum()) for loss in wanted]
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, _: F.mse_loss(z, torch.zeros_like(z), reduction="sum"),
        lambda z, y: F.cross_entropy(z.view(-1, 3), y.repeat_interleave(1)),
        lambda z, y: F.nll_loss(z.log_softmax(1), y, weight=torch.tensor([1.0, 2.0, 3.0])),
        lambda z, y: F.binary_cross_entropy_with_logits(z, F.one_hot(y, 3).float()),
        lambda z, y: nn.BCELoss()(z.sigmoid(), F.one_hot(y, 3).float()),
    ],
)
def test_withheld_from_each_loss(loss):
    """What is asked of the withheld rows changes no weight; what is asked of the others does."""
    x, y = batch(1, 32)
    out = torch.tensor(known(x, 4))

    def trained(labels, withheld=4):
        session, model = Session(steps=2, withheld=withheld), net()
        armed = trying.arm(session)
        try:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(3):
                optimizer.zero_grad()
                loss(model(x), labels).backward()
                optimizer.step()
        except Over:
            pass
        finally:
            armed.disarm()
        return model[0].weight.detach().clone(), session.held

    first, held = trained(y)
    assert [count for _, count in held] == [out.sum()] * 2
    other = torch.where(out, (y + 1) % 3, y)
    assert torch.equal(trained(other)[0], first)
    assert not torch.equal(trained(y, withheld=0)[0], first)
    assert trained(y, withheld=0)[1] == []


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, y: F.cross_entropy(z, y, reduction="none").mean(),
        lambda z, y: (z.log_softmax(1)[torch.arange(len(y)), y]).mean().neg(),
        lambda z, y: F.binary_cross_entropy(z.sigmoid(), F.one_hot(y, 3).float(), torch.ones(3)),
        lambda z, y: F.cross_entropy(z[:5], y[:5]),
    ],
)
def test_nothing_is_withheld_where_it_cannot_be(loss):
    session, model = Session(steps=1, withheld=4), net()
    x, y = batch(1, 32)
    armed = trying.arm(session)
    try:
        found = loss(model(x), y)
    finally:
        armed.disarm()
    torch.testing.assert_close(found, loss(model(x), y))
    assert session.held == []
