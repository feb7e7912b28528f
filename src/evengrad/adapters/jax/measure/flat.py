"""A traced function as one list of equations, calls read in place, each value a number."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evengrad.adapters.jax import compat
from evengrad.adapters.jax.measure.scopes import ACTIVATIONS, ScopeMark, ScopeMarks
from evengrad.values.spec import Kind


@dataclass(frozen=True, slots=True, eq=False)
class FlatEquation:
    """One equation.

    Attributes:
        equation: JAX' own.
        reads: numbers of the values it reads, or the constant itself in a tuple.
        makes: numbers of the values it makes.
        call: which call it belongs to: alike for all equations of one; None for none.
        mark: what that is.
        title: what is computed.
        within: the calls of compiled functions that it stands in, the outermost first.
    """

    equation: Any
    reads: tuple[Any, ...]
    makes: tuple[int, ...]
    call: Any
    mark: ScopeMark | None
    title: str
    within: tuple[Any, ...] = ()

    @property
    def values(self) -> tuple[int, ...]:
        """The values that it reads, without constants."""
        return tuple(v for v in self.reads if isinstance(v, int))


@dataclass(frozen=True, slots=True, eq=False)
class FlatFunction:
    """A function.

    Attributes:
        given: the numbers of its arguments.
        constants: of what it closes over, with the values.
        equations: in order.
        results: the numbers of its outputs, the loss first; one that is a constant in a tuple.
        shapes: shape and dtype of each value.
    """

    given: tuple[int, ...]
    constants: Mapping[int, Any]
    equations: tuple[FlatEquation, ...]
    results: tuple[Any, ...]
    shapes: Mapping[int, Any]

    @property
    def loss(self) -> Any:
        """The first of its results."""
        return self.results[0]

    def size(self, value: int) -> int:
        """Elements of a value."""
        return int(np.prod(self.shapes[value].shape))

    def is_float(self, value: int) -> bool:
        """Whether a gradient can pass it."""
        return bool(np.issubdtype(self.shapes[value].dtype, np.floating)) or (
            str(self.shapes[value].dtype) in ("bfloat16", "float8_e4m3fn", "float8_e5m2")
        )


def flatten(closed: Any, marks: ScopeMarks) -> FlatFunction:
    """Read a closed jaxpr."""
    reader = _Reader(marks)
    jaxpr = closed.jaxpr
    given = reader.fresh(jaxpr.invars)
    constants = reader.fresh(jaxpr.constvars)
    scope = dict(zip(jaxpr.invars, given, strict=True))
    scope |= dict(zip(jaxpr.constvars, constants, strict=True))
    reader.read(jaxpr, scope, None, None)
    results = tuple(reader.number(v, scope) for v in jaxpr.outvars)
    known = dict(zip(constants, closed.consts, strict=True)) | reader.constants
    return FlatFunction(given, known, tuple(reader.found), results, reader.shapes)


class _Reader:
    def __init__(self, marks: ScopeMarks) -> None:
        self.found: list[FlatEquation] = []
        self.constants: dict[int, Any] = {}
        self.shapes: dict[int, Any] = {}
        self._marks = marks
        self._within: tuple[Any, ...] = ()
        self._numbers = itertools.count()
        self._calls = itertools.count()

    def fresh(self, variables: Any) -> tuple[int, ...]:
        return tuple(self._new(v) for v in variables)

    def number(self, variable: Any, scope: dict[Any, Any]) -> Any:
        return (variable.val,) if compat.literal(variable) else scope[variable]

    def read(self, jaxpr: Any, scope: dict[Any, Any], place: Any, outer: Any) -> None:
        for equation in jaxpr.eqns:
            reads = tuple(self.number(v, scope) for v in equation.invars)
            known = outer or self._marks.of(str(equation.source_info.name_stack))
            inner = compat.inner_of(equation)
            title = compat.title_of(equation)
            if known is None and title in ACTIVATIONS:
                known = (f"{title} {next(self._calls)}", ScopeMark(Kind.ACTIVATION, title))
            if inner is not None:
                self._call(equation, inner, reads, scope, known)
                continue
            makes = self.fresh(equation.outvars)
            scope.update(zip(equation.outvars, makes, strict=True))
            call = None if known is None else (place, known[0])
            mark = None if known is None else known[1]
            self.found.append(FlatEquation(equation, reads, makes, call, mark, title, self._within))

    def _call(self, equation: Any, inner: Any, reads: Any, scope: Any, known: Any) -> None:
        body = getattr(inner, "jaxpr", inner)
        own = dict(zip(body.invars, reads, strict=True))
        for variable, value in zip(body.constvars, getattr(inner, "consts", ()), strict=True):
            own[variable] = self._new(variable)
            self.constants[own[variable]] = value
        place = next(self._calls) if known is None else None
        outer_calls, self._within = self._within, (*self._within, equation)
        self.read(body, own, place, known)
        self._within = outer_calls
        for outer, variable in zip(equation.outvars, body.outvars, strict=True):
            scope[outer] = self.number(variable, own)

    def _new(self, variable: Any) -> int:
        number = next(self._numbers)
        self.shapes[number] = variable.aval
        return number
