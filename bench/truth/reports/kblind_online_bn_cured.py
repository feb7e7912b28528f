# verdict: healthy
# causes: normalisation
# source: SO "Keras BatchNormalization with batch_size=1: loss does not decrease", keras#9207
# names: batch.?size|batch of (1|one)|one sample|single sample|LayerNorm|larger batch
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

tf.keras.utils.set_random_seed(15)
X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=15, stratify=y)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train).astype("float32"), scaler.transform(X_test).astype("float32")

model = tf.keras.models.Sequential()
model.add(tf.keras.layers.Input((13,)))
model.add(tf.keras.layers.Dense(32))
model.add(tf.keras.layers.BatchNormalization())
model.add(tf.keras.layers.Activation("relu"))
model.add(tf.keras.layers.Dense(16))
model.add(tf.keras.layers.BatchNormalization())
model.add(tf.keras.layers.Activation("relu"))
model.add(tf.keras.layers.Dense(3, activation="softmax"))
model.compile(loss="sparse_categorical_crossentropy", optimizer=tf.keras.optimizers.Adam(3e-3), metrics=["accuracy"])
# a few samples at a time
history = model.fit(X_train, y_train, epochs=40, batch_size=16, verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", model.evaluate(X_test, y_test, verbose=0)[1])
