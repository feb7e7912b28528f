# verdict: healthy
# causes: input_data bad_batch
# source: forum and SO: inputs and labels shuffled apart from each other; loss stays at log(classes)
# names: label|shuffl|order|belong
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(0)
np.random.seed(0)
digits = load_digits()
X = (digits.data / 16.0).astype(np.float32)
y = digits.target.astype(np.int64)

net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
batch_size = 32
for epoch in range(12):
    order = np.random.permutation(len(X))
    X, y = X[order], y[order]
    losses = []
    for i in range(0, len(X), batch_size):
        inputs = torch.from_numpy(X[i : i + batch_size])
        labels = torch.from_numpy(y[i : i + batch_size])
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print("epoch", epoch, "loss", np.mean(losses))
