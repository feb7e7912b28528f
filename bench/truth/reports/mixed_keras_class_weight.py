# verdict: sick
# causes: loss_head input_data learning_rate
# source: SO "Keras predicts only one class after class_weight" (weights made of counts instead of their inverse, on the wrong class)
# names: class_weight|weight
import numpy as np
from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from tensorflow import keras
from tensorflow.keras import layers

keras.utils.set_random_seed(9)
X, y = make_classification(4000, 20, n_informative=8, weights=[0.93], class_sep=1.2, flip_y=0.01, random_state=9)
x_train, x_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
scaler = StandardScaler().fit(x_train)
neg, pos = np.bincount(y_train)
class_weight = {0: neg, 1: pos}

model = keras.Sequential(
    [
        layers.Input((20,)),
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(32, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="binary_crossentropy", metrics=[keras.metrics.Recall()])
history = model.fit(
    scaler.transform(x_train), y_train, epochs=12, batch_size=64, class_weight=class_weight, verbose=0
)
p = model.predict(scaler.transform(x_test), verbose=0).ravel() > 0.5
print("final loss", history.history["loss"][-1], "balanced accuracy", balanced_accuracy_score(y_test, p))
