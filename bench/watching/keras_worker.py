"""The article's CNN in Keras on one backend, in all variants: JSON lines on standard output.

Each variant is one long ``fit``, so that callbacks, ``logs`` and the compiled step are the real ones; a last
callback waits for the turn.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.watching.lanes import Baton, Missing, Variant, race
from bench.watching.samples import CYCLE, WARM, Speaker

BATCH = 32
NEVER, ALWAYS = 1e4, 1e-3
"""Bounds; the gradient's norm is about 1."""


def article_cnn() -> Any:
    """As in examples/article_cnn.py."""
    from keras import Sequential, layers

    return Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def run(
    rounds: int,
    threads: int,
    compiled: dict[str, float],
    watch: Callable[[], Any] | None,
    baton: Baton,
) -> dict[str, Any]:
    """Train one variant, a step a turn."""
    import keras

    _threads(keras.backend.backend(), threads)
    keras.utils.set_random_seed(0)
    data = np.random.default_rng(0)
    x = data.standard_normal((BATCH * rounds, 28, 28, 1), dtype=np.float32)
    y = data.integers(0, 10, len(x))
    model = article_cnn()
    optimizer = keras.optimizers.Adam(1e-5, **compiled)
    model.compile(optimizer, loss="sparse_categorical_crossentropy")
    callbacks = ([] if watch is None else [watch()]) + [_turn(baton)]
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=callbacks)
    return {}


def _turn(baton: Baton) -> Any:
    from keras.callbacks import Callback

    class Turn(Callback):
        """A step lasts from one turn to the end of the next ``on_train_batch_end``, with all that fit does."""

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 0:
                baton.wait()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            float((logs or {})["loss"])  # JAX returns before the step is done
            baton.give()
            baton.wait()

    return Turn()


def _watch(**settings: Any) -> Any:
    try:
        from evengrad.keras import Watch
    except ImportError as error:
        raise Missing("evengrad.keras.Watch is not there yet") from error
    return Watch(every=10, guard="stop", **settings)


def variants(rounds: int, threads: int) -> list[Variant]:
    """The rows."""
    rows: list[tuple[str, str, dict[str, float], Callable[[], Any] | None]] = [
        ("bare fit", "bare", {}, None),
        ("bare fit, a second copy", "again", {}, None),
        ("global_clipnorm, never binds", "clip-never", {"global_clipnorm": NEVER}, None),
        ("global_clipnorm, always binds", "clip-binds", {"global_clipnorm": ALWAYS}, None),
        (
            "evengrad, clip never binds",
            "never",
            {},
            lambda: _watch(clip=NEVER, folder=None),
        ),
        (
            "evengrad, clip always binds",
            "binds",
            {},
            lambda: _watch(clip=ALWAYS, folder=None),
        ),
        (
            "evengrad.keras.Watch, default settings",
            "watch",
            {},
            lambda: _watch(folder=tempfile.mkdtemp(prefix="watching-")),
        ),
    ]
    return [
        Variant(name, functools.partial(run, rounds, threads, compiled, watch), key)
        for name, key, compiled, watch in rows
    ]


def _threads(backend: str, number: int) -> None:
    if backend == "torch":
        import torch

        torch.set_num_threads(number)
    elif backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(number)


def main() -> None:
    """Measure all rows. Keras is imported in the variants' own processes only."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10 * CYCLE)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    say = Speaker(sys.stdout)
    sys.stdout = sys.stderr
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    say(about=f"the article's CNN, Keras on {backend}, {BATCH} images of 28x28x1")
    race(variants(WARM + chosen.rounds, chosen.threads), chosen.rounds, say)


if __name__ == "__main__":
    main()
