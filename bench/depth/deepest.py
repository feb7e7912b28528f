"""A plain convolutional network of 10,000 layers on 8x8 digits, with critical delta-orthogonal weights and not
(Xiao 2018, 1806.05393): what it reaches, and what its forecast costs.

``python -m bench.depth.deepest [LAYERS] [SECONDS]``: SECONDS for each of the two trainings. The network is made
and initialised in PyTorch; it is trained by a scan over its layers in JAX, which on a CPU takes a fourth of the
time.
"""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.fixing.changes.initialise import Initialise
from evengrad.theory.criticality import critical

CHANNELS, BATCH, TEST, STEPS = 8, 16, 297, 300
RATE = 0.01  # of Adam, over the depth, for each layer moves the whole function


def network(layers: int) -> nn.Sequential:
    """8x8 digits to 4x4, then one convolution after another, with PyTorch's own weights."""
    hidden: list[nn.Module] = [nn.Conv2d(1, CHANNELS, 3, stride=2, padding=1), nn.Tanh()]
    for _ in range(layers - 1):
        hidden += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.Tanh()]
    return nn.Sequential(*hidden, nn.Flatten(), nn.Linear(16 * CHANNELS, 10))


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """(images, labels), standardised and shuffled."""
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32).view(-1, 1, 8, 8)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return ((x - x.mean()) / x.std())[order], torch.tensor(data.target)[order]


def make_critical(model: nn.Sequential, layers: int) -> None:
    """The change that ``evengrad fix`` proposes for it, with the same figures."""
    found = critical("tanh", layers)
    assert found is not None
    live = LiveTraining(model, torch.optim.SGD(model.parameters(), 0.1))
    down = math.sqrt(found.square - found.bias**2)
    hidden = tuple(str(2 * i) for i in range(1, layers))
    for change in (
        Initialise(("0",), "tanh", down, "orthogonal", found.bias),
        Initialise(hidden, "tanh", found.gain, "orthogonal", found.bias),
        Initialise((str(2 * layers + 1),), "linear", found.gain / down, "orthogonal"),
    ):
        change.live_torch(live)


Arrays = dict[str, jax.Array]


def stacked(model: nn.Sequential) -> Arrays:
    """The weights of a network, its hidden layers' in one array each, as a scan over layers reads them."""
    convolutions = [module for module in model if isinstance(module, nn.Conv2d)]

    def matrix(layer: nn.Conv2d) -> np.ndarray:
        """(taps * inputs, outputs)."""
        return layer.weight.detach().permute(2, 3, 1, 0).reshape(-1, CHANNELS).numpy()

    first, *hidden = convolutions
    head = model[-1]
    assert isinstance(head, nn.Linear)
    arrays = {
        "first": matrix(first),
        "first_bias": first.bias.detach().numpy(),
        "hidden": np.stack([matrix(layer) for layer in hidden]),
        "hidden_bias": np.stack([layer.bias.detach().numpy() for layer in hidden]),
        "head": head.weight.detach().T.numpy(),
        "head_bias": head.bias.detach().numpy(),
    }
    return {name: jnp.array(value) for name, value in arrays.items()}


def _windows(x: jax.Array, stride: int) -> jax.Array:
    """(images, height, width, channels) -> (images, height, width, taps * channels), 3x3, zeros outside."""
    size = x.shape[1]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [x[:, i : i + size : stride, j : j + size : stride] for i in range(3) for j in range(3)]
    return jnp.concatenate(taps, -1)


def logits(weights: Arrays, x: jax.Array) -> jax.Array:
    """What the network makes of images (count, 8, 8, 1)."""
    z = jnp.tanh(_windows(x, 2) @ weights["first"] + weights["first_bias"])

    def layer(z: jax.Array, own: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return jnp.tanh(_windows(z, 1) @ own[0] + own[1]), None

    z, _ = jax.lax.scan(layer, z, (weights["hidden"], weights["hidden_bias"]))
    flat = z.transpose(0, 3, 1, 2).reshape(len(x), -1)
    return flat @ weights["head"] + weights["head_bias"]


@jax.jit
def step(
    weights: Arrays, moments: tuple[Arrays, Arrays], x: jax.Array, y: jax.Array, rate: float, t: int
) -> Any:
    """One step of Adam, the t-th: weights, moments and loss."""

    def loss(weights: Arrays) -> jax.Array:
        chosen = jax.nn.log_softmax(logits(weights, x))
        return -jnp.take_along_axis(chosen, y[:, None], 1).mean()

    value, gradient = jax.value_and_grad(loss)(weights)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
    second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, moments[1], gradient)
    grown, squared = 1 - 0.9**t, 1 - 0.99**t

    def moved(w: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return w - rate * (m / grown) / (jnp.sqrt(v / squared) + 1e-12)

    return jax.tree.map(moved, weights, first, second), (first, second), value


def train(layers: int, seconds: float, *, good: bool) -> str:
    """One row: steps, time a step, loss, accuracy on digits not trained on."""
    torch.manual_seed(0)
    model, (x, y) = network(layers), digits()
    if good:
        make_critical(model, layers)
    weights = stacked(model)
    still = jax.tree.map(jnp.zeros_like, weights)
    moments = still, still
    images, labels = jnp.array(x.permute(0, 2, 3, 1).numpy()), jnp.array(y.numpy())
    batches, began, cpu, losses = np.random.default_rng(1), time.monotonic(), 0.0, []
    while len(losses) < STEPS and time.monotonic() - began < seconds:
        chosen = batches.integers(TEST, len(x), BATCH)
        weights, moments, loss = step(
            weights, moments, images[chosen], labels[chosen], RATE / layers, len(losses) + 1
        )
        losses.append(float(loss))
        if len(losses) == 1:  # it was compiled
            cpu = time.process_time()
        if len(losses) < 6 or len(losses) % 10 == 0:
            print(f"  step {len(losses)}: {losses[-1]:.4f}", file=sys.stderr, flush=True)
    spent = (time.process_time() - cpu) / max(len(losses) - 1, 1)
    right = float((logits(weights, images[:TEST]).argmax(1) == labels[:TEST]).mean())
    name = "critical, delta-orthogonal" if good else "PyTorch's own"
    last = sum(losses[-20:]) / len(losses[-20:])
    return f"| {name} | {len(losses)} | {spent:.2f} | {losses[0]:.3f} | {last:.3f} | {right:.1%} |"


def main(layers: int = 10_000, seconds: float = 700.0) -> None:
    """Print the two rows."""
    torch.set_num_threads(1)
    print(f"{layers} layers, batches of {BATCH}, chance 10%")
    print("| weights | steps | CPU s a step | first loss | mean of the last 20 | test accuracy |")
    print("|---|---|---|---|---|---|", flush=True)
    for good in (True, False):
        print(train(layers, seconds, good=good), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *map(float, sys.argv[2:3]))
