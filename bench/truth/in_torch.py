"""A case of the zoo in PyTorch: its network, its loss, its optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import evengrad
from bench.truth.architectures import Architecture

OPTIMIZERS: dict[str, Any] = {
    "SGD 0.01": lambda p: torch.optim.SGD(p, lr=0.01),
    "SGD 0.01 momentum 0.9": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "AdamW 0.0003": lambda p: torch.optim.AdamW(p, lr=3e-4),
    "Adam 0.001": lambda p: torch.optim.Adam(p, lr=1e-3),
}


class Classes(nn.Module):
    """Of one of transformers' models: its logits alone."""

    def __init__(self, inner: nn.Module, task: str) -> None:
        super().__init__()
        self.inner, self.task = inner, task

    def forward(self, *inputs: Any) -> Any:
        """Logits, the classes last."""
        if self.task == "tokens to tokens":
            return self.inner(input_ids=inputs[0], decoder_input_ids=inputs[1]).logits
        if self.task == "images":
            return self.inner(inputs[0]).logits
        return self.inner(input_ids=inputs[0], attention_mask=torch.ones_like(inputs[0])).logits


def cross_entropy(output: Any, target: Any) -> Any:
    """Mean over all that is answered."""
    return nn.functional.cross_entropy(output.flatten(0, -2), target.flatten())


class Trained:
    """A network being trained."""

    def __init__(self, architecture: Architecture, optimizer: str, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = architecture.build()
        if architecture.library == "transformers":
            self.model = Classes(self.model, architecture.task)
        self.model.train()
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.images = architecture.task == "images"

    def check(self, inputs: list[Any], targets: Any) -> Any:
        """As a user would."""
        x, y = self._tensors(inputs, targets)
        return evengrad.check(
            self.model,
            loss=cross_entropy,
            batch=(x if len(x) > 1 else x[0], y),
            optimizer=self.optimizer,
        )

    def step(self, inputs: list[Any], targets: Any) -> float:
        """One update; its loss."""
        x, y = self._tensors(inputs, targets)
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(*x), y)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def _tensors(self, inputs: list[Any], targets: Any) -> tuple[list[Any], Any]:
        x = [np.moveaxis(part, -1, 1) if self.images else part for part in inputs]
        return [torch.from_numpy(np.ascontiguousarray(part)) for part in x], torch.from_numpy(
            np.ascontiguousarray(targets)
        )
