"""Keras: Sequential, functional and subclassed models."""

from __future__ import annotations

from bench.fixes.pieces import BATCH, STRIDED, data, gain, loader, rate, std
from bench.fixes.specs import Spec

_OPTIMIZERS = {
    "sgd": "keras.optimizers.SGD({rate!r})",
    "momentum": "keras.optimizers.SGD({rate!r}, momentum=0.9)",
    "adam": "keras.optimizers.Adam({rate!r})",
}
_SCRIPT = """\
import keras
import numpy as np
from keras import layers
from sklearn.datasets import {loader}

keras.utils.set_random_seed({seed})
{data}


def weights():
    return {weights}

{regular}

{model}
model.compile({optimizer}, {loss})
history = model.fit(images, {targets}, batch_size={batch}, epochs={epochs}, verbose=0)
sound = np.isfinite(images).reshape(len(images), -1).all(1)
found, wanted = model.predict(images[sound], verbose=0), {targets}[sound]
print({score})
print(history.history["loss"][-1])
"""
_ACCURACY = "np.mean(found.argmax(1) == wanted)"
_EXPLAINED = "1 - np.mean((found - wanted) ** 2) / wanted.var(0).mean()"
EPOCHS = 4  # of 57 steps: somewhat more than the 200 that a trial makes


def render(spec: Spec) -> str:
    """The whole script."""
    fixed = std(spec)
    weights = f"keras.initializers.RandomNormal(stddev={fixed})"
    if not fixed:
        weights = f'keras.initializers.VarianceScaling({gain(spec) ** 2:.4g}, "fan_in", "normal")'
    targets = "images" if spec.architecture == "autoencoder" else "labels"
    return _SCRIPT.format(
        seed=spec.seed,
        data=data(spec),
        loader=loader(spec),
        weights=weights,
        regular=_REGULAR.format(size=spec.size) if spec.plant == "penalty_root" else "",
        model=_MODELS[spec.architecture](spec),
        optimizer=_OPTIMIZERS[spec.optimizer].format(rate=rate(spec)),
        loss=_loss(spec),
        score=_EXPLAINED if spec.regression else _ACCURACY,
        targets=targets,
        batch=BATCH,
        epochs=EPOCHS,
    )


def _loss(spec: Spec) -> str:
    """Of logits where the network gives them; a closing softmax before it is the plant."""
    more = 'reduction="sum"' if spec.plant == "loss_sum" else ""
    if spec.regression:
        return f"keras.losses.MeanSquaredError({more})" if more else '"mse"'
    told = ", ".join(filter(None, ["from_logits=True", more]))
    return f"keras.losses.SparseCategoricalCrossentropy({told})"


_REGULAR = """
def groups(weight):
    return {size:g} * keras.ops.sqrt(keras.ops.sum(keras.ops.square(weight)))

"""


def _layer(spec: Spec, kind: str) -> list[str]:
    """One hidden layer with its activation."""
    more = ", bias_regularizer=groups" if spec.plant == "penalty_root" else ""
    inner = f"{kind}, kernel_initializer=weights(){more}"
    if spec.plant != "norm_stack":
        return [f'layers.{inner}, activation="{spec.activation}")']
    return [
        f"layers.{inner})",
        "layers.BatchNormalization()",
        f'layers.Activation("{spec.activation}")',
    ]


def _head(spec: Spec) -> str:
    more = ', activation="softmax"' if spec.plant == "softmax_twice" else ""
    return f"layers.Dense(10{more}, kernel_initializer=weights())"


def _sequential(shape: str, lines: list[str]) -> str:
    inner = "\n".join(f"        {line}," for line in [f"keras.Input({shape})", *lines])
    return f"model = keras.Sequential(\n    [\n{inner}\n    ]\n)"


def _functional(shape: str, lines: list[str]) -> str:
    chain = [f"inputs = keras.Input({shape})", "x = inputs"]
    return "\n".join([*chain, *lines, "model = keras.Model(inputs, x)"])


def _mlp(spec: Spec) -> str:
    hidden = [line for _ in range(spec.depth) for line in _layer(spec, f"Dense({spec.width}")]
    return _sequential("(64,)", [*hidden, _head(spec)])


