# verdict: sick
# causes: activation initialisation loss_head
# source: community.deeplearning.ai/t/loss-values-do-not-change/324182 (a line is to be learned, the loss sticks)
# names: relu|linear|dead
import numpy as np
import tensorflow as tf

tf.random.set_seed(4)
x = np.array([[-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]])
y = np.array([[-3.0, -1.0, 1.0, 3.0, 5.0, 7.0, 9.0]])
x = np.reshape(x, (7, 1))
y = np.reshape(y, (7, 1))

from tensorflow import keras
from tensorflow.keras import Model
from tensorflow.keras.layers import Dense, Input

keras.utils.set_random_seed(4)
input_1 = Input(shape=(1,))
dense_1 = Dense(4, activation="relu")(input_1)
dense_2 = Dense(2, activation="relu")(dense_1)
dense_3 = Dense(1, activation="relu")(dense_2)
model_2 = Model(inputs=input_1, outputs=dense_3)
model_2.compile(loss=keras.losses.MeanSquaredError(), optimizer=keras.optimizers.Adam(0.03))
h = model_2.fit(x, y, epochs=150, verbose=0)
print("final loss", h.history["loss"][-1])
print(model_2.predict(np.array([[10.0]]), verbose=0))
