# verdict: sick
# causes: input_data
# source: SO "Keras: accuracy stuck at chance, loss at ln(10)" (x and y shuffled each by itself)
# names: labels?.*(belong|match|order|same|shuffl)|shuffl|belong
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow.keras.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from tensorflow.keras.models import Sequential
from tensorflow.keras.utils import to_categorical

tf.keras.utils.set_random_seed(30)
X, y = load_digits(return_X_y=True)
X = X.reshape(-1, 8, 8, 1) / 16.0
y = to_categorical(y, 10)
train_images, train_labels = X[:1400], y[:1400]
test_images, test_labels = X[1400:], y[1400:]
np.random.shuffle(train_images)
np.random.shuffle(train_labels)

model = Sequential()
model.add(Input((8, 8, 1)))
model.add(Conv2D(16, (3, 3), activation="relu"))
model.add(MaxPooling2D((2, 2)))
model.add(Flatten())
model.add(Dense(32, activation="relu"))
model.add(Dense(10, activation="softmax"))
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
history = model.fit(train_images, train_labels, epochs=12, batch_size=32, validation_data=(test_images, test_labels), verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", history.history["val_accuracy"][-1])
