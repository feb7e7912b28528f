"""Small Keras models of every kind that the adapter promises, with a batch and a loss each."""

import keras
import numpy as np
from keras import layers

SPARSE = "sparse_categorical_crossentropy"


class ArticleCNN(keras.Model):
    """The article's model as written, small: its softmax meets from_logits=True."""

    def __init__(self):
        super().__init__()
        self.conv1 = layers.Conv2D(4, (3, 3), activation="relu")
        self.conv2 = layers.Conv2D(6, (3, 3), activation="relu")
        self.flatten = layers.Flatten()
        self.dense1 = layers.Dense(8, activation="relu")
        self.dense2 = layers.Dense(10, activation="softmax")

    def call(self, inputs):
        x = self.conv1(inputs)
        x = self.conv2(x)
        x = self.flatten(x)
        x = self.dense1(x)
        return self.dense2(x)


class Block(keras.layers.Layer):
    """A residual block as users write it."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(width, activation="tanh")
        self.drop = layers.Dropout(0.2)

    def call(self, x, training=None):
        return x + self.drop(self.dense(x), training=training)


class Subclassed(keras.Model):
    """Blocks inside a model, with keras.ops between them."""

    def __init__(self):
        super().__init__()
        self.stem = layers.Dense(6)
        self.block1 = Block(6)
        self.block2 = Block(6)
        self.head = layers.Dense(3)

    def call(self, x):
        x = keras.ops.relu(self.stem(x))
        return self.head(self.block2(self.block1(x)) * 0.5)


def images(rng, classes=3):
    return rng.normal(size=(8, 9, 9, 2)).astype("float32"), rng.integers(0, classes, 8)


def rows(rng, classes=3):
    return rng.normal(size=(8, 6)).astype("float32"), rng.integers(0, classes, 8)


def chain(*stack, shape):
    return keras.Sequential([keras.Input(shape), *stack, layers.Dense(3, activation="softmax")])


def convolutions(rng):
    return chain(
        layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
        layers.SeparableConv2D(4, 3, activation="gelu"),
        layers.Flatten(),
        shape=(9, 9, 2),
    ), images(rng)


def normalised(rng):
    return chain(
        layers.Conv2D(4, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(),
        layers.Conv2D(4, 2),
        layers.GroupNormalization(2),
        layers.LeakyReLU(),
        layers.GlobalAveragePooling2D(),
        layers.LayerNormalization(),
        layers.Dropout(0.3),
        shape=(9, 9, 2),
    ), images(rng)


def nested(rng):
    inner = keras.Sequential([layers.Dense(6, activation="relu"), layers.Dense(6)], name="inner")
    x = inputs = keras.Input((6,))
    x = inner(x)
    x = keras.ops.tanh(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(inner(x))), rows(rng)


def branches(rng):
    x = inputs = keras.Input((6,))
    a, b = layers.Dense(6, activation="relu", name="a")(x), layers.Dense(4, name="b")(x)
    x = layers.Concatenate()([layers.Add()([x, a]), b])
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x)), rows(rng)


def several_inputs(rng):
    left, right = keras.Input((6,), name="left"), keras.Input((4,), name="right")
    x = layers.Concatenate()([layers.Dense(5, activation="relu")(left), right])
    model = keras.Model({"left": left, "right": right}, layers.Dense(3, activation="softmax")(x))
    x, y = rows(rng)
    return model, ({"left": x, "right": rng.normal(size=(8, 4)).astype("float32")}, y)


def sequence(rng):
    x = inputs = keras.Input((7,), dtype="int32")
    x = layers.Embedding(11, 6, mask_zero=True)(x)
    x = layers.LSTM(5, return_sequences=True)(x)
    x = layers.Bidirectional(layers.GRU(4))(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    tokens = rng.integers(1, 11, (8, 7))
    tokens[:, 5:] = 0
    return model, (tokens.astype("int32"), rng.integers(0, 3, 8))


def attention(rng):
    x = inputs = keras.Input((5, 6))
    y = layers.MultiHeadAttention(2, 3)(x, x)
    x = layers.LayerNormalization()(x + y)
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dense(3, activation="softmax")(x)
    return keras.Model(inputs, x), (
        rng.normal(size=(8, 5, 6)).astype("float32"),
        rng.integers(0, 3, 8),
    )


def article(rng):
    return ArticleCNN(), (
        rng.uniform(size=(8, 9, 9, 1)).astype("float32"),
        rng.integers(0, 10, 8),
    )


def subclassed(rng):
    return Subclassed(), rows(rng)


MODELS = {
    f.__name__: f
    for f in (
        article,
        subclassed,
        convolutions,
        normalised,
        nested,
        branches,
        several_inputs,
        sequence,
        attention,
    )
}


def make(name, seed, optimizer="sgd"):
    """A built and compiled model, and its batch."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model, (x, y) = MODELS[name](rng)
    logits = name in ("article", "subclassed")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    jit = False if keras.backend.backend() == "tensorflow" else "auto"
    model.compile(optimizer=optimizer, loss=loss, jit_compile=jit)
    if not all(layer.built for layer in model._flatten_layers()):
        model(keras.ops.convert_to_tensor(x))
    return model, (x, y)
