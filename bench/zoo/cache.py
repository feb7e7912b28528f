"""What was measured, on disk: one small JSON file an architecture, under bench/zoo/.cache."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bench.zoo.architecture import Architecture
from bench.zoo.measure import Point, as_json, from_json, measure

FOLDER = Path(__file__).parent / ".cache"


def measured(architecture: Architecture, seed: int, *, fresh: bool = False) -> list[Point]:
    """From the disk if the architecture is the same as then, by a probe otherwise."""
    path = FOLDER / f"{architecture.name}-{architecture.key}.json"
    seeds = json.loads(path.read_text()) if path.exists() else {}
    if fresh or str(seed) not in seeds:
        seeds[str(seed)] = as_json(measure(architecture, seed))
        _write(path, json.dumps(seeds))
    return from_json(seeds[str(seed)])


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(text)
    part.replace(path)
