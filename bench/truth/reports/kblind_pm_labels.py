# verdict: sick
# causes: input_data loss_head
# source: SO "Keras negative loss binary_crossentropy" (labels -1 and 1), own train_step on JAX
# names: label|target|-1
import os

os.environ["KERAS_BACKEND"] = "jax"
import jax
import keras
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

keras.utils.set_random_seed(62)
x, y = load_breast_cancer(return_X_y=True)
x = StandardScaler().fit_transform(x).astype("float32")
y = np.where(y > 0, 1.0, -1.0).astype("float32")[:, None]  # as for the SVM of before


class Classifier(keras.Model):
    def compute_loss_and_updates(self, trainable_variables, non_trainable_variables, x, y, training=False):
        y_pred, non_trainable_variables = self.stateless_call(
            trainable_variables, non_trainable_variables, x, training=training
        )
        return self.compute_loss(x, y, y_pred), (y_pred, non_trainable_variables)

    def train_step(self, state, data):
        trainable_variables, non_trainable_variables, optimizer_variables, metrics_variables = state
        x, y = data
        grad_fn = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        (loss, (y_pred, non_trainable_variables)), grads = grad_fn(
            trainable_variables, non_trainable_variables, x, y, training=True
        )
        trainable_variables, optimizer_variables = self.optimizer.stateless_apply(
            optimizer_variables, grads, trainable_variables
        )
        return {"loss": loss}, (trainable_variables, non_trainable_variables, optimizer_variables, metrics_variables)


inputs = keras.Input((30,))
h = keras.layers.Dense(32, activation="relu")(inputs)
h = keras.layers.Dense(16, activation="relu")(h)
model = Classifier(inputs, keras.layers.Dense(1, activation="sigmoid")(h))
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="binary_crossentropy")
history = model.fit(x[:450], y[:450], epochs=15, batch_size=32, verbose=2)
p = model.predict(x[450:], verbose=0)
print("final loss", float(history.history["loss"][-1]), "accuracy", np.mean((p > 0.5) == (y[450:] > 0)))
