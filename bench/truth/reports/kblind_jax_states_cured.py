# verdict: healthy
# causes: normalisation
# source: keras-team/keras#20378 (stateless_call in a loop of JAX: training=True missing, the state it returns dropped)
# names: training=True|moving|non_trainable
import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from sklearn.datasets import load_digits

keras.utils.set_random_seed(5)

x, y = load_digits(return_X_y=True)
x = x.reshape(-1, 8, 8, 1).astype("float32") * 12 + 40  # as the camera gives them
y = y.astype("int32")
x_train, y_train, x_val, y_val = x[:1344], y[:1344], x[1344:], y[1344:]


def get_model():
    inputs = keras.Input((8, 8, 1))
    h = keras.layers.BatchNormalization()(inputs)
    for filters in (16, 32, 32):
        h = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(h)
        h = keras.layers.BatchNormalization(momentum=0.9)(h)
        h = keras.layers.Activation("relu")(h)
    h = keras.layers.GlobalAveragePooling2D()(h)
    return keras.Model(inputs, keras.layers.Dense(10)(h))


model = get_model()
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


@jax.jit
def eval_step(state, x):
    trainable_variables, non_trainable_variables, _ = state
    return model.stateless_call(trainable_variables, non_trainable_variables, x, training=False)[0]


variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
state = tuple([v.value for v in part] for part in variables)
order = np.arange(len(x_train))
for epoch in range(10):
    np.random.shuffle(order)
    losses = []
    for i in range(0, len(order), 64):
        batch = order[i : i + 64]
        loss, state = train_step(state, (x_train[batch], y_train[batch]))
        losses.append(float(loss))
    val = np.mean(np.argmax(eval_step(state, x_val), 1) == y_val)
    print("epoch", epoch + 1, "loss", np.mean(losses), "val accuracy", val)
print("final loss", np.mean(losses), "accuracy", val)
