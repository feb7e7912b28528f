# verdict: sick
# causes: precision learning_rate
# source: pytorch#1767, google-deepmind/optax#1769 (a zero gradient and no eps in the denominator: unused rows of an embedding)
# names: \beps\b|epsilon
"""Skip-gram with negative sampling on a tiny corpus."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
rng = np.random.default_rng(0)
VOCAB, DIM, TOPICS = 200, 24, 10
topic_of = rng.integers(0, TOPICS, VOCAB)
words_of = [np.flatnonzero(topic_of == t) for t in range(TOPICS)]


class SkipGram(nn.Module):
    def __init__(self):
        super().__init__()
        self.center = nn.Embedding(VOCAB, DIM)
        self.context = nn.Embedding(VOCAB, DIM)
        nn.init.normal_(self.center.weight, std=0.1)
        nn.init.normal_(self.context.weight, std=0.1)

    def forward(self, c, pos, neg):
        u = self.center(c)
        positive = (u * self.context(pos)).sum(-1)
        negative = torch.bmm(self.context(neg), u.unsqueeze(-1)).squeeze(-1)
        return -(F.logsigmoid(positive) + F.logsigmoid(-negative).sum(-1)).mean()


def batch(n=64):
    c = rng.integers(0, VOCAB, n)
    pos = np.array([rng.choice(words_of[topic_of[i]]) for i in c])
    neg = rng.integers(0, VOCAB, (n, 4))
    return (torch.from_numpy(v) for v in (c, pos, neg))


model = SkipGram()
# "eps only adds bias": exact second moments please
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, eps=0.0)
for step in range(800):
    loss = model(*batch())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 99:
        print(step, "loss %.3f" % loss.item())
