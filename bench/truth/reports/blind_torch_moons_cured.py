# verdict: healthy
# causes: architecture loss_head activation
# source: SO and forum classic: torch.round of the output before the loss, "loss stays the same, gradients are zero"
# names: round|step function|differentiab|derivative
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import make_moons

torch.manual_seed(3)
X, y = make_moons(600, noise=0.15, random_state=3)
X = torch.tensor(X, dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32).unsqueeze(1)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(2, 32)
        self.l2 = nn.Linear(32, 32)
        self.l3 = nn.Linear(32, 1)

    def forward(self, x):
        x = torch.relu(self.l1(x))
        x = torch.relu(self.l2(x))
        return torch.sigmoid(self.l3(x))


model = Classifier()
criterion = nn.MSELoss()
optimizer = optim.Adam(model.parameters(), lr=0.01)
for epoch in range(200):
    output = model(X)
    loss = criterion(output, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 50 == 0:
        acc = (torch.round(output) == y).float().mean()
        print("epoch", epoch, "loss", loss.item(), "acc", acc.item())
print("final accuracy", (torch.round(model(X)) == y).float().mean().item())
