"""Which tensors an optimizer trains, by the models' own names, and what is being trained at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from evengrad.adapters.torch.compat import uncompiled
from evengrad.adapters.torch.record.naming import parameter_names
from evengrad.recording import clip
from evengrad.recording.settings import Settings
from evengrad.values.run import Subject, Tensor


def names_of(optimizer: Any, roots: Sequence[Any]) -> dict[str, Any]:
    """The optimizer's parameters by the models' own names, in the models' order."""
    known = parameter_names(list(roots), [])
    own = {id(p): p for g in optimizer.param_groups for p in g["params"] if p.requires_grad}
    found = {name: p for key, (name, p) in known.items() if key in own}
    missing = [p for p in own.values() if not any(p is q for q in found.values())]
    return found | {f"parameter_{i + 1}": p for i, p in enumerate(missing)}


def subject_of(
    optimizer: Any, roots: Sequence[Any], names: dict[str, Any], settings: Settings, script: str
) -> Subject:
    """What a run is of. names: from ``names_of``."""
    tables = {
        id(m.weight)
        for root in roots
        for m in root.modules()
        if isinstance(m, torch.nn.Embedding | torch.nn.EmbeddingBag)
    }
    tensors = tuple(
        Tensor(
            name,
            name.rpartition(".")[0] or name,
            tuple(p.shape),
            float(p[0].numel()) if p.ndim >= 2 and id(p) not in tables else None,
        )
        for name, p in names.items()
    )
    guard = settings.guard
    first = optimizer.param_groups[0] if optimizer.param_groups else {}
    models = [type(uncompiled(root)).__name__ for root in roots]
    return Subject(
        script=script,
        model=", ".join(dict.fromkeys(models)) or "raw tensors",
        optimizer=type(optimizer).__name__,
        frontend="torch",
        backend="torch",
        versions=(f"torch {torch.__version__}",),
        tensors=tensors,
        settings={
            **clip.as_settings(settings.clip),
            "guard": None if guard is None else str(guard.action),
            "every": settings.every,
            "beta2": first["betas"][1] if "betas" in first else first.get("alpha"),
        },
    )
