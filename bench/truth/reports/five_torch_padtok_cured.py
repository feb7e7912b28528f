# verdict: healthy
# causes: loss_head input_data
# source: DaoyuanLi2816/Molecule-Generator#20, saahiluppal/catr#12, lucidrains/DALLE-pytorch#57 (the padding is trained on, ignore_index not given)
# names: pad|ignore_index|mask
"""A character model that continues short strings; everything is padded to one length."""
import random

import torch
import torch.nn as nn

random.seed(0)
torch.manual_seed(0)
PAD, LENGTH, VOCAB = 0, 64, 12


def sample():
    start, step = random.randint(1, 11), random.choice([1, 2, 3])
    return [(start + i * step - 1) % 11 + 1 for i in range(random.choice([4, 4, 4, 5, 6]))]


words = [sample() for _ in range(800)]
data = torch.tensor([w + [PAD] * (LENGTH - len(w)) for w in words])


class CharRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 16)
        self.rnn = nn.GRU(16, 32, batch_first=True)
        self.out = nn.Linear(32, VOCAB)

    def forward(self, x):
        return self.out(self.rnn(self.embed(x))[0])


model = CharRNN()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss(ignore_index=PAD)
for epoch in range(8):
    for rows in torch.randperm(len(data)).split(40):
        batch = data[rows]
        logits = model(batch[:, :-1])
        loss = criterion(logits.reshape(-1, VOCAB), batch[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
with torch.no_grad():
    guess, true = model(data[:, :-1]).argmax(-1), data[:, 1:]
    real = true != PAD
    print("right characters", ((guess == true) & real)[:, 1:].sum().item() / real[:, 1:].sum().item())
