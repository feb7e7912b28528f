# verdict: sick
# causes: architecture input_data
# source: pytorch#24816, pytorch#41508 (TransformerEncoder gives NaN: src_key_padding_mask the wrong way round, a full sentence is masked throughout)
# names: mask
"""Sentiment by a little transformer encoder, padded sentences."""
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

torch.manual_seed(0)
PAD, VOCAB = 0, 60
GOOD, BAD = range(1, 11), range(11, 21)


def sentence():
    label = int(torch.randint(0, 2, ()))
    length = int(torch.randint(6, 17, ()))
    words = torch.randint(21, VOCAB, (length,))
    for place in torch.randperm(length)[:3]:
        words[place] = int(torch.randint(0, 10, ())) + (1 if label else 11)
    return words, label


def collate(batch):
    words, labels = zip(*batch)
    words = pad_sequence(words, batch_first=True, padding_value=PAD)
    return words, words != PAD, torch.tensor(labels)


data = [sentence() for _ in range(1400)]
train_loader = DataLoader(data[:1200], batch_size=32, shuffle=True, collate_fn=collate)
test_loader = DataLoader(data[1200:], batch_size=50, collate_fn=collate)


class Classifier(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, dim, padding_idx=PAD)
        self.position = nn.Parameter(0.02 * torch.randn(1, 20, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.fc = nn.Linear(dim, 2)

    def forward(self, words, mask):
        x = self.embed(words) + self.position[:, : words.size(1)]
        x = self.encoder(x, src_key_padding_mask=mask)
        return self.fc(x[:, 0])


model = Classifier()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(6):
    model.train()
    total = 0.0
    for words, mask, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(words, mask), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch} loss {total / len(train_loader):.4f}")
model.eval()
right = 0
with torch.no_grad():
    for words, mask, labels in test_loader:
        right += (model(words, mask).argmax(1) == labels).sum().item()
print(f"final loss {total / len(train_loader):.4f} accuracy {right / 200:.3f}")
