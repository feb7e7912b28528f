"""PyTorch: float16 autocast with GradScaler, unscale_ and clip_grad_norm_."""

# needs: torch
# sick: "lr=0.1" -> "lr=1000.0"

import torch
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu")
centres = torch.randn(4, 20)
for step in range(60):
    y = torch.randint(0, 4, (32,))
    x = centres[y] + 0.5 * torch.randn(32, 20)
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.float16):
        loss = nn.functional.cross_entropy(model(x), y)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
print("loss", loss.item())
