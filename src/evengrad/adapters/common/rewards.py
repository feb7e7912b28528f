"""What the user's words say of the number that a log-probability is multiplied by: reward, or its opposite."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator
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
_DEEPEST = 12


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
    tree = _tree("".join(linecache.getlines(file)))
    line = _tree(code.strip().rstrip(":"))
    if tree is None or line is None or _speaks_of_costs(tree):
        return None
    for sides in map(_factors, ast.walk(line)):
        signs = [_sign(side, tree, frozenset()) for side in sides]
        if sum(map(bool, signs)) == 1:
            last = bool(signs[1])
            spoken = _speaks_of_logarithms(sides[not last], tree, frozenset())
            return WeighedScore(ast.unparse(sides[last]), signs[last], last, spoken)
    return None


def _factors(node: ast.AST) -> tuple[ast.AST, ...]:
    match node:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return left, right
        case ast.Call(func=ast.Attribute(attr="mul" | "multiply"), args=[left, right]):
            return left, right
    return ()


def _speaks_of_logarithms(node: ast.AST, tree: ast.Module, seen: frozenset[str]) -> bool:
    """Whether the words of an expression, or of what its variables are given, say so."""
    names = [
        n.id if isinstance(n, ast.Name) else n.attr
        for n in ast.walk(node)
        if isinstance(n, ast.Name | ast.Attribute)
    ]
    if any(_words(name) & _LOGARITHM or "crossentropy" in name.lower() for name in names):
        return True
    new = [name for name in names if name not in seen] if len(seen) < _DEEPEST else []
    more = seen | set(new)
    return any(
        _speaks_of_logarithms(value, tree, more) for name in new for value in _values_of(name, tree)
    )


def _sign(node: ast.AST, tree: ast.Module, seen: frozenset[str]) -> int:
    """1 of what grows with the reward, -1 of what falls with it, 0 of what is not known."""
    if len(seen) > _DEEPEST:
        return 0
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) if _is_reward(name):
            return 1
        case ast.Name(id=name):
            return 0 if name in seen else _of_name(name, tree, seen | {name})
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_sign(operand, tree, seen)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _sign(left, tree, seen) or -_sign(right, tree, seen)
        case ast.BinOp(left=left, op=ast.Div()) | ast.Subscript(value=left):
            return _sign(left, tree, seen)
        case ast.BinOp(left=left, op=ast.Add() | ast.Mult(), right=right):
            return _agreed(_sign(part, tree, seen) for part in (left, right))
        case ast.Call(func=ast.Attribute(value=value), args=args) if not _is_library(value):
            return _sign(value, tree, seen) or _agreed(_sign(a, tree, seen) for a in args)
        case ast.Call(func=func, args=args):
            own = isinstance(func, ast.Name) and _is_reward(func.id)
            return 1 if own else _agreed(_sign(a, tree, seen) for a in args)
    return 0


def _of_name(name: str, tree: ast.Module, seen: frozenset[str]) -> int:
    return _agreed(_sign(value, tree, seen) for value in _values_of(name, tree))


def _agreed(signs: Iterator[int]) -> int:
    known = {sign for sign in signs if sign}
    return known.pop() if len(known) == 1 else 0


def _values_of(name: str, tree: ast.Module) -> Iterator[ast.AST]:
    """What the script gives a variable or an argument of that name, wherever it does."""
    yield from _given(name, tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            pairs = [pair for target in node.targets for pair in _paired(target, node.value)]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.For | ast.comprehension):
            pairs = list(_looped(node.target, node.iter))
        else:
            continue
        yield from (
            value for target, value in pairs if isinstance(target, ast.Name) and target.id == name
        )


def _given(name: str, tree: ast.Module) -> Iterator[ast.AST]:
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        own = [a.arg for a in function.args.args]
        if name not in own:
            continue
        place = own.index(name) - (own[0] == "self")
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and _called(call) == function.name:
                yield from call.args[place : place + 1]
                yield from (k.value for k in call.keywords if k.arg == name)


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
