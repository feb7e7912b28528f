# verdict: sick
# causes: architecture input_data loss_head
# source: discuss.pytorch.org "LSTM loss does not decrease / accuracy stuck" (batch_first forgotten), SO 49466894
# names: batch_first|batch first|dimension|other samples
"""LSTM that tells apart three kinds of sensor signal."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
rng = np.random.RandomState(1)
SEQ, N = 30, 1200
labels = rng.randint(0, 3, N)
t = np.arange(SEQ)
signals = np.zeros((N, SEQ, 1), dtype=np.float32)
for i, label in enumerate(labels):
    phase = rng.uniform(0, 2 * np.pi)
    wave = [np.sin(0.3 * t + phase), np.sign(np.sin(0.9 * t + phase)), np.sin(0.05 * t**1.6 + phase)][label]
    signals[i, :, 0] = wave + 0.1 * rng.randn(SEQ)
X, y = torch.from_numpy(signals), torch.from_numpy(labels).long()
train_dl = DataLoader(TensorDataset(X[:1000], y[:1000]), batch_size=40, shuffle=True)
test_dl = DataLoader(TensorDataset(X[1000:], y[1000:]), batch_size=40)


class LSTMClassifier(nn.Module):
    def __init__(self, input_dim=1, hidden_dim=48, layers=1, classes=3):
        super().__init__()
        self.lstm = nn.LSTM(input_dim, hidden_dim, layers)
        self.fc = nn.Linear(hidden_dim, classes)

    def forward(self, x):
        out, (h, c) = self.lstm(x)
        return self.fc(out[:, -1, :])


model = LSTMClassifier()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(20):
    model.train()
    total = 0.0
    for xb, yb in train_dl:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(xb)
    model.eval()
    with torch.no_grad():
        acc = np.mean([(model(xb).argmax(1) == yb).float().mean().item() for xb, yb in test_dl])
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1:2d} loss {total / 1000:.4f} test accuracy {acc:.3f}")
print(f"final loss {total / 1000:.4f} accuracy {acc:.3f}")
