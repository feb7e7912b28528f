# verdict: sick
# causes: learning_rate loss_head
# source: NVIDIA/Megatron-LM#5394, NVIDIA/Megatron-LM#5395
# names: clip|epsilon
"""Digits read row by row; each channel forgets at a rate of its own, learned as a frequency in Hz of a clock in ns."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = torch.tensor(images / 16.0 - 0.5, dtype=torch.float32).reshape(-1, 8, 8)
y = torch.tensor(labels)


class Clocked(nn.Module):
    def __init__(self, width=64, tick=2_500_000_000):
        super().__init__()
        self.tick = tick
        self.enter = nn.Linear(8, width)
        self.phase = nn.Parameter(torch.rand(width) * 1e-9)
        self.mix = nn.Linear(8 * width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, rows):
        time = torch.arange(8.0)[:, None] * self.tick
        wave = torch.cos(time * self.phase)
        hidden = F.gelu(self.enter(rows)) * (1 + wave)
        return self.head(F.gelu(self.mix(hidden.flatten(1))))


model = Clocked()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
for epoch in range(6):
    order = torch.randperm(len(x))
    total = 0.0
    for i in range(0, len(x) - 63, 64):
        batch = order[i : i + 64]
        loss = F.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch} loss {total / (len(x) // 64):.4f}")
