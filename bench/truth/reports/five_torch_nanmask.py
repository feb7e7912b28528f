# verdict: sick
# causes: input_data bad_batch loss_head
# source: awslabs/gluonts#534, openvax/pepnet#7, keras-team/keras#9549 (unknown targets are NaN and "masked" by a product with 0)
# names: nan|where|mask|unknown|missing
"""Several outputs, of which a sample has only some measured; the others are NaN in the table."""
import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import nn

torch.manual_seed(1)
rng = np.random.default_rng(1)
X, first = load_diabetes(return_X_y=True)
X = X / X.std(0)
Y = np.stack([(first - first.mean()) / first.std(), X[:, 2] * X[:, 3], np.tanh(X[:, 8])], axis=1)
Y[rng.random(Y.shape) < 0.3] = np.nan
X, Y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)


def masked_mse(pred, target):
    mask = (~torch.isnan(target)).float()
    loss = (pred - target) ** 2 * mask
    return loss.sum() / mask.sum()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.heads = nn.Linear(64, 3)

    def forward(self, x):
        return self.heads(self.body(x))


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(40):
    for rows in torch.randperm(len(X)).split(32):
        optimizer.zero_grad()
        loss = masked_mse(net(X[rows]), Y[rows])
        loss.backward()
        optimizer.step()
    if epoch % 10 == 0:
        print(epoch, loss.item())
print("final", loss.item())
