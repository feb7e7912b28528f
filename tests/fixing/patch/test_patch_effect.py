"""Patched torch scripts run, and their models and optimizers have what the change says."""

import math

import pytest
import torch
from patch_scripts import TORCH_CLASS, TORCH_LIST, patched
from torch import nn

from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.beta2 import Beta2
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.fixing.changes.decay import Decay
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.inputs import StandardiseInputs
from evengrad.fixing.changes.logits import Logits
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.changes.use_optimizer import UseOptimizer
from evengrad.fixing.changes.warmup import Warmup
from evengrad.theory.shaping import tailored
from evengrad.values.change import in_order

WIDE = """
import torch
from torch import nn

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(8, 64, 3), nn.Tanh(), nn.Conv2d(64, 64, 3, bias=False))
        self.hidden = nn.ModuleList(nn.Linear(64, 64) for _ in range(3))
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        x = torch.tanh(self.features(x)).mean((2, 3))
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.head(x)


def reset(module):
    if hasattr(module, "weight"):
        nn.init.ones_(module.weight)


net = Net()
net.apply(reset)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler(enabled=False)
x, y = torch.randn(4, 8, 6, 6), torch.randint(0, 2, (4,))
rates = []
for step in range(12):
    optimizer.zero_grad()
    scaler.scale(nn.functional.cross_entropy(net(x), y)).backward()
    rates.append(optimizer.param_groups[0]["lr"])
    scaler.step(optimizer)
    scaler.update()
"""
HIDDEN = ("features.0", "features.2", "hidden.0", "hidden.1", "hidden.2")


def run(source, *changes):
    """What a script has bound at its end, after the changes."""
    patch = patched(source, *changes, frontend="torch")
    assert patch.manual == ()
    bound = {"__name__": "__main__"}
    exec(compile(patch.after, "after.py", "exec"), bound)
    return bound


def drawn(source, change):
    """The models' weights before the first update."""
    bound = run(source.replace("range(12)", "range(0)").replace("range(3)):", "range(3)):"), change)
    return bound["net"]


@pytest.mark.parametrize("layers", [HIDDEN, (*HIDDEN, "head"), ("features.2",)])
@pytest.mark.parametrize("gain", [1.0, math.sqrt(2), 1.6])
def test_weights_have_the_gains_variance(layers, gain):
    net = drawn(WIDE, Initialise(layers, "tanh", gain))
    for name in (*HIDDEN, "head"):
        module = net.get_submodule(name)
        if name not in layers:
            assert torch.all(module.weight == 1)
            continue
        fan_in = module.weight[0].numel()
        sampling = 4 / math.sqrt(2 * module.weight.numel())  # of a standard deviation, four sigma
        assert module.weight.std().item() * math.sqrt(fan_in) == pytest.approx(gain, rel=sampling)
        assert module.bias is None or torch.all(module.bias == 0)


@pytest.mark.parametrize(
    "layers", [("head",), ("hidden.0", "features.2"), ("features.0",), (*HIDDEN[2:], "head")]
)
def test_orthogonal_weights(layers):
    net = drawn(WIDE, Initialise(layers, "tanh", 1.5, "orthogonal"))
    for name in layers:
        weight = net.get_submodule(name).weight
        matrix = weight[:, :, 1, 1] if weight.dim() == 4 else weight
        rows, columns = matrix.shape
        product = matrix @ matrix.T if rows <= columns else matrix.T @ matrix * columns / rows
        assert torch.allclose(product, 2.25 * torch.eye(len(product)), atol=1e-4)
        assert weight.norm().item() == pytest.approx(matrix.norm().item())


@pytest.mark.parametrize("layers", [("features.2",), HIDDEN[2:]])
def test_weights_that_begin_at_zero_do_so_whatever_else_is_drawn(layers):
    zeros, drawn_too = Initialise(layers, "linear", 0.0, "zeros"), Initialise(HIDDEN, "relu", 1.4)
    patched = run(WIDE.replace("range(12)", "range(0)"), *in_order([zeros, drawn_too]))
    for name in (*HIDDEN, "head"):
        weight = patched["net"].get_submodule(name).weight
        assert torch.all(weight == 0) == (name in layers)


