"""The Keras architectures; the other files of this folder put theirs in."""

from __future__ import annotations

from bench.zoo.architecture import Collection
from bench.zoo.keras import blocks

zoo = Collection("keras", blocks.__file__)
