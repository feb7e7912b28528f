"""Class weights of a cross-entropy, against how often its labels were met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evengrad.adapters.common.source import where
from evengrad.values.fact import Fact, Where

_FEWEST = 200
"""Labels, below which their frequencies are chance."""
_TWICE = 2
_LOSSES = 16  # more are made anew for each batch
_MOST = 1000  # classes


@dataclass(slots=True, eq=False)
class _WeighedLoss:
    """One loss's weights, by class, and its labels so far. held: the tensor, so that its id stays its own."""

    held: Any
    weights: Any
    counts: Any
    place: Where | None


class ClassWeights:
    """Of all losses of a script in their first calls; each by the tensor that holds its weights."""

    def __init__(self) -> None:
        self._known: dict[int, _WeighedLoss] = {}

    def heard(self, function: str, given: dict[str, Any]) -> None:
        """A call of a loss, by the names of its arguments."""
        if len(self._known) >= _LOSSES:
            return
        two = function == "binary_cross_entropy_with_logits"
        held, target = given.get("pos_weight" if two else "weight"), given["target"]
        if held is None or (not two and function not in ("cross_entropy", "nll_loss")):
            return
        labels = target.detach().reshape(-1).cpu().numpy()
        if id(held) not in self._known:
            weights = held.detach().reshape(-1).cpu().numpy().astype(float)
            if (two and len(weights) != 1) or target.is_floating_point() != two:
                return
            weights = np.array([1.0, weights[0]]) if two else weights[:_MOST]
            counts = np.zeros(len(weights), int)
            self._known[id(held)] = _WeighedLoss(held, weights, counts, where())
        one = self._known[id(held)]
        known = labels[(labels >= 0) & (labels < len(one.weights)) & (labels == labels.round())]
        one.counts += np.bincount(known.astype(int), minlength=len(one.weights))

    def reversed(self) -> list[Fact]:
        """Those that are larger for a frequent class."""
        return [fact for one in self._known.values() if (fact := _judged(one)) is not None]


def _judged(one: _WeighedLoss) -> Fact | None:
    met = np.flatnonzero(one.counts)
    if one.counts.sum() < _FEWEST or len(met) < 2:
        return None
    most, least = (int(met[i]) for i in (one.counts[met].argmax(), one.counts[met].argmin()))
    heavy, light = float(one.weights[most]), float(one.weights[least])
    if one.counts[most] < _TWICE * one.counts[least] or heavy <= _TWICE * light:
        return None
    values = {
        "most": most,
        "most_count": int(one.counts[most]),
        "most_weight": heavy,
        "least": least,
        "least_count": int(one.counts[least]),
        "least_weight": light,
    }
    return Fact("weights_reversed", one.place, None, values)
