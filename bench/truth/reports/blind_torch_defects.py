# verdict: sick
# causes: loss_head input_data bad_batch
# source: forum: class weights 1 / bincount for CrossEntropyLoss, a class that does not occur has weight inf and the loss is nan
# names: weight|class|count|divi
"""Unbalanced defect types of a production line, weighted by inverse frequency."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(5)
n_classes = 6  # the sixth one is new on the line, no example yet
probs = torch.tensor([0.5, 0.25, 0.12, 0.08, 0.05, 0.0])
centres = torch.randn(n_classes, 12) * 1.5
labels = torch.multinomial(probs, 1200, replacement=True)
features = centres[labels] + torch.randn(1200, 12)

counts = torch.bincount(labels, minlength=n_classes).float()
weights = len(labels) / (n_classes * counts)

model = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Dropout(0.1), nn.Linear(48, n_classes))
criterion = nn.CrossEntropyLoss(weight=weights, label_smoothing=0.05)
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
loader = DataLoader(TensorDataset(features, labels), batch_size=40, shuffle=True)

for epoch in range(10):
    running = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        running += loss.item()
    model.eval()
    acc = (model(features).argmax(1) == labels).float().mean().item()
    model.train()
    print(f"{epoch:2d} loss {running / len(loader):.4f} accuracy {acc:.3f}")
