# verdict: healthy
# causes: input_data initialisation learning_rate
# source: SO "Keras MNIST accuracy stuck at 11%" (pixels of 0 to 255 as they are, SGD)
# names: normalis|255|scale|rescal
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tensorflow import keras
from tensorflow.keras import layers

keras.utils.set_random_seed(5)
digits = load_digits()
images = (digits.images * 255 / 16).astype("uint8") / 255.0
x_train, x_test, y_train, y_test = train_test_split(images, digits.target, test_size=0.2, random_state=0)

model = keras.Sequential(
    [
        keras.Input((8, 8)),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer=keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train, y_train, epochs=15, batch_size=32, validation_data=(x_test, y_test), verbose=0)
print("final loss", history.history["loss"][-1], "val accuracy", history.history["val_accuracy"][-1])
