"""A step that is given a closure, which makes the gradients: LBFGS, and every step of Lightning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def has_closure(args: Any, kwargs: Any) -> bool:
    """args, kwargs: of the optimizer's step, itself first."""
    return any(callable(a) for a in [*args[1:], *kwargs.values()])


def with_closure(behind: Callable[[], None], args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The same arguments, with ``behind`` called after each call of the closure."""

    def wrapped(closure: Any) -> Any:
        if not callable(closure):
            return closure

        def look(*a: Any, **k: Any) -> Any:
            value = closure(*a, **k)
            behind()
            return value

        return look

    return (args[0], *map(wrapped, args[1:])), {k: wrapped(v) for k, v in kwargs.items()}
