"""A differentiated function of which every equation is looked at, where it gives what is not finite."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evengrad.adapters.common.expressions import call_and_operand
from evengrad.adapters.common.source import Spot, is_own
from evengrad.adapters.jax import compat
from evengrad.adapters.jax.born import words
from evengrad.adapters.jax.measure.flat import FlatEquation, flatten
from evengrad.adapters.jax.measure.measure import DifferentiatedCall, arrays_of
from evengrad.adapters.jax.measure.scopes import ScopeMarks
from evengrad.values.fact import Fact, Where
from evengrad.values.spec import Kind

_TARGETS = ("y", "label", "target", "mask")
_SCOPES = re.compile(r"^(evengrad_\d+|jvp\(\)|transpose\(.*|vmap\(\)|)$")
_FIGURES = 6  # share that is not finite, share of NaN, low, high, zeros, largest magnitude


class WatchedCall:
    """Such a call, with its gradient, as one list of equations.

    Args:
        call: what is differentiated.
        marks: of the layers that are called in it.
        born: is told of the fact, on the host.
    """

    def __init__(
        self, call: DifferentiatedCall, marks: ScopeMarks, born: Callable[[Fact], object]
    ) -> None:
        self._born = born
        trained = call.trained
        self._names = list(trained)
        self._arrays, rebuild, self._given_names = arrays_of(call)
        places = {id(value): i for i, value in enumerate(self._arrays)}
        self._trained = [places[id(w)] for w in trained.values()]

        def both(*values: Any) -> Any:
            def loss(weights: Any) -> Any:
                filled = list(values)
                for place, weight in zip(self._trained, weights, strict=True):
                    filled[place] = weight
                args, named = rebuild(filled)
                found = call.function(*args, **named)
                return found[0] if call.auxiliary else found

            return jax.value_and_grad(loss)([values[i] for i in self._trained])

        self.function = flatten(jax.make_jaxpr(both)(*self._arrays), marks)
        self._makers = {v: (i, e) for i, e in enumerate(self.function.equations) for v in e.makes}

    def look(self) -> None:
        """Look, where it is called: if the loss or a gradient is not finite, the host is told."""
        if any(map(compat.is_traced, self._arrays)):
            self._look(*self._arrays)
        else:
            jax.jit(self._look)(*self._arrays)

    # --- in the compiled function ----------------------------------------------------------------

    def _look(self, *arrays: Any) -> None:
        values: dict[int, Any] = dict(zip(self.function.given, arrays, strict=True))
        values |= self.function.constants
        for one in self.function.equations:
            given = [values[v] if isinstance(v, int) else v[0] for v in one.reads]
            values.update(zip(one.makes, compat.evaluate(one.equation, given), strict=True))
        results = [values[v] for v in self.function.results if isinstance(v, int)]
        fine = jnp.all(jnp.stack([jnp.all(jnp.isfinite(v)) for v in results]))
        self._floats = [v for v in values if self._counts(v)]
        kept = [values[v] for v in self._floats]

        def report(kept: Any) -> None:
            jax.debug.callback(self._arrived, jnp.stack([_figures(v) for v in kept]))

        jax.lax.cond(fine, lambda _: None, report, kept)

    def _counts(self, value: int) -> bool:
        return self.function.is_float(value) and self.function.size(value) > 0

    # --- on the host -----------------------------------------------------------------------------

    def _arrived(self, figures: Any) -> None:
        table = np.asarray(figures, dtype=np.float64)
        known = dict(zip(self._floats, table, strict=True))
        fact = self._fact(known)
        if fact is not None:
            self._born(fact)

    def _fact(self, known: dict[int, Any]) -> Fact | None:
        bad = [v for v in self.function.results if isinstance(v, int) and known[v][0] > 0]
        if not bad:
            return None
        start = bad[0]
        value = self._origin(start, known)
        if value not in self._makers:
            return self._given(value, known)
        return self._made(value, known)

    def _origin(self, value: int, known: dict[int, Any]) -> int:
        """Back from what is not finite to what was made of finite things or given, the earliest of several."""
        while value in self._makers:
            _, equation = self._makers[value]
            before = [v for v in equation.values if v in known and known[v][0] > 0]
            nan_from_inf = known[value][1] > 0 and all(known[v][1] == 0 for v in before)
            deliberate = [v for v in before if not (nan_from_inf and self._is_mask(v))]
            if not deliberate:
                return value
            value = min(deliberate, key=lambda v: self._makers.get(v, (-1,))[0])
        return value

    def _is_mask(self, value: int) -> bool:
        """Whether an infinity is written in the code, as that of a mask is."""
        if value not in self._makers:
            return False
        reads = self._makers[value][1].reads
        return any(
            isinstance(v, tuple) and not np.isfinite(np.asarray(v[0], float)).all() for v in reads
        )

    def _given(self, value: int, known: dict[int, Any]) -> Fact:
        place = self.function.given.index(value) if value in self.function.given else -1
        name, role = "", "batch"
        if place in self._trained:
            name, role = self._names[self._trained.index(place)], "weights"
        elif place >= 0:
            name = self._given_names[place]
            role = "targets" if name.lower().startswith(_TARGETS) else "batch"
        reader = next((e for e in self.function.equations if value in e.values), None)
        where = None if reader is None else _spot(reader)[0]
        values = {
            "operation": "other",
            "call": "",
            "direction": "given",
            "role": role,
            "operand": name,
            "hidden": False,
            "name": name if role == "weights" else "",
            **self._about(value, known),
        }
        return Fact("born", where, 0, values)

    def _made(self, value: int, known: dict[int, Any]) -> Fact:
        number, equation = self._makers[value]
        root = self._root(number, equation)
        where, functions = _spot(root)
        word = words.operation(functions, root.title)
        call, operand = call_and_operand(where.code if where else "", words.operand_place(word))
        inner = next((f for f in functions if words.operation((f,), "") == word), "")
        if inner and not call.endswith(inner):
            call = call or inner
        behind = root is not equation or _backward(equation)
        overflow = bool(known[value][1] == 0)
        values = {
            "operation": word,
            "call": call or root.title,
            "direction": "backward" if behind else "forward",
            "role": "output" if root.mark and root.mark.kind is Kind.LOSS else "activation",
            "operand": operand,
            "hidden": behind and self._hidden(value, known),
            "overflow": overflow and word in words.OVERFLOWING,
            "name": _layer(root),
            **self._about(value, known),
            **self._operand(root, word, known),
            "batch_high": self._largest_given(known),
        }
        return Fact("born", where, 0, values)

    def _root(self, number: int, equation: FlatEquation) -> FlatEquation:
        """Of a slope: the operation of the forward pass whose slope it is, which stands at the same place."""
        place = _place(equation)[0]
        for one in self.function.equations[:number]:
            named = words.operation((), one.title) not in ("other", "sum", "divide", "matmul")
            if named and place is not None and _place(one)[0] == place and not _backward(one):
                return one
        return equation

    def _hidden(self, value: int, known: dict[int, Any]) -> bool:
        """Whether a gradient that is zero meets an infinite slope: its branch was discarded."""
        for one in self.function.equations:
            if value in one.values and any(known[v][1] > 0 for v in one.makes if v in known):
                others = [v for v in one.values if v != value and v in known]
                return any(known[v][4] > 0 and known[v][0] == 0 for v in others)
        return False

    def _about(self, value: int, known: dict[int, Any]) -> dict[str, Any]:
        share, nan, *_ = known[value].tolist()
        kind = str(self.function.shapes[value].dtype)
        return {"share": share, "dtype": kind, "what": "nan" if nan else "inf"}

    def _operand(self, root: FlatEquation, word: str, known: dict[int, Any]) -> dict[str, Any]:
        given = [known[v] for v in root.values if v in known]
        if not given:
            return {"low": None, "high": None, "zeros": 0.0}
        place = min(words.operand_place(word), len(given) - 1)
        if word == "matmul":
            place = int(np.argmax([row[5] for row in given]))
        low, high, zeros = given[place][2:5].tolist()
        return {"low": low, "high": high, "zeros": zeros}

    def _largest_given(self, known: dict[int, Any]) -> float:
        own = {self.function.given[i] for i in self._trained}
        data = [v for v in (*self.function.given, *self.function.constants) if v in known]
        return max((float(known[v][5]) for v in data if v not in own), default=math.nan)


def _figures(values: Any) -> Any:
    wide = values.astype(jnp.float32)
    good = jnp.isfinite(wide)
    low = jnp.min(jnp.where(good, wide, jnp.inf))
    high = jnp.max(jnp.where(good, wide, -jnp.inf))
    parts = [
        jnp.mean(~good),
        jnp.mean(jnp.isnan(wide)),
        low,
        high,
        jnp.mean(wide == 0),
        jnp.maximum(jnp.abs(low), jnp.abs(high)),
    ]
    assert len(parts) == _FIGURES
    return jnp.stack([jnp.asarray(part, jnp.float32) for part in parts])


def _backward(equation: FlatEquation) -> bool:
    return "transpose" in str(equation.equation.source_info.name_stack)


def _layer(equation: FlatEquation) -> str:
    """The innermost scope that a layer has given its name."""
    if equation.mark is not None and equation.mark.kind is Kind.LOSS:
        return equation.mark.type
    parts = str(equation.equation.source_info.name_stack).split("/")
    own = [part for part in parts if not _SCOPES.match(part) and "(" not in part]
    known = own[-1] if own else ""
    return known if known or equation.mark is None else equation.mark.type


def _spot(equation: FlatEquation) -> tuple[Where | None, tuple[str, ...]]:
    """The user's line, and the libraries' functions between it and the equation."""
    place, functions = _place(equation)
    if place is None:
        return None, functions
    code, instruction = place
    known = next(itertools.islice(code.co_positions(), instruction // 2, None), (None,))[0]
    return Spot(code, instruction, known or code.co_firstlineno, {}).where(), functions


def _place(equation: FlatEquation) -> tuple[Any, tuple[str, ...]]:
    """The user's code and instruction, and the functions within. What a library has compiled is traced once for
    many calls: there the place is that of the call.
    """
    within: tuple[str, ...] = ()
    for call in equation.within:
        place, functions = _own(call)
        name = str(call.params.get("name"))
        if place is not None and not _is_users(equation, name):
            return place, (*functions, name, *_libraries(equation))
        within = (*within, name)
    place, functions = _own(equation.equation)
    return place, (*within, *functions)


def _own(equation: Any) -> tuple[Any, tuple[str, ...]]:
    functions: list[str] = []
    for code, instruction in compat.codes(equation):
        if is_own(code.co_filename):
            return (code, instruction), tuple(reversed(functions))
        functions.append(code.co_name)
    return None, ()


def _is_users(equation: FlatEquation, name: str) -> bool:
    codes = [code for code, _ in compat.codes(equation.equation)]
    return any(code.co_name == name and is_own(code.co_filename) for code in codes)


def _libraries(equation: FlatEquation) -> tuple[str, ...]:
    """Names of the compiled functions that it stands in."""
    return tuple(str(call.params.get("name")) for call in equation.within)
