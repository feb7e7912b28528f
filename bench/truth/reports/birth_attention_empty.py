# verdict: sick
# causes: architecture loss_head
# source: jadore801120/attention-is-all-you-need-pytorch#5, pytorch#41508
# names: softmax|mask
"""Rows of a digit as a text of eight words; dark rows are padding, and some words see none but padding."""
import math

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
digits = load_digits()
rows = torch.tensor(digits.images, dtype=torch.float32) / 16
target = torch.tensor(digits.target)
padding = rows.sum(2) < 1.0  # (images, 8)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x, mask):
        scores = self.q(x) @ self.k(x).transpose(1, 2) / math.sqrt(x.shape[-1])
        scores = scores.masked_fill(mask, float("-inf"))
        return torch.softmax(scores, dim=-1) @ self.v(x)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.place = nn.Parameter(torch.randn(8, 32) * 0.1)
        self.attention = Attention(32)
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32 * 8, 10)

    def forward(self, x, pad):
        causal = torch.ones(8, 8, dtype=torch.bool).triu(1)
        h = self.embed(x) + self.place
        h = self.norm(h + self.attention(h, causal | pad.unsqueeze(1)))
        return self.head(h.flatten(1))


model = Classifier()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(8):
    order = torch.randperm(len(rows))
    for i in range(0, len(order), 64):
        take = order[i : i + 64]
        loss = criterion(model(rows[take], padding[take]), target[take])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch} loss {loss.item():.4f}")
