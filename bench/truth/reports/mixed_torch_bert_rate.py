# verdict: sick
# causes: learning_rate
# source: discuss.pytorch.org "BERT fine-tuning: loss stuck at 0.69 / predicts one class" (a rate of 1e-2 with AdamW on a pretrained transformer)
# names: learning rate
"""Fine-tuning a 'pretrained' encoder."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(4)
VOCAB, T, D = 50, 12, 48


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCAB, D), nn.Embedding(T, D)
        layer = nn.TransformerEncoderLayer(D, 4, 96, dropout=0.1, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 3)

    def forward(self, ids):
        return self.blocks(self.tokens(ids) + self.places(torch.arange(T)))


def make(n):
    ids = torch.randint(4, VOCAB, (n, T))
    y = torch.randint(0, 2, (n,))
    ids[torch.arange(n), torch.randint(0, T, (n,))] = 1 + y
    return ids, y


encoder, lm = Encoder(), nn.Linear(D, VOCAB)
pre = torch.optim.AdamW([*encoder.parameters(), *lm.parameters()], lr=1e-3)
for step in range(60):  # pretraining: tell the tokens themselves
    ids, _ = make(32)
    loss = nn.functional.cross_entropy(lm(encoder(ids)).flatten(0, 1), ids.flatten())
    pre.zero_grad()
    loss.backward()
    pre.step()

x, y = make(1200)
loader = DataLoader(TensorDataset(x[:1000], y[:1000]), batch_size=32, shuffle=True)
classifier = nn.Linear(D, 2)
optimizer = torch.optim.AdamW([*encoder.parameters(), *classifier.parameters()], lr=5e-2)
for epoch in range(5):
    for ids, labels in loader:
        loss = nn.functional.cross_entropy(classifier(encoder(ids).mean(1)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
encoder.eval()
with torch.no_grad():
    accuracy = (classifier(encoder(x[1000:]).mean(1)).argmax(1) == y[1000:]).float().mean().item()
print(f"final loss {loss.item():.4f} accuracy {accuracy:.3f}")
