# verdict: healthy
# causes: architecture
# source: a forum classic: a classifier on a pretrained encoder, whose own weights the second optimizer was not given
# names: optimizer|parameters
"""An autoencoder on digits, then a classifier on its encoder."""

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = torch.tensor(images / 16.0, dtype=torch.float32)
y = torch.tensor(labels)

encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU())
decoder = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 64))
pretrain_opt = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3)
for epoch in range(20):
    for i in range(0, 1400, 100):
        pretrain_opt.zero_grad()
        loss = nn.functional.mse_loss(decoder(encoder(x[i : i + 100])), x[i : i + 100])
        loss.backward()
        pretrain_opt.step()
print(f"reconstruction {loss.item():.4f}")

classifier = nn.Linear(24, 10)
finetune_opt = torch.optim.SGD([*encoder.parameters(), *classifier.parameters()], lr=0.05)
for epoch in range(20):
    for i in range(0, 1400, 100):
        finetune_opt.zero_grad()
        classifier.zero_grad()
        loss = nn.functional.cross_entropy(classifier(encoder(x[i : i + 100])), y[i : i + 100])
        loss.backward()
        finetune_opt.step()
with torch.no_grad():
    accuracy = (classifier(encoder(x[1400:])).argmax(1) == y[1400:]).float().mean().item()
print(f"final loss {loss.item():.4f} accuracy {accuracy:.3f}")
