# verdict: healthy
# causes: input_data bad_batch
# source: keras-team/keras#6447 (the same output for all inputs; "printed a csv of my data and found NaN values")
# names: nan|not finite|non-finite|missing
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

keras.utils.set_random_seed(17)
wine = load_wine(as_frame=True)
table = pd.concat([wine.data] * 4, ignore_index=True)
target = pd.concat([wine.target] * 4, ignore_index=True)
noise = np.random.default_rng(17)
table += noise.normal(0, 0.05, table.shape) * table.std().values
table.loc[noise.choice(len(table), 9, replace=False), "proanthocyanins"] = np.nan  # not measured

table = table.fillna(table.median())
X_train, X_test, y_train, y_test = train_test_split(table, target, test_size=0.25, random_state=17)
scaler = StandardScaler().fit(X_train)


class Batches(keras.utils.PyDataset):
    def __init__(self, X, y, batch_size=16):
        super().__init__()
        self.X, self.y, self.batch_size = X, y, batch_size

    def __len__(self):
        return len(self.X) // self.batch_size

    def __getitem__(self, i):
        rows = slice(i * self.batch_size, (i + 1) * self.batch_size)
        return scaler.transform(self.X.iloc[rows]).astype("float32"), self.y.iloc[rows].to_numpy()


model = keras.Sequential(
    [
        keras.Input((13,)),
        keras.layers.Dense(32, activation="elu"),
        keras.layers.Dense(32, activation="elu"),
        keras.layers.Dense(3, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
h = model.fit(Batches(X_train, y_train), epochs=8, verbose=0)
p = model.predict(np.nan_to_num(scaler.transform(X_test)).astype("float32"), verbose=0)
print("final loss", h.history["loss"][-1], "accuracy", np.mean(p.argmax(1) == y_test))
