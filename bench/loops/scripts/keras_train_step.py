"""Keras: train_step overridden, without a compiled loss."""

# needs: keras tensorflow
# backend: tensorflow
# sick: "SGD(0.1)" -> "SGD(300.0)"

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
y = rng.integers(0, 4, 640)
x = (rng.normal(size=(4, 20))[y] + 0.5 * rng.normal(size=(640, 20))).astype("float32")


class Classifier(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(64, "relu")
        self.scores = keras.layers.Dense(4)
        self.loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.tracker = keras.metrics.Mean(name="loss")

    def call(self, inputs):
        return self.scores(self.hidden(inputs))

    def train_step(self, data):
        inputs, targets = data
        with tf.GradientTape() as tape:
            loss = self.loss_of(targets, self(inputs, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


model = Classifier()
model.compile(optimizer=keras.optimizers.SGD(0.1))
model.fit(x, y, batch_size=32, epochs=4, verbose=0)
