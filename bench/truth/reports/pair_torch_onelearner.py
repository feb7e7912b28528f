# verdict: sick
# causes: loss_head input_data
# source: discuss.pytorch.org "BCE loss giving negative values", pytorch#2272 (labels -1 and 1), own wrapper around the loss
# names: label|target
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch import nn

torch.manual_seed(6)
table, benign = load_breast_cancer(return_X_y=True)
table = torch.tensor((table - table.mean(0)) / table.std(0)).float()
sign = torch.tensor(2 * benign - 1).float()


class ClassificationLoss(nn.Module):
    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = weight

    def forward(self, outputs, labels):
        return self.weight * F.binary_cross_entropy_with_logits(outputs.squeeze(1), labels)


model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
criterion = ClassificationLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(30):
    model.train()
    running = 0.0
    for rows in torch.randperm(len(table)).split(32):
        optimizer.zero_grad()
        loss = criterion(model(table[rows]), sign[rows])
        loss.backward()
        optimizer.step()
        running += loss.item()
    if epoch % 5 == 4:
        print(f"[{epoch + 1}] loss: {running / 18:.3f}")
