# verdict: sick
# causes: loss_head activation
# source: keras-team/keras#12096 (a small CNN that ends in Dense(2, relu) under categorical_crossentropy does not learn)
# names: softmax|relu|logits
import numpy as np
from keras.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from keras.models import Sequential
from keras.utils import set_random_seed, to_categorical
from sklearn.datasets import load_digits

set_random_seed(6)
digits = load_digits()
two = np.isin(digits.target, (3, 8))
X = digits.images[two].reshape(-1, 8, 8, 1) / 16
y = to_categorical(digits.target[two] == 8, 2)

model = Sequential()
model.add(Input((8, 8, 1)))
model.add(Conv2D(32, (3, 3), activation="relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Flatten())
model.add(Dense(2, activation="relu"))
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
h = model.fit(X[:280], y[:280], epochs=20, batch_size=16, validation_data=(X[280:], y[280:]), verbose=0)
print("loss", h.history["loss"][-1], "val accuracy", h.history["val_accuracy"][-1])
