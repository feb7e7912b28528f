"""What a description knows of tensors that a model makes from no data: positions, masks, coins.

On ``meta`` they have no values. Those that hang on no chance are made once more on the CPU; the others have
a law by what made them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from evengrad.adapters.torch.compat import tensor_table, tree_leaves, tree_map
from evengrad.values.spec import Law

LARGEST = 1 << 22  # elements: a mask for 2048 tokens
_DRAWN = {
    "rand": Law(0.5, math.sqrt(1 / 3), "uniform(0, 1)"),
    "rand_like": Law(0.5, math.sqrt(1 / 3), "uniform(0, 1)"),
    "randn": Law(0.0, 1.0, "normal(0, 1)"),
    "randn_like": Law(0.0, 1.0, "normal(0, 1)"),
}
_CHANCE = {*_DRAWN, "bernoulli", "uniform", "normal", "empty", "new_empty", "empty_like"}
_CHANCE |= {"randint", "randint_like", "randperm", "multinomial", "exponential", "dropout"}
_MOVES = (
    "to float double half bfloat16 type type_as contiguous clone detach view reshape flatten unsqueeze "
    "squeeze expand expand_as repeat permute transpose getitem chunk split unbind cat stack select narrow"
)
_PASSED = frozenset(_MOVES.split())
_WAVE = Law(0.0, 0.5**0.5, "cos or sin")


class Constants:
    """values: ``meta`` tensor -> the same with values, weights included where the model has any."""

    def __init__(self) -> None:
        self.values: Any = tensor_table()
        self._laws: Any = tensor_table()

    def law(self, tensor: Any) -> Law | None:
        """Of a tensor without values."""
        found: Law | None = self._laws.get(tensor)
        return found

    def note(self, func: Any, name: str, args: Any, kwargs: Any, result: Any) -> None:
        """A call that reads constants alone has been made."""
        leaves = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        plain = name.strip("_")
        if plain not in _CHANCE and all(t in self.values for t in leaves):
            made = self.made_again(func, args, kwargs, result)
            self._keep(result, made)
            return
        law = self._by_chance(plain, [self.law(t) for t in leaves], args, kwargs)
        for t in tree_leaves(result):
            if isinstance(t, torch.Tensor):
                self.values.pop(t, None)
                self._laws.pop(t, None)
                if law is not None:
                    self._laws[t] = law

    def follow(self, name: str, law: Law, args: Any, kwargs: Any, result: Any) -> None:
        """What is made of one tensor by a number has a law if the tensor has."""
        if law.origin == "unknown" or not isinstance(result, torch.Tensor):
            return
        plain = name.strip("_")
        rows = plain in ("embedding", "index_select")
        found = law if rows else self._by_chance(plain, [law], args, kwargs)
        if found is not None:
            self._laws[result] = found

    def made_again(self, func: Any, args: Any, kwargs: Any, result: Any = None) -> Any:
        """The same call on values; None where it is too large."""
        if any(t.numel() > LARGEST for t in tree_leaves(result) if isinstance(t, torch.Tensor)):
            return None
        real = tree_map(self._real, (args, kwargs))
        with torch.no_grad(), torch.device("cpu"):
            return func(*real[0], **real[1])

    def _real(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.values[value]
        return torch.device("cpu") if isinstance(value, torch.device) else value

    def _keep(self, result: Any, made: Any) -> None:
        for t, value in zip(tree_leaves(result), tree_leaves(made), strict=False):
            if isinstance(t, torch.Tensor) and isinstance(value, torch.Tensor):
                self.values[t] = value

    def _by_chance(self, plain: str, laws: list[Law | None], args: Any, kwargs: Any) -> Law | None:
        if plain == "bernoulli":
            p = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
            return _coin(float(p)) if isinstance(p, int | float) else None
        law = laws[0] if laws else None
        if law is None or plain in _DRAWN or plain in ("cos", "sin"):
            return _WAVE if plain in ("cos", "sin") else _DRAWN.get(plain)
        if plain in _PASSED:
            return law if all(o is not None for o in laws) else None
        if plain == "floor" and law.origin.startswith("uniform"):
            return _coin(min(max(law.mean - 0.5, 0.0), 1.0))
        others = [a for a in args if isinstance(a, int | float)]
        return moved(plain, law, float(others[0])) if len(others) == 1 else None


def moved(name: str, law: Law, by: float) -> Law | None:
    """The law after an addition or multiplication of one number."""
    plain = name[1:] if name in ("radd", "rmul", "iadd", "imul", "isub") else name
    if plain in ("add", "sub"):
        mean = law.mean + (by if plain == "add" else -by)
        return replace(law, mean=mean, rms=math.sqrt(law.variance + mean**2))
    factor = {"mul": by, "neg": -1.0, "div": 1 / by if by else math.inf}
    factor["truediv"] = factor["itruediv"] = factor["div"]
    if plain not in factor:
        return None
    return replace(law, mean=law.mean * factor[plain], rms=law.rms * abs(factor[plain]))


def _coin(p: float) -> Law:
    return Law(p, math.sqrt(p), f"bernoulli({p:.3g})")
