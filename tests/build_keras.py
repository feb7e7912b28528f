"""Makes a Network real in Keras 3, on any backend: the keyword arguments of probe()."""

import math

import keras
import numpy as np
from batches import FEATURES, SIDE, data
from gains import GAINS
from keras import layers


def draw(layer, gain, bias, rng):
    kernel, offset = layer.get_weights()
    std = gain / math.sqrt(np.prod(kernel.shape[:-1]))
    layer.set_weights([rng.normal(0, std, kernel.shape), np.full(offset.shape, bias)])


def activation(network, index):
    if network.activation == "leaky_relu":
        return layers.LeakyReLU(negative_slope=0.01, name=f"activation{index}")
    return layers.Activation(network.activation, name=f"activation{index}")


def block(network, index, x):
    if network.layers == "conv":
        y = layers.Conv2D(network.width, 3, padding="same", name=f"hidden{index}")(x)
    else:
        y = layers.Dense(network.width, name=f"hidden{index}")(x)
    if network.normalisation is not None:
        kind = layers.BatchNormalization
        if network.normalisation == "layer":
            kind = layers.LayerNormalization
        y = kind(name=f"norm{index}")(y)
    y = activation(network, index)(y)
    return layers.Add(name=f"add{index}")([x, y]) if network.residual and index > 1 else y


def build(network, seed):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if network.half else "float32")
    try:
        return built(network, seed)
    finally:
        keras.config.set_dtype_policy(before)


def built(network, seed):
    shape = (SIDE, SIDE, 1) if network.layers == "conv" else (FEATURES,)
    x = inputs = keras.Input(shape, name="input")
    for index in range(1, network.depth + 1):
        x = block(network, index, x)
    if network.layers == "conv":
        x = layers.Flatten(name="flatten")(x)
    model = keras.Model(
        inputs, layers.Dense(network.classes, activation=network.head, name="head")(x)
    )

    rng = np.random.default_rng(1000 + seed)
    gain = GAINS[network.activation] if network.gain is None else network.gain
    for index in range(1, network.depth + 1):
        draw(model.get_layer(f"hidden{index}"), gain, network.bias, rng)
    draw(model.get_layer("head"), 1.0, 0.0, rng)

    x, y = data(network, seed)
    if network.loss == "mse":
        loss = keras.losses.MeanSquaredError()
        y = np.eye(network.classes, dtype="float32")[y % network.classes]
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=network.loss == "logits")
    kind = keras.optimizers.Adam if network.optimizer == "adam" else keras.optimizers.SGD
    model.compile(
        optimizer=kind(network.learning_rate),
        loss=loss,
        loss_weights=None if network.loss_weight == 1 else [network.loss_weight],
        auto_scale_loss=False,
    )
    return {"model": model, "loss": None, "batch": (x, y), "optimizer": None}
