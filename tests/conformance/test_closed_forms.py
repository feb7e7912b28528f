"""docs/theory.md, Growth through depth and Closed forms: every row that a probe can measure, over seeds.

Tolerances follow the simulated column: where it stands 1% off the expected value, so may we.
"""

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import nn

from evengrad.adapters.torch.probe import probe
from evengrad.diagnosis.budget import budget
from evengrad.values.spec import Kind

SEEDS = range(6)


def draw(layer, gain):
    """Var W = gain^2 / fan_in, no bias."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def dense(n_in, n_out, gain):
    return draw(nn.Linear(n_in, n_out), gain)


def conv(n_in, n_out, gain, **options):
    options = {"kernel_size": 3, "padding": 1, "padding_mode": "circular", **options}
    return draw(nn.Conv2d(n_in, n_out, **options), gain)


def measure(make, shape, seeds=SEEDS, classes=10):
    """Probes of freshly drawn networks on fresh standard normal inputs."""
    for seed in seeds:
        torch.manual_seed(1000 + seed)
        x, y = torch.randn(shape), torch.randint(0, classes, shape[:1])
        yield probe(nn.Sequential(*make()), loss=nn.CrossEntropyLoss(), batch=(x, y))


def mean_log_gains(probes, skip=1):
    """Kind -> mean log gain, over probes; the first `skip` and the last layers left out."""
    logs = defaultdict(list)
    for measured in probes:
        inner = [op for op in measured.operations if op.name in budget(measured).terms]
        for op in inner[3 * skip : -4]:
            logs[op.kind].append(op.log_gain)
    return {kind: float(np.mean(values)) for kind, values in logs.items()}


def energy_between(probes, first, last):
    """Mean over probes of log(||delta_first||^2 / ||delta_last||^2) by operation name."""
    growth = []
    for measured in probes:
        level = {lv.operation: lv.log_norm for lv in budget(measured).profile}
        growth.append(2 * (level[first] - level[last]))
    return np.array(growth)


# --- section 1: 20-layer 3x3 conv nets, mean gain per operation ---------------------------------


def conv_net(activation, gain, norm=False, depth=20, width=64):
    layers = []
    for index in range(depth):
        layers.append(conv(3 if index == 0 else width, width, gain))
        if norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(activation())
    return [*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense(width, 10, 1.0)]


@pytest.mark.parametrize(
    ("activation", "variance", "norm", "expected"),
    [
        (nn.ReLU, 2, False, (1.414, 0.704, None, 0.98)),
        (nn.ReLU, 4, False, (2.012, 0.723, None, 1.41)),
        (nn.ReLU, 1, False, (1.003, 0.724, None, 0.73)),
        (nn.Tanh, 4, False, (2.001, 0.579, None, 1.12)),
        (nn.Sigmoid, 1, False, (1.002, 0.235, None, 0.235)),
        (nn.ReLU, 2, True, (1.407, 0.707, 1.188, 1.16)),
    ],
)
def test_mean_gain_per_operation_of_conv_nets(activation, variance, norm, expected):
    logs = defaultdict(list)
    for measured in measure(
        lambda: conv_net(activation, math.sqrt(variance), norm), (16, 3, 8, 8), seeds=range(3)
    ):
        for op in measured.operations:
            if op.kind in (Kind.WEIGHTS, Kind.ACTIVATION, Kind.NORMALISATION) and op.layer != str(
                len(measured.operations)
            ):
                logs[op.kind].append(op.log_gain)
    weights, slope, norm_gain, layer = expected
    mean = {kind: math.exp(np.mean(values)) for kind, values in logs.items()}
    assert mean[Kind.WEIGHTS] == pytest.approx(weights, rel=0.05)
    assert mean[Kind.ACTIVATION] == pytest.approx(slope, rel=0.05)
    if norm_gain is not None:
        assert mean[Kind.NORMALISATION] == pytest.approx(norm_gain, rel=0.05)
    assert math.prod(mean.values()) == pytest.approx(layer, rel=0.06)


# --- section 3 -----------------------------------------------------------------------------------


def mlp(depth, width, gain, activation=nn.ReLU):
    layers = []
    for _ in range(depth):
        layers += [dense(width, width, gain), activation()]
    return [*layers, dense(width, 10, 1.0)]


@pytest.mark.parametrize("g", [0.9, 1.0, 1.1])
def test_he_times_g_mlp_energy_per_layer(g):
    depth, width = 20, 256
    probes = measure(lambda: mlp(depth, width, g * math.sqrt(2)), (64, width), seeds=range(10))
    growth = energy_between(probes, "0", str(2 * (depth - 1)))
    layers = depth - 1
    theory = 2 * math.log(g) * layers - 2.5 * layers / width
    assert growth.mean() / layers == pytest.approx(theory / layers, abs=0.035)


def test_width_makes_the_gradient_log_normal():
    """Hanin: log energy ~ N(-b/2, b), b = 5 sum 1/n; the simulation: mean -1.186, variance 2.61."""
    width, steps = 64, 31
    runs = 120
    probes = measure(lambda: mlp(steps + 1, width, math.sqrt(2)), (1, width), seeds=range(runs))
    growth = energy_between(probes, "0", str(2 * steps))
    b = 5 * steps / width
    assert growth.mean() == pytest.approx(-b / 2, abs=4 * math.sqrt(b / runs))
    assert growth.var() == pytest.approx(b, rel=0.35)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_pytorch_default_loses_a_sixth(kind):
    torch.manual_seed(0)
    width, depth = (512, 10) if kind == "linear" else (64, 8)

    def make():
        layers = []
        for _ in range(depth):
            layer = (
                nn.Linear(width, width)
                if kind == "linear"
                else nn.Conv2d(width, width, 3, padding=1, padding_mode="circular")
            )
            layers += [layer, nn.ReLU()]
        end = [] if kind == "linear" else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return [*layers, *end, dense(width, 10, 1.0)]

    shape = (64, width) if kind == "linear" else (8, width, 8, 8)
    growth = energy_between(measure(make, shape), "0", str(2 * (depth - 1)))
    assert math.exp(growth.mean() / (depth - 1)) == pytest.approx(1 / 6, rel=0.04)


def stack(block, depth, width, n_in=None):
    layers = [dense(n_in or width, width, 1.0)]
    for _ in range(depth):
        layers += block(width)
    return [*layers, dense(width, 10, 1.0)]


@pytest.mark.parametrize(
    ("block", "batch", "expected", "tolerance"),
    [
        (lambda n: [dense(n, n, 1.0), nn.BatchNorm1d(n, eps=1e-12), nn.ReLU()], 1024, 1.2112, 0.01),
        (lambda n: [dense(n, n, 1.0), nn.ReLU(), nn.LayerNorm(n, eps=1e-12)], 64, 1.2112, 0.01),
        (
            lambda n: [dense(n, n, math.sqrt(2)), nn.LayerNorm(n, eps=1e-12), nn.ReLU()],
            64,
            1.0,
            0.01,
        ),
        (lambda n: [dense(n, n, 1.0), nn.LayerNorm(n, eps=1e-12), nn.Tanh()], 64, 1.0853, 0.01),
    ],
    ids=["batch norm, ReLU", "ReLU, layer norm", "layer norm, ReLU", "layer norm, tanh"],
)
def test_norm_per_layer_behind_normalisation(block, batch, expected, tolerance):
    depth, width = 10, 512
    probes = measure(lambda: stack(block, depth, width), (batch, width), seeds=range(3))
    growth = energy_between(probes, "3", str(3 * depth)) / 2
    assert math.exp(growth.mean() / (depth - 1)) == pytest.approx(expected, rel=tolerance)


def test_batch_norm_relu_conv_norm_per_layer():
    depth, width = 8, 64

    def make():
        layers = [conv(3, width, 1.0)]
        for _ in range(depth):
            layers += [conv(width, width, 1.0), nn.BatchNorm2d(width, eps=1e-12), nn.ReLU()]
        return [*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense(width, 10, 1.0)]

    growth = energy_between(measure(make, (32, 3, 8, 8), seeds=range(3)), "3", str(3 * depth)) / 2
    assert math.exp(growth.mean() / (depth - 1)) == pytest.approx(1.2112, rel=0.015)


def energy_ratios(block, batch, seeds=24):
    """Energy ratio of neighbouring layers well inside a stack, ends left out; all seeds, all layers."""
    depth, width, ratios = 8, 512, []
    for measured in measure(lambda: stack(block, depth, width), (batch, width), seeds=range(seeds)):
        step = len(block(2))
        ends = [str(step * (index + 1)) for index in range(depth)]
        level = {lv.operation: 2 * lv.log_norm for lv in budget(measured).profile}
        ratios += list(np.exp(-np.diff([level[name] for name in ends[1:-1]])))
    return np.array(ratios)


@pytest.mark.parametrize(
    ("batch", "expected", "tolerance"), [(4, 2.0, 0.12), (5, 1.5, 0.04), (8, 1.2, 0.03)]
)
def test_linear_batch_norm_small_batch(batch, expected, tolerance):
    """(B-2)/(B-3) of energy a layer; simulated 1.95, 1.51, 1.200 (1/chi^2 of 3 has no variance)."""
    ratios = energy_ratios(lambda n: [dense(n, n, 1.0), nn.BatchNorm1d(n, eps=1e-12)], batch)
    assert ratios.mean() == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(
    ("batch", "expected", "tolerance"), [(4, 2.98, 0.12), (8, 1.79, 0.04), (32, 1.52, 0.03)]
)
def test_batch_norm_relu_small_batch(batch, expected, tolerance):
    ratios = energy_ratios(
        lambda n: [dense(n, n, 1.0), nn.BatchNorm1d(n, eps=1e-12), nn.ReLU()], batch
    )
    assert ratios.mean() == pytest.approx(expected, rel=tolerance)


class Residual(nn.Module):
    def __init__(self, branch, scale=1.0):
        super().__init__()
        self.branch, self.scale = branch, scale

    def forward(self, x):
        return x + self.scale * self.branch(x)


def he_branch(n):
    return nn.Sequential(dense(n, n, math.sqrt(2)), nn.ReLU(), dense(n, n, 1.0))


def residual_growth(scale, depth, width=256):
    blocks = lambda: [  # noqa: E731
        *(
            Residual(nn.Sequential(nn.ReLU(), dense(width, width, math.sqrt(2))), scale)
            for _ in range(depth)
        ),
        dense(width, 10, 1.0),
    ]
    totals = []
    for measured in measure(blocks, (64, width)):
        split = budget(measured)
        assert sum(b.log_gain for b in split.blocks) == pytest.approx(split.total)
        totals.append(2 * sum(b.log_gain for b in split.blocks[:-1]))
    return np.array(totals)


def test_residual_he_branch_doubles_the_energy():
    depth = 10
    assert math.exp(residual_growth(1.0, depth).mean() / depth) == pytest.approx(2.0, rel=0.03)


def test_residual_branch_scaled_by_root_depth():
    depth = 32
    mean = np.exp(residual_growth(1 / math.sqrt(depth), depth)).mean()
    assert mean == pytest.approx((1 + 1 / depth) ** depth, rel=0.05)


def test_pre_activation_batch_norm_residual_grows_as_a_power():
    """Energy against depth L^1.467; simulated exponents 1.43 to 1.45."""
    depth, width = 48, 256

    def block(n):
        return nn.Sequential(nn.BatchNorm1d(n, eps=1e-12), nn.ReLU(), dense(n, n, math.sqrt(2)))

    slopes = []
    for measured in measure(
        lambda: [
            dense(width, width, 1.0),
            *(Residual(block(width)) for _ in range(depth)),
            dense(width, 10, 1.0),
        ],
        (256, width),
        seeds=range(3),
    ):
        bottoms = [2 * b.bottom for b in budget(measured).blocks][1:-1]
        positions = np.log(np.arange(1, len(bottoms) + 1))
        # bottoms[k] sits at block k + 1: energy there against the top goes as (L / position)^exponent
        window = slice(4, len(bottoms))
        slopes.append(-np.polyfit(positions[window], bottoms[window], 1)[0])
    assert np.mean(slopes) == pytest.approx(1.45, abs=0.12)


@pytest.mark.parametrize(("side", "expected"), [(4, 0.762), (8, 0.921)])
def test_zero_padding_loses_energy(side, expected):
    """((1 + 2 cos(pi/(H+1))) / 3)^2 a layer far from the ends; simulated .781 and .917."""
    depth, width = 16, 32

    def make():
        layers = [conv(width, width, 1.0, padding_mode="zeros") for _ in range(depth)]
        return [*layers, nn.Flatten(), dense(width * side * side, 10, 1.0)]

    growth = energy_between(measure(make, (8, width, side, side)), "3", str(depth - 3))
    assert math.exp(growth.mean() / (depth - 6)) == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize(
    ("layer", "expected", "tolerance"),
    [
        (lambda: nn.MaxPool2d(2), 1.0, 1e-6),
        (lambda: nn.AvgPool2d(2), 1 / 4, 1e-6),
        (lambda: nn.AdaptiveAvgPool2d(1), 1 / 64, 1e-6),
        (lambda: nn.Dropout(0.3), 1 / 0.7, 0.03),
    ],
    ids=["max pool", "average pool", "global average pool", "dropout"],
)
def test_energy_through_pooling_and_dropout(layer, expected, tolerance):
    def make():
        probe_layer = layer()
        side = {nn.MaxPool2d: 4, nn.AvgPool2d: 4, nn.AdaptiveAvgPool2d: 1}.get(type(probe_layer), 8)
        return [conv(3, 32, 1.0), probe_layer, nn.Flatten(), dense(32 * side * side, 10, 1.0)]

    gains = [
        2 * next(op for op in measured.operations if op.layer == "1").log_gain
        for measured in measure(make, (16, 3, 8, 8))
    ]
    assert math.exp(np.mean(gains)) == pytest.approx(expected, rel=tolerance)


def test_stride_2_doubling_channels():
    def make():
        strided = conv(64, 128, math.sqrt(2), stride=2)
        return [
            conv(3, 64, 1.0),
            strided,
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            dense(128, 10, 1.0),
        ]

    gains = [
        2 * next(op for op in m.operations if op.name == "1").log_gain
        for m in measure(make, (16, 3, 16, 16))
    ]
    assert math.exp(np.mean(gains)) == pytest.approx(2.0, rel=0.04)


def test_delta_orthogonal_convolutions_keep_the_norm():
    depth, width = 200, 16

    def make():
        layers = []
        for _ in range(depth):
            layer = nn.Conv2d(width, width, 3, padding=1, bias=False)
            nn.init.zeros_(layer.weight)
            with torch.no_grad():
                layer.weight[:, :, 1, 1] = torch.linalg.qr(torch.randn(width, width))[0]
            layers.append(layer)
        return [*layers, nn.Flatten(), dense(width * 16, 10, 1.0)]

    for measured in measure(make, (2, width, 4, 4), seeds=range(2)):
        split = budget(measured)
        inner = sum(split.terms[str(i)] for i in range(depth))
        assert math.exp(inner) == pytest.approx(1.0, rel=1e-5)
