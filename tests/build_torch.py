"""Makes a Network real in PyTorch: the keyword arguments of probe()."""

import math

import torch
from batches import FEATURES, SIDE, data
from gains import GAINS
from torch import nn

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "selu": nn.SELU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
}


class Built(nn.Module):
    """hidden1, hidden2, ..., head; norm1, ... behind them where the network has them."""

    def __init__(self, network, generator):
        super().__init__()
        self.network = network
        self.activation = ACTIVATIONS[network.activation]()
        gain = GAINS[network.activation] if network.gain is None else network.gain
        conv = network.layers == "conv"
        n_in = 1 if conv else FEATURES
        for index in range(1, network.depth + 1):
            layer = (
                nn.Conv2d(n_in, network.width, 3, padding=1)
                if conv
                else nn.Linear(n_in, network.width)
            )
            draw(layer, gain, network.bias, generator)
            self.add_module(f"hidden{index}", layer)
            if network.normalisation is not None:
                self.add_module(f"norm{index}", self.norm(network))
            n_in = network.width
        self.head = nn.Linear(n_in * SIDE**2 if conv else n_in, network.classes)
        draw(self.head, 1.0, 0.0, generator)

    @staticmethod
    def norm(network):
        if network.normalisation == "layer":
            return nn.LayerNorm(
                [network.width, SIDE, SIDE] if network.layers == "conv" else network.width
            )
        return (nn.BatchNorm2d if network.layers == "conv" else nn.BatchNorm1d)(network.width)

    def forward(self, x):
        with torch.autocast("cpu", torch.float16, enabled=self.network.half):
            return self.output(x)

    def output(self, x):
        for index in range(1, self.network.depth + 1):
            y = getattr(self, f"hidden{index}")(x)
            if self.network.normalisation is not None:
                y = getattr(self, f"norm{index}")(y)
            y = self.activation(y)
            x = x + y if self.network.residual and index > 1 else y
        x = self.head(torch.flatten(x, 1))
        if self.network.head == "softmax":
            return torch.softmax(x, -1)
        if self.network.head == "relu":
            return torch.relu(x)
        return torch.sigmoid(x) if self.network.head == "sigmoid" else x


def draw(layer, gain, bias, generator):
    std = gain / math.sqrt(layer.weight[0].numel())
    nn.init.normal_(layer.weight, std=std, generator=generator)
    nn.init.constant_(layer.bias, bias)


def probabilities(output, y):
    """A loss that takes probabilities: NLL of their logarithm is written by hand in torch."""
    return nn.functional.nll_loss(torch.log(output), y)


def weighted(loss, weight):
    return lambda output, y: weight * loss(output, y)


def build(network, seed):
    generator = torch.Generator().manual_seed(seed)
    model = Built(network, generator)
    x, y = data(network, seed)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    if network.layers == "conv":
        x = x.permute(0, 3, 1, 2).contiguous()
    loss = nn.CrossEntropyLoss()
    if network.loss == "probabilities":
        loss = nn.NLLLoss() if network.head in (None, "relu") else probabilities
    if network.loss == "mse":
        loss = nn.MSELoss()
    if network.loss == "mse":
        y = nn.functional.one_hot(y, network.classes).float()
    if network.loss_weight != 1:
        loss = weighted(loss, network.loss_weight)
    kind = torch.optim.Adam if network.optimizer == "adam" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=network.learning_rate)
    return {"model": model, "loss": loss, "batch": (x, y), "optimizer": optimizer}
