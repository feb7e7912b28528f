"""Who made an optimizer, and its learning rate: optax keeps neither, so its constructors are heard."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from evengrad.adapters.common.patching import Patches

_STEPS = ("chain", "named_chain", "masked", "freeze", "multi_transform", "partition", "MultiSteps")
_RATES = ("learning_rate", "step_size", "step_size_fn")


@dataclass(frozen=True, slots=True, eq=False)
class Maker:
    """How an optimizer was made.

    Attributes:
        name: of optax' function.
        rate: what it was given as the learning rate: a number, a schedule, or None.
        parts: of a chain, those it was made of.
        keeps: the update itself, so that its identity stays taken.
        given: the other arguments by name.
    """

    name: str
    rate: Any
    parts: tuple[Maker, ...]
    keeps: Any
    given: dict[str, Any]

    @property
    def title(self) -> str:
        """For the user: of a chain what is in it."""
        if self.name in _STEPS and self.parts:
            return f"{self.name}({', '.join(part.title for part in self.parts)})"
        return self.name

    def all(self) -> Iterator[Maker]:
        """Itself and those within."""
        yield self
        for part in self.parts:
            yield from part.all()


class Makers:
    """Those that were made so far. trouble: is told of an error of ours."""

    def __init__(self, trouble: Callable[[Exception], object]) -> None:
        self._trouble = trouble
        self._made: dict[int, Maker] = {}

    def put_on(self, patches: Patches, optax: Any) -> None:
        """Hear every constructor that optax offers."""
        for name, function in list(vars(optax).items()):
            if inspect.isfunction(function) and not name.startswith("_"):
                kind = str(inspect.signature(function).return_annotation)
                if "GradientTransformation" in kind and "Callable" not in kind:
                    patches.wrap(optax, name, functools.partial(self._hear, name))
        patches.wrap(optax, "inject_hyperparams", self._hear_factory)
        if hasattr(optax, "MultiSteps"):
            patches.wrap(optax.MultiSteps, "__init__", self._hear_steps)

    def of(self, update: Any) -> Maker | None:
        """The maker of an update."""
        return self._made.get(id(update))

    def stand_for(self, update: Any, whole: Any) -> None:
        """An update is that of this object, whose making was heard."""
        known = self._made.get(id(whole))
        if known is not None:
            self._made[id(update)] = replace(known, keeps=update)

    def _hear_steps(self, original: Any) -> Any:
        @functools.wraps(original)
        def init(steps: Any, opt: Any, *args: Any, **kwargs: Any) -> None:
            original(steps, opt, *args, **kwargs)
            inner = self.of(tuple(opt)[1])
            parts = () if inner is None else (inner,)
            self._made[id(steps)] = Maker("MultiSteps", None, parts, steps, {})

        return init

    def _hear(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def make(*args: Any, **kwargs: Any) -> Any:
            made = original(*args, **kwargs)
            try:
                self._note(name, original, made, args, kwargs)
            except Exception as error:
                self._trouble(error)
            return made

        return make

    def _hear_factory(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def inject(factory: Any, *args: Any, **kwargs: Any) -> Any:
            return self._hear(
                getattr(factory, "__name__", "inject_hyperparams"),
                original(factory, *args, **kwargs),
            )

        return inject

    def _note(self, name: str, original: Any, made: Any, args: Any, kwargs: Any) -> None:
        update = tuple(made)[1] if isinstance(made, tuple) and len(made) == 2 else None
        if update is None:
            return
        try:
            given = dict(inspect.signature(original).bind(*args, **kwargs).arguments)
        except (TypeError, ValueError):
            given = {}
        parts = [self.of(tuple(one)[1]) for one in _transformations([*args, *kwargs.values()])]
        rate = next((given[word] for word in _RATES if given.get(word) is not None), None)
        if name == "scale" and isinstance(rate, int | float):
            rate = -rate
        known = tuple(part for part in parts if part is not None)
        self._made[id(update)] = Maker(name, rate, known, update, given)


def rate_in(maker: Maker | None, state: Any) -> Any:
    """The learning rate of the coming update: a number or an array, which the state of the optimizer has where
    a schedule gives it; NaN where it is not known.
    """
    nodes = list(_nodes(state))
    for node in nodes:
        held = getattr(node, "hyperparams", None)
        if isinstance(held, dict) and "learning_rate" in held:
            return held["learning_rate"]
    rate = _last_rate(maker)
    if not callable(rate):
        return math.nan if rate is None else rate
    counts = [n.count for n in nodes if type(n).__name__ == "ScaleByScheduleState"]
    counts = counts or [n.count for n in nodes if hasattr(n, "count") and not callable(n.count)]
    return rate(counts[-1]) if counts else math.nan


def _last_rate(maker: Maker | None) -> Any:
    found = [] if maker is None else [one.rate for one in maker.all() if one.rate is not None]
    return found[-1] if found else None


def _transformations(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple) and hasattr(value, "init") and hasattr(value, "update"):
            yield value
        elif isinstance(value, list | tuple):
            yield from _transformations(value)
        elif isinstance(value, dict):
            yield from _transformations(value.values())


def _nodes(state: Any) -> Iterator[Any]:
    """The tuples and lists that a state is made of."""
    if isinstance(state, dict):
        for value in state.values():
            yield from _nodes(value)
    elif isinstance(state, list | tuple):
        yield state
        for value in state:
            yield from _nodes(value)
    elif hasattr(state, "inner_state") or hasattr(state, "inner_opt_state"):
        yield state
