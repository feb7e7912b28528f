# verdict: sick
# causes: normalisation
# source: keras-team/keras#6014, keras-team/keras#7265 (fit near 1.0, evaluate at chance)
# names: momentum|moving
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(4)
x, y = load_digits(return_X_y=True)
x = (x / 16.0).reshape(-1, 8, 8, 1).astype("float32")
order = np.random.permutation(len(x))
x, y = x[order], y[order]


def conv_bn(filters):
    return [
        layers.Conv2D(filters, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9997),
        layers.Activation("relu"),
    ]


model = keras.Sequential(
    [
        layers.Input((8, 8, 1)),
        *conv_bn(16),
        *conv_bn(16),
        layers.MaxPooling2D(),
        *conv_bn(32),
        *conv_bn(32),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(3e-3),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
history = model.fit(
    x[:1400], y[:1400], batch_size=64, epochs=5, validation_data=(x[1400:], y[1400:]), verbose=0
)
print(
    "train accuracy",
    history.history["accuracy"][-1],
    "val accuracy",
    history.history["val_accuracy"][-1],
)
