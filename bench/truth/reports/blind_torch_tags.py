# verdict: sick
# causes: input_data architecture loss_head
# source: forum classic: seq-first output flattened by view(-1, C) against batch-first labels, so that outputs and labels do not belong together (loss stays at chance)
# names: label|belong|order|transpose|permute|batch_first|shuffl
"""Parity of a bit stream, tagged at every position by a GRU."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(4)
SEQ, CLASSES = 12, 3


def make(n):
    steps = torch.randint(0, 3, (n, SEQ))
    state = steps.cumsum(1) % 3
    return nn.functional.one_hot(steps, 3).float(), state


class Tagger(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.gru = nn.GRU(3, hidden)
        self.fc = nn.Linear(hidden, CLASSES)

    def forward(self, x):
        # x: batch, time, features -> the GRU wants time first
        out, _ = self.gru(x.transpose(0, 1))
        return self.fc(out)


loader = DataLoader(TensorDataset(*make(1500)), batch_size=50, shuffle=True)
model = Tagger()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(12):
    total, right, count = 0.0, 0, 0
    for x, tags in loader:
        optimizer.zero_grad()
        scores = model(x)
        loss = criterion(scores.view(-1, CLASSES), tags.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        total += loss.item()
        right += (scores.view(-1, CLASSES).argmax(1) == tags.view(-1)).sum().item()
        count += tags.numel()
    print(f"epoch {epoch}: loss {total / len(loader):.4f}, accuracy {right / count:.3f}")
