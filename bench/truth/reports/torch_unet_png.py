# verdict: sick
# causes: input_data loss_head
# source: milesial/Pytorch-UNet#78, #84: the loss is negative, masks are PNG files of 0 and 255
# names: target|mask|label
"""Segmentation of strokes with a small U-Net, binary cross-entropy and Dice."""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(5)
rng = np.random.default_rng(5)


class Strokes(Dataset):
    def __init__(self, images):
        self.images = np.kron(images.reshape(-1, 8, 8), np.ones((1, 2, 2)))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image = self.images[i] / 16 + rng.normal(0, 0.15, (16, 16))
        mask = np.where(self.images[i] > 7, 255, 0)
        return torch.tensor(image[None]).float(), torch.tensor(mask[None]).float()


def double_conv(inputs, outputs):
    layers = []
    for n in (inputs, outputs):
        layers += [
            nn.Conv2d(n, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = double_conv(1, 8), double_conv(8, 16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.conv, self.out = double_conv(16, 8), nn.Conv2d(8, 1, 1)

    def forward(self, x):
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        return self.out(self.conv(torch.cat([first, self.up(second)], 1)))


def dice_loss(logits, target, smooth=1.0):
    p = torch.sigmoid(logits).flatten(1)
    t = target.flatten(1)
    return 1 - ((2 * (p * t).sum(1) + smooth) / (p.sum(1) + t.sum(1) + smooth)).mean()


images, _ = load_digits(return_X_y=True)
loader = DataLoader(Strokes(images[:320]), batch_size=32, shuffle=True)
net = UNet()
optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3)
for epoch in range(3):
    for image, mask in loader:
        logits = net(image)
        loss = F.binary_cross_entropy_with_logits(logits, mask) + dice_loss(logits, mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch} loss {loss.item():.4f}")
net.eval()
image, mask = next(iter(DataLoader(Strokes(images[320:576]), batch_size=256)))
with torch.no_grad():
    found = net(image) > 0
truth = mask > 0
print(
    f"final loss {loss.item():.4f} IoU {((found & truth).sum() / (found | truth).sum()).item():.3f}"
)
