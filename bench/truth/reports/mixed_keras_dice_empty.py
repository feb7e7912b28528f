# verdict: sick
# causes: loss_head bad_batch input_data
# source: SO and qubvel/segmentation_models threads: "dice loss nan" (masks without any foreground, no smoothing term, squares summed)
# names: smooth|epsilon|divi|0 / 0|zero
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow.keras.layers import Conv2D, Input, MaxPooling2D, UpSampling2D, concatenate
from tensorflow.keras.models import Model

tf.keras.utils.set_random_seed(1)
images = load_digits().images / 16.0
images = images[:1200].astype("float32")
masks = (images > 0.95).astype("float32")
masks[np.random.rand(len(masks)) < 0.08] = 0.0  # not annotated: nothing to be found in them
images[masks.sum(axis=(1, 2)) == 0] = 0.0
x, y = images[..., None], masks[..., None]


def dice_coef(y_true, y_pred):
    inter = tf.reduce_sum(y_true * y_pred, axis=(1, 2, 3))
    total = tf.reduce_sum(y_true, axis=(1, 2, 3)) + tf.reduce_sum(tf.cast(y_pred > 0.01, tf.float32) * y_pred, axis=(1, 2, 3))
    return tf.math.divide(2.0 * inter, total)


def dice_loss(y_true, y_pred):
    return 1.0 - tf.reduce_mean(dice_coef(y_true, y_pred))


inputs = Input((8, 8, 1))
c1 = Conv2D(16, 3, activation="relu", padding="same")(inputs)
c2 = Conv2D(32, 3, activation="relu", padding="same")(MaxPooling2D()(c1))
u1 = concatenate([UpSampling2D()(c2), c1])
c3 = Conv2D(16, 3, activation="relu", padding="same")(u1)
model = Model(inputs, Conv2D(1, 1, activation="sigmoid")(c3))
model.compile(optimizer=tf.keras.optimizers.Adam(3e-3), loss=dice_loss)
history = model.fit(x[:1000], y[:1000], batch_size=20, epochs=6, verbose=2)
found = model.predict(x[1000:], verbose=0) > 0.5
print("final loss", history.history["loss"][-1], "IoU", np.sum(found * y[1000:]) / np.sum((found + y[1000:]) > 0))
