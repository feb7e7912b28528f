"""Laws of weights: measured where there are values, else what their initialiser does to ``meta`` tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch

from evengrad.adapters.torch.compat import (
    hearing_dispatch,
    initialiser_of,
    reset_of,
    storage_key,
    weak_storage,
)
from evengrad.adapters.torch.laws.constants import moved
from evengrad.adapters.torch.laws.silent_initialisers import Questions, pretrained_models_initialise
from evengrad.adapters.torch.statistics.ledger import as_numbers
from evengrad.values.spec import Law

_SIGMA = 6.0  # taps that differ by more than sampling explains are taken as they are
_NOTHING = 1e-3  # a row sum so small against its norm is zero by construction
_HEARD: dict[int, tuple[Any, Law]] = {}
"""Of every storage that is alive, by its key: a weak reference, and the law of its elements."""


def measured(tensor: Any) -> Law:
    """Mean, rms and bounds of a tensor with values, by one read."""
    if not tensor.numel():
        return Law(0.0, 0.0)
    mean, rms, low, high = as_numbers(moments(tensor))
    return Law(mean, rms, bounds=(low, high))


def moments(tensor: Any) -> Any:
    """Mean, rms, least and largest value, (4,), where the tensor is."""
    values = tensor.detach()
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    small = values.numel() < 1 << 16 and values.device.type != "mps"
    values = values.double() if small else values.float()
    low, high = torch.aminmax(values)
    return torch.stack([values.mean(), values.square().mean().sqrt(), low, high])


def measured_kernel(weight: Any, law: Law) -> Law:
    """A convolution's, with the shares of its taps where they clearly differ, by one read."""
    if weight.shape[2:].numel() == 1 or law.rms == 0.0:
        return law
    return kernel_law(weight, law, as_numbers(kernel_figures(weight)))


def kernel_figures(weight: Any) -> Any:
    """The largest sum of a unit's weights, the least norm of one, and the share of the energy at each tap,
    (2 + taps,), where the weight is.
    """
    rows = weight.detach().float().flatten(1)
    energy = rows.square().reshape(-1, weight.shape[2:].numel()).sum(0)
    ends = torch.stack([rows.sum(1).abs().max(), rows.norm(dim=1).min()])
    return torch.cat([ends, energy / energy.sum()])


def kernel_law(weight: Any, law: Law, figures: Sequence[float]) -> Law:
    """A convolution's, from its ``kernel_figures``."""
    taps = weight.shape[2:].numel()
    each = weight.shape[0] * weight.shape[1]
    if taps == 1 or law.rms == 0.0:
        return law
    if weight.shape[1] * taps > 1 and figures[0] < _NOTHING * figures[1]:
        law = replace(law, centred=True)
    share = figures[2:]
    if max(abs(s * taps - 1) for s in share) < _SIGMA * math.sqrt(2 / each):
        return law
    return replace(law, taps=tuple(share))


