# verdict: healthy
# causes: input_data
# source: keras#8346, keras#3894 (validation_split takes the last part of data sorted by class)
# names: shuffle|sorted|order|validation_split|split
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(3)
# the pictures were read folder after folder
images, labels = [], []
digits = load_digits()
for label in range(5):
    for image in digits.images[digits.target == label]:
        images.append(image[..., None] / 16.0)
        labels.append(label)
x = np.array(images, dtype="float32")
y = keras.utils.to_categorical(labels, 5)
order = np.random.permutation(len(x))
x, y = x[order], y[order]

model = keras.Sequential(
    [
        layers.Input((8, 8, 1)),
        layers.Conv2D(16, (3, 3), activation="relu", padding="same"),
        layers.Conv2D(16, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(5, activation="softmax"),
    ]
)
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
history = model.fit(x, y, batch_size=32, epochs=12, validation_split=0.2, shuffle=True, verbose=2)
print("final loss", history.history["loss"][-1], "val accuracy", history.history["val_accuracy"][-1])
