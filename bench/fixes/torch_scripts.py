"""PyTorch: a class for most, ``nn.Sequential`` for plain stacks."""

from __future__ import annotations

from bench.fixes.pieces import BATCH, STEPS, STRIDED, block, data, gain, loader, rate, std
from bench.fixes.specs import Spec

_OPTIMIZERS = {
    "sgd": "torch.optim.SGD(model.parameters(), lr={rate:g})",
    "momentum": "torch.optim.SGD(model.parameters(), lr={rate:g}, momentum=0.9)",
    "adam": "torch.optim.Adam(model.parameters(), lr={rate:g})",
}
_MODULES = {"relu": "nn.ReLU()", "tanh": "nn.Tanh()", "sigmoid": "nn.Sigmoid()"}
_CALLS = {"relu": "F.relu", "tanh": "torch.tanh", "sigmoid": "torch.sigmoid"}

_SCRIPT = """\
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import {loader}
from torch import nn

torch.manual_seed({seed})
{data}
x, y = torch.tensor(images){layout}, torch.tensor({targets})


{model}


for layer in model.modules():
    if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
        {draw}
        nn.init.zeros_(layer.bias)

optimizer = {optimizer}
{changed}losses = []
for step in range({steps}):
    rows = torch.randint(0, len(x), ({batch},))
{zero}    loss = {loss}
    loss.backward()
    optimizer.step()
{stepped}    losses.append(loss.item())
model.eval()
with torch.no_grad():
    found = model(x[torch.isfinite(x).flatten(1).all(1)])
    wanted = y[torch.isfinite(x).flatten(1).all(1)]
print({score})
print(sum(losses[-25:]) / 25)
"""
_ACCURACY = "(found.argmax(1) == wanted).float().mean().item()"
_EXPLAINED = "1 - ((found - wanted) ** 2).mean().item() / wanted.var(0).mean().item()"


def render(spec: Spec) -> str:
    """The whole script."""
    fixed = std(spec)
    draw = f"nn.init.normal_(layer.weight, std={fixed})"
    if not fixed:
        draw = (
            f"nn.init.normal_(layer.weight, std={gain(spec):.4g} / layer.weight[0].numel() ** 0.5)"
        )
    targets = "images" if spec.architecture == "autoencoder" else "labels"
    return _SCRIPT.format(
        seed=spec.seed,
        data=data(spec),
        loader=loader(spec),
        layout=".permute(0, 3, 1, 2)" if spec.architecture in ("cnn", "strided") else "",
        targets=targets,
        model=_MODELS[spec.architecture](spec),
        draw=draw,
        optimizer=_OPTIMIZERS[spec.optimizer].format(rate=rate(spec)),
        steps=STEPS,
        batch=BATCH,
        loss=_loss(spec),
        zero="" if spec.plant == "gradients_kept" else "    optimizer.zero_grad()\n",
        changed=_changed(spec),
        stepped="    schedule.step()\n" if spec.plant == "schedule_batch" else "",
        score=_EXPLAINED if spec.regression else _ACCURACY,
    )


def _loss(spec: Spec) -> str:
    name = "F.mse_loss" if spec.regression else "F.cross_entropy"
    target = "y[rows][:, 0]" if spec.plant == "broadcast" else "y[rows]"
    more = ', reduction="sum"' if spec.plant == "loss_sum" else ""
    loss = f"{name}(model(x[rows]), {target}{more})"
    if spec.plant == "penalty_root":
        groups = "torch.sqrt((p**2).sum()) for p in model.parameters()"
        return f"{loss} + {spec.size:g} * sum({groups})"
    return loss


def _changed(spec: Spec) -> str:
    """What is done once the optimizer is made."""
    if spec.plant == "schedule_batch":
        return f"schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma={spec.size:g})\n"
    if spec.plant != "optimizer_early":
        return ""
    outputs = {"autoencoder": 64, "towers": 1}.get(spec.architecture, 10)
    place = "[-1]" if _MODELS[spec.architecture] in _PLAIN else ".head"
    kept = f"nn.Linear(model{place}.in_features, {outputs})"
    return f"model{place} = {kept}  # for these data\n"