class InitialiserListener:
    """Notes what initialisers do to tensors on ``meta``. laws: storage -> law of its elements."""

    def __init__(self) -> None:
        self.laws: dict[int, Law] = {}
        self.kept: dict[int, Any] = {}  # a storage that is gone could be another's address
        self._uniform: dict[int, tuple[float, float]] = {}

    def hear(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """An aten call was made."""
        with suppress(TypeError, ValueError, IndexError, RuntimeError):
            self._note(func.overloadpacket.__name__, args, kwargs, result)

    def law(self, tensor: Any) -> Law | None:
        """What is known of a tensor."""
        return self.laws.get(storage_key(tensor)) if isinstance(tensor, torch.Tensor) else None

    def _note(self, name: str, args: Any, kwargs: Any, result: Any) -> None:
        plain = name.rstrip("_")
        if plain == "linalg_qr":
            self.set(result[0], Law(0.0, result[0].shape[-2] ** -0.5, "orthogonal"))
            return
        if not isinstance(result, torch.Tensor) or not result.is_meta:
            return
        within = name.endswith("_") and not name.startswith("__")
        target = args[0] if within else result
        law = self._made(plain, target, args, kwargs)
        if law is not None:
            self.set(target, law)
        elif (within and plain not in _STILL) or "out" in kwargs:
            self.laws.pop(storage_key(target), None)

    def _made(self, plain: str, target: Any, args: Any, kwargs: Any) -> Law | None:
        """Of what a call leaves in its target; None if nobody knows."""
        if plain in _FROM_NOTHING:
            return self._drawn(plain, target, args, kwargs)
        if plain == "copy":
            return self.law(args[1])
        law = self.law(args[0])
        if plain == "erfinv":
            return _truncated(*self._uniform.get(storage_key(args[0]), (-1.0, 1.0)))
        if law is None or plain.lstrip("_") in ("clone", "detach", "to_copy"):
            return law
        if plain in ("clamp", "clamp_min", "clamp_max"):
            return law if law.origin == "truncated normal" else None
        by = args[1] if len(args) > 1 else -1.0
        return moved(plain, law, float(by)) if isinstance(by, int | float) else None

    def _drawn(self, plain: str, target: Any, args: Any, kwargs: Any) -> Law:
        names, law = _FROM_NOTHING[plain]
        values = []
        for place, (name, default) in enumerate(names, 1):
            found = kwargs.get(name, args[place] if len(args) > place else default)
            values.append(float(found))
        if plain == "uniform":
            self._uniform[storage_key(target)] = (values[0], values[1])
        if plain == "eye":
            values = [min(target.shape) / max(target.numel(), 1)]
        return law(*values)

    def set(self, target: Any, law: Law) -> None:
        """For a part of a tensor, by the part's share."""
        key = storage_key(target)
        size = target.untyped_storage().nbytes() // max(target.element_size(), 1)
        share = target.numel() / size if size else 1.0
        old = self.laws.get(key)
        if share < 1.0 and old is not None:
            mean = (1 - share) * old.mean + share * law.mean
            square = (1 - share) * old.rms**2 + share * law.rms**2
            law = Law(mean, math.sqrt(square), old.origin)
        self.laws[key] = law
        self.kept[key] = target.untyped_storage()


_STILL = {"requires_grad", "detach", "set", "resize", "t", "transpose", "squeeze", "unsqueeze"}


def _uniform(low: float, high: float) -> Law:
    mean = (low + high) / 2
    rms = math.sqrt(mean**2 + (high - low) ** 2 / 12)
    return Law(mean, rms, f"uniform({low:.3g}, {high:.3g})")


def _normal(mean: float, sd: float) -> Law:
    return Law(mean, math.hypot(mean, sd), f"normal({mean:.3g}, {sd:.3g})")


def _constant(value: float) -> Law:
    return Law(value, abs(value), f"constant({value:.3g})")


def _coins(p: float) -> Law:
    return Law(p, math.sqrt(p), f"bernoulli({p:.3g})")


def _exponential(rate: float) -> Law:
    return Law(1 / rate, math.sqrt(2) / rate, f"exponential({rate:.3g})")


def _log_normal(mean: float, sd: float) -> Law:
    return Law(math.exp(mean + sd**2 / 2), math.exp(mean + sd**2), "log-normal")


def _eye(share: float) -> Law:
    return Law(share, math.sqrt(share), "eye")


def _always(law: Law) -> Callable[[], Law]:
    return lambda: law


_FROM_NOTHING: dict[str, tuple[tuple[tuple[str, float], ...], Callable[..., Law]]] = {
    "uniform": ((("from", 0.0), ("to", 1.0)), _uniform),
    "normal": ((("mean", 0.0), ("std", 1.0)), _normal),
    "bernoulli": ((("p", 0.5),), _coins),
    "exponential": ((("lambd", 1.0),), _exponential),
    "log_normal": ((("mean", 1.0), ("std", 2.0)), _log_normal),
    "fill": ((("value", 0.0),), _constant),
    "full": ((("fill_value", 0.0),), _constant),
    "full_like": ((("fill_value", 0.0),), _constant),
    "eye": ((), _eye),
    **dict.fromkeys(("zero", "zeros", "zeros_like"), ((), _always(_constant(0.0)))),
    **dict.fromkeys(("ones", "ones_like"), ((), _always(_constant(1.0)))),
    **dict.fromkeys(("randn", "randn_like"), ((), _always(_normal(0.0, 1.0)))),
    **dict.fromkeys(("rand", "rand_like"), ((), _always(_uniform(0.0, 1.0)))),
}
"""aten name -> its arguments with their defaults, and the law of what it draws: torch's own words."""


def _truncated(low: float, high: float) -> Law:
    """Erfinv of a uniform variable: a normal one of variance 1/2, cut off at both ends."""
    grid = torch.linspace(max(low, -1 + 1e-7), min(high, 1 - 1e-7), 20001, dtype=torch.float64)
    values = torch.erfinv(grid)
    return Law(float(values.mean()), float(values.square().mean().sqrt()), "truncated normal")


def heard(tensor: Any) -> Law | None:
    """What a listener has noted of a tensor in this process."""
    known = _HEARD.get(storage_key(tensor))
    return None if known is None else known[1]


@contextmanager
def listening() -> Iterator[InitialiserListener]:
    """What is initialised inside is known by its law afterwards."""
    listener = InitialiserListener()
    with hearing_dispatch(listener.hear), Questions(listener.set), pretrained_models_initialise():
        yield listener
    for key in [key for key, (storage, _) in _HEARD.items() if storage.expired()]:
        del _HEARD[key]
    for key, storage in listener.kept.items():
        if key in listener.laws:
            _HEARD[key] = weak_storage(storage), listener.laws[key]


def initialise_again(model: Any) -> None:
    """For a model on ``meta`` whose making nobody heard: what each module's own initialisation would do."""
    with listening(), torch.no_grad():
        for module in model.modules():
            own = [p for p in module.parameters(recurse=False) if p.is_meta]
            if not own or all(heard(p) is not None for p in own):
                continue
            reset = reset_of(module)
            if reset is not None:
                reset()
        unknown = any(p.is_meta and heard(p) is None for p in model.parameters())
        initialise = initialiser_of(model)
        if unknown and initialise is not None:
            model.apply(initialise)
