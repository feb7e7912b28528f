# verdict: healthy
# causes: input_data bad_batch learning_rate
# source: Deci-AI/super-gradients#416 (shuffle=False by default: the net sees one class at a time), pytorch/vision#7818 (samples organised by class)
# names: shuffl|order|sorted|one class|same class|single class
"""Folder of images per class, read one folder after the other."""
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(42)


class FolderDataset(Dataset):
    def __init__(self, images, labels):
        self.samples = []
        for c in range(10):                      # as os.listdir gives the folders
            for img in images[labels == c]:
                self.samples.append((torch.tensor(img / 16.0, dtype=torch.float32)[None], c))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


d = load_digits()
test = np.arange(len(d.target)) % 5 == 0
train_loader = DataLoader(FolderDataset(d.images[~test], d.target[~test]), batch_size=32, shuffle=True)
test_loader = DataLoader(FolderDataset(d.images[test], d.target[test]), batch_size=64)

net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
                    nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

for epoch in range(6):
    net.train()
    for i, (inputs, labels) in enumerate(train_loader):
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
    net.eval()
    correct = 0
    with torch.no_grad():
        for inputs, labels in test_loader:
            correct += (net(inputs).argmax(1) == labels).sum().item()
    print(f"epoch {epoch}: last loss {loss.item():.4f} test accuracy {correct / test.sum():.3f}")
