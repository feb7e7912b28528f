"""Small torch trainings for the tests of watching: networks, loops, faults."""

import inspect
import math

import torch
from torch import nn


class Residual(nn.Module):
    """A stem, a block with a skip connection, a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(12, 24)
        self.norm = nn.LayerNorm(24)
        self.inner = nn.Linear(24, 24)
        self.head = nn.Linear(24, 4)

    def forward(self, x):
        x = torch.tanh(self.stem(x))
        x = x + torch.relu(self.inner(self.norm(x)))
        return self.head(x)


class Tokens(nn.Module):
    """An encoder layer over a sequence."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x.reshape(len(x), 3, 4))).mean(1))


def dense():
    return nn.Sequential(
        nn.Linear(12, 32), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(32, 32), nn.Tanh(),
        nn.Linear(32, 4),
    )  # fmt: skip


class Conv(nn.Module):
    """Convolution, BatchNorm, in-place ReLU."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8 * 1 * 2, 4)

    def forward(self, x):
        x = self.relu(self.norm(self.conv1(x.reshape(len(x), 1, 3, 4))))
        return self.head(torch.relu(self.conv2(x)).flatten(1))


NETWORKS = {"dense": dense, "conv": Conv, "residual": Residual, "tokens": Tokens}
MIDDLE = {"dense": "3", "conv": "conv2", "residual": "inner", "tokens": "encoder.linear1"}
OPTIMIZERS = {
    "adam fused": lambda p: torch.optim.Adam(p, lr=1e-3, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "sgd fused": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, fused=True),
}


def build(name, seed):
    torch.manual_seed(seed)
    return NETWORKS[name]()


def batch(generator):
    x = torch.randn(16, 12, generator=generator)
    return x, torch.randint(0, 4, (16,), generator=generator)


def train(model, optimizer, steps=15, seed=0, before=None, around=None, spoil=None):
    """Losses of a plain loop. before(step, x): changes the batch. spoil(step): after the backward pass."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for step in range(steps):
        x, y = batch(generator)
        if before is not None:
            x = before(step, x)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        if around is not None:
            loss = around(step, loss)
        loss.backward()
        if spoil is not None:
            spoil(step)
        optimizer.step()
        losses.append(loss.item())
    return losses


def everything(model, optimizer):
    """Weights, buffers and optimizer state, cloned."""
    state = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    return [t.detach().clone() for t in (*model.state_dict().values(), *state)]


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan())
        for a, b in zip(one, other, strict=True)
    )


# --- faults: name -> (kwargs of train, model and layer to spoil) -> (kwargs, the layer to be named) ------


class _Poison(torch.autograd.Function):
    """The identity, whose gradient is NaN."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.nan


def _layer(model, name):
    return model.get_submodule(name)


def _input(value):
    def fault(model, layer, at):
        def before(step, x):
            if step == at:
                x = x.clone()
                x[3, 5] = value
            return x

        return {"before": before}, next(iter(inspect.signature(model.forward).parameters))

    return fault


def _activation(value):
    def fault(model, layer, at):
        count = [0]

        def forward(module, args, output):
            # The replay of the bad step calls it once more.
            if torch.is_grad_enabled():
                count[0] += 1
                if count[0] > at:
                    return output * torch.where(torch.arange(output.shape[-1]) == 1, value, 1.0)
            return output

        _layer(model, layer).register_forward_hook(forward)
        return {}, layer

    return fault


def _weight(value):
    def fault(model, layer, at):
        def before(step, x):
            if step == at:
                with torch.no_grad():
                    _layer(model, layer).weight.view(-1)[2] = value
            return x

        return {"before": before}, layer

    return fault


def _gradient(value):
    def fault(model, layer, at):
        def spoil(step):
            if step == at:
                _layer(model, layer).weight.grad.view(-1)[1] = value

        return {"spoil": spoil}, layer

    return fault


def _loss(value):
    def fault(model, layer, at):
        return {"around": lambda step, loss: loss * value if step == at else loss}, "loss"

    return fault


FAULTS = {
    "input nan": _input(math.nan),
    "input inf": _input(math.inf),
    "activation nan": _activation(math.nan),
    "activation inf": _activation(math.inf),
    "weight nan": _weight(math.nan),
    "weight inf": _weight(-math.inf),
    "gradient nan": _gradient(math.nan),
    "gradient inf": _gradient(math.inf),
    "loss nan": _loss(math.nan),
    "loss inf": _loss(math.inf),
}
