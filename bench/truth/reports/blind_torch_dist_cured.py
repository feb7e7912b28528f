# verdict: healthy
# causes: loss_head architecture
# source: forum and SO classic: nn.KLDivLoss given softmax probabilities instead of log-probabilities, "KL divergence loss is negative"
# names: log_softmax|log.?prob
"""Label distribution learning: predict the histogram of answers of several annotators."""
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(8)
W = torch.randn(10, 5) * 0.7
X = torch.randn(1024, 10)
target = F.softmax(X @ W, dim=1)          # answers spread over 5 options

model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 5))
kl = nn.KLDivLoss(reduction="batchmean")
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(25):
    perm = torch.randperm(len(X))
    for i in range(0, len(X), 64):
        b = perm[i:i + 64]
        pred = F.log_softmax(model(X[b]), dim=1)
        loss = kl(pred, target[b])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        err = (F.softmax(model(X), dim=1) - target).abs().sum(1).mean()
    print("epoch", epoch, "loss", loss.item(), "total variation", err.item() / 2)
