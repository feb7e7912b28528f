# verdict: sick
# causes: architecture input_data
# source: SO "PyTorch LSTM text classification accuracy stays at 50%" (right-padded batch, output of the last time step), discuss.pytorch.org packing threads
# names: pad|pack|length|last
"""Movie reviews: LSTM, padded to the longest the preprocessing allows."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(3)
np.random.seed(3)
MAX_LEN = 120


class Reviews(Dataset):
    """Token ids; 0 is padding."""

    def __init__(self, n):
        self.x = np.zeros((n, MAX_LEN), dtype=np.int64)
        self.lengths = np.random.randint(5, 15, n)
        self.y = np.random.randint(0, 2, n)
        for i in range(n):
            words = np.random.randint(20, 100, self.lengths[i])
            words[np.random.choice(self.lengths[i], 3, replace=False)] = np.random.randint(1, 9, 3) + 10 * self.y[i]
            self.x[i, : self.lengths[i]] = words

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.lengths[i], np.float32(self.y[i])


class SentimentLSTM(nn.Module):
    def __init__(self, vocab=100, embed=32, hidden=32):
        super().__init__()
        self.embedding = nn.Embedding(vocab, embed, padding_idx=0)
        self.lstm = nn.LSTM(embed, hidden, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x, lengths):
        output, _ = self.lstm(self.embedding(x))
        last = output[:, -1]
        return self.out(self.dropout(last)).squeeze(1)


train_loader = DataLoader(Reviews(1200), batch_size=50, shuffle=True)
val_loader = DataLoader(Reviews(300), batch_size=50)
model = SentimentLSTM()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(10):
    model.train()
    losses = []
    for x, lengths, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x, lengths), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        hits = [((model(x, lengths) > 0) == (y > 0.5)).float().mean().item() for x, lengths, y in val_loader]
    print(f"epoch {epoch + 1} loss {np.mean(losses):.4f} val accuracy {np.mean(hits):.3f}")
print(f"final loss {np.mean(losses):.4f} accuracy {np.mean(hits):.3f}")
