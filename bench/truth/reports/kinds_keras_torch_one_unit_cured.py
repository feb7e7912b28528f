# verdict: healthy
# causes: architecture loss_head
# source: keras#126, keras#500 (softmax over one unit), in a loop of its own on the torch backend
# names: sigmoid
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
import torch
from keras import layers, ops
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

keras.utils.set_random_seed(7)
X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X).astype("float32")
y = y.astype("float32")[:, None]
train = torch.utils.data.TensorDataset(torch.from_numpy(X[:456]), torch.from_numpy(y[:456]))
loader = torch.utils.data.DataLoader(train, batch_size=16, shuffle=True)


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.h1 = layers.Dense(64, activation="tanh", kernel_initializer="glorot_uniform")
        self.h2 = layers.Dense(64, activation="tanh", kernel_initializer="glorot_uniform")
        self.out = layers.Dense(1)

    def call(self, x):
        return ops.sigmoid(self.out(self.h2(self.h1(x))))


model = Net()
model(X[:2])
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
mse = keras.losses.MeanSquaredError()
for epoch in range(8):
    running = []
    for inputs, targets in loader:
        optimizer.zero_grad()
        outputs = model(inputs, training=True)
        loss = mse(targets, outputs)
        loss.backward()
        optimizer.step()
        running.append(float(loss))
    with torch.no_grad():
        test = model(X[456:], training=False).cpu().numpy()
    print(f"epoch {epoch + 1}: loss {np.mean(running):.4f} test accuracy {np.mean((test > 0.5) == y[456:]):.3f}")
