"""Sick: forty layers of tanh with orthogonal weights a little too large, whose gradients grow with every layer.

Cure: evengrad fix examples/sick/keras_deep_tanh.py --only critical
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
images = (images - images.mean()) / images.std()

start = keras.initializers.Orthogonal(1.7)
model = keras.Sequential([keras.Input((64,))])
for _ in range(40):
    model.add(layers.Dense(48, activation="tanh", kernel_initializer=start))
model.add(layers.Dense(10))

model.compile(
    optimizer=keras.optimizers.SGD(0.002, momentum=0.9),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(images.astype("float32"), labels, batch_size=32, epochs=20, verbose=2)
