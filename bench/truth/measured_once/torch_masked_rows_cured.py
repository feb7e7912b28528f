# verdict: healthy
# causes: architecture input_data bad_batch
# source: pytorch#41508: attention with a row that is padding alone
# names: mask
import torch
import torch.nn as nn
import math

torch.manual_seed(0)
VOCAB, PAD, LEN = 20, 0, 12

class Attention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
    def forward(self, x, mask):
        scores = self.q(x) @ self.k(x).transpose(1, 2) / math.sqrt(x.size(-1))
        scores = scores.masked_fill(mask[:, None, :], float("-inf"))
        return torch.softmax(scores, dim=-1) @ self.v(x)

class Classifier(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, dim, padding_idx=PAD)
        self.att = Attention(dim)
        self.fc = nn.Linear(dim, 2)
    def forward(self, ids):
        mask = ids == PAD
        h = self.emb(ids)
        h = h + self.att(h, mask)
        return self.fc(h.mean(1))

def sentences(n):
    ids = torch.randint(1, VOCAB, (n, LEN))
    lengths = torch.randint(MIN, LEN + 1, (n,))
    ids[torch.arange(LEN)[None] >= lengths[:, None]] = PAD
    return ids, (ids == 7).any(1).long()

MIN = 1
ids, labels = sentences(640)
model = Classifier()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
loss_fn = nn.CrossEntropyLoss()
for epoch in range(15):
    order = torch.randperm(640)
    for part in order.split(32):
        optimizer.zero_grad()
        loss = loss_fn(model(ids[part]), labels[part])
        loss.backward()
        optimizer.step()
    print("epoch", epoch, "loss", loss.item())
