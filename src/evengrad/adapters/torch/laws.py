"""Laws of weights: measured where there are values, else what their initialiser does to ``meta`` tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from evengrad.spec import Law

_SIGMA = 6.0  # taps that differ by more than sampling explains are taken as they are
_NOTHING = 1e-3  # a row sum so small against its norm is zero by construction
_TOTAL: dict[int, Law] = {}


def measured(tensor: Any) -> Law:
    """Mean and rms of a tensor with values."""
    values = tensor.detach()
    if values.is_complex():
        values = torch.view_as_real(values)
    if not values.numel():
        return Law(0.0, 0.0)
    values = values.double() if values.numel() < 1 << 16 else values.float()
    return Law(float(values.mean()), float(values.square().mean().sqrt()))


def measured_kernel(weight: Any, law: Law) -> Law:
    """A convolution's, with the shares of its taps where they clearly differ."""
    taps = weight.shape[2:].numel()
    each = weight.shape[0] * weight.shape[1]
    if taps == 1 or law.rms == 0.0:
        return law
    rows = weight.detach().float().flatten(1)
    if rows.shape[1] > 1 and float(rows.sum(1).abs().max()) < _NOTHING * float(
        rows.norm(dim=1).min()
    ):
        law = replace(law, centred=True)
    energy = rows.square().reshape(each, taps).sum(0)
    share = energy / energy.sum()
    if float((share * taps - 1).abs().max()) < _SIGMA * math.sqrt(2 / each):
        return law
    return replace(law, taps=tuple(float(s) for s in share))


class Listener(TorchDispatchMode):
    """Notes what initialisers do to tensors on ``meta``. laws: storage -> law of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.laws: dict[int, Law] = {}
        self._kept: list[Any] = []  # a storage that is gone could be another's address
        self._uniform: dict[int, tuple[float, float]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every aten call."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        with suppress(TypeError, ValueError, IndexError, RuntimeError):
            self._note(name, args, kwargs or {}, result)
        return result

    def law(self, tensor: Any) -> Law | None:
        """What is known of a tensor."""
        return self.laws.get(_storage(tensor))

    def _note(self, name: str, args: Any, kwargs: Any, result: Any) -> None:
        plain = name.rstrip("_")
        if plain == "linalg_qr":
            self._set(result[0], Law(0.0, result[0].shape[-2] ** -0.5, "orthogonal"))
            return
        if not isinstance(result, torch.Tensor) or not result.is_meta:
            return
        target = args[0] if name.endswith("_") else result
        if plain in _DRAWN:
            self._set(target, self._drawn(plain, target, args, kwargs))
        elif plain in ("mul", "div", "add", "sub", "neg") and isinstance(args[0], torch.Tensor):
            law, by = self.law(args[0]), args[1] if len(args) > 1 else -1.0
            if law is not None and isinstance(by, int | float):
                self._set(target, _moved(plain, law, float(by)))
        elif plain == "erfinv":
            low, high = self._uniform.get(_storage(args[0]), (-1.0, 1.0))
            self._set(target, _truncated(low, high))
        elif plain == "copy" and isinstance(args[1], torch.Tensor):
            law = self.law(args[1])
            if law is not None:
                self._set(target, law)
        elif plain in ("clone", "detach", "_to_copy"):
            law = self.law(args[0])
            if law is not None:
                self._set(result, law)

    def _drawn(self, plain: str, target: Any, args: Any, kwargs: Any) -> Law:
        def option(place: int, name: str, default: float) -> float:
            found = kwargs.get(name, args[place] if len(args) > place else default)
            return float(found)

        if plain == "uniform":
            low, high = option(1, "from", 0.0), option(2, "to", 1.0)
            self._uniform[_storage(target)] = (low, high)
            mean = (low + high) / 2
            return Law(
                mean, math.sqrt(mean**2 + (high - low) ** 2 / 12), f"uniform({low:.3g}, {high:.3g})"
            )
        if plain == "normal":
            mean, sd = option(1, "mean", 0.0), option(2, "std", 1.0)
            return Law(mean, math.hypot(mean, sd), f"normal({mean:.3g}, {sd:.3g})")
        if plain in ("randn", "randn_like"):
            return Law(0.0, 1.0, "normal(0, 1)")
        if plain in ("rand", "rand_like"):
            return Law(0.5, math.sqrt(1 / 3), "uniform(0, 1)")
        constant = {"zero": 0.0, "zeros": 0.0, "zeros_like": 0.0, "ones": 1.0, "ones_like": 1.0}
        value = constant[plain] if plain in constant else float(args[1])
        return Law(value, abs(value), f"constant({value:.3g})")

    def _set(self, target: Any, law: Law) -> None:
        """For a part of a tensor, by the part's share."""
        key = _storage(target)
        size = target.untyped_storage().nbytes() // max(target.element_size(), 1)
        share = target.numel() / size if size else 1.0
        old = self.laws.get(key)
        if share < 1.0 and old is not None:
            mean = (1 - share) * old.mean + share * law.mean
            square = (1 - share) * old.rms**2 + share * law.rms**2
            law = Law(mean, math.sqrt(square), old.origin)
        self.laws[key] = law
        self._kept.append(target.untyped_storage())


_DRAWN = {
    *("uniform", "normal", "fill", "zero", "zeros", "ones", "full", "randn", "rand"),
    *("zeros_like", "ones_like", "full_like", "randn_like", "rand_like"),
}


def _storage(tensor: Any) -> int:
    return int(tensor.untyped_storage()._cdata)


def _moved(plain: str, law: Law, by: float) -> Law:
    if plain in ("add", "sub"):
        shift = by if plain == "add" else -by
        mean = law.mean + shift
        return Law(mean, math.sqrt(law.variance + mean**2), law.origin)
    factor = by if plain == "mul" else -1.0 if plain == "neg" else 1 / by
    return Law(law.mean * factor, law.rms * abs(factor), law.origin)


def _truncated(low: float, high: float) -> Law:
    """Erfinv of a uniform variable: a normal one of variance 1/2, cut off at both ends."""
    grid = torch.linspace(max(low, -1 + 1e-7), min(high, 1 - 1e-7), 20001, dtype=torch.float64)
    values = torch.erfinv(grid)
    return Law(float(values.mean()), float(values.square().mean().sqrt()), "truncated normal")


def heard(tensor: Any) -> Law | None:
    """What a listener has noted of a tensor in this process."""
    return _TOTAL.get(_storage(tensor))


_KEPT: list[Any] = []


@contextmanager
def listening() -> Iterator[Listener]:
    """What is initialised inside is known by its law afterwards."""
    listener = Listener()
    with listener:
        yield listener
    _TOTAL.update(listener.laws)
    _KEPT.extend(listener._kept)


def initialise_again(model: Any) -> None:
    """For a model on ``meta`` whose making nobody heard: what each module's own initialisation would do."""
    with listening(), torch.no_grad():
        for module in model.modules():
            own = [p for p in module.parameters(recurse=False) if p.is_meta]
            if not own or all(heard(p) is not None for p in own):
                continue
            for reset in ("reset_parameters", "_reset_parameters"):
                if callable(getattr(module, reset, None)):
                    getattr(module, reset)()
                    break
        if callable(getattr(model, "_init_weights", None)):
            model.apply(model._init_weights)
