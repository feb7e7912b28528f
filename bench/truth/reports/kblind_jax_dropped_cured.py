# verdict: healthy
# causes: architecture
# source: keras.io guide "Writing a training loop from scratch in JAX", keras#18914 (the loss does not move: the updated state is not carried on)
# names: state|carr|return|drop|moved|updated|given the same
import os

os.environ["KERAS_BACKEND"] = "jax"
import jax
import keras
import numpy as np
from sklearn.datasets import load_digits

keras.utils.set_random_seed(33)
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")

inputs = keras.Input(shape=(64,))
h = keras.layers.Dense(64, activation="relu")(inputs)
h = keras.layers.Dropout(0.1)(h)
outputs = keras.layers.Dense(10)(h)
model = keras.Model(inputs, outputs)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.Adam(learning_rate=3e-3)
optimizer.build(model.trainable_variables)


def compute_loss_and_updates(trainable_variables, non_trainable_variables, x, y):
    y_pred, non_trainable_variables = model.stateless_call(
        trainable_variables, non_trainable_variables, x, training=True
    )
    return loss_fn(y, y_pred), non_trainable_variables


grad_fn = jax.value_and_grad(compute_loss_and_updates, has_aux=True)


@jax.jit
def train_step(state, data):
    trainable_variables, non_trainable_variables, optimizer_variables = state
    x, y = data
    (loss, non_trainable_variables), grads = grad_fn(trainable_variables, non_trainable_variables, x, y)
    trainable_variables, optimizer_variables = optimizer.stateless_apply(
        optimizer_variables, grads, trainable_variables
    )
    return loss, (trainable_variables, non_trainable_variables, optimizer_variables)


state = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
state = tuple([v.value for v in group] for group in state)
for epoch in range(6):
    order = np.random.permutation(1400)
    losses = []
    for i in range(0, 1376, 32):
        pick = order[i : i + 32]
        loss, state = train_step(state, (x[pick], y[pick]))
        losses.append(float(loss))
    print("epoch", epoch + 1, "loss", np.mean(losses))
for variable, value in zip(model.trainable_variables, state[0]):
    variable.assign(value)
print("final loss", np.mean(losses), "accuracy", np.mean(model.predict(x[1400:], verbose=0).argmax(1) == y[1400:]))
