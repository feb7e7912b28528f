# verdict: sick
# causes: architecture
# source: own, after lucidrains/CoCa-pytorch#6, rll-research/cic#5
# names: detach|tensor
"""Features of the encoder become a new tensor before the classifier; one optimizer over both."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y)
encoder = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 8))
classifier = nn.Sequential(nn.ReLU(), nn.Linear(8, 10))
optimizer = torch.optim.Adam(list(encoder.parameters()) + list(classifier.parameters()), lr=3e-3)
for epoch in range(8):
    for i in range(0, 1400, 50):
        features = torch.tensor(encoder(x[i : i + 50]).detach().numpy())
        loss = nn.functional.cross_entropy(classifier(features), y[i : i + 50])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
