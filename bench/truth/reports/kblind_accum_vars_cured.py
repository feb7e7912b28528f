# verdict: healthy
# causes: learning_rate loss_head architecture
# source: tensorflow#55478, gist innat/ba6740293e7b7b227829790686f2119c (gradient accumulation in tf.Variables; the gradients are summed, not averaged)
# names: accumulat|divide|mean|average
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

tf.keras.utils.set_random_seed(50)


class CustomTrainStep(tf.keras.Model):
    def __init__(self, n_gradients, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.n_gradients = tf.constant(n_gradients, dtype=tf.int32)
        self.n_acum_step = tf.Variable(0, dtype=tf.int32, trainable=False)
        self.gradient_accumulation = [
            tf.Variable(tf.zeros_like(v, dtype=tf.float32), trainable=False) for v in self.trainable_variables
        ]

    def train_step(self, data):
        self.n_acum_step.assign_add(1)
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        gradients = tape.gradient(loss, self.trainable_variables)
        for i in range(len(self.gradient_accumulation)):
            self.gradient_accumulation[i].assign_add(gradients[i] / tf.cast(self.n_gradients, tf.float32))
        tf.cond(tf.equal(self.n_acum_step, self.n_gradients), self.apply_accu_gradients, lambda: None)
        return {"loss": loss}

    def apply_accu_gradients(self):
        self.optimizer.apply_gradients(zip(self.gradient_accumulation, self.trainable_variables))
        self.n_acum_step.assign(0)
        for i in range(len(self.gradient_accumulation)):
            self.gradient_accumulation[i].assign(tf.zeros_like(self.trainable_variables[i], dtype=tf.float32))


x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
inputs = tf.keras.Input((64,))
h = tf.keras.layers.Dense(64, activation="relu")(inputs)
h = tf.keras.layers.Dense(32, activation="relu")(h)
model = CustomTrainStep(n_gradients=16, inputs=[inputs], outputs=[tf.keras.layers.Dense(10)(h)])
model.compile(
    optimizer=tf.keras.optimizers.SGD(0.2, momentum=0.9),
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
history = model.fit(x[:1400], y[:1400], batch_size=8, epochs=12, verbose=2)
accuracy = np.mean(model.predict(x[1400:], verbose=0).argmax(1) == y[1400:])
print("final loss", history.history["loss"][-1], "accuracy", accuracy)
