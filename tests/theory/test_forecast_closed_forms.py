"""The rows of the acceptance table that a forecast can give (docs/theory.md, Closed forms)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory.specs import Graph, energy

SQRT2 = math.sqrt(2)


def stack(width: int, depth: int, batch: int, layer: str, gain: float = SQRT2) -> Graph:
    """Blocks in the order of the words in `layer`: "dense norm0 relu"; then a dense end."""
    graph = Graph((batch, width))
    x = 0
    for _ in range(depth):
        for word in layer.split():
            if word == "dense":
                x = graph.dense(x, width, gain)
            elif word.startswith("norm"):
                x = graph.norm(x, int(word[-1]))
            else:
                x = graph.phi(x, word)
    graph.dense(x, 10)
    return graph


def per_layer(graph: Graph, block: int, first: int = 6, last: int = 16) -> float:
    """Energy per layer between two depths, the geometric mean."""
    found = energy(graph.levels(), f"o{first * block}", f"o{last * block}")
    return found ** (1 / (last - first))


@pytest.mark.parametrize("gain", [0.9, 1.0, 1.1, 1.3])
def test_he_times_g(gain: float) -> None:
    graph = stack(4096, 20, 32, "dense relu", SQRT2 * gain)
    assert per_layer(graph, 2) == pytest.approx(gain**2, rel=1e-3)


def test_pytorchs_default() -> None:
    graph = stack(2048, 20, 32, "dense relu", 1 / math.sqrt(3))
    assert per_layer(graph, 2) == pytest.approx(1 / 6, rel=2e-3)
    # from the first pre-activation to the last activation are 20 slopes and 19 sets of weights
    norm = math.sqrt(energy(graph.levels(), "o0", "o39") / 3)
    assert norm == pytest.approx(1.7e-8, rel=0.05)


def test_batch_norm_relu_at_a_large_batch() -> None:
    found = math.sqrt(per_layer(stack(512, 20, 2048, "dense norm0 relu"), 3))
    assert found == pytest.approx(1.21117, rel=2e-3)


@pytest.mark.parametrize("batch", [5, 8, 16])
def test_linear_batch_norm(batch: int) -> None:
    found = per_layer(stack(512, 20, batch, "dense norm0"), 2)
    assert found == pytest.approx((batch - 2) / (batch - 3), rel=2e-3)


@pytest.mark.parametrize(("batch", "simulated"), [(4, 2.98), (8, 1.79), (32, 1.52)])
def test_batch_norm_relu_at_a_small_batch(batch: int, simulated: float) -> None:
    """No closed form: the theory takes a batch on a sphere for Gaussian, which is worst at B = 4."""
    found = per_layer(stack(512, 20, batch, "dense norm0 relu"), 3)
    assert math.sqrt(found) == pytest.approx(math.sqrt(simulated), rel=0.06)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [("dense relu norm1", 1.2112), ("dense norm1 relu", 1.0), ("dense norm1 tanh", 1.0853)],
)
def test_layer_norm(layer: str, expected: float) -> None:
    found = math.sqrt(per_layer(stack(512, 20, 16, layer), 3))
    assert found == pytest.approx(expected, rel=3e-3)


@pytest.mark.parametrize(
    ("phi", "gain", "chi"), [("tanh", 5 / 3, 1.2098), ("gelu", SQRT2, 0.5), ("silu", SQRT2, 0.5)]
)
def test_the_variance_is_iterated(phi: str, gain: float, chi: float) -> None:
    """At the fixed point, which for GELU and SiLU with the ReLU's gain is zero."""
    depth = 400
    found = per_layer(stack(4096, depth, 4, f"dense {phi}", gain), 2, depth - 60, depth - 10)
    assert found == pytest.approx(chi, rel=0.02)


def test_residual_sum() -> None:
    """Two equal energies a block: the skip's, and that of a branch x + W2 relu(W1 x) with He weights."""
    graph = Graph((16, 1024))
    x = graph.dense(0, 1024)
    for _ in range(8):
        x = graph.plus(x, graph.dense(graph.phi(graph.dense(x, 1024, SQRT2), "relu"), 1024))
    graph.dense(x, 10)
    found = energy(graph.levels(), "o0", "o32")
    assert found ** (1 / 8) == pytest.approx(2.0, rel=0.01)


