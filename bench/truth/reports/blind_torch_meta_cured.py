# verdict: healthy
# causes: architecture loss_head
# source: KanishJebaMathewM/Truxify#13118 (MAML inner-loop param.data -= detaches the graph, the meta-model never trains)
# names: \.data|detach|no gradient|graph
"""MAML on sine waves."""
import math

import torch
import torch.nn as nn

torch.manual_seed(0)


def task():
    amp, phase = torch.rand(1) * 4 + 1, torch.rand(1) * math.pi
    def batch(n=10):
        x = torch.rand(n, 1) * 10 - 5
        return x, amp * torch.sin(x + phase)
    return batch


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))

    def forward(self, x):
        return self.net(x)


class MAML:
    def __init__(self, model, inner_lr=0.02, outer_lr=2e-3):
        self.model, self.inner_lr = model, inner_lr
        self.criterion = nn.MSELoss()
        self.meta_optimizer = torch.optim.Adam(model.parameters(), lr=outer_lr)

    def inner_update(self, x, y):
        weights = dict(self.model.named_parameters())
        loss = self.criterion(torch.func.functional_call(self.model, weights, (x,)), y)
        grads = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        return {n: w - self.inner_lr * g for (n, w), g in zip(weights.items(), grads)}

    def train_step(self, tasks):
        meta_loss = 0.0
        for batch in tasks:
            adapted = self.inner_update(*batch())
            x, y = batch()
            meta_loss = meta_loss + self.criterion(torch.func.functional_call(self.model, adapted, (x,)), y)
        meta_loss = meta_loss / len(tasks)
        self.meta_optimizer.zero_grad()
        meta_loss.backward()
        self.meta_optimizer.step()
        return meta_loss.item()


maml = MAML(Net())
recent = []
for it in range(400):
    recent.append(maml.train_step([task() for _ in range(8)]))
    if it % 50 == 49:
        print(it + 1, sum(recent[-50:]) / 50)
