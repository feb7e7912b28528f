# verdict: sick
# causes: input_data loss_head
# source: discuss.pytorch.org: entropy is negative (targets out of bounds), own BCE on masks of 255
# names: label|target|mask
"""Segments bright blobs; the loss is the user's own and knows nothing of ranges."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
rng = np.random.default_rng(0)


def picture():
    mask = np.zeros((24, 24), np.uint8)
    r, c = rng.integers(2, 14, 2)
    mask[r : r + 8, c : c + 8] = 255
    return mask / 255 * 0.6 + rng.normal(0, 0.15, mask.shape), mask


images, masks = map(np.stack, zip(*(picture() for _ in range(256)), strict=True))
images = torch.tensor(images, dtype=torch.float32).unsqueeze(1)
masks = torch.tensor(masks, dtype=torch.float32).unsqueeze(1)
unet = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 1, 1),
)


class WeightedLoss(nn.Module):
    def forward(self, logits, target):
        return (F.softplus(logits) - target * logits).mean()


criterion = WeightedLoss()
optimizer = torch.optim.Adam(unet.parameters(), lr=3e-3)
for epoch in range(12):
    for rows in torch.randperm(256).split(16):
        optimizer.zero_grad()
        loss = criterion(unet(images[rows]), masks[rows])
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
with torch.no_grad():
    predicted, true = unet(images) > 0, masks > 0.5
    print("iou", ((predicted & true).sum() / (predicted | true).sum()).item())
