# verdict: sick
# causes: activation initialisation architecture
# source: ai.stackexchange.com/questions/16557 (four hidden layers of sigmoids do not learn)
# names: sigmoid|relu|activation|initiali
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

tf.random.set_seed(7)

data = load_digits()
X = data.data / 16.0
X_train, X_test, y_train, y_test = train_test_split(X, data.target, test_size=0.2, random_state=7)
y_train = tf.keras.utils.to_categorical(y_train, 10)
y_test = tf.keras.utils.to_categorical(y_test, 10)

model = tf.keras.Sequential()
model.add(tf.keras.Input(shape=(64,)))
for _ in range(5):
    model.add(tf.keras.layers.Dense(100, activation="sigmoid"))
model.add(tf.keras.layers.Dense(10, activation="softmax"))

opt = tf.keras.optimizers.SGD(learning_rate=0.1)
model.compile(optimizer=opt, loss="categorical_crossentropy", metrics=["accuracy"])
h = model.fit(X_train, y_train, epochs=20, batch_size=32, verbose=0, validation_data=(X_test, y_test))
print("loss", h.history["loss"][-1], "accuracy", h.history["val_accuracy"][-1])
