# verdict: sick
# causes: input_data loss_head activation
# source: stackoverflow.com/questions/52800582 (y = x**4 is not learned)
# names: normali[sz]|scale|standardi[sz]
import numpy as np
from keras.layers import Activation, Dense, Input
from keras.models import Sequential
from keras.utils import set_random_seed
from sklearn.model_selection import train_test_split

set_random_seed(0)
X = np.arange(-100, 100, 0.2).reshape(-1, 1)
Y = X**4
x_train, x_test, y_train, y_test = train_test_split(X, Y, test_size=0.2, random_state=0)

model = Sequential()
model.add(Input((1,)))
model.add(Dense(50))
model.add(Activation("sigmoid"))
model.add(Dense(50))
model.add(Activation("elu"))
model.add(Dense(1))
model.compile(loss="mse", optimizer="adam")
history = model.fit(x_train, y_train, epochs=60, batch_size=32, verbose=0)
p = model.predict(x_test, verbose=0)
print("loss", history.history["loss"][-1], "r2", 1 - np.mean((p - y_test) ** 2) / np.var(y_test))
