# verdict: healthy
# causes: input_data bad_batch architecture
# source: keras-team/keras#10694 (no error when using a too small Embedding layer, the loss goes to nan)
# names: embedding|input_dim|vocab|out of range
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(12)
rng = np.random.default_rng(12)

good = ["great", "lovely", "superb", "fun", "moving", "clever", "warm", "brilliant"]
bad = ["awful", "boring", "dull", "weak", "tedious", "flat", "clumsy", "stupid"]
rest = [f"word{i}" for i in range(60)]


def review(label):
    words = list(rng.choice(rest, 12)) + list(rng.choice(good if label else bad, 3))
    rng.shuffle(words)
    return words


labels = rng.integers(0, 2, 1600)
texts = [review(label) for label in labels]
word_index = {}
for text in texts:
    for word in text:
        word_index.setdefault(word, len(word_index) + 1)  # 0 is the padding
x = keras.utils.pad_sequences([[word_index[w] for w in text] for text in texts], maxlen=20)
vocab_size = len(word_index) + 1

model = keras.Sequential(
    [
        keras.Input((20,)),
        layers.Embedding(vocab_size, 16),
        layers.GlobalAveragePooling1D(),
        layers.Dense(16, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(0.01), metrics=["accuracy"])
history = model.fit(x[:1200], labels[:1200], epochs=8, batch_size=32, verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", model.evaluate(x[1200:], labels[1200:], verbose=0)[1])
