# verdict: healthy
# causes: learning_rate
# source: pytorch/text#671 (learning rate is not being updated by the scheduler: linear warm-up from 0, scheduler.step() missing), SO "loss not changing with warmup"
# names: schedul|warm.?up|rate (is|was|of) 0|learning rate
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import LambdaLR

torch.manual_seed(0)
random.seed(0)
VOCAB, CLASSES, LEN = 60, 4, 20


def make(n):
    xs, ys = [], []
    for _ in range(n):
        y = random.randrange(CLASSES)
        x = [random.randrange(10, VOCAB) for _ in range(LEN)]
        for _ in range(3):
            x[random.randrange(LEN)] = 1 + y
        xs.append(x)
        ys.append(y)
    return torch.tensor(xs), torch.tensor(ys)


def get_linear_schedule_with_warmup(optimizer, num_warmup_steps, num_training_steps):
    def lr_lambda(current_step):
        if current_step < num_warmup_steps:
            return float(current_step) / float(max(1, num_warmup_steps))
        return max(0.0, float(num_training_steps - current_step) / float(max(1, num_training_steps - num_warmup_steps)))

    return LambdaLR(optimizer, lr_lambda)


class TextClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, 32)
        self.pos = nn.Parameter(torch.zeros(LEN, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 2)
        self.cls = nn.Linear(32, CLASSES)

    def forward(self, x):
        h = self.enc(self.emb(x) + self.pos)
        return self.cls(h.mean(1))


def train(model, data, optimizer, scheduler, epochs, bs=32):
    X, Y = data
    model.train()
    for epoch in range(epochs):
        perm = torch.randperm(len(X))
        losses, hits = [], 0
        for i in range(0, len(X), bs):
            b = perm[i:i + bs]
            optimizer.zero_grad()
            logits = model(X[b])
            loss = F.cross_entropy(logits, Y[b])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
            hits += (logits.argmax(1) == Y[b]).sum().item()
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f} acc {hits / len(X):.3f}")


data = make(800)
model = TextClassifier()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
scheduler = get_linear_schedule_with_warmup(optimizer, 20, 200)
train(model, data, optimizer, scheduler, epochs=8)
