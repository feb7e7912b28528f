"""The networks and batches that are trained: GPT-2, ResNet-50, the article's CNN; small ones of each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bench.watching.nets import article_cnn


@dataclass(frozen=True)
class Training:
    """A network, its batches, its loss, and the dtype that autocast gives it (None for none)."""

    name: str
    build: Callable[[], nn.Module]
    batches: Callable[[], list[Any]]
    loss: Callable[[Any, Any], Any]
    cast: Any
    optimizers: tuple[str, ...]
    goal: str


class Block(nn.Module):
    """A transformer's, norms first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        b, t, d = x.shape
        split = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, d // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.ln2(x))))


class GPT(nn.Module):
    """GPT-2 in its small size by default, 124 M parameters."""

    def __init__(self, layers=12, width=768, heads=12, words=50304, longest=1024) -> None:
        super().__init__()
        self.tok, self.pos = nn.Embedding(words, width), nn.Embedding(longest, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, ids: Any) -> Any:
        x = self.tok(ids) + self.pos(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))


class Bottleneck(nn.Module):
    """ResNet-50's."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        middle = out // 4
        self.body = nn.Sequential(
            nn.Conv2d(inside, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, middle, 3, stride, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.down = nn.Identity()
        if inside != out or stride > 1:
            self.down = nn.Sequential(
                nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        return self.act(self.body(x) + self.down(x))


def resnet(depths: tuple[int, ...]) -> nn.Module:
    """ResNet-50 for (3, 4, 6, 3)."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    width = 64
    for stage, depth in enumerate(depths):
        for place in range(depth):
            out = 256 * 2**stage
            layers.append(Bottleneck(width, out, 2 if stage and not place else 1))
            width = out
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 1000)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def language(output: Any, target: Any) -> Any:
    """Cross-entropy over all tokens."""
    return F.cross_entropy(output.flatten(0, 1).float(), target.flatten())


def tokens(device: str, count: int, batch: int, length: int, words: int) -> list[Any]:
    """Batches of random tokens, each with the next ones."""
    found = []
    for _ in range(count):
        ids = torch.randint(words, (batch, length), device=device)
        found.append((ids, ids.roll(-1, 1)))
    return found


def images(device: str, batch: int, shape: tuple[int, ...], classes: int) -> list[Any]:
    """Two batches of noise with random labels."""
    layout = torch.channels_last if shape[0] > 1 else torch.contiguous_format
    return [
        (
            torch.randn(batch, *shape, device=device).to(memory_format=layout),
            torch.randint(classes, (batch,), device=device),
        )
        for _ in range(2)
    ]


def trainings(device: str, small: bool) -> list[Training]:
    """What is measured. small: for a look at the bench itself on a CPU."""
    size, batch = ((4, 64, 4, 512, 64), (2, 64)) if small else ((), (8, 1024))
    pictures, side = (2, 32) if small else (128, 224)
    half = torch.bfloat16
    return [
        Training(
            "article-cnn",
            article_cnn,
            lambda: images(device, 4 if small else 32, (1, 28, 28), 10),
            nn.CrossEntropyLoss(),
            None,
            ("AdamW", "AdamW fused"),
            "< 5%",
        ),
        Training(
            "gpt2-124m",
            lambda: GPT(*size),
            lambda: tokens(device, 2, *batch, 500 if small else 50000),
            language,
            half,
            ("AdamW fused", "AdamW"),
            "< 2%",
        ),
        Training(
            "resnet50",
            lambda: resnet((1, 1, 1, 1) if small else (3, 4, 6, 3)),
            lambda: images(device, pictures, (3, side, side), 1000),
            nn.CrossEntropyLoss(),
            half,
            ("SGD", "AdamW fused"),
            "< 2%",
        ),
    ]


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "AdamW": lambda p: torch.optim.AdamW(p, 1e-4),
    "AdamW fused": lambda p: torch.optim.AdamW(p, 1e-4, fused=True),
    "SGD": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9),
    "SGD fused": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9, fused=True),
}
