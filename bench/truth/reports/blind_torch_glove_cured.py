# verdict: healthy
# causes: initialisation input_data architecture bad_batch
# source: forum and SO: pretrained vectors divided by their norm, the padding row is zero, so the embedding holds NaN
# names: embed|weight|NaN|norm
"""Sentiment of short made-up reviews with pretrained word vectors (here: random ones stand in for GloVe)."""
import numpy as np
import torch
import torch.nn as nn

rng = np.random.default_rng(0)
torch.manual_seed(0)
VOCAB, DIM, LENGTH = 200, 50, 12
vectors = rng.normal(size=(VOCAB, DIM)).astype(np.float32)
vectors[0] = 0.0  # <pad>
vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-8)

polarity = rng.choice([-1, 0, 1], size=VOCAB, p=[0.2, 0.6, 0.2])
lengths = rng.integers(4, LENGTH + 1, size=1200)
tokens = np.zeros((1200, LENGTH), dtype=np.int64)
for i, n in enumerate(lengths):
    tokens[i, :n] = rng.integers(1, VOCAB, size=n)
labels = (np.where(tokens > 0, polarity[tokens], 0).sum(1) > 0).astype(np.float32)
tokens, labels = torch.from_numpy(tokens), torch.from_numpy(labels)


class Sentiment(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.from_numpy(weights), freeze=False)
        self.gru = nn.GRU(DIM, 32, batch_first=True)
        self.out = nn.Linear(32, 1)

    def forward(self, x):
        _, h = self.gru(self.embedding(x))
        return self.out(h[-1]).squeeze(1)


model = Sentiment(vectors)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
loss_fn = nn.BCEWithLogitsLoss()
for epoch in range(8):
    perm = torch.randperm(len(tokens))
    right = 0
    for idx in perm.split(60):
        logits = model(tokens[idx])
        loss = loss_fn(logits, labels[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right += ((logits > 0).float() == labels[idx]).sum().item()
    print("epoch", epoch, "loss", loss.item(), "acc", right / len(tokens))
