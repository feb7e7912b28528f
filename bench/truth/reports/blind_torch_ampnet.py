# verdict: sick
# causes: precision learning_rate
# source: forum: AMP added to an old loop, scaler.scale(loss).backward() but still optimizer.step() (gradients 65536 times too large)
# names: scaler|unscale|scale
"""Old CIFAR-style training loop, AMP bolted on."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(11)
d = load_digits()
ds = TensorDataset(torch.tensor(d.images[:, None] / 8 - 1, dtype=torch.float32), torch.tensor(d.target))
train_set, test_set = random_split(ds, [1500, 297])
device = "cpu"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 16, 3, padding=1)
        self.b1 = nn.BatchNorm2d(16)
        self.c2 = nn.Conv2d(16, 32, 3, padding=1)
        self.b2 = nn.BatchNorm2d(32)
        self.fc = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.b1(self.c1(x))), 2)
        x = F.max_pool2d(F.relu(self.b2(self.c2(x))), 2)
        return self.fc(x.flatten(1))


def train(epoch):
    net.train()
    for data, target in DataLoader(train_set, batch_size=50, shuffle=True):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16):
            out = net(data.to(device))
            loss = F.cross_entropy(out, target.to(device))
        scaler.scale(loss).backward()
        optimizer.step()
    print("epoch", epoch, "loss", loss.item())


def test():
    net.eval()
    hits = 0
    with torch.no_grad():
        for data, target in DataLoader(test_set, batch_size=100):
            hits += (net(data).argmax(1) == target).sum().item()
    print("test accuracy", hits / len(test_set))


net = Net().to(device)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
scaler = torch.amp.GradScaler(device)
for epoch in range(5):
    train(epoch)
    test()
