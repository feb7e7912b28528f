"""Tensors by number, with hooks that see their gradients while a backward pass is measured."""

from __future__ import annotations

from typing import Any

import torch

from evengrad.adapters.torch.compat import tensor_table
from evengrad.adapters.torch.record.graph import RecordedCall
from evengrad.adapters.torch.statistics.ledger import Ledger
from evengrad.values.summary import Summary


class TensorNumbers:
    """shapes: by number. source_gradients: norms at tensors that no recorded call made. readers: tensor number
    -> how many calls on the path to the loss read it. describing: the tensors are on ``meta``, and have no
    gradients. measuring: the hooks listen now. ledger: figures that the host has not read yet.
    """

    def __init__(self, *, describing: bool = False) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.describing = describing
        self.measuring = False
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.source_gradients: dict[int, float] = {}
        self.readers: dict[int, int] = {}
        self._numbers = tensor_table()

    def number(self, tensor: Any) -> int | None:
        """The number of a recorded tensor."""
        return self._numbers.get(tensor) if isinstance(tensor, torch.Tensor) else None

    def register(self, tensor: torch.Tensor) -> int:
        """Give a tensor its number; one that was overwritten gets a new one."""
        number = len(self.shapes)
        self._numbers[tensor] = number
        self.shapes[number] = tuple(tensor.shape)
        return number

    def register_source(self, tensor: torch.Tensor) -> int:
        """Number a tensor that no recorded call made, and hook its gradient."""
        number = self.register(tensor)

        def tell(found: Summary) -> None:
            self.source_gradients[number] = found.norm

        def keep(grad: torch.Tensor | None) -> None:
            if self.measuring and grad is not None:  # an autograd.Function may give None
                self.ledger.summary(grad, tell)

        tensor.register_hook(keep)
        return number

    def view(self, tensor: torch.Tensor, node: RecordedCall) -> torch.Tensor:
        """An identity view of an input, whose hook sees the gradient through this call alone."""
        number = self._numbers[tensor]
        slot = len(node.reads)
        node.reads.append(number)
        view = tensor.view_as(tensor)
        if self.describing:
            return view

        def tell(found: Summary) -> None:
            node.below[slot] = found.norm

        def below(grad: torch.Tensor | None) -> None:
            # With one reader the gradient at its input is the one at the maker's output.
            if self.measuring and grad is not None and self.readers.get(number, 0) > 1:
                self.ledger.summary(grad, tell)

        view.register_hook(below)
        return view

    def _above(self, node: RecordedCall, slot: int, grad: torch.Tensor | None) -> None:
        if self.measuring and grad is not None:
            self.ledger.summary(grad, lambda found: node.above.__setitem__(slot, found))
