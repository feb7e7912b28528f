# verdict: healthy
# causes: learning_rate
# source: SO "Keras CNN accuracy stuck at 10%, loss 2.30" (MNIST and CIFAR threads: Adam with a rate of 0.1)
# names: learning rate|learning_rate
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tensorflow import keras
from tensorflow.keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from tensorflow.keras.models import Sequential
from tensorflow.keras.optimizers import Adam
from tensorflow.keras.utils import to_categorical

keras.utils.set_random_seed(7)
X, Y = load_digits(return_X_y=True)
X = X.reshape(-1, 8, 8, 1) / 16.0
x_train, x_test, y_train, y_test = train_test_split(X, to_categorical(Y), test_size=0.2, random_state=1)

model = Sequential()
model.add(keras.Input((8, 8, 1)))
model.add(Conv2D(32, (3, 3), padding="same", activation="relu"))
model.add(Conv2D(32, (3, 3), activation="relu"))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Dropout(0.25))
model.add(Flatten())
model.add(Dense(128, activation="relu"))
model.add(Dropout(0.5))
model.add(Dense(10, activation="softmax"))
model.compile(loss="categorical_crossentropy", optimizer=Adam(learning_rate=0.001), metrics=["accuracy"])
history = model.fit(x_train, y_train, batch_size=64, epochs=10, validation_data=(x_test, y_test), verbose=2)
print("final loss", history.history["loss"][-1], "val accuracy", history.history["val_accuracy"][-1])
