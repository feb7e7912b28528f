"""Sick: a recurrent network over rows of pixels, whose gradient leaps now and then and throws the weights off.

Cure: evengrad fix examples/sick/keras_clipping.py --only clipping
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = (images / 16).astype("float32").reshape(-1, 16, 4)

model = keras.Sequential(
    [
        keras.Input((16, 4)),
        layers.SimpleRNN(
            64,
            activation="relu",
            recurrent_initializer=keras.initializers.Orthogonal(1.3, seed=1),
        ),
        layers.Dense(10),
    ]
)
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.1, momentum=0.9),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x, labels, batch_size=32, epochs=10)
