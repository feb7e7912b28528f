"""Cost of one probe as a ratio to one training step of the same model, on this machine.

Probe and warm step (compiled and traced already) are timed in turn, so that a drift of the machine
meets both; the figure is the ratio of the medians. The cold step is the very first one, with its
tracing and compiling: what a user who starts a script waits for anyway.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import evengrad

Call = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One model with its training step and its probe, both ready to be called."""

    name: str
    step: Call
    probe: Call


def article_cnn() -> Case:
    """The article's CNN, Keras on TensorFlow, batch 32."""
    import keras

    model = keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    return _keras("article CNN, Keras TF", model, (32, 28, 28, 1))


def resnet50() -> Case:
    """ResNet-50 from keras.applications with random weights, at its own 224x224, batch 8."""
    import keras

    model = keras.applications.ResNet50(weights=None, classes=10)
    return _keras("ResNet-50, Keras TF", model, (8, 224, 224, 3))


def _keras(name: str, model: Any, shape: tuple[int, ...]) -> Case:
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    batch = (
        random.standard_normal(shape).astype("float32"),
        random.integers(0, 10, shape[0]),
    )
    return Case(
        name,
        step=lambda: model.train_on_batch(*batch),
        probe=lambda: evengrad.check(model, batch=batch, rate=False),
    )


def torch_cnn() -> Case:
    """Six 3x3 convolutions of 64 channels, native PyTorch, 32x32, batch 32."""
    import torch
    from torch import nn

    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1), nn.ReLU()]
    for _ in range(5):
        layers += [nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return _torch("conv+BN CNN, torch", model, torch.randn(32, 3, 32, 32))


def torch_transformer() -> Case:
    """Three encoder layers of width 256 (2.4 M parameters), native PyTorch, 64 tokens, batch 16."""
    import torch
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
            self.head = nn.Linear(256, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.encoder(x).mean(1))

    return _torch("transformer, torch", Transformer(), torch.randn(16, 64, 256))


def _torch(name: str, model: Any, x: Any) -> Case:
    import torch

    y = torch.randint(0, 10, (len(x),))
    optimizer = torch.optim.Adam(model.parameters())
    loss_fn = torch.nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()

    return Case(
        name,
        step=step,
        probe=lambda: evengrad.check(
            model, loss=loss_fn, batch=(x, y), optimizer=optimizer, rate=False
        ),
    )


CASES = {case.__name__: case for case in (article_cnn, resnet50, torch_cnn, torch_transformer)}


def seconds(call: Call) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def row(case: Case, rounds: int) -> str:
    """Measure one case: a line of the table."""
    cold = seconds(case.step)
    first = seconds(case.probe)
    case.step()
    steps, probes = [], []
    for _ in range(rounds):
        steps.append(seconds(case.step))
        probes.append(seconds(case.probe))
    warm = median(steps)
    return (
        f"{case.name:<24}{warm * 1e3:>9.1f} ms{cold / warm:>10.1f}{first / warm:>13.1f}"
        f"{median(probes) / warm:>8.2f}{first / cold:>14.2f}"
    )


def main() -> None:
    """Print the table, a line a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=CASES, nargs="+", default=list(CASES))
    arguments = parser.parse_args()
    print(
        f"{'in warm steps unless said':<24}{'step':>11}{'cold step':>11}{'first probe':>12}", end=""
    )
    print(f"{'probe':>8}{'first / cold':>14}")
    for name in arguments.only:
        print(row(CASES[name](), arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
