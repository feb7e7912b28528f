# verdict: sick
# causes: input_data learning_rate
# source: forum-style: a series in hundreds fed as it is to an LSTM (mean squared error does not fall)
# names: normalis|input|scale
import numpy as np
import torch
from torch import nn

torch.manual_seed(0)
np.random.seed(0)
t = np.arange(800)
passengers = 400 + 150 * np.sin(t / 12) + 0.2 * t + 15 * np.random.randn(800)
# to be predicted: the next month
series = torch.tensor(passengers, dtype=torch.float32)
windows = series.unfold(0, 25, 1)
x, y = windows[:, :24].unsqueeze(-1), windows[:, 24:]


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 32, batch_first=True)
        self.linear = nn.Linear(32, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.linear(out[:, -1])


model = Forecaster()
loss_fn = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(6):
    for rows in torch.randperm(len(x)).split(32):
        optimizer.zero_grad()
        loss = loss_fn(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
with torch.no_grad():
    print("share of the variance", (loss_fn(model(x), y) / y.var()).item())
