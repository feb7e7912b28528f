"""Whether a trial is healthy and learns: stated tests, the same for every trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evengrad.fixing.trial import Result
from evengrad.values.message import msg

_NORMAL_99 = 2.326
_NORMAL_999 = 3.090
_FEWEST = 8
_FOLLOWS = 0.5
"""Of what the training's own losses gain held-out ones gain so much, unless it was learnt by heart."""
_BOTH = 0.1
"""Of the first and of the last losses are of each sign, at least, where they measure nothing (a choice)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trial's losses and findings say.

    Attributes:
        healthy: finite, nothing explodes or vanishes at its end.
        learning: its last losses are below the constant baseline and below its first ones.
        level: mean of the last losses.
        why: one line.
    """

    healthy: bool
    learning: bool
    level: float
    why: str

    @property
    def good(self) -> bool:
        """Healthy and learning."""
        return self.healthy and self.learning


def judge(result: Result, start: Result | None = None, *, repaired: bool = False) -> Verdict:
    """Judge one trial.

    Args:
        result: what came of it.
        start: whose first losses count, if not its own (pretrained weights begin low).
        repaired: a mistake was taken out of the script, and nothing else was changed: a loss that is no
            measure of success (``is_signed``) need not fall then.

    Returns:
        Whether it is healthy and learns.

    It learns if the mean of its last quarter of losses lies below the loss of the best constant answer, and
    below the mean of as many first ones, by a one-sided t-test at 99% each; and if the same holds for the
    means of the held-out losses, those of examples that were not trained on (``objection`` tests these).
    Where baseline is not known the first losses must do. Where optimizers train side by side, each with a loss
    of its own, as in a GAN, no loss need fall, and what is healthy is well.

    Few held-out losses say little: what they do not show speaks against a training only where they surely gain
    less than half of what the training's own losses do.
    """
    level = _mean(result.losses[-max(len(result.losses) // 4, 1) :])
    if result.end in ("failed", "refused", "unseen", "internal"):
        return Verdict(False, False, level, result.message or result.end)
    if result.end == "stopped":
        return Verdict(
            False, False, level, msg("stopped by the guard: {first}", first=_first(result.message))
        )
    if not all(math.isfinite(v) for v in result.losses):
        return Verdict(False, False, math.nan, msg("a loss is not finite"))
    if result.floor is not None and any(v < result.floor for v in result.losses):
        words = msg(
            "its loss falls to {losses:.4g}, where no such loss can be below {floor:g}",
            losses=min(result.losses),
            floor=result.floor,
        )
        return Verdict(False, False, level, msg("{words}: targets out of its range", words=words))
    if result.unhealthy:
        return Verdict(False, False, level, result.unhealthy[0])
    if result.optimizers > 1 and len(result.losses) >= _FEWEST:
        words = msg(
            "its {optimizers} optimizers have a loss each, none of which need fall: all is finite",
            optimizers=result.optimizers,
        )
        return Verdict(True, True, level, words)
    if repaired and is_signed(result):
        words = msg("its loss has both signs and is no measure of success: all is finite")
        return Verdict(True, True, level, words)
    return _learning(result, start or result)


def is_signed(result: Result) -> bool:
    """Whether the losses are now above and now below 0, from first to last, and nothing is known that they
    measure: that of a policy gradient need not fall. (One that goes from above 0 to below it has no end.)
    """
    if result.baseline is not None or result.floor is not None or len(result.losses) < _FEWEST:
        return False
    return all(min((v < 0).mean(), (v > 0).mean()) >= _BOTH for v in _ends(result.losses))


def is_better(result: Result, than: Result) -> bool:
    """Whether the last losses are below those that another trial had at the same steps, by the test of
    ``judge``.
    """
    steps = min(len(result.losses), len(than.losses))
    _, mine = _ends(result.losses[:steps])
    _, theirs = _ends(than.losses[:steps])
    return _falls(theirs, mine)


def is_hopeless(losses: Sequence[float]) -> bool:
    """Whether the last losses of a trial are not below the first ones at all."""
    if len(losses) < 2 * _FEWEST:
        return False
    first, last = _ends(losses)
    return not last.mean() < first.mean()


def is_clear(
    losses: Sequence[float],
    held: Sequence[float],
    baseline: float | None,
    enough: float = math.inf,
) -> bool:
    """Whether a trial learns so clearly that it can end before its steps are made: its last losses are below
    the constant baseline, below ``enough`` and below its first ones, at 99.9% each (so that ten such tests are
    wrong in 1%), the held-out ones by their means.
    """
    if len(losses) < 2 * _FEWEST or not all(map(math.isfinite, losses)):
        return False
    first, last = _ends(losses)
    bound = math.inf if baseline is None else baseline
    begun, ended = _ends(held) if len(held) >= _FEWEST else (first, last)
    if not ended.mean() < min(begun.mean(), bound):
        return False
    return _below(last, min(bound, enough), _NORMAL_999) and _falls(first, last, _NORMAL_999)


def objection(results: Sequence[Result], start: Result | None = None) -> str | None:
    """What speaks against trials that each learn, with several seeds: their held-out losses taken together
    are not below the constant baseline, or not below where they began, by the test of ``judge``, and surely
    gain less than half of what the training's own losses do. None where nothing does. start: see ``judge``.
    """
    alone = [result for result in results if result.optimizers == 1 and not is_signed(result)]
    known = [result for result in alone if len(result.held_out) >= _FEWEST]
    if not known:
        return None
    pairs = [_ends(result.held_out) for result in known]
    own = np.concatenate([_ends(result.losses)[1] for result in known])
    first = (
        np.concatenate([one for one, _ in pairs]) if start is None else _first_of(start.held_out)
    )
    begun = _begun([result.losses for result in known] if start is None else [start.losses])
    last = np.concatenate([two for _, two in pairs])
    baselines = [result.baseline for result in known if result.baseline is not None]
    if len(baselines) == len(known):
        excess = [two - baseline for (_, two), baseline in zip(pairs, baselines, strict=True)]
        above = np.concatenate(excess)
        gained = float(np.mean(baselines)) - float(own.mean())
        if not _below(above, 0.0) and _below(-_FOLLOWS * gained - above, 0.0):
            return msg(
                "the held-out loss {mean:.4g} is not below the constant baseline", mean=last.mean()
            )
    if len(first) > 1 and not _falls(first, last):
        gained = begun - float(own.mean())
        if _falls(last + _FOLLOWS * gained, first):
            return msg("the held-out loss {mean:.4g} is not below where it began", mean=last.mean())
    return None


def _learning(result: Result, start: Result) -> Verdict:
    if len(result.losses) < _FEWEST:
        words = msg("only {number} steps were made", number=len(result.losses))
        return Verdict(True, False, _mean(result.losses), words)
    first, last = _first_of(start.losses), _ends(result.losses)[1]
    level = float(last.mean())
    if result.baseline is not None and not _below(last, result.baseline):
        words = msg(
            "its loss {level:.4g} is not below the constant baseline, {baseline:.4g}",
            level=level,
            baseline=result.baseline,
        )
        return Verdict(True, False, level, words)
    if len(first) > 1 and not _falls(first, last):
        words = msg(
            "its loss {level:.4g} is not below where it began, {mean:.4g}",
            level=level,
            mean=first.mean(),
        )
        return Verdict(True, False, level, words)
    against = (
        ""
        if result.baseline is None
        else msg(", constant baseline {baseline:.4g}", baseline=result.baseline)
    )
    held = _held_out_means(result, start)
    if held is None:
        return Verdict(
            True,
            True,
            level,
            msg("its loss fell to {level:.4g}{against}", level=level, against=against),
        )
    bound = math.inf if result.baseline is None else result.baseline
    if not held[1] < min(held[0], bound) and _lags(result, start):
        words = msg(
            "its loss fell to {level:.4g}, but the held-out loss is {held:.4g}{against}",
            level=level,
            held=held[1],
            against=against,
        )
        return Verdict(True, False, level, words)
    if result.held_out == result.losses:
        return Verdict(
            True,
            True,
            level,
            msg("its held-out loss fell to {level:.4g}{against}", level=level, against=against),
        )
    words = msg(
        "its loss fell to {level:.4g}, held out {held:.4g}{against}",
        level=level,
        held=held[1],
        against=against,
    )
    return Verdict(True, True, level, words)


def _held_out_means(result: Result, start: Result) -> tuple[float, float] | None:
    """Means of the first and the last held-out losses; None where nothing is held out, or too little."""
    if len(result.held_out) < _FEWEST:
        return None
    first, last = _first_of(start.held_out), _ends(result.held_out)[1]
    return float(first.mean()) if len(first) else math.inf, float(last.mean())


def _lags(result: Result, start: Result) -> bool:
    """Whether held-out losses surely gain less than half of what the training's own do."""
    own, last = _ends(result.losses)[1], _ends(result.held_out)[1]
    if result.baseline is not None:
        gained = result.baseline - float(own.mean())
        if _below(result.baseline - last - _FOLLOWS * gained, 0.0):
            return True
    first = _first_of(start.held_out)
    if len(first) < 2:
        return False
    gained = _begun([start.losses]) - float(own.mean())
    return _falls(last + _FOLLOWS * gained, first)


def _begun(losses: Sequence[Sequence[float]]) -> float:
    """Where trainings began: the mean of their first losses, as far as they are finite."""
    return float(np.mean(np.concatenate([_first_of(one) for one in losses])))


def _ends(losses: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last quarter."""
    window = max(len(losses) // 4, _FEWEST // 2)
    return np.array(losses[:window]), np.array(losses[-window:])


def _first_of(losses: Sequence[float]) -> np.ndarray:
    """The first quarter, as far as it is finite."""
    first = _ends(losses)[0]
    bad = np.flatnonzero(~np.isfinite(first))
    return first[: bad[0]] if len(bad) else first


def _below(values: np.ndarray, bound: float, normal: float = _NORMAL_99) -> bool:
    error = _noise(values) / math.sqrt(len(values))
    return float(values.mean()) + _student(len(values) - 1, normal) * error < bound


def _falls(first: np.ndarray, last: np.ndarray, normal: float = _NORMAL_99) -> bool:
    """Welch's test."""
    error = math.sqrt(_noise(first) ** 2 / len(first) + _noise(last) ** 2 / len(last))
    bound = _student(min(len(first), len(last)) - 1, normal) * error
    return float(first.mean() - last.mean()) > bound


def _noise(values: np.ndarray) -> float:
    """Standard deviation from batch to batch, by successive differences: a trend is no noise (von Neumann
    1941, The mean square successive difference).
    """
    return float(np.sqrt(np.mean(np.diff(values) ** 2) / 2))


def _student(freedom: int, normal: float) -> float:
    """The point of Student's t that belongs to one of the normal distribution, to 4% from 4 degrees of freedom
    on at 99%, to 13% at 99.9% (Cornish-Fisher).
    """
    z, n = normal, float(freedom)
    return z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n * n)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _first(text: str) -> str:
    return text.split("\n", 1)[0]
