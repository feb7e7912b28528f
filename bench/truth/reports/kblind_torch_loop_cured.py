# verdict: healthy
# causes: architecture learning_rate loss_head
# source: keras.io guide "Writing a training loop from scratch in PyTorch" without model.zero_grad() (SO "Keras 3 torch backend custom loop loss explodes")
# names: zero_grad|zeroed|set to zero|accumulat
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
import torch
from sklearn.datasets import load_digits

keras.utils.set_random_seed(23)


def get_model():
    inputs = keras.Input(shape=(64,), name="digits")
    x1 = keras.layers.Dense(64, activation="relu")(inputs)
    x2 = keras.layers.Dense(64, activation="relu")(x1)
    outputs = keras.layers.Dense(10, name="predictions")(x2)
    return keras.Model(inputs=inputs, outputs=outputs)


x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
train_dataset = torch.utils.data.TensorDataset(torch.from_numpy(x[:1400]), torch.from_numpy(y[:1400]))
train_dataloader = torch.utils.data.DataLoader(train_dataset, batch_size=32, shuffle=True)

model = get_model()
optimizer = keras.optimizers.SGD(learning_rate=0.3)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

for epoch in range(8):
    for step, (inputs, targets) in enumerate(train_dataloader):
        # Forward pass
        logits = model(inputs)
        loss = loss_fn(targets, logits)

        # Backward pass
        model.zero_grad()
        loss.backward()
        trainable_weights = [v for v in model.trainable_weights]
        gradients = [v.value.grad for v in trainable_weights]

        # Update weights
        with torch.no_grad():
            optimizer.apply(gradients, trainable_weights)
    print("epoch", epoch + 1, "loss", float(loss.detach()))
accuracy = np.mean(model.predict(x[1400:], verbose=0).argmax(1) == y[1400:])
print("final loss", float(loss.detach()), "accuracy", accuracy)
