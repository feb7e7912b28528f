"""The networks of this bench: plain ones of many layers, their residual twin, and small transformers."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from evengrad.theory.criticality import critical
from evengrad.theory.shaping import Shaping, deep_kernel, tailored, tailored_slope

WIDTH = 64
TOKENS = 8  # rows of a digit
PHI: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
}


class Plain(nn.Module):
    """Linear layers and an activation, and nothing else. gain: of the hidden weights."""

    def __init__(self, depth: int, phi: Callable[..., torch.Tensor], gain: float, law: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(depth))
        self.head, self.phi = nn.Linear(WIDTH, 10), phi
        for layer in self.layers:
            draw(layer, gain, law)
        draw(self.head, 1.0, law)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of flat images."""
        for layer in self.layers:
            x = self.phi(layer(x))
        return self.head(x)


class Residual(nn.Module):
    """The twin with skip connections and batch normalisation: x + W relu(norm(x)) in every layer."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm1d(WIDTH) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(depth))
        self.last, self.head = nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 10)
        for layer in self.layers:
            draw(layer, math.sqrt(2), "normal")
        draw(self.head, 1.0, "normal")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of flat images."""
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + layer(F.relu(norm(x)))
        return self.head(self.last(x))


def draw(layer: nn.Linear, gain: float, law: str) -> None:
    """Var W = gain^2 / fan_in, and no biases."""
    nn.init.zeros_(layer.bias)
    if law == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain)
    else:
        nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)


def shaped(name: str, shaping: Shaping | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """An activation shaped to its depth."""
    assert shaping is not None
    alpha, beta, gamma, delta = shaping
    return lambda x: gamma * (PHI[name](alpha * x + beta) + delta)


def at_edge(depth: int) -> nn.Module:
    """Tanh with critical weights, as the remedy ``critical`` draws them."""
    found = critical("tanh", depth)
    assert found is not None
    model = Plain(depth, torch.tanh, found.gain, "orthogonal")
    down = math.sqrt(found.square - found.bias**2)
    draw(model.layers[0], down, "orthogonal")
    draw(model.head, found.gain / down, "orthogonal")
    for layer in model.layers:
        nn.init.normal_(layer.bias, std=found.bias)
    return model


def leaky(depth: int) -> nn.Module:
    """LeakyReLU of the tailored slope."""
    slope = tailored_slope(depth)
    gain = math.sqrt(2 / (1 + slope**2))
    return Plain(depth, lambda x: F.leaky_relu(x, slope), gain, "orthogonal")


def rows() -> dict[str, Callable[[int], nn.Module]]:
    """What is compared, by its name in the table: a network of some depth."""
    smooth = {
        f"plain, {name}, {label}": lambda depth, name=name, shape=shape: Plain(
            depth, shaped(name, shape(name, depth)), 1.0, "orthogonal"
        )
        for name, label, shape in (
            ("tanh", "TAT", tailored),
            ("tanh", "DKS", deep_kernel),
            ("gelu", "TAT", tailored),
            ("silu", "TAT", tailored),
            ("softplus", "TAT", tailored),
        )
    }
    return {
        "residual twin (ReLU, batch normalisation)": Residual,
        "plain, ReLU, He": lambda depth: Plain(depth, F.relu, math.sqrt(2), "normal"),
        "plain, GELU, variance kept at 1": lambda depth: Plain(depth, F.gelu, 1.53353, "normal"),
        "plain, tanh, variance kept at 1": lambda depth: Plain(
            depth, torch.tanh, 1.59254, "normal"
        ),
        "plain, LeakyReLU, TAT": leaky,
        **smooth,
        "plain, tanh, critical orthogonal": at_edge,
    }


class DyT(nn.Module):
    """``weight * tanh(alpha x) + bias`` (Zhu 2025, 2503.10622), alpha from 0.5."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(0.5))
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of the same shape."""
        return self.weight * torch.tanh(self.alpha * x) + self.bias


class Transformer(nn.Module):
    """A pre-norm encoder over the rows of a digit. norm: what stands before each branch."""

    def __init__(self, depth: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(8, 32), nn.Parameter(0.02 * torch.randn(TOKENS, 32))
        parts = ("one", "attend", "two", "mlp")
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                zip(
                    parts,
                    (
                        norm(32),
                        nn.MultiheadAttention(32, 4, batch_first=True),
                        norm(32),
                        nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)),
                    ),
                    strict=True,
                )
            )
            for _ in range(depth)
        )
        self.last, self.head = norm(32), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of flat images."""
        x = self.embed(x.view(-1, TOKENS, 8)) + self.place
        for block in self.blocks:
            y = block["one"](x)
            x = x + block["attend"](y, y, y, need_weights=False)[0]
            x = x + block["mlp"](block["two"](x))
        return self.head(self.last(x).mean(1))


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "LayerNorm": nn.LayerNorm,
    "DyT": DyT,
    "none": lambda _: nn.Identity(),
}
