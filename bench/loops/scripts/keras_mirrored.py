"""Keras: fit under tf.distribute.MirroredStrategy, two devices."""

# needs: keras tensorflow
# backend: tensorflow
# sick: "SGD(0.1)" -> "SGD(300.0)"

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
y = rng.integers(0, 4, 640)
x = (rng.normal(size=(4, 20))[y] + 0.5 * rng.normal(size=(640, 20))).astype("float32")

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = keras.Sequential(
        [keras.Input((20,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(4)]
    )
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss_of)
model.fit(x, y, batch_size=32, epochs=4, verbose=0)
