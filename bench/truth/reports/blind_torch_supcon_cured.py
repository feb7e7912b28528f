# verdict: healthy
# causes: loss_head bad_batch input_data architecture
# source: HobbitLong/SupContrast#141, #142 (a sample without a partner of its class in the batch gives NaN)
# names: divi|mask|zero|clamp|positive
"""Supervised contrastive pre-training on digits, then a linear probe."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)
data, target = load_digits(return_X_y=True)
data = torch.tensor(data, dtype=torch.float32) / 16
target = torch.tensor(target)


class SupConLoss(nn.Module):
    def __init__(self, temperature=0.1):
        super().__init__()
        self.temperature = temperature

    def forward(self, features, labels):
        labels = labels.view(-1, 1)
        mask = torch.eq(labels, labels.T).float()
        logits = features @ features.T / self.temperature
        logits = logits - logits.max(dim=1, keepdim=True).values.detach()
        not_self = 1 - torch.eye(len(features))
        mask = mask * not_self
        exp_logits = torch.exp(logits) * not_self
        log_prob = logits - torch.log(exp_logits.sum(1, keepdim=True))
        mean_log_prob_pos = (mask * log_prob).sum(1) / mask.sum(1).clamp(min=1)
        return -mean_log_prob_pos.mean()


encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
criterion = SupConLoss()
optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
for epoch in range(12):
    perm = torch.randperm(len(data))
    losses = []
    for idx in perm.split(64):
        features = F.normalize(encoder(data[idx]), dim=1)
        loss = criterion(features, target[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print("epoch", epoch, "supcon", sum(losses) / len(losses))
