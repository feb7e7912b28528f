# verdict: sick
# causes: architecture learning_rate
# source: tensorflow#37144, keras-io#1080 (apply_gradients of both models' variables by one optimizer; the second model's are left out of the tape's sources)
# names: classifier|head|second|optimizer
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

tf.keras.utils.set_random_seed(6)
x, y = load_digits(return_X_y=True)
x = (x / 16.0).astype("float32")

encoder = tf.keras.Sequential([tf.keras.Input((64,)), tf.keras.layers.Dense(32, activation="relu"), tf.keras.layers.Dense(8)], name="encoder")
decoder = tf.keras.Sequential([tf.keras.Input((8,)), tf.keras.layers.Dense(32, activation="relu"), tf.keras.layers.Dense(64, activation="sigmoid")], name="decoder")
classifier = tf.keras.Sequential([tf.keras.Input((8,)), tf.keras.layers.Dense(32, activation="relu"), tf.keras.layers.Dense(10)], name="classifier")
optimizer = tf.keras.optimizers.Adam(3e-3)
cross_entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
weights = encoder.trainable_variables + decoder.trainable_variables


@tf.function
def train_step(images, labels):
    with tf.GradientTape() as tape:
        code = encoder(images, training=True)
        reconstruction = tf.reduce_mean(tf.square(decoder(code, training=True) - images))
        classification = cross_entropy(labels, classifier(tf.stop_gradient(code), training=True))
        loss = reconstruction + classification
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
    return reconstruction, classification


rows = np.arange(len(x))
for epoch in range(12):
    np.random.shuffle(rows)
    logs = [train_step(x[r], y[r]) for r in np.array_split(rows, 28)]
    print(epoch, np.mean(logs, axis=0))
print("accuracy", np.mean(classifier(encoder(x)).numpy().argmax(1) == y))
