"""One architecture of the zoo, and the collections that they are kept in."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Framework = Literal["torch", "keras"]
Half = Literal["development", "held-out", "real"]
Shape = tuple[int, ...]
Builder = Callable[[], Any]

CLASSES = 10


@dataclass(frozen=True, slots=True)
class Architecture:
    """build: makes the model with fresh weights. shape: of one sample. vocabulary: of token ids;
    None for standard normal inputs. half: development (the forecast may be calibrated on it),
    held-out or real (it may not). blocks: the file with the parts that it is made of.
    """

    name: str
    about: str
    framework: Framework
    half: Half
    build: Builder
    shape: Shape
    batch: int
    vocabulary: int | None = None
    blocks: str | None = None

    @property
    def dtype(self) -> str:
        """Of the input."""
        return "float32" if self.vocabulary is None else "int64"

    @property
    def key(self) -> str:
        """Changes with the architecture's own source and that of its blocks."""
        parts = [inspect.getsource(self.build), repr((self.shape, self.batch, self.vocabulary))]
        parts += [Path(self.blocks).read_text()] if self.blocks else []
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


class Collection:
    """The architectures of one framework; its methods are decorators of the functions that build them.

    The docstring says what is special about it, the name is the function's.
    """

    def __init__(self, framework: Framework, blocks: str | None = None) -> None:
        self.framework: Framework = framework
        self.blocks = blocks
        self.members: dict[str, Architecture] = {}

    def development(self, *shape: int, batch: int, vocabulary: int | None = None) -> Any:
        """In the half that the forecast may be calibrated on."""
        return self._add("development", shape, batch, vocabulary)

    def held_out(self, *shape: int, batch: int, vocabulary: int | None = None) -> Any:
        """In the half that only judges."""
        return self._add("held-out", shape, batch, vocabulary)

    def real(self, *shape: int, batch: int, vocabulary: int | None = None) -> Any:
        """A model that people use, never tuned to."""
        return self._add("real", shape, batch, vocabulary)

    def _add(self, half: Half, shape: Shape, batch: int, vocabulary: int | None) -> Any:
        def add(build: Builder) -> Builder:
            name = f"{self.framework}-{build.__name__.replace('_', '-')}"
            about = (build.__doc__ or "").strip().rstrip(".")
            if name in self.members:
                raise ValueError(f"{name} is in the zoo already")
            self.members[name] = Architecture(
                name, about, self.framework, half, build, shape, batch, vocabulary, self.blocks
            )
            return build

        return add
