# verdict: healthy
# causes: learning_rate loss_head
# source: tensorflow guide "custom training" (compute_average_loss), tensorflow#30968 (losses summed instead of averaged)
# names: sum|mean|reduce_mean|batch
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow import keras

keras.utils.set_random_seed(5)
images, labels = load_digits(return_X_y=True)
images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
BATCH = 128
dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(2000, seed=1).batch(BATCH, drop_remainder=True)

model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10),
    ]
)
optimizer = keras.optimizers.SGD(learning_rate=0.05, momentum=0.9)
loss_object = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")


@tf.function
def step(x, y):
    with tf.GradientTape() as tape:
        per_example = loss_object(y, model(x, training=True))
        loss = tf.reduce_sum(per_example) / BATCH
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
    return loss


for epoch in range(6):
    values = [float(step(x, y)) for x, y in dataset]
    print("epoch", epoch, "loss", np.mean(values))
print("accuracy", np.mean(model.predict(images, verbose=0).argmax(1) == labels))
