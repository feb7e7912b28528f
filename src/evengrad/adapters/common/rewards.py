"""What the user's words say of the number that a log-probability is multiplied by: reward, or its opposite."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

_REWARD = frozenset(
    ["reward", "rewards", "rew", "rews", "return", "returns", "ret", "rets", "gain", "gains"]
)
_LETTERS = frozenset(["R", "G"])
_OPPOSITE = frozenset(
    ["neg", "negative", "minus", "loss", "losses", "error", "prob", "probs", "log", "logp"]
)
_LOGARITHM = frozenset(["log", "logp", "logprob", "logprobs", "nll", "entropy", "cce", "bce"])
_COST = frozenset(
    ["cost", "costs", "tour", "tours", "distance", "distances", "regret", "makespan", "latency"]
)
"""Who speaks of these minimises, whatever the name of what is minimised."""
_DEEPEST = 12  # of names that are given names


@dataclass(frozen=True, slots=True)
class WeighedScore:
    """A product in the user's code, one factor of which is a reward.

    Attributes:
        reward: that factor, as it stands there.
        sign: 1, or -1 where it is the opposite of a reward.
        last: the reward is the second factor.
        logarithm: the script's words for the other factor speak of a log-probability or a cross-entropy.
    """

    reward: str
    sign: int
    last: bool
    logarithm: bool


def reward_in(code: str, file: str) -> WeighedScore | None:
    """The first product in a line one factor of which is a reward, a return or an advantage; None where no
    factor surely is.

    An advantage is known by how the script computes it: ``returns - values`` is one, ``values - returns`` its
    opposite. A script that speaks of costs anywhere says nothing sure.

    Args:
        code: the user's expression or line.
        file: that it stands in.
    """
    return _found(code.strip().rstrip(":"), "".join(linecache.getlines(file)))


@lru_cache(maxsize=256)
def _found(code: str, source: str) -> WeighedScore | None:
    tree, line = _tree(source), _tree(code)
    if tree is None or line is None or _speaks_of_costs(tree):
        return None
    values = _values(tree)
    for sides in map(_factors, ast.walk(line)):
        signs = [_Signs(values).of(side) for side in sides]
        if sum(map(bool, signs)) == 1:
            last = bool(signs[1])
            spoken = _speaks_of_logarithms(sides[not last], values)
            return WeighedScore(ast.unparse(sides[last]), signs[last], last, spoken)
    return None


def _factors(node: ast.AST) -> tuple[ast.AST, ...]:
    match node:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return left, right
        case ast.Call(func=ast.Attribute(attr="mul" | "multiply"), args=[left, right]):
            return left, right
    return ()


_Values = Mapping[str, Sequence[ast.AST]]
"""What a script gives each variable and each argument of that name, wherever it does."""


def _speaks_of_logarithms(node: ast.AST, values: _Values) -> bool:
    """Whether the words of an expression, or of what its variables are given, say so."""
    left, seen = [node], set[str]()
    for _ in range(_DEEPEST):
        names = {name for one in left for name in _names(one)} - seen
        if any(_words(name) & _LOGARITHM or "crossentropy" in name.lower() for name in names):
            return True
        seen |= names
        left = [value for name in names for value in values.get(name, ())]
    return False


def _names(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


class _Signs:
    """1 of what grows with the reward, -1 of what falls with it, 0 of what is not known; each name's once."""

    def __init__(self, values: _Values) -> None:
        self._values = values
        self._known: dict[str, int] = {}
        self._depth = 0

    def of(self, node: ast.AST) -> int:
        """Of an expression."""
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) if _is_reward(name):
                return 1
            case ast.Name(id=name):
                return self._of_name(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.of(operand)
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return self.of(left) or -self.of(right)
            case ast.BinOp(left=left, op=ast.Div()) | ast.Subscript(value=left):
                return self.of(left)
            case ast.BinOp(left=left, op=ast.Add() | ast.Mult(), right=right):
                return self._agreed((left, right))
            case ast.Call(func=ast.Attribute(value=value), args=args) if not _is_library(value):
                return self.of(value) or self._agreed(args)
            case ast.Call(func=func, args=args):
                own = isinstance(func, ast.Name) and _is_reward(func.id)
                return 1 if own else self._agreed(args)
        return 0

    def _of_name(self, name: str) -> int:
        if name not in self._known:
            self._known[name] = 0  # what it is made of may be made of itself
            if self._depth < _DEEPEST:
                self._depth += 1
                self._known[name] = self._agreed(self._values.get(name, ()))
                self._depth -= 1
        return self._known[name]

    def _agreed(self, nodes: Iterable[ast.AST]) -> int:
        known = {sign for node in nodes if (sign := self.of(node))}
        return known.pop() if len(known) == 1 else 0


@lru_cache(maxsize=8)
def _values(tree: ast.Module) -> _Values:
    found: dict[str, list[ast.AST]] = {}
    functions: dict[str, list[list[str]]] = {}
    calls: list[ast.Call] = []
    for node in ast.walk(tree):
        pairs: Iterable[tuple[ast.AST, ast.AST]] = ()
        if isinstance(node, ast.Assign):
            pairs = [pair for target in node.targets for pair in _paired(target, node.value)]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.For | ast.comprehension):
            pairs = _looped(node.target, node.iter)
        elif isinstance(node, ast.FunctionDef):
            functions.setdefault(node.name, []).append([a.arg for a in node.args.args])
        elif isinstance(node, ast.Call):
            calls.append(node)
        for target, value in pairs:
            if isinstance(target, ast.Name):
                found.setdefault(target.id, []).append(value)
    for call in calls:
        for names in functions.get(_called(call), ()):
            for name, value in _given(names, call):
                found.setdefault(name, []).append(value)
    return found


def _given(names: list[str], call: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    """What a call gives a function's arguments."""
    yield from zip(names[names[:1] == ["self"] :], call.args, strict=False)
    yield from ((k.arg, k.value) for k in call.keywords if k.arg in names)


def _called(call: ast.Call) -> str:
    return getattr(call.func, "id", "") or getattr(call.func, "attr", "")


def _paired(target: ast.AST, value: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from zip(target.elts, value.elts, strict=False)
    else:
        yield target, value


def _looped(target: ast.AST, values: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """``for a, b in zip(x, y)``, also within an ``enumerate``."""
    match target, values:
        case ast.Tuple(elts=[_, inner]), ast.Call(func=ast.Name(id="enumerate"), args=[first, *_]):
            yield from _looped(inner, first)
        case ast.Tuple(elts=targets), ast.Call(func=ast.Name(id="zip"), args=given):
            yield from zip(targets, given, strict=False)
        case _:
            yield target, values


def _is_reward(name: str) -> bool:
    words = _words(name)
    return name in _LETTERS or bool(words & _REWARD and not words & _OPPOSITE)


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def _is_library(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in (
        "torch",
        "np",
        "numpy",
        "tf",
        "ops",
        "keras",
        "jnp",
        "F",
    )


@lru_cache(maxsize=8)
def _tree(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


@lru_cache(maxsize=8)
def _speaks_of_costs(tree: ast.Module) -> bool:
    names = [
        getattr(node, key, "") for node in ast.walk(tree) for key in ("id", "attr", "arg", "name")
    ]
    return any(isinstance(name, str) and _words(name) & _COST for name in names)
