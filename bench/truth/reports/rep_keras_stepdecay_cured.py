# verdict: healthy
# causes: learning_rate
# source: divamgupta/image-segmentation-keras#138 (step_decay returns lr * 0.9 ** epoch, of the rate that it left the epoch before)
# names: schedul|decay|learning rate
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from keras.callbacks import LearningRateScheduler

keras.utils.set_random_seed(6)
rng = np.random.default_rng(6)


def blobs(n, size=16):
    yy, xx = np.mgrid[:size, :size]
    images, masks = [], []
    for _ in range(n):
        cy, cx, r = rng.uniform(4, 12, 2).tolist() + [rng.uniform(2, 4)]
        mask = ((yy - cy) ** 2 + (xx - cx) ** 2 < r**2).astype("float32")
        images.append(0.4 * mask + 0.3 * rng.normal(size=(size, size)))
        masks.append(mask)
    return np.array(images, "float32")[..., None], np.array(masks, "float32")[..., None]


def build_unet():
    inp = keras.Input((16, 16, 1))
    c1 = layers.Conv2D(8, 3, padding="same", activation="relu")(inp)
    p1 = layers.MaxPooling2D()(c1)
    c2 = layers.Conv2D(16, 3, padding="same", activation="relu")(p1)
    u1 = layers.concatenate([layers.UpSampling2D()(c2), c1])
    c3 = layers.Conv2D(8, 3, padding="same", activation="relu")(u1)
    return keras.Model(inp, layers.Conv2D(1, 1, activation="sigmoid")(c3))


def step_decay(epoch, lr):
    return 0.01 * 0.97**epoch


x, y = blobs(640)
train_ds = tf.data.Dataset.from_tensor_slices((x[:512], y[:512])).shuffle(512, seed=1).batch(16).prefetch(2)
val_ds = tf.data.Dataset.from_tensor_slices((x[512:], y[512:])).batch(64)
model = build_unet()
model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss="binary_crossentropy", metrics=["accuracy"])
h = model.fit(train_ds, validation_data=val_ds, epochs=30, verbose=0, callbacks=[LearningRateScheduler(step_decay)])
pred = model.predict(x[512:], verbose=0) > 0.5
truth = y[512:] > 0.5
print("loss", [round(v, 4) for v in h.history["loss"][::5]], "IoU", (pred & truth).sum() / (pred | truth).sum())
