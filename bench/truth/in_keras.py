"""A case of the zoo in Keras: its network, compiled as a user would."""

from __future__ import annotations

from typing import Any

import keras

import evengrad
from bench.truth.architectures import Architecture

OPTIMIZERS: dict[str, Any] = {
    "SGD 0.01": lambda: keras.optimizers.SGD(0.01),
    "Adam 0.001": lambda: keras.optimizers.Adam(1e-3),
}


class Trained:
    """A network being trained."""

    def __init__(self, architecture: Architecture, optimizer: str, seed: int) -> None:
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        self.model = architecture.build()
        self.model.compile(
            optimizer=OPTIMIZERS[optimizer](), loss=keras.losses.SparseCategoricalCrossentropy()
        )

    def check(self, inputs: list[Any], targets: Any) -> Any:
        """As a user would."""
        return evengrad.check(self.model, batch=(inputs[0], targets))

    def step(self, inputs: list[Any], targets: Any) -> float:
        """One update; its loss."""
        self.model.reset_metrics()  # else it is a running mean
        return float(self.model.train_on_batch(inputs[0], targets))
