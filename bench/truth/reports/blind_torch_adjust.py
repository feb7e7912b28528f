# verdict: sick
# causes: learning_rate
# source: forum: adjust_learning_rate() from the ImageNet example called inside of the batch loop, the rate decays away
# names: epoch|per batch|every batch|rate
"""The usual helper from the ImageNet example, called in the wrong loop."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(0)


def adjust_learning_rate(optimizer):
    """Decays the rate by 5%"""
    for param_group in optimizer.param_groups:
        param_group["lr"] *= 0.95


def train(loader, model, criterion, optimizer):
    model.train()
    total = 0.0
    for images, target in loader:
        output = model(images)
        loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        adjust_learning_rate(optimizer)
        total += loss.item()
    return total / len(loader)


def main():
    digits = load_digits()
    data = torch.utils.data.TensorDataset(torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target))
    loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for epoch in range(10):
        print("epoch", epoch, "loss", train(loader, model, nn.CrossEntropyLoss(), optimizer))


if __name__ == "__main__":
    main()
