# verdict: sick
# causes: learning_rate
# source: own, after the question in patrickloeber/pytorchTutorial#19
# names: zero_grad
"""zero_grad between backward and step."""
import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

torch.manual_seed(0)
X, t = load_diabetes(return_X_y=True)
X = torch.tensor(StandardScaler().fit_transform(X), dtype=torch.float32)
t = torch.tensor((t - t.mean()) / t.std(), dtype=torch.float32).unsqueeze(1)
net = torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
optim = torch.optim.Adam(net.parameters(), lr=1e-2)
for i in range(150):
    idx = torch.randint(0, len(X), (64,))
    loss = torch.nn.functional.mse_loss(net(X[idx]), t[idx])
    loss.backward()
    optim.zero_grad()
    optim.step()
    if i % 50 == 0:
        print(i, loss.item())
print("final", torch.nn.functional.mse_loss(net(X), t).item())
