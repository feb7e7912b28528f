"""Starts the processes, and compares what their runs say with the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from bench.distributed.figures import FIGURES
from bench.distributed.nets import truth

ROOT = Path(__file__).resolve().parents[2]
_RECORDED = ("gradient_rms", "gradient_max", "gradient_zeros", "weight_rms", "update_rms")
COLUMNS = dict(zip(FIGURES, _RECORDED, strict=True))
_LIMIT = 500


def processes(size: int, folder: Path, names: Sequence[str]) -> list[Any]:
    """What each of so many wrote of these ways. Raises RuntimeError with what they said where one failed."""
    _run("worker", folder, str(size), str(folder), ",".join(names))
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


def devices(backend: str, folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """What Keras' trainings on two devices of one process wrote; see ``on_devices.py``."""
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "TF_CPP_MIN_LOG_LEVEL": "3"}
    more = {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", **two}
    _run("on_devices", folder, str(folder), ",".join(names), more=more)
    found: dict[str, Any] = json.loads((folder / f"{backend}.json").read_text())
    return found


def cost(folder: Path) -> dict[str, Any]:
    """See ``cost.py``."""
    _run("cost", folder, str(folder))
    found: dict[str, Any] = json.loads((folder / "cost.json").read_text())
    return found


def _run(module: str, folder: Path, *arguments: str, more: Mapping[str, str] | None = None) -> None:
    environment = dict(os.environ, OMP_NUM_THREADS="1") | dict(more or {})
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", f"bench.distributed.{module}", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def apart_from(expected: dict[str, Any], found: dict[str, Any]) -> dict[str, float]:
    """Largest relative deviation of the norms and the loss from the truth, over steps and tensors."""
    columns = {**found["details"], "norm": found["norm"], "loss": found["loss"]}
    return {n: _apart(columns[n], expected[n]) for n in ("gradient_rms", "norm", "loss")}


def worst(found: dict[str, Any], kind: Callable[[], nn.Module]) -> dict[str, float]:
    """Largest relative deviation of each figure from the truth, over steps and tensors."""
    expected = truth(kind)
    columns = {name: found["details"][column] for name, column in COLUMNS.items()}
    columns |= {"norm": found["norm"], "loss": found["loss"]}
    return {name: _apart(columns[name], expected[name]) for name in columns}


def _apart(found: Sequence[Any], expected: Sequence[Any]) -> float:
    one, other = np.array(found, dtype=float), np.array(expected, dtype=float)
    if one.shape != other.shape:
        return float("inf")
    return float((np.abs(one - other) / np.maximum(np.abs(other), 1e-12)).max())
