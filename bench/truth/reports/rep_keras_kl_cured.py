# verdict: healthy
# causes: loss_head input_data
# source: keras-team/keras#2473 (own Kullback-Leibler divergence, p*log(p/q)), jax#573 (0 * log 0 with zeros in p)
# names: zero|eps|clip|xlogy|where
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(4)
rng = np.random.default_rng(4)
# a crowd of annotators votes on 5 emotions; many get no vote at all
x = rng.normal(size=(2000, 12)).astype("float32")
W = rng.normal(size=(12, 5))
logits = x @ W
p = np.exp(logits - logits.max(1, keepdims=True))
p /= p.sum(1, keepdims=True)
votes = np.stack([rng.multinomial(30, row) for row in p]) / 30.0
y = votes.astype("float32")


def kld(y_true, y_pred):
    y_true = ops.clip(y_true, 1e-7, 1.0)
    y_pred = ops.clip(y_pred, 1e-7, 1.0)
    return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


class EmotionNet(keras.Model):
    def __init__(self, n_out=5):
        super().__init__()
        self.d1 = layers.Dense(64, activation="gelu")
        self.drop = layers.Dropout(0.1)
        self.head = layers.Dense(n_out, activation="softmax")

    def call(self, inputs, training=False):
        return self.head(self.drop(self.d1(inputs), training=training))


model = EmotionNet()
model.compile(optimizer=keras.optimizers.Adam(2e-3), loss=kld)
history = model.fit(x[:1600], y[:1600], validation_data=(x[1600:], y[1600:]), epochs=15, batch_size=32, verbose=0)
print("loss", history.history["loss"][::5], "val", history.history["val_loss"][-1])
pred = model.predict(x[1600:], verbose=0)
print("agreement", np.mean(pred.argmax(1) == p[1600:].argmax(1)))
