"""The PyTorch architectures; the other files of this folder put theirs in."""

from __future__ import annotations

from bench.zoo.architecture import Collection
from bench.zoo.torch import blocks

zoo = Collection("torch", blocks.__file__)
