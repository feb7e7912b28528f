# verdict: healthy
# causes: loss_head input_data
# source: SO "Keras multi-label classification: loss grows, accuracy 0" (categorical_crossentropy over sigmoids)
# names: binary_crossentropy|binary
import numpy as np
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from tensorflow.keras.layers import Dense, Dropout, Input
from tensorflow.keras.models import Sequential
from tensorflow.keras.utils import set_random_seed

set_random_seed(8)
X, Y = make_multilabel_classification(2000, 30, n_classes=6, n_labels=3, length=60, random_state=8)
X_train, X_test, y_train, y_test = train_test_split(X, Y, random_state=8)
scaler = StandardScaler().fit(X_train)

model = Sequential()
model.add(Input((30,)))
model.add(Dense(128, activation="relu"))
model.add(Dropout(0.1))
model.add(Dense(64, activation="relu"))
model.add(Dense(6, activation="sigmoid"))
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["binary_accuracy"])
history = model.fit(scaler.transform(X_train), y_train, epochs=20, batch_size=32, verbose=0)
p = model.predict(scaler.transform(X_test), verbose=0) > 0.5
print("final loss", history.history["loss"][-1], "f1", f1_score(y_test, p, average="macro"))
