# verdict: sick
# causes: loss_head bad_batch input_data
# source: pytorch#116349, pytorch#64572 (cross entropy of a batch all of whose labels are ignore_index is nan; here by an own mean over the labels that count)
# names: ignore|active|zero|empty|divi
import random

import torch
import torch.nn as nn

PAD_LABEL = -100
random.seed(2)
torch.manual_seed(2)
COLOURS = ["red", "blue", "green", "white"]
FILL = ["the", "a", "sees", "buys", "near", "with", "old", "tall"]
NAMES = ["anna", "bob", "carl", "dora"]
vocab = {w: i + 1 for i, w in enumerate(COLOURS + FILL + NAMES)}
tags = {"O": 0, "COL": 1, "NAME": 2}


def make_sentence(annotated=True):
    words = [random.choice(FILL + COLOURS + NAMES) for _ in range(random.randint(4, 9))]
    gold = ["COL" if w in COLOURS else "NAME" if w in NAMES else "O" for w in words]
    # sentences that nobody has annotated yet are kept, their labels are ignored
    return [vocab[w] for w in words], [tags[g] if annotated else PAD_LABEL for g in gold]


class NERDataset(torch.utils.data.Dataset):
    def __init__(self, n):
        self.rows = [make_sentence() for _ in range(n)] + [make_sentence(False) for _ in range(n // 6)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def collate(rows):
    longest = max(len(w) for w, _ in rows)
    words = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), PAD_LABEL)
    for i, (w, l) in enumerate(rows):
        words[i, : len(w)] = torch.tensor(w)
        labels[i, : len(l)] = torch.tensor(l)
    return words, labels


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(len(vocab) + 1, 32, padding_idx=0)
        self.lstm = nn.LSTM(32, 32, batch_first=True, bidirectional=True)
        self.out = nn.Linear(64, len(tags))

    def forward(self, words):
        return self.out(self.lstm(self.emb(words))[0])


class Trainer:
    def __init__(self, model, dataset, batch_size=2, lr=2e-3):
        self.model = model
        self.loader = torch.utils.data.DataLoader(dataset, batch_size=batch_size, shuffle=True, collate_fn=collate)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        self.criterion = nn.CrossEntropyLoss(ignore_index=PAD_LABEL, reduction="none")

    def train_epoch(self):
        total = 0.0
        for words, labels in self.loader:
            logits = self.model(words)
            per_token = self.criterion(logits.reshape(-1, len(tags)), labels.reshape(-1))
            active = labels.reshape(-1) != PAD_LABEL
            loss = (per_token * active).sum() / active.sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.loader)


trainer = Trainer(Tagger(), NERDataset(240))
for epoch in range(3):
    print("epoch", epoch, "loss", trainer.train_epoch())
words, labels = collate([make_sentence() for _ in range(200)])
mask = labels != PAD_LABEL
print("accuracy", (trainer.model(words).argmax(-1)[mask] == labels[mask]).float().mean().item())
