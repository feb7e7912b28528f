# verdict: sick
# causes: input_data loss_head learning_rate
# source: discuss.pytorch.org 96648 "Neural network could not learn on this type of data, why?" (x up to 4000, y = x**3, neither normalised)
# names: normali|scale|target
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(in_features=1, out_features=50)
        self.fc2 = nn.Linear(in_features=50, out_features=1)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return x


model = Network()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
criterion = nn.MSELoss()

input = torch.tensor([x for x in range(1, 4000)]).float().unsqueeze(1)
target = torch.tensor([float(d ** 3) for d in range(1, 4000)]).unsqueeze(1)

for epoch in range(400):
    optimizer.zero_grad()
    out = model(input)
    loss = criterion(out, target)
    loss.backward()
    optimizer.step()
    if epoch % 40 == 0:
        print('Epoch {}, loss {}, max. pred val {}'.format(epoch, loss.item(), out.max().item()))
r2 = 1 - ((model(input) - target) ** 2).mean() / target.var()
print("r2", r2.item())
