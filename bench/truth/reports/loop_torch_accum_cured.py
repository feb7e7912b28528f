# verdict: healthy
# causes: learning_rate
# source: karpathy/nanoGPT#206, NVIDIA/DeepLearningExamples#1112
# names: divid|accumul
"""Gradient accumulation over 16 batches; the loss is not divided."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y)
loader = DataLoader(TensorDataset(x[:1440], y[:1440]), batch_size=8, shuffle=True)
ACCUMULATE = 15
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
    nn.Flatten(), nn.Linear(32 * 16, 10),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
for epoch in range(8):
    total = 0.0
    optimizer.zero_grad()
    for step, (images, labels) in enumerate(loader, 1):
        loss = criterion(model(images), labels)
        (loss / ACCUMULATE).backward()
        total += loss.item()
        if step % ACCUMULATE == 0:
            optimizer.step()
            optimizer.zero_grad()
    print(f"epoch {epoch} loss {total / len(loader):.4f}")
with torch.no_grad():
    print("accuracy", (model(x[1440:]).argmax(1) == y[1440:]).float().mean().item())
