# verdict: sick
# causes: normalisation
# source: Cadene/pretrained-models.pytorch#5 (BatchNorm2d with momentum=0, ported from another framework: train and eval differ)
# names: momentum|running|moving|statistic
"""A convnet with blocks ported from an old repository; training looks fine, the test accuracy does not."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(4)


class BasicConv2d(nn.Module):
    def __init__(self, in_planes, out_planes, kernel_size, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(in_planes, out_planes, kernel_size, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(out_planes, eps=0.001, momentum=0, affine=True)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(BasicConv2d(1, 16, 3, 1), BasicConv2d(16, 32, 3, 1), nn.MaxPool2d(2), BasicConv2d(32, 32, 3, 1))
        self.last_linear = nn.Linear(32, 10)

    def forward(self, x):
        return self.last_linear(self.features(x).mean((2, 3)))


x, y = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y))
train, test = random_split(data, [1400, len(data) - 1400])
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for epoch in range(8):
    net.train()
    for images, labels in DataLoader(train, 64, shuffle=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        total, right = 0.0, 0
        for images, labels in DataLoader(test, 200):
            out = net(images)
            total += F.cross_entropy(out, labels, reduction="sum").item()
            right += (out.argmax(1) == labels).sum().item()
    print(epoch, "train", loss.item(), "test", total / len(test), right / len(test))
