# verdict: sick
# causes: loss_head architecture
# source: SO: Dense(1, softmax) binary classification accuracy stuck
# names: softmax|sigmoid
from keras.models import Sequential
from keras.layers import Dense, Input, Dropout
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import MinMaxScaler
import keras
keras.utils.set_random_seed(1)
X, Y = load_breast_cancer(return_X_y=True)
X = MinMaxScaler().fit_transform(X)
model = Sequential()
model.add(Input((30,)))
model.add(Dense(32, activation="relu"))
model.add(Dense(16, activation="relu"))
model.add(Dense(1, activation="softmax"))
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
h = model.fit(X, Y, validation_split=0.2, epochs=20, batch_size=16, verbose=0)
print(h.history["loss"][-1], h.history["val_accuracy"][-1])
