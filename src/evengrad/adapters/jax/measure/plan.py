"""The operations of a function in evengrad's words: which equations each is made of, and what it reads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evengrad.adapters.common.source import is_own, shown
from evengrad.adapters.jax import compat
from evengrad.adapters.jax.measure.flat import FlatEquation, FlatFunction
from evengrad.values.spec import Kind

_PRODUCTS = {"dot_general", "conv_general_dilated", "ragged_dot_general"}
_SHAPES = {"reshape", "squeeze", "transpose", "expand_dims", "convert_element_type"}
_SLOPES = {"tanh": "tanh", "logistic": "sigmoid", "erf": "erf", "sin": "sin", "cos": "cos"}
_MOVES = (
    "reshape transpose broadcast_in_dim squeeze expand_dims rev slice dynamic_slice pad gather concatenate "
    "convert_element_type copy stop_gradient split copy_p reduce_precision"
)
_SUMS = (
    "reduce_sum reduce_max reduce_min reduce_window_sum reduce_window_max reduce_window "
    "select_and_scatter_add"
)
_JOINS = {
    "add",
    "sub",
    "mul",
    "div",
    "max",
    "min",
    "concatenate",
    "select_n",
    "dot_general",
    "add_any",
}
_LOOPS = {"scan", "while"}
_HEADS = ("log_softmax", "softmax", "sigmoid", "log_sigmoid", "logistic")


@dataclass(slots=True, eq=False)
class PlannedOperation:
    """One operation.

    Attributes:
        kind: what it is.
        type: what it is to the user.
        equations: those it is made of, in order.
        reads: the values on a path to the loss that it reads, not made by itself.
        makes: those it makes for others.
        weights: the trained tensors that it uses, by their place.
        source: "train.py:31"; None where not known.
    """

    kind: Kind
    type: str
    equations: list[FlatEquation]
    reads: tuple[int, ...] = ()
    makes: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    source: str | None = None
    targets: tuple[int, ...] = field(default=())


class Plan:
    """The operations between what a function is given and its loss.

    Args:
        function: as one list.
        trained: numbers of the trained tensors.

    Attributes:
        operations: in order.
        inputs: values that are data, and that a gradient could pass.
        outputs: the values where the budget begins.
        loss: the operation that is the loss function; None where the script's own arithmetic is.
        head: the closing activation before it.
    """

    def __init__(self, function: FlatFunction, trained: Sequence[int]) -> None:
        self.function = function
        self.trained = {value: place for place, value in enumerate(trained)}
        self._live = self._needed()
        self._uses = Counter(v for e in self.live for v in e.values)
        self._depends = self._dependent()
        self.operations = self._group()
        self._connect()
        self.operations = [op for op in self.operations if op.reads or op.weights]
        self.loss: PlannedOperation | None = None
        self.head: str | None = None
        self.outputs = self._outputs()
        made = {value for op in self.operations for value in op.makes}
        read = [value for op in self.operations for value in op.reads]
        self.inputs = tuple(dict.fromkeys(v for v in read if v not in made))

    # --- what is needed and what it hangs on -----------------------------------------------------

    def _needed(self) -> set[int]:
        wanted = {self.function.loss} if isinstance(self.function.loss, int) else set()
        for equation in reversed(self.function.equations):
            if wanted.intersection(equation.makes):
                wanted.update(equation.values)
        return wanted

    def _dependent(self) -> dict[int, tuple[frozenset[int], bool]]:
        """Of each value: the trained tensors that it is made of, and whether data are in it."""
        known: dict[int, tuple[frozenset[int], bool]] = {}
        for value in (*self.function.given, *self.function.constants):
            place = self.trained.get(value)
            alone = place is not None or self.function.size(value) < 2
            known[value] = (frozenset(() if place is None else (place,)), not alone)
        for equation in self.function.equations:
            parts = [known[v] for v in equation.values]
            weights = frozenset().union(*(p[0] for p in parts)) if parts else frozenset()
            for value in equation.makes:
                known[value] = (weights, any(p[1] for p in parts))
        return known

    @property
    def live(self) -> list[FlatEquation]:
        """The equations that the loss needs, in order."""
        return [e for e in self.function.equations if self._live.intersection(e.makes)]

    def _weights_alone(self, value: int) -> bool:
        return not self._depends[value][1]

    def _active(self, value: int) -> bool:
        """Whether data and weights are both in it, and a gradient passes it."""
        weights, data = self._depends[value]
        return bool(weights) and data and self.function.is_float(value)

    # --- operations ------------------------------------------------------------------------------

    def _group(self) -> list[PlannedOperation]:
        found: list[PlannedOperation] = []
        by_call: dict[Any, PlannedOperation] = {}
        maker: dict[int, PlannedOperation] = {}
        for equation in self.function.equations:
            if not self._live.intersection(equation.makes):
                continue
            if equation.call in by_call and equation.call is not None:
                op = by_call[equation.call]
                op.equations.append(equation)
            elif all(map(self._weights_alone, equation.makes)):
                continue  # made of weights alone: part of whoever reads it
            elif (
                known := self._moved(equation, maker) or self._biased(equation, maker)
            ) is not None:
                op = known
                op.equations.append(equation)
            else:
                op = PlannedOperation(*self._kind(equation), [equation], source=_source(equation))
                found.append(op)
                if equation.call is not None:
                    by_call[equation.call] = op
            maker |= dict.fromkeys(equation.makes, op)
        return found

    def _moved(
        self, equation: FlatEquation, maker: dict[int, PlannedOperation]
    ) -> PlannedOperation | None:
        """The product whose result alone is brought into another shape."""
        if equation.title not in _SHAPES or equation.call is not None:
            return None
        op = maker.get(equation.values[0]) if len(equation.values) == 1 else None
        if op is None or op.kind is not Kind.WEIGHTS or self._uses[equation.values[0]] != 1:
            return None
        titles = {one.title for one in op.equations}
        return op if op.equations[0].title in _PRODUCTS and "add" not in titles else None

    def _biased(
        self, equation: FlatEquation, maker: dict[int, PlannedOperation]
    ) -> PlannedOperation | None:
        """The product to which an addition of a weight belongs."""
        if equation.title != "add" or equation.call is not None or len(equation.values) != 2:
            return None
        for one, other in (equation.values, equation.values[::-1]):
            op = maker.get(one)
            if op is None or op.kind is not Kind.WEIGHTS or not self._own(other):
                continue
            if op.equations[-1].title in {*_PRODUCTS, *_SHAPES}:
                return op
        return None

    def _kind(self, equation: FlatEquation) -> tuple[Kind, str]:
        if equation.mark is not None:
            return equation.mark.kind, equation.mark.type
        title, weighted = equation.title, any(map(self._own, equation.values))
        if title in _PRODUCTS:
            return (Kind.WEIGHTS if weighted else Kind.MERGE), _plain(title)
        if title in _LOOPS:
            return (Kind.RECURRENT if weighted else Kind.OTHER), title
        if title == "gather" and weighted:
            return Kind.EMBEDDING, "take"
        if title in _SLOPES:
            return Kind.ACTIVATION, _SLOPES[title]
        if title == "max" and any(_is_zero(v) for v in equation.reads):
            return Kind.ACTIVATION, "relu"
        if title in _MOVES.split():
            return Kind.RESHAPE, title
        if title in _SUMS.split():
            return Kind.POOLING, title
        joined = [v for v in equation.values if self._active(v)]
        return (Kind.MERGE if title in _JOINS and len(set(joined)) > 1 else Kind.OTHER), title

    def _own(self, value: int) -> bool:
        return self._weights_alone(value) and bool(self._depends[value][0])

    def _connect(self) -> None:
        """Who reads what; what leads from data to the first weights counts, what leads from labels does not."""
        owner = {v: op for op in self.operations for e in op.equations for v in e.makes}
        readers: dict[int, list[PlannedOperation]] = defaultdict(list)
        for op in self.operations:
            for equation in op.equations:
                for value in equation.values:
                    if owner.get(value) is not op:
                        readers[value].append(op)
        wanted: set[int] = set()  # data that weights or operations before them read
        for op in reversed(self.operations):
            read = [v for e in op.equations for v in e.values if owner.get(v) is not op]
            makes = [
                v for e in op.equations for v in e.makes if readers[v] or v == self.function.loss
            ]
            takes = op.kind in (Kind.WEIGHTS, Kind.NORMALISATION, Kind.RECURRENT)
            takes |= any(v in wanted for v in makes)
            active = [v for v in makes if self._active(v) or v in wanted]
            if not active:
                op.reads = op.makes = op.weights = ()
                continue
            data = [v for v in read if not self._weights_alone(v) and self.function.is_float(v)]
            op.reads = tuple(dict.fromkeys(v for v in data if self._active(v) or takes))
            op.targets = tuple(
                dict.fromkeys(v for v in read if v not in op.reads and not self._own(v))
            )
            wanted.update(v for v in op.reads if not self._active(v))
            op.makes = tuple(dict.fromkeys(active))
            own = [self._depends[v][0] for v in read if self._weights_alone(v)]
            op.weights = tuple(sorted(frozenset().union(*own))) if own else ()

    def _outputs(self) -> tuple[int, ...]:
        """What the loss reads, as far as it can be told: of optax' own, else of a closing softmax or the like,
        else what the last weights make.
        """
        for op in self.operations:
            if op.kind is Kind.LOSS and op.reads:
                self.loss = op
                return self._before_head(op.reads[:1])
        last = max((i for i, op in enumerate(self.operations) if op.weights), default=-1)
        for op in self.operations[last + 1 :]:
            if op.type in _HEADS and op.reads:
                self.head = op.type
                return op.reads[:1]
        return self.operations[last].makes[:1] if last >= 0 else ()

    def _before_head(self, values: tuple[int, ...]) -> tuple[int, ...]:
        for op in self.operations:
            if set(values) & set(op.makes) and op.type in ("softmax", "sigmoid", "log_softmax"):
                self.head = op.type
                return op.reads[:1]
        return values

    @property
    def weights_of(self) -> Mapping[int, PlannedOperation]:
        """The first operation that uses each trained tensor, by its place."""
        found: dict[int, PlannedOperation] = {}
        for op in self.operations:
            for place in op.weights:
                found.setdefault(place, op)
        return found


def _plain(title: str) -> str:
    return {"dot_general": "dot", "conv_general_dilated": "conv"}.get(title, title)


def _is_zero(read: Any) -> bool:
    return isinstance(read, tuple) and getattr(read[0], "size", 1) == 1 and float(read[0]) == 0.0


def _source(equation: FlatEquation) -> str | None:
    own = next((s for s in compat.spots(equation.equation) if is_own(s[0])), None)
    return None if own is None else f"{shown(own[0])}:{own[1]}"
