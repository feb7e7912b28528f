# verdict: sick
# causes: architecture loss_head input_data
# source: keras.io captcha_ocr, keras#11516 ("No valid path found", loss inf), keras#10840
# names: time ?steps?|longer|length|pool|frames
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow import keras
from tensorflow.keras import layers

keras.utils.set_random_seed(5)
LENGTH = 5
digits, values = load_digits(return_X_y=True)
digits = digits.reshape(-1, 8, 8) / 16.0


def make(n):
    picks = np.random.randint(0, len(digits), (n, LENGTH))
    images = np.concatenate([digits[picks[:, i]] for i in range(LENGTH)], axis=2)  # 8 high, 40 wide
    return images[..., None].astype("float32"), values[picks].astype("int32")


class CTCLayer(layers.Layer):
    def call(self, y_true, y_pred):
        batch_len = tf.shape(y_true)[0]
        input_length = tf.shape(y_pred)[1] * tf.ones(shape=(batch_len,), dtype="int32")
        label_length = tf.shape(y_true)[1] * tf.ones(shape=(batch_len,), dtype="int32")
        loss = tf.nn.ctc_loss(
            y_true, y_pred, label_length, input_length, logits_time_major=False, blank_index=10
        )
        self.add_loss(tf.reduce_mean(loss))
        return y_pred


def build_model():
    input_img = layers.Input(shape=(8, 40, 1), name="image", dtype="float32")
    labels = layers.Input(name="label", shape=(LENGTH,), dtype="int32")
    x = layers.Conv2D(32, (3, 3), activation="relu", kernel_initializer="he_normal", padding="same", name="Conv1")(input_img)
    x = layers.MaxPooling2D((2, 2), name="pool1")(x)
    x = layers.Conv2D(64, (3, 3), activation="relu", kernel_initializer="he_normal", padding="same", name="Conv2")(x)
    x = layers.MaxPooling2D((2, 5), name="pool2")(x)
    # the width is the time axis
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Reshape((-1, 2 * 64))(x)
    x = layers.Dense(64, activation="relu", name="dense1")(x)
    x = layers.Bidirectional(layers.LSTM(32, return_sequences=True))(x)
    x = layers.Dense(11, name="dense2")(x)
    output = CTCLayer(name="ctc_loss")(labels, x)
    model = keras.models.Model(inputs=[input_img, labels], outputs=output, name="ocr_model_v1")
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    return model


images, labels = make(1500)
model = build_model()
history = model.fit({"image": images, "label": labels}, batch_size=32, epochs=8, verbose=2)
test, truth = make(300)
logits = model.predict({"image": test, "label": truth}, verbose=0)
decoded = tf.nn.ctc_greedy_decoder(
    tf.transpose(logits, [1, 0, 2]), [logits.shape[1]] * len(test), blank_index=10
)[0][0]
read = tf.sparse.to_dense(decoded, default_value=-1).numpy()
read = np.pad(read, ((0, 0), (0, max(0, LENGTH - read.shape[1]))), constant_values=-1)[:, :LENGTH]
print("final loss", history.history["loss"][-1], "accuracy", np.mean(read == truth))
