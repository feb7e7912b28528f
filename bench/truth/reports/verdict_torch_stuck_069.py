# verdict: sick
# causes: learning_rate
# source: snorkel-team/snorkel#870, BVLC/caffe#826 (loss stays at 0.69)
# names: learning rate
"""Two digits told apart by a small CNN; the rate was copied from an SGD recipe."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
x, y = load_digits(return_X_y=True)
keep = (y == 3) | (y == 8)
x = torch.tensor(x[keep], dtype=torch.float32).view(-1, 1, 8, 8) / 16
y = torch.tensor(y[keep] == 8, dtype=torch.float32)
loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 4, 64)
        self.fc2 = nn.Linear(64, 1)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1)))).squeeze(1)


net = Net()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=0.3)
for epoch in range(8):
    right = 0
    for inputs, labels in loader:
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        right += ((outputs > 0) == (labels > 0.5)).sum().item()
    print(f"epoch {epoch + 1} loss {loss.item():.4f} acc {right / len(x):.3f}")
