# verdict: healthy
# causes: learning_rate
# source: pytorch docs LambdaLR, leyaa.ai pytorch-warmup-strategies (warm-up counted in epochs, too long for the run)
# names: learning rate|LambdaLR|schedul|warm
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn, optim
from torch.optim.lr_scheduler import LambdaLR

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(images / 16.0, labels, random_state=0)
train_x, test_x = (torch.tensor(a, dtype=torch.float32) for a in (train_x, test_x))
train_y, test_y = torch.tensor(train_y), torch.tensor(test_y)

WARMUP = 10
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = LambdaLR(optimizer, lr_lambda=lambda epoch: min(1, (epoch + 1) / WARMUP))
loss_fn = nn.CrossEntropyLoss()

for epoch in range(10):
    model.train()
    order = torch.randperm(len(train_x))
    for rows in order.split(64):
        optimizer.zero_grad()
        loss = loss_fn(model(train_x[rows]), train_y[rows])
        loss.backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(test_x).argmax(1) == test_y).float().mean().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, test accuracy {accuracy:.3f}")