def test_scaled_branches() -> None:
    depth = 32
    graph = Graph((16, 1024))
    x = graph.dense(0, 1024)
    for _ in range(depth - 1):
        branch = graph.dense(graph.phi(graph.dense(x, 1024, SQRT2), "relu"), 1024)
        x = graph.plus(x, graph.times(branch, 1 / math.sqrt(depth)))
    graph.dense(x, 10)
    found = energy(graph.levels(), "o0", f"o{5 * (depth - 1)}")
    assert found == pytest.approx((1 + 1 / depth) ** (depth - 1), rel=0.01)


def test_pre_activation_residual_net_is_a_power_law() -> None:
    """Exponent pi / (pi - 1) = 1.467 of the gradient's energy against depth."""
    graph = Graph((1024, 512))
    x = graph.dense(0, 512)
    places = []
    for _ in range(200):
        places.append(f"o{len(graph.nodes) - 1}")
        x = graph.plus(x, graph.dense(graph.phi(graph.norm(x, 0), "relu"), 512, SQRT2))
    graph.dense(x, 10)
    found = graph.levels()
    depth = np.arange(20, 200)
    logs = [math.log(found[places[i]].energy) for i in depth]
    slope = np.polyfit(np.log(depth), logs, 1)[0]
    assert -slope == pytest.approx(math.pi / (math.pi - 1), rel=0.03)


@pytest.mark.parametrize("height", [4, 8, 16])
def test_zero_padding(height: int) -> None:
    """The largest eigenvalue of the averaging over taps, in both directions of the map."""
    graph = Graph((4, 256, height, height))
    x = 0
    for _ in range(60):
        x = graph.phi(graph.conv(x, 256, SQRT2), "relu")
    graph.conv(x, 10)
    found = energy(graph.levels(), "o20", "o60") ** (1 / 20)
    assert found == pytest.approx(((1 + 2 * math.cos(math.pi / (height + 1))) / 3) ** 2, rel=5e-3)


def test_batch_norm_and_padding_are_no_product() -> None:
    """Simulated 1.189; the product of the two factors is 1.162."""
    graph = Graph((32, 64, 8, 8))
    x = 0
    for _ in range(20):
        x = graph.phi(graph.norm(graph.conv(x, 64, SQRT2), 0, 2, 3), "relu")
    graph.dense(graph.mean(x), 10)
    found = math.sqrt(energy(graph.levels(), "o9", "o48") ** (1 / 13))
    assert found == pytest.approx(1.189, rel=0.02)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(("reduction", "exponent"), [("max", 0), ("average", -2)])
def test_pooling(reduction: str, exponent: int, size: int) -> None:
    graph = Graph((4, 32, 16, 16))
    graph.pool(graph.conv(0, 32), reduction, size)
    assert energy(graph.levels(), "o0", "o1") == pytest.approx(float(size) ** exponent, rel=1e-4)


def test_global_average_pooling_and_dropout() -> None:
    graph = Graph((4, 32, 6, 7))
    graph.dropout(graph.mean(graph.conv(0, 32)), 0.3)
    found = graph.levels()
    assert energy(found, "o0", "o1") == pytest.approx(1 / 42, rel=1e-6)
    assert energy(found, "o1", "o2") == pytest.approx(1 / 0.7, rel=1e-6)


def test_stride() -> None:
    """He's fan-in, stride 2, 64 to 128 channels; a large map, so that the border counts little."""
    graph = Graph((4, 64, 128, 128))
    graph.conv(graph.conv(0, 64), 128, SQRT2, stride=2)
    assert energy(graph.levels(), "o0", "o1") == pytest.approx(2.0, rel=0.02)


def test_delta_orthogonal() -> None:
    """All of a kernel's energy at its centre, orthogonal: 200 layers keep the norm."""
    centre = tuple(float(i == 4) for i in range(9))
    graph = Graph((4, 32, 8, 8))
    x = graph.conv(0, 32)
    for _ in range(200):
        x = graph.conv(x, 32, taps=centre)
    assert energy(graph.levels(), "o0", "o200") == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("width", [64, 128])
def test_band_of_a_finite_width(width: int) -> None:
    """Hanin: log energy ~ N(-b/2, b), b = 5 sum(1/n), for one sample."""
    depth = 31
    found = stack(width, depth + 1, 1, "dense relu").levels()
    spread = found["o0"].spread - found[f"o{2 * depth}"].spread
    assert spread == pytest.approx(5 * depth / width, rel=0.05)