def _autoencoder(spec: Spec) -> str:
    half = max(spec.depth // 2, 1)
    widths = [spec.width] * half + [16] + [spec.width] * half
    hidden = [line for width in widths for line in _layer(spec, f"Dense({width}")]
    return _sequential("(64,)", [*hidden, "layers.Dense(64, kernel_initializer=weights())"])


def _cnn(spec: Spec) -> str:
    kind = f'Conv2D({spec.width}, 3, padding="same"'
    hidden = [f"x = {line}(x)" for _ in range(spec.depth) for line in _layer(spec, kind)]
    return _functional("(8, 8, 1)", [*hidden, "x = layers.Flatten()(x)", f"x = {_head(spec)}(x)"])


def _residual(spec: Spec) -> str:
    return _functional(
        "(64,)",
        [
            f"x = layers.Dense({spec.width}, kernel_initializer=weights())(x)",
            f"for _ in range({spec.depth}):",
            "    h = layers.LayerNormalization()(x)",
            f"    h = {_layer(spec, f'Dense({spec.width}')[0]}(h)",
            "    x = layers.Add()([x, h])",
            f"x = {_head(spec)}(x)",
        ],
    )


def _mixer(spec: Spec) -> str:
    return _functional(
        "(8, 8)",
        [
            f"x = layers.Dense({spec.width}, kernel_initializer=weights())(x)",
            f"for _ in range({spec.depth}):",
            "    h = layers.Permute((2, 1))(layers.LayerNormalization()(x))",
            f"    h = {_layer(spec, 'Dense(16')[0]}(h)",
            "    h = layers.Permute((2, 1))(layers.Dense(8, kernel_initializer=weights())(h))",
            "    x = layers.Add()([x, h])",
            f"    h = {_layer(spec, f'Dense({spec.width}')[0]}(layers.LayerNormalization()(x))",
            f"    h = layers.Dense({spec.width}, kernel_initializer=weights())(h)",
            "    x = layers.Add()([x, h])",
            "x = layers.GlobalAveragePooling1D()(x)",
            f"x = {_head(spec)}(x)",
        ],
    )


def _conv1d(spec: Spec) -> str:
    kind = f'Conv1D({spec.width}, 3, padding="same"'
    made, called = [], []
    for i in range(spec.depth):
        for j, line in enumerate(_layer(spec, kind)):
            made.append(f"self.part{i}_{j} = {line}")
            called.append(f"x = self.part{i}_{j}(x)")
    return "\n".join(
        [
            "class Net(keras.Model):",
            "    def __init__(self):",
            "        super().__init__()",
            *(f"        {line}" for line in made),
            "        self.flatten = layers.Flatten()",
            f"        self.head = {_head(spec)}",
            "",
            "    def call(self, x):",
            *(f"        {line}" for line in called),
            "        return self.head(self.flatten(x))",
            "",
            "",
            "model = Net()",
        ]
    )


def _attention(spec: Spec) -> str:
    return _functional(
        "(8, 8)",
        [
            f"x = layers.Dense({spec.width}, kernel_initializer=weights())(x)",
            f"for _ in range({spec.depth}):",
            "    h = layers.LayerNormalization()(x)",
            f"    h = layers.MultiHeadAttention(4, {spec.width // 4}, kernel_initializer=weights())(h, h)",
            "    x = layers.Add()([x, h])",
            f"    h = {_layer(spec, f'Dense({2 * spec.width}')[0]}(layers.LayerNormalization()(x))",
            f"    h = layers.Dense({spec.width}, kernel_initializer=weights())(h)",
            "    x = layers.Add()([x, h])",
            "x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))",
            f"x = {_head(spec)}(x)",
        ],
    )


def _towers(spec: Spec) -> str:
    hidden = [f"h = {line}(h)" for line in _layer(spec, f"Dense({spec.width}")]
    return _functional(
        "(10,)",
        [
            "towers = []",
            "for part in (x[:, :5], x[:, 5:]):",
            "    h = part",
            f"    for _ in range({spec.depth}):",
            *(f"        {line}" for line in hidden),
            "    towers.append(h)",
            "x = layers.Concatenate()(towers)",
            "x = layers.Dense(1, kernel_initializer=weights())(x)",
        ],
    )


def _strided(spec: Spec) -> str:
    hidden = []
    for i in range(spec.depth):
        stride = ", strides=2" if i in STRIDED else ""
        kind = f'Conv2D({spec.width}, 3, padding="same"{stride}'
        hidden += [f"x = {line}(x)" for line in _layer(spec, kind)]
    end = ["x = layers.GlobalAveragePooling2D()(x)", f"x = {_head(spec)}(x)"]
    return _functional("(8, 8, 1)", [*hidden, *end])


_MODELS = {
    "attention": _attention,
    "towers": _towers,
    "strided": _strided,
    "mlp": _mlp,
    "cnn": _cnn,
    "residual": _residual,
    "conv1d": _conv1d,
    "autoencoder": _autoencoder,
    "mixer": _mixer,
}
