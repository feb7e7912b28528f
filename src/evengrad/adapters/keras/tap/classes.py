"""The classes that ``fit`` trains on, against those that it validates on, and against their weights."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from evengrad.adapters.keras.change.data import kind_of_loss
from evengrad.values.fact import Fact, Where

log = logging.getLogger("evengrad")
_FEWEST = 32
"""Labels of each, below which nothing is said."""
_APART = 0.6
"""Half the sum of the differences of the classes' shares: 1 where none is in both."""
_TWICE = 2
_KINDS = ("crossentropy", "binary_crossentropy")


def class_facts(model: Any, given: dict[str, Any], place: Where | None) -> tuple[Fact, ...]:
    """Of a fit's arguments; none where they are in order, or not known (no arrays, another loss)."""
    found = []
    for judge in (_found, _reversed):
        try:
            found.append(judge(model, given, place))
        except Exception as error:  # labels of another kind
            log.info("the classes could not be compared: %s", error)
    return tuple(fact for fact in found if fact is not None)


def _reversed(model: Any, given: dict[str, Any], place: Where | None) -> Fact | None:
    """Class weights that are larger for the frequent class."""
    weights = given["class_weight"]
    if not weights or given["y"] is None or kind_of_loss(model) not in _KINDS:
        return None
    known, counts = np.unique(_classes(given["y"]), return_counts=True)
    if len(known) < 2 or counts.sum() < _FEWEST:
        return None
    most, least = int(counts.argmax()), int(counts.argmin())
    heavy, light = (float(weights.get(int(known[i]), 1.0)) for i in (most, least))
    if counts[most] < _TWICE * counts[least] or heavy <= _TWICE * light:
        return None
    values = {
        "most": int(known[most]),
        "most_count": int(counts[most]),
        "most_weight": heavy,
        "least": int(known[least]),
        "least_count": int(counts[least]),
        "least_weight": light,
    }
    return Fact("weights_reversed", place, None, values)


def _found(model: Any, given: dict[str, Any], place: Where | None) -> Fact | None:
    if kind_of_loss(model) not in _KINDS:
        return None
    split, other = float(given["validation_split"] or 0), given["validation_data"]
    if given["y"] is None or (not split and not isinstance(other, tuple | list)):
        return None
    trained = _classes(given["y"])
    if other is None:
        at = round(len(trained) * (1 - split))
        trained, validated = trained[:at], trained[at:]
    else:
        validated = _classes(other[1])
    if min(len(trained), len(validated)) < _FEWEST:
        return None
    known = np.unique(np.concatenate([trained, validated]))
    shares = [(part[:, None] == known).mean(0) for part in (trained, validated)]
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    if distance < _APART:
        return None
    values = {
        "split": split if other is None else None,
        "distance": distance,
        "unknown": float(shares[1][shares[0] == 0].sum()),
        "most": float(shares[1].max()),
        "most_trained": float(shares[0][shares[1].argmax()]),
        "trained": int((shares[0] > 0).sum()),
        "validated": int((shares[1] > 0).sum()),
        "ordered": bool((np.diff(np.concatenate([trained, validated])) >= 0).all()),
    }
    return Fact("classes_apart", place, None, values)


def _classes(labels: Any) -> Any:
    """One number a sample. Raises ValueError where they are none."""
    found = np.asarray(labels)
    if found.ndim == 2 and found.shape[1] > 1 and np.allclose(found.sum(1), 1):
        return found.argmax(1)
    found = found.reshape(len(found), -1)
    if found.shape[1] != 1 or (found != np.round(found)).any() or len(np.unique(found)) > 1000:
        raise ValueError("no classes")
    return found[:, 0]
