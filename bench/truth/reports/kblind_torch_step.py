# verdict: sick
# causes: learning_rate
# source: fchollet/deep-learning-with-python-notebooks#293 (train_step on the torch backend without zero_grad)
# names: zero_grad
import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(1)
loss_fn = keras.losses.SparseCategoricalCrossentropy()
loss_tracker = keras.metrics.Mean(name="loss")


class CustomModel(keras.Model):
    def train_step(self, data):
        inputs, targets = data
        predictions = self(inputs, training=True)
        loss = loss_fn(targets, predictions)

        loss.backward()
        trainable_weights = [v for v in self.trainable_weights]
        gradients = [v.value.grad for v in trainable_weights]

        with torch.no_grad():
            self.optimizer.apply(gradients, trainable_weights)
        loss_tracker.update_state(loss)
        return {"loss": loss_tracker.result()}

    @property
    def metrics(self):
        return [loss_tracker]


def get_custom_model():
    inputs = keras.Input(shape=(64,))
    features = layers.Dense(128, activation="relu")(inputs)
    features = layers.Dropout(0.25)(features)
    outputs = layers.Dense(10, activation="softmax")(features)
    model = CustomModel(inputs, outputs)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    return model


x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
model = get_custom_model()
history = model.fit(x[:1400], y[:1400], batch_size=32, epochs=6, verbose=2)
accuracy = np.mean(model.predict(x[1400:], verbose=0).argmax(1) == y[1400:])
print("final loss", history.history["loss"][-1], "accuracy", accuracy)
