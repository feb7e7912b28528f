# verdict: healthy
# causes: initialisation
# source: SO "Keras neural network outputs the same result for every input" (kernel_initializer='zeros' in the hidden layers)
# names: initiali|zero
import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from tensorflow.keras.layers import Dense, Input
from tensorflow.keras.models import Sequential
from tensorflow.keras.utils import set_random_seed

set_random_seed(2)
X, y = make_friedman1(1500, 10, noise=0.5, random_state=2)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=2)
sx, sy = StandardScaler().fit(X_train), StandardScaler().fit(y_train[:, None])


def build_model():
    model = Sequential()
    model.add(Input((10,)))
    model.add(Dense(64, kernel_initializer="he_normal", activation="relu"))
    model.add(Dense(64, kernel_initializer="he_normal", activation="relu"))
    model.add(Dense(1, kernel_initializer="zeros"))
    model.compile(loss="mean_squared_error", optimizer="adam")
    return model


model = build_model()
history = model.fit(sx.transform(X_train), sy.transform(y_train[:, None]), epochs=25, batch_size=32, verbose=0)
p = sy.inverse_transform(model.predict(sx.transform(X_test), verbose=0))
print("final loss", history.history["loss"][-1], "r2", r2_score(y_test, p))