def test_rate_and_optimizer():
    bound = run(WIDE, UseOptimizer("adam", 0.5), Beta2(0.9), SetRate(0.01))
    assert type(bound["optimizer"]) is torch.optim.Adam
    assert bound["optimizer"].defaults["betas"] == (0.9, 0.9)
    assert bound["rates"] == [0.01] * 12
    bound = run(TORCH_CLASS, SetRate(0.02))
    assert bound["optimizer"].param_groups[0]["lr"] == 0.02


def test_schedules_are_what_the_change_says():
    rates = run(WIDE, Warmup(5))["rates"]
    assert rates == pytest.approx([0.1 * min(n / 5, 1) for n in range(1, 13)])
    rates = run(WIDE, Decay(12))["rates"]
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * n / 12)) for n in range(12)])
    rates = run(WIDE, Warmup(5), Decay(12))["rates"]
    expected = [0.05 * (1 + math.cos(math.pi * n / 12)) * min((n + 1) / 5, 1) for n in range(12)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "measure"),
    [
        ("norm", lambda grads: torch.cat([g.flatten() for g in grads]).norm()),
        ("value", lambda grads: max(g.abs().max() for g in grads)),
    ],
)
def test_gradients_are_clipped(kind, measure):
    net = run(WIDE, ClipGradients(kind, 1e-3))["net"]
    assert measure([p.grad for p in net.parameters()]).item() <= 1e-3 * (1 + 1e-4)


def test_activations_of_hidden_layers():
    net = run(TORCH_LIST, Activation("sigmoid", "leaky_relu", 0.2))["model"]
    assert [type(m) for m in net[1::2]] == [nn.LeakyReLU, nn.LeakyReLU, nn.Sigmoid]
    assert net[1].negative_slope == 0.2


def test_normalisations_and_the_names_behind_them():
    net = run(
        TORCH_LIST, Initialise(("2", "4"), "relu", 1e-9), AddNormalisation("batch", ("0", "2"))
    )
    assert [type(m).__name__ for m in net["model"].modules()][1:] == [
        "Linear", "BatchNorm1d", "Sigmoid", "Linear", "BatchNorm1d", "Sigmoid", "Linear", "Sigmoid",
    ]  # fmt: skip
    assert net["model"][0].weight.std() > 0.1
    model = run(TORCH_CLASS, AddNormalisation("batch", ("conv", "fc1")))["model"]
    assert model.fc1.normalisation.num_batches_tracked == 3


def test_normalisations_in_a_list():
    net = run(WIDE, AddNormalisation("layer", ("hidden.0", "hidden.1", "hidden.2", "features.0")))[
        "net"
    ]
    assert [type(m.normalisation) for m in net.hidden] == [nn.LayerNorm] * 3
    assert type(net.features[0].normalisation) is nn.GroupNorm


def test_logits_and_inputs():
    model = run(TORCH_CLASS, Logits(False), StandardiseInputs(3.0, 2.0))["model"]
    x = torch.randn(2, 1, 8, 8)
    plain = run(TORCH_CLASS)["model"]
    plain.load_state_dict(model.state_dict())
    expected = torch.softmax(model(x), 1)
    assert torch.allclose(plain((x - 3) / 2), expected, atol=1e-6)


def test_shaped_activations_do_what_is_made_live():
    shaping = tuple(tailored("sigmoid", 20))
    bound = run(TORCH_LIST, Activation("sigmoid", "sigmoid", None, shaping))
    net, x = bound["model"], torch.linspace(-3, 3, 7)
    alpha, beta, gamma, delta = shaping
    expected = gamma * (torch.sigmoid(alpha * x + beta) + delta)
    assert torch.allclose(net[1](x), expected, atol=1e-5)
    assert type(net[5]) is nn.Sigmoid
    wide = run(WIDE, Activation("tanh", "tanh", None, tuple(tailored("tanh", 20))))
    assert wide["shaped_tanh"](torch.zeros(1)).abs() < 0.1  # of weights with no mean


def test_biases_of_critical_weights():
    drawn_anew = run(WIDE, Initialise(HIDDEN, "tanh", 1.02, "orthogonal", 0.5))["net"]
    assert 0.3 < drawn_anew.hidden[0].bias.std() < 0.7
