# verdict: sick
# causes: loss_head architecture
# source: SO: binary classifier ends in softmax over one unit
# names: softmax
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

torch.manual_seed(42)
data = load_breast_cancer()
X_train, X_test, y_train, y_test = train_test_split(data.data, data.target, test_size=0.2, random_state=42)
sc = StandardScaler().fit(X_train)
X_train = torch.FloatTensor(sc.transform(X_train)); X_test = torch.FloatTensor(sc.transform(X_test))
y_train = torch.FloatTensor(y_train).view(-1, 1); y_test = torch.FloatTensor(y_test).view(-1, 1)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(30, 16)
        self.l2 = nn.Linear(16, 1)
        self.act = nn.Softmax(dim=1)
    def forward(self, x):
        return self.act(self.l2(torch.relu(self.l1(x))))

model = Net()
criterion = nn.BCELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(60):
    optimizer.zero_grad()
    loss = criterion(model(X_train), y_train)
    loss.backward()
    optimizer.step()
    if epoch % 20 == 0:
        print(f"{epoch} {loss.item():.4f}")
print("acc", ((model(X_test) > 0.5) == y_test).float().mean().item())
