# verdict: healthy
# causes: learning_rate
# source: keras guide "Writing a training loop in PyTorch" (model.zero_grad() left out), keras#19199
# names: zero_grad
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
import torch
from sklearn.datasets import load_digits

keras.utils.set_random_seed(3)
x, y = load_digits(return_X_y=True)
data = torch.utils.data.TensorDataset(torch.tensor(x / 16.0, dtype=torch.float32), torch.tensor(y))
loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)


def get_model():
    inputs = keras.Input(shape=(64,), name="digits")
    h = keras.layers.Dense(64, activation="relu")(inputs)
    h = keras.layers.Dense(64, activation="relu")(h)
    return keras.Model(inputs=inputs, outputs=keras.layers.Dense(10, name="predictions")(h))


class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        self.loss = torch.nn.CrossEntropyLoss()

    def epoch(self):
        losses = []
        for inputs, targets in loader:
            logits = self.model(inputs)
            loss = self.loss(logits, targets)
            self.model.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return np.mean(losses)


trainer = Trainer(get_model())
for epoch in range(6):
    print(f"Training loss at epoch {epoch}: {trainer.epoch():.4f}")
