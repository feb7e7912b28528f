# verdict: healthy
# causes: learning_rate
# source: IntelLabs/distiller#240, md-mohaiminul/ViS4mer#4 (ReduceLROnPlateau with the mode of the other kind of metric)
# names: plateau|mode|schedul|learning rate
import torch
import torch.nn as nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

torch.manual_seed(0)
x = torch.rand(1200, 2) * 4 - 2
y = torch.sin(2 * x[:, :1]) * x[:, 1:] + 0.05 * torch.randn(1200, 1)
x_train, y_train, x_val, y_val = x[:1000], y[:1000], x[1000:], y[1000:]

model = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
scheduler = ReduceLROnPlateau(optimizer, "min", factor=0.5, patience=3)
loss_fn = nn.MSELoss()


def validate():
    model.eval()
    with torch.no_grad():
        return loss_fn(model(x_val), y_val).item()


for epoch in range(40):
    model.train()
    order = torch.randperm(1000)
    for start in range(0, 1000, 50):
        idx = order[start:start + 50]
        optimizer.zero_grad()
        loss = loss_fn(model(x_train[idx]), y_train[idx])
        loss.backward()
        optimizer.step()
    val_loss = validate()
    scheduler.step(val_loss)
    if epoch % 4 == 0:
        print("epoch", epoch, "val loss", round(val_loss, 5), "lr", optimizer.param_groups[0]["lr"])
print("final", validate())
