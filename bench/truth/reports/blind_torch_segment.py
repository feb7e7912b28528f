# verdict: sick
# causes: architecture normalisation learning_rate
# source: fadel/pytorch_ema#15 (ema updated once per epoch with decay 0.9999, the validation never changes)
# names: EMA|average|decay|momentum|copy|other weights|not the (weights|model)|hardly mov
"""Small segmentation net; validation with the averaged model."""
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(6)


def make(n, size=24):
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    imgs, masks = [], []
    for _ in range(n):
        cy, cx, r = torch.rand(3) * torch.tensor([size, size, 5.0]) + torch.tensor([0.0, 0.0, 3.0])
        mask = ((yy - cy) ** 2 + (xx - cx) ** 2 < r ** 2).float()
        imgs.append(mask * 0.8 + 0.4 * torch.randn(size, size))
        masks.append(mask)
    return torch.stack(imgs)[:, None], torch.stack(masks)[:, None]


def conv(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


class ModelEMA:
    def __init__(self, model, decay=0.9999):
        self.module = copy.deepcopy(model).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for e, m in zip(self.module.state_dict().values(), model.state_dict().values()):
            if e.dtype.is_floating_point:
                e.mul_(self.decay).add_(m, alpha=1 - self.decay)
            else:
                e.copy_(m)


model = nn.Sequential(conv(1, 12), conv(12, 12), conv(12, 12), nn.Conv2d(12, 1, 1))
ema = ModelEMA(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
train_x, train_y = make(400)
val_x, val_y = make(100)
for epoch in range(6):
    model.train()
    for idx in torch.randperm(400).split(16):
        logits = model(train_x[idx])
        loss = F.binary_cross_entropy_with_logits(logits, train_y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ema.update(model)
    with torch.no_grad():
        pred = ema.module(val_x) > 0
        inter, union = (pred & (val_y > 0)).sum(), (pred | (val_y > 0)).sum()
    print(f"epoch {epoch} train {loss.item():.4f} val IoU {inter / union:.3f}")
