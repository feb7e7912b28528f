"""Examples that a trial keeps out of the loss, to be judged by: known again by what is in them."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from evengrad.adapters.common.sessions import TrialSession
from evengrad.adapters.torch.record.loss_terms import LossTerms

REGRESSIONS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
"""Of ``torch.nn.functional``, those that compare values."""
_LOOKED_AT = 4096
"""Elements of an example by which it is known again."""
_FEWEST = 8
"""Examples of a batch from which some are withheld."""


class TorchWithholding:
    """Withholds one example in ``session.withheld`` from the losses that it is shown."""

    def __init__(self, session: TrialSession, terms: LossTerms) -> None:
        self.session = session
        self.terms = terms
        self._withheld: Any = None  # (examples,) of the last batch
        self._seen: set[int] = set()

    def passing(self, args: Any) -> bool:
        """A batch is about to pass through the model. Whether most of it was seen before."""
        batch = next((a for a in args if isinstance(a, torch.Tensor) and a.ndim > 0), None)
        self._withheld = None
        if batch is None or not len(batch):
            return False
        rows = batch.detach().reshape(len(batch), -1)
        plain = rows[:, :_LOOKED_AT].cpu().contiguous().view(torch.uint8).numpy()
        keys = [zlib.crc32(row.tobytes()) for row in plain]
        known = sum(key in self._seen for key in keys)
        self._seen.update(keys)
        every = self.session.withheld
        if every and len(keys) >= _FEWEST:
            self._withheld = torch.tensor([key % every == 0 for key in keys]) & _finite(rows)
        return 2 * known > len(keys)

    def hearing(self, original: Any) -> Callable[..., Any]:
        """Instead of a function of ``loss_terms.LOSSES``."""

        def loss(*args: Any, **kwargs: Any) -> Any:
            if not self.terms.on or not torch.is_grad_enabled():
                return original(*args, **kwargs)
            given = _bound(original, args, kwargs)
            target = given.get("target")
            if not isinstance(target, torch.Tensor):
                return original(*args, **kwargs)
            withheld = self._rows(original.__name__, given)
            if withheld is not None:
                with torch.no_grad():
                    apart = original(**_only(given, withheld) | {"reduction": "mean"})
                self.session.held_out(float(apart), int(withheld.sum()))
                given = _only(given, ~withheld)
            value = original(**given)
            self.terms.made(original, given, value)
            return value

        return loss

    def _rows(self, name: str, given: dict[str, Any]) -> Any:
        """Which rows of input and target are withheld, (rows,); None where none can be."""
        target, found = given["target"], self._withheld
        weighed = given.get("weight") is not None and name not in ("cross_entropy", "nll_loss")
        legacy = given.get("reduce") is not None or given.get("size_average") is not None
        if found is None or weighed or legacy or given.get("reduction") == "none":
            return None
        if not target.ndim or len(target) % len(found) or len(given["input"]) != len(target):
            return None
        rows = found.repeat_interleave(len(target) // len(found))  # sequences, flattened
        rows &= _finite(target.detach().reshape(len(target), -1))
        return rows.to(target.device) if rows.any() and not rows.all() else None


def _finite(rows: Any) -> Any:
    """Which rows are, (rows,), on the CPU: what is not finite is never withheld."""
    return torch.isfinite(rows).all(1).cpu()


@cache
def _signature(function: Any) -> inspect.Signature:
    return inspect.signature(function)


def _bound(function: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    try:
        return dict(_signature(function).bind(*args, **kwargs).arguments)
    except TypeError:  # which the function will raise itself
        return {}


def _only(given: dict[str, Any], rows: Any) -> dict[str, Any]:
    return given | {"input": given["input"][rows], "target": given["target"][rows]}