def _head(spec: Spec) -> str:
    return "x.softmax(1)" if spec.plant == "softmax_twice" else "x"


def _norm(spec: Spec, rank: int, width: int) -> list[str]:
    return [f"nn.BatchNorm{rank}d({width})"] if spec.plant == "norm_stack" else []


def _sequential(lines: list[str]) -> str:
    inner = "\n".join(f"    {line}," for line in lines)
    return f"model = nn.Sequential(\n{inner}\n)"


def _mlp(spec: Spec) -> str:
    act, lines, before = _MODULES[spec.activation], [], 64
    for _ in range(spec.depth):
        bare = f"nn.Linear({before}, {spec.width})"
        lines += [bare, *_norm(spec, 1, spec.width), act]
        before = spec.width
    lines.append(f"nn.Linear({before}, 10)")
    return _sequential([*lines, *(["nn.Softmax(1)"] if spec.plant == "softmax_twice" else [])])


def _cnn(spec: Spec) -> str:
    act, lines, before = _MODULES[spec.activation], [], 1
    for _ in range(spec.depth):
        lines += [f"nn.Conv2d({before}, {spec.width}, 3, padding=1)"]
        lines += [*_norm(spec, 2, spec.width), act]
        before = spec.width
    lines += ["nn.Flatten()", f"nn.Linear({before} * 64, 10)"]
    return _sequential([*lines, *(["nn.Softmax(1)"] if spec.plant == "softmax_twice" else [])])


def _residual(spec: Spec) -> str:
    return block(f"""
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.stem = nn.Linear(64, {spec.width})
                self.blocks = nn.ModuleList(nn.Linear({spec.width}, {spec.width}) for _ in range({spec.depth}))
                self.norms = nn.ModuleList(nn.LayerNorm({spec.width}) for _ in range({spec.depth}))
                self.head = nn.Linear({spec.width}, 10)

            def forward(self, x):
                x = self.stem(x)
                for norm, layer in zip(self.norms, self.blocks):
                    x = x + {_CALLS[spec.activation]}(layer(norm(x)))
                x = self.head(x)
                return {_head(spec)}


        model = Net()
    """)


def _conv1d(spec: Spec) -> str:
    body = [f"x = {_CALLS[spec.activation]}({_normed(spec, i)})" for i in range(spec.depth)]
    made = [
        f"self.conv{i} = nn.Conv1d({8 if i == 0 else spec.width}, {spec.width}, 3, padding=1)"
        for i in range(spec.depth)
    ]
    if spec.plant == "norm_stack":
        made += [f"self.norm{i} = nn.BatchNorm1d({spec.width})" for i in range(spec.depth)]
    return "\n".join(
        [
            "class Net(nn.Module):",
            "    def __init__(self):",
            "        super().__init__()",
            *(f"        {line}" for line in made),
            f"        self.head = nn.Linear({spec.width} * 8, 10)",
            "",
            "    def forward(self, x):",
            *(f"        {line}" for line in body),
            "        x = self.head(x.flatten(1))",
            f"        return {_head(spec)}",
            "",
            "",
            "model = Net()",
        ]
    )


def _normed(spec: Spec, i: int) -> str:
    inner = f"self.conv{i}(x)"
    return f"self.norm{i}({inner})" if spec.plant == "norm_stack" else inner


