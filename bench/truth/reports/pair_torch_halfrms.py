# verdict: sick
# causes: precision learning_rate
# source: discuss.pytorch.org "Nan after one step of Adam in half precision", pytorch#40497 (eps 1e-8 is 0 in float16)
# names: eps|half|float16
import torch
from sklearn.datasets import load_wine
from torch import nn

torch.manual_seed(3)
x, y = load_wine(return_X_y=True)
x = torch.tensor((x - x.mean(0)) / x.std(0)).half()
y = torch.tensor(y)

net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3)).half()
optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3)
for epoch in range(40):
    for rows in torch.randperm(len(x)).split(32):
        logits = net(x[rows])
        loss = nn.functional.cross_entropy(logits.float(), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 10 == 0:
        print(epoch, loss.item())
with torch.no_grad():
    print("accuracy", (net(x).argmax(1) == y).float().mean().item())
