# verdict: sick
# causes: loss_head
# source: tensorflow/docs#2102 (text_classification: without a softmax and without from_logits the accuracy stays at chance)
# names: softmax|from_logits|logit
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers

tf.random.set_seed(10)
rng = np.random.default_rng(10)

# four sorts of questions, each with words of its own among common ones
vocabulary, length, n = 400, 24, 2000
label = rng.integers(0, 4, n)
common = rng.integers(200, vocabulary, (n, length))
own = rng.integers(0, 50, (n, length)) + 50 * label[:, None]
text = np.where(rng.uniform(size=(n, length)) < 0.25, own, common).astype("int32")
train_ds = tf.data.Dataset.from_tensor_slices((text[:1600], label[:1600])).shuffle(1600, seed=1).batch(32)
test_ds = tf.data.Dataset.from_tensor_slices((text[1600:], label[1600:])).batch(100)


class TextClassifier(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(vocabulary, 16)
        self.pool = layers.GlobalAveragePooling1D()
        self.drop = layers.Dropout(0.2)
        self.out = layers.Dense(4)

    def call(self, x, training=False):
        return self.out(self.drop(self.pool(self.embedding(x)), training=training))


model = TextClassifier()
optimizer = tf.keras.optimizers.Adam(0.01)
loss_object = tf.keras.losses.SparseCategoricalCrossentropy()


def accuracy():
    hits = [tf.argmax(model(x), 1, output_type=tf.int64) == y for x, y in test_ds]
    return float(np.mean(np.concatenate([h.numpy() for h in hits])))


for epoch in range(4):
    total = 0.0
    for step, (x, y) in enumerate(train_ds):
        with tf.GradientTape() as tape:
            loss = loss_object(y, model(x, training=True))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        total += float(loss)
    print(f"epoch {epoch + 1} loss {total / (step + 1):.4f} test accuracy {accuracy():.3f}")