def _autoencoder(spec: Spec) -> str:
    half = max(spec.depth // 2, 1)
    widths = [spec.width] * half + [16] + [spec.width] * half
    lines, before = [], 64
    for width in widths:
        lines += [f"nn.Linear({before}, {width})", *_norm(spec, 1, width)]
        lines.append(_MODULES[spec.activation])
        before = width
    return _sequential([*lines, f"nn.Linear({before}, 64)"])


def _mixer(spec: Spec) -> str:
    act = _MODULES[spec.activation]
    return block(f"""
        class Mixer(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
                self.rows = nn.Sequential(nn.Linear(8, 16), {act}, nn.Linear(16, 8))
                self.columns = nn.Sequential(nn.Linear(width, width), {act}, nn.Linear(width, width))

            def forward(self, x):
                x = x + self.rows(self.norm1(x).transpose(1, 2)).transpose(1, 2)
                return x + self.columns(self.norm2(x))


        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.stem = nn.Linear(8, {spec.width})
                self.blocks = nn.Sequential(*[Mixer({spec.width}) for _ in range({spec.depth})])
                self.head = nn.Linear({spec.width}, 10)

            def forward(self, x):
                x = self.head(self.blocks(self.stem(x)).mean(1))
                return {_head(spec)}


        model = Net()
    """)


def _attention(spec: Spec) -> str:
    return block(f"""
        class Block(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
                self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
                self.mlp = nn.Sequential(
                    nn.Linear(width, 2 * width), {_MODULES[spec.activation]}, nn.Linear(2 * width, width)
                )

            def forward(self, x):
                h = self.norm1(x)
                x = x + self.attention(h, h, h, need_weights=False)[0]
                return x + self.mlp(self.norm2(x))


        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.stem = nn.Linear(8, {spec.width})
                self.position = nn.Parameter(0.1 * torch.randn(8, {spec.width}))
                self.blocks = nn.Sequential(*[Block({spec.width}) for _ in range({spec.depth})])
                self.norm = nn.LayerNorm({spec.width})
                self.head = nn.Linear({spec.width}, 10)

            def forward(self, x):
                x = self.blocks(self.stem(x) + self.position)
                x = self.head(self.norm(x).mean(1))
                return {_head(spec)}


        model = Net()
    """)


def _towers(spec: Spec) -> str:
    def tower(name: str) -> str:
        lines, before = [f"self.{name} = nn.Sequential("], 5
        for _ in range(spec.depth):
            lines += [f"    nn.Linear({before}, {spec.width}),"]
            lines += [f"    {norm}," for norm in _norm(spec, 1, spec.width)]
            lines += [f"    {_MODULES[spec.activation]},"]
            before = spec.width
        return "\n".join(f"        {line}" for line in [*lines, ")"])

    return "\n".join(
        [
            "class Net(nn.Module):",
            "    def __init__(self):",
            "        super().__init__()",
            tower("left"),
            tower("right"),
            f"        self.head = nn.Linear({2 * spec.width}, 1)",
            "",
            "    def forward(self, x):",
            "        return self.head(torch.cat([self.left(x[:, :5]), self.right(x[:, 5:])], 1))",
            "",
            "",
            "model = Net()",
        ]
    )


def _strided(spec: Spec) -> str:
    act, lines, before = _MODULES[spec.activation], [], 1
    for i in range(spec.depth):
        stride = ", stride=2" if i in STRIDED else ""
        lines += [f"nn.Conv2d({before}, {spec.width}, 3, padding=1{stride})"]
        lines += [*_norm(spec, 2, spec.width), act]
        before = spec.width
    lines += ["nn.AdaptiveAvgPool2d(1)", "nn.Flatten()", f"nn.Linear({before}, 10)"]
    return _sequential([*lines, *(["nn.Softmax(1)"] if spec.plant == "softmax_twice" else [])])


_PLAIN = (_mlp, _cnn, _autoencoder, _strided)
"""Sequential models, whose last layer is the head."""
_MODELS = {
    "attention": _attention,
    "towers": _towers,
    "strided": _strided,
    "mlp": _mlp,
    "cnn": _cnn,
    "residual": _residual,
    "conv1d": _conv1d,
    "autoencoder": _autoencoder,
    "mixer": _mixer,
}
