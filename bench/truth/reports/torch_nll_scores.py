# verdict: sick
# causes: loss_head
# source: codestudyblog.com/8ten8/80409021901: the loss of a classifier is negative and falls
# names: log_softmax|log-prob|cross_entropy
"""Digits, after PyTorch's MNIST example; the last line of forward() was lost on the way."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn, optim


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, 1)
        self.conv2 = nn.Conv2d(16, 32, 3, 1)
        self.fc1 = nn.Linear(512, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc2(x)


torch.manual_seed(1)
x, y = load_digits(return_X_y=True)
x = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8) / 16
x_train, x_test, y_train, y_test = train_test_split(x, torch.tensor(y), random_state=0)
model = Net()
optimizer = optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(1, 4):
    model.train()
    for i in torch.randperm(len(x_train)).split(64):
        optimizer.zero_grad()
        output = model(x_train[i])
        loss = F.nll_loss(output, y_train[i])
        loss.backward()
        optimizer.step()
    print(f"Train Epoch: {epoch} Loss: {loss.item():.6f}")
model.eval()
with torch.no_grad():
    correct = (model(x_test).argmax(1) == y_test).float().mean()
print(f"final loss {loss.item():.4f} accuracy {correct.item():.3f}")
