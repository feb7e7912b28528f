# verdict: sick
# causes: architecture loss_head
# source: forum and SO: "element 0 of tensors does not require grad" silenced by loss = Variable(loss.data, requires_grad=True); then nothing learns
# names: requires_grad|detach|graph|no gradient|cut
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from torch.autograd import Variable

torch.manual_seed(0)
data = load_wine()
x_train = StandardScaler().fit_transform(data.data).astype(np.float32)
y_train = data.target


class Net(nn.Module):
    def __init__(self, input_size, hidden_size, num_classes):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(input_size, hidden_size)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(hidden_size, num_classes)

    def forward(self, x):
        out = self.fc1(x)
        out = self.relu(out)
        out = self.fc2(out)
        return out


def my_loss(outputs, labels):
    # cross entropy, written out
    outputs = outputs - outputs.max(dim=1, keepdim=True)[0]
    logp = outputs - outputs.exp().sum(dim=1, keepdim=True).log()
    return -logp[torch.arange(len(labels)), labels].mean()


net = Net(13, 32, 3)
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
num_epochs = 20
batch_size = 16
for epoch in range(num_epochs):
    order = np.random.RandomState(epoch).permutation(len(x_train))
    for i in range(0, len(order), batch_size):
        idx = order[i:i + batch_size]
        inputs = Variable(torch.from_numpy(x_train[idx]))
        labels = Variable(torch.from_numpy(y_train[idx]))
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = my_loss(outputs, labels)
        loss = Variable(loss.data, requires_grad=True)
        loss.backward()
        optimizer.step()
    pred = net(torch.from_numpy(x_train)).data.numpy().argmax(1)
    print('Epoch [%d/%d], Loss: %.4f, Acc: %.3f' % (epoch + 1, num_epochs, loss.item(), (pred == y_train).mean()))
