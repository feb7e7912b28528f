# verdict: healthy
# causes: loss_head learning_rate architecture activation
# source: stackoom.com/en/question/4HpqD ("Keras L2 regularization makes the network not learn")
# names: regulari|l2|penalt|decay
import numpy as np
from sklearn.datasets import load_digits
from tensorflow import keras
from tensorflow.keras import activations, layers, losses, models, optimizers, regularizers

keras.utils.set_random_seed(1)
NUM_CLASSES = 10
BATCH_SIZE = 64
EPOCHS = 20

x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
y = keras.utils.to_categorical(y, NUM_CLASSES)
x_train, y_train, x_val, y_val = x[:1400], y[:1400], x[1400:], y[1400:]

model = models.Sequential(
    [
        layers.Input(shape=x_train.shape[1:]),
        layers.Dense(units=36, activation=activations.sigmoid),
        layers.Dense(units=36, activation=activations.sigmoid),
        layers.Dense(units=NUM_CLASSES, activation=activations.softmax),
    ]
)
model.compile(loss=losses.CategoricalCrossentropy(), optimizer=optimizers.RMSprop(0.003), metrics=["accuracy"])
history = model.fit(
    x_train, y_train, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0, validation_data=(x_val, y_val)
)
print("loss", history.history["loss"][-1], "val accuracy", history.history["val_accuracy"][-1])
