# verdict: healthy
# causes: learning_rate
# source: forum: clip_grad_norm_ copied with max_norm far below the usual norm, the model hardly moves
# names: clip
"""LSTM that adds up marked numbers of a sequence; clipping as in some repo."""
import torch
import torch.nn as nn

torch.manual_seed(5)


def make(n, length=12):
    values = torch.rand(n, length)
    marks = (torch.rand(n, length) < 0.3).float()
    return torch.stack([values, marks], -1), (values * marks).sum(1, keepdim=True)


class Adder(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


model = Adder()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
criterion = nn.MSELoss()
train_x, train_y = make(2000)
for epoch in range(12):
    total = 0.0
    for idx in torch.randperm(2000).split(40):
        optimizer.zero_grad()
        loss = criterion(model(train_x[idx]), train_y[idx])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        total += loss.item() * len(idx)
    print("epoch", epoch, "mse", total / 2000, "var", train_y.var().item())
