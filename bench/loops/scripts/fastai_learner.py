"""fastai: Learner.fit_one_cycle."""

# needs: fastai
# sick: "lr_max=1e-2" -> "lr_max=300.0"

import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.callback.schedule import *  # noqa: F403  (fit_one_cycle)
from fastai.metrics import accuracy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
y = torch.randint(0, 4, (1280,))
x = torch.randn(4, 20)[y] + 1.5 * torch.randn(1280, 20)
train, valid = TensorDataset(x[:1024], y[:1024]), TensorDataset(x[1024:], y[1024:])
loaders = DataLoaders(
    DataLoader(train, batch_size=32, shuffle=True), DataLoader(valid, batch_size=64)
)
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
learner = Learner(loaders, model, loss_func=nn.CrossEntropyLoss(), metrics=accuracy)
with learner.no_bar():
    learner.fit_one_cycle(3, lr_max=1e-2)
