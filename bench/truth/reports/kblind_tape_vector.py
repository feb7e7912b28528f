# verdict: sick
# causes: loss_head learning_rate
# source: keras-team/keras#16057, tensorflow#54343 (GradientTape returns exploding gradients where fit does not)
# names: mean|reduc|sum
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow.keras.metrics import sparse_categorical_crossentropy

tf.keras.utils.set_random_seed(3)

images, labels = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8, 1).astype("float32") / 16.0
train = tf.data.Dataset.from_tensor_slices((images[:1400], labels[:1400])).shuffle(1400, seed=3).batch(128)
test = tf.data.Dataset.from_tensor_slices((images[1400:], labels[1400:])).batch(128)


def evaluate(model, test_set):
    acc = tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    for imgs, labels in test_set:
        acc.update_state(labels, model.predict_on_batch(imgs))
    return acc.result().numpy()


class Classifier:
    def __init__(self):
        self.model = tf.keras.Sequential(
            [
                tf.keras.layers.Input((8, 8, 1)),
                tf.keras.layers.Conv2D(32, 3, activation="relu"),
                tf.keras.layers.Flatten(),
                tf.keras.layers.Dense(128, activation="relu"),
                tf.keras.layers.Dense(10, activation="softmax"),
            ]
        )
        self.optimizer = tf.keras.optimizers.SGD(0.1, momentum=0.9)

    def train(self, task, epochs):
        for epoch in range(epochs):
            for imgs, labels in task:
                with tf.GradientTape() as tape:
                    output = self.model(imgs, training=True)
                    loss = sparse_categorical_crossentropy(labels, output)
                grads = tape.gradient(loss, self.model.trainable_variables)
                self.optimizer.apply_gradients(zip(grads, self.model.trainable_variables))
            print("epoch", epoch + 1, "loss", float(tf.reduce_mean(loss)), "accuracy", evaluate(self.model, test))


Classifier().train(train, epochs=8)
