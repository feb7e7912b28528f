"""Whether a watched training learns, and what keeps it from it: the tests that the rules of a run share.

The scatter from step to step is measured in the run itself, so that silence needs no proof but a finding does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evengrad.diagnosis.readings import (
    ENOUGH,
    first_to_last,
    losses,
    matrices,
    medians,
    ratios,
    tensor_figure,
)
from evengrad.diagnosis.slow import Reason, highest_rate, too_slow
from evengrad.values.finding import Cause
from evengrad.values.message import msg
from evengrad.values.run import Floats, Run
from evengrad.values.wording import layers, of_it, percent, size

Z99 = 2.33
UNEXPLAINED = 200
"""Steps from which a loss that does not fall is a finding although nothing says why; measured choice."""
RAW = 10.0
"""Root mean square of inputs from which they count as not normalised, as for EG601."""
_STRETCH, _SURELY, _BETTER, _MARGIN = 5, 5.0, 0.8, 0.98  # of ``collapsed``: see EG811
_WELL = 0.75  # of the baseline, or of the first losses: below it a training does well
_FEWEST = 20  # losses that can show that a training does well
_ON_ITS_WAY = 0.9  # of the same: below it a training does well whose loss is still falling
_WORSE = 1.5  # times the loss of the first step: more than batches differ by
_EITHER = 0.1  # of the steps, for either sign of the loss
_MOSTLY = 0.5  # of the weights
_LEFT = 0.1  # of the units, behind all dropout of a network (a choice)
_THROWN = 100.0  # times the loss of the first step
_SHRUNK = 0.1  # of the weights' size at the start
_FASTEST, _SLOWEST = 0.1, 1e-5  # rms(update) / rms(weights)
_EPOCHS = 3  # whose validation tells whether anything was learnt
_HARDLY, _NEVER = 0.9, 0.99  # of the baseline (choices)
_MOVED = (
    0.01  # of the weights, by all updates in one direction: nothing is learnt by that (a choice)
)
_RUNS = 10  # times the length of the run: nobody waits for that


@dataclass(frozen=True, slots=True)
class Level:
    """Where a stretch of losses lies. error: the standard error of the mean, over the noise as it lasts."""

    mean: float
    error: float

    @property
    def low(self) -> float:
        """The lower 99% limit."""
        return self.mean - Z99 * self.error

    @property
    def high(self) -> float:
        """The upper 99% limit."""
        return self.mean + Z99 * self.error


def level(values: Floats) -> Level:
    """Of a stretch of losses: its noise from one step to the next (a trend is none), or of the means of ten
    blocks, whichever is larger, so that noise that lasts over many steps counts.

    References:
        von Neumann 1941, The mean square successive difference.
    """
    steps = np.diff(values)
    noise = math.sqrt(float(np.mean(steps**2)) / 2) if len(steps) else 0.0
    error = noise / math.sqrt(len(values))
    if len(values) >= 2 * ENOUGH:
        blocks = np.array([block.mean() for block in np.array_split(values, 10)])
        error = max(error, math.sqrt(float(np.mean(np.diff(blocks) ** 2)) / 2 / 10))
    return Level(float(values.mean()), error)


def takes_either_sign(run: Run) -> bool:
    """Whether the loss does all along: likelihoods times what they were worth, whose gradients are as uneven as
    that is, and whose level says nothing.
    """
    loss = losses(run)[1]
    below = float((loss < 0).mean()) if len(loss) else 0.0
    return _EITHER < below < 1 - _EITHER


def judged(run: Run, least: int = ENOUGH) -> Floats | None:
    """The losses, where they can say whether the training learns: enough of them, of one training that is not
    set against another. Penalties that are known are not counted.

    Args:
        run: the training.
        least: how many are enough.
    """
    loss = losses(run)[1]
    if len(loss) < least or run.seen.get("interleaved"):
        return None
    return loss - float(run.seen.get("penalty") or 0.0)


def baseline(run: Run) -> float | None:
    """The loss of the best constant answer; None where it is not known, or 0, which nothing is below."""
    found = run.seen.get("baseline")
    if found is None or run.seen.get("interleaved") or not found > 1e-9:
        return None
    return float(found)


def loose(run: Run) -> bool:
    """Whether a better constant answer than the baseline's may exist: what is not above it may still be one."""
    return bool(run.seen.get("baseline_loose"))


def unlearnt(run: Run, last: Level, bound: float) -> float | None:
    """The best loss on the validation data, where it never beat a constant answer, and the training's is
    hardly better: what it gains then is by heart. None elsewhere.
    """
    found = [float(v) for v in run.seen.get("validation") or ()]
    if len(found) < _EPOCHS or loose(run) or not last.mean > _HARDLY * bound:
        return None
    best = min(found) - float(run.seen.get("penalty") or 0.0)
    return best if best > _NEVER * bound else None


def end(loss: Floats) -> Level:
    """Of the last quarter."""
    return level(loss[-max(len(loss) // 4, 10) :])


def still_falling(loss: Floats) -> bool:
    """Whether the last quarter lies below the one before it, at 99%."""
    part = max(len(loss) // 4, 10)
    before, last = level(loss[-2 * part : -part]), level(loss[-part:])
    return before.mean - last.mean > Z99 * math.hypot(before.error, last.error)


def comes_nowhere(loss: Floats, bound: float) -> bool:
    """Whether a loss above that bound would need ten times as many steps again to reach it at its last pace."""
    part = max(len(loss) // 4, 10)
    fall = float(loss[-2 * part : -part].mean() - loss[-part:].mean())
    return float(loss[-part:].mean()) - bound > fall * _RUNS * len(loss) / part


def collapsed(run: Run) -> tuple[int, float] | None:
    """Where the loss had been surely better than it is now that it rests at the baseline, and how much it was;
    None where it had not been. Where no baseline is known, what it rests at must be twice that, and flat.
    """
    loss = judged(run)
    if loss is None or not loss[-1] > 0:
        return None
    last, bound = end(loss), baseline(run)
    before = loss[: -max(len(loss) // 4, 10)]
    runs = np.convolve(before, np.ones(_STRETCH) / _STRETCH, "valid")
    at = int(runs.argmin())
    best, place = float(runs[at]), at + _STRETCH // 2
    if before[0] < best:
        best, place = float(before[0]), 0
    noise = last.error * math.sqrt(max(len(loss) // 4, 10))
    worse = (
        place == 0 and last.low > _WORSE * best
    )  # than untrained, whatever the noise that it has come to
    if best > last.mean - _SURELY * noise and not worse:
        return None
    if bound is not None and best < _BETTER * bound and last.low > _MARGIN * bound:
        return place, best
    if bound is not None and not loose(run):
        return None
    jumped = float(before[place:].max()) > 2 * last.mean
    flat = not still_falling(loss) and last.mean > 2 * best > 0
    return (place, best) if jumped and flat else None


def thrown(run: Run) -> tuple[int, float] | None:
    """Where the first steps threw the loss up a hundredfold, and how high, of a training that has not come well
    below the untrained network's loss since, and is not on its way there or ends a hundredfold above it.
    """
    loss = judged(run)
    if loss is None or not loss[0] > 0 or does_well(run):
        return None
    if still_falling(loss) and end(loss).low <= _THROWN * float(loss[0]):
        return None
    at = int(loss[: max(len(loss) // 4, 20)].argmax())
    high = float(loss[at])
    return (at, high) if high > _THROWN * float(loss[0]) else None


def does_well(run: Run) -> bool:
    """Whether the loss surely ends well below the baseline, or where that is not known below where it began;
    where it is still falling, a tenth below will do.
    """
    loss = judged(run, _FEWEST)
    if loss is None or loss[0] <= 0:
        return False
    bound, last = baseline(run), end(loss)
    first = float(np.median(loss[: max(len(loss) // 10, 5)]))
    if first > _THROWN * loss[0]:
        first = float(loss[0])
    if bound is None or loose(run):
        bound = first if bound is None else min(first, bound)
    return last.high < (_ON_ITS_WAY if still_falling(loss) else _WELL) * bound


def reason(run: Run) -> Reason:
    """By what is left of the gradient, by the inputs, by weights that shrink to nothing, then by the size of
    the updates, at the start and the last ten times that they were observed.
    """
    if (half := _half(run)) is not None:
        return half
    if (flat := _flat(run)) is not None:
        return flat
    if (why := raw_inputs(run) or shrunk(run)) is not None:
        return why
    steps, found = ratios(run)
    own = matrices(run)
    early, late = _typical(found[steps < 5][:, own]), _typical(found[-10:][:, own])
    if early > _FASTEST or late > _FASTEST:
        return too_fast(
            run,
            msg(
                "an update is {early} its weights (usual: 1e-4 to 1e-1)",
                early=of_it(max(early, late)),
            ),
        )
    fact = (
        (msg("an update is {late} its weights (usual: 1e-4 to 1e-1)", late=of_it(late)),)
        if late >= 0
        else ()
    )
    if (faded := _faded(run, own)) is not None:
        words = msg("evengrad check the script: it names why the gradient fades")
        return Reason(Cause.ACTIVATION, (*fact, faded), (words,))
    if 0 <= late < _SLOWEST:
        return too_slow(run, fact)
    whole = late * len(run.steps["step"])
    if 0 <= whole < _MOVED:
        more = msg("all of them together are {whole} the weights at most", whole=of_it(whole))
        return replace(too_slow(run, (*fact, more)), still=False)
    if (known := _frozen(run) or _dropped(run)) is not None:
        return known
    return Reason(Cause.INPUT_DATA, fact, _look(), known=False)


def _half(run: Run) -> Reason | None:
    """Weights in float16 that hardly anything reaches."""
    if float(run.seen.get("half") or 0.0) <= _MOSTLY:
        return None
    own = matrices(run)
    late = _typical(ratios(run)[1][-10:][:, own])
    nothing = (
        float((tensor_figure(run, "gradient_rms")[1][-10:][:, own] == 0).mean()) if own else 0.0
    )
    if not (0 <= late < _SLOWEST or nothing > 1 / len(own)):
        return None
    facts = (
        msg(
            "the weights are float16, and an update is {late} its weights (usual: 1e-4 to 1e-1)",
            late=of_it(late),
        ),
        msg(
            "float16 ends at 65,504: a larger square or sum overflows; 1 / inf is 0, and what is below 6e-8"
        ),
    )
    words = (
        msg(
            "keep the weights in float32 and cast the forward pass alone (torch.autocast), or take bfloat16"
        ),
        msg("compute squares, sums and means (a norm, a softmax) in float32: x.float()"),
    )
    return Reason(Cause.PRECISION, facts, words)


def _frozen(run: Run) -> Reason | None:
    """Most of the model is not to be trained, and what is does not learn the task."""
    share = float(run.seen.get("frozen") or 0.0)
    if share <= _MOSTLY:
        return None
    trained = tuple(dict.fromkeys(tensor.layer for tensor in run.subject.tensors))
    fact = msg(
        "{share} of the model's weights are frozen; only {trained} trains",
        share=percent(share),
        trained=layers(trained),
    )
    thaw = {
        "torch": msg("parameter.requires_grad_(True), before the optimizer is made"),
        "keras": msg("layer.trainable = True, before compile()"),
        "jax": msg("leave the mask, stop_gradient or set_to_zero() off them"),
    }[run.subject.frontend]
    words = msg(
        "unfreeze what is to learn the task, the layer that gives the outputs above all: {thaw}",
        thaw=thaw,
    )
    return Reason(Cause.ARCHITECTURE, (fact,), (words,))


def _dropped(run: Run) -> Reason | None:
    """Dropout that leaves next to nothing: a share to be kept given for the one to be dropped."""
    rates = {name: float(rate) for name, rate in run.seen.get("dropout") or () if rate < 1}
    left = math.prod(1 - rate for rate in rates.values())
    if not rates or left > _LEFT:
        return None
    facts = [
        msg("{name} drops {share} of what it is given", name=name, share=percent(rate))
        for name, rate in rates.items()
        if rate > 0.5
    ]
    words = msg(
        "lower the dropout rate: it is the share that is dropped, not the share to keep (keep_prob), so "
        "{rate:g} for {given:g}",
        rate=round(1 - max(rates.values()), 6),
        given=max(rates.values()),
    )
    return Reason(Cause.ARCHITECTURE, tuple(facts[:3]), (words,)) if facts else None


def raw_inputs(run: Run) -> Reason | None:
    """Inputs that are not normalised."""
    rms = run.seen.get("input_rms")
    if rms is None or not rms > RAW:
        return None
    largest = float(run.seen["input_largest"])
    what = msg(
        "the inputs are not normalised: rms {rms}, up to {largest}",
        rms=size(rms),
        largest=size(largest),
    )
    high, kinds = run.seen.get("target_high"), set(run.seen.get("objective", ()))
    targets = ""
    if high is not None and high > RAW and kinds & {"mse", "mae"}:
        targets = msg(", and the targets alike")
    how = msg("subtract the training set's mean and divide by its standard deviation")
    return Reason(
        Cause.INPUT_DATA,
        (what,),
        (msg("normalise the inputs{targets}: {how}", targets=targets, how=how),),
    )


def shrunk(run: Run) -> Reason | None:
    """Weight matrices that are a small part of what they were: a penalty or a decay outweighs the loss."""
    own = matrices(run)
    sizes = tensor_figure(run, "weight_rms")[1][:, own]
    sizes = sizes[np.isfinite(sizes).all(1)] if own else sizes[:0]
    if len(sizes) < 2:
        return None
    left = sizes[-1] / np.where(sizes[0] > 0, sizes[0], np.inf)
    gone = [own[i] for i in np.flatnonzero((left < _SHRUNK) & (sizes[0] > 0))]
    if not gone:
        return None
    names = tuple(dict.fromkeys(run.subject.tensors[i].layer for i in gone))
    least = float(left[sizes[0] > 0].min())
    fact = msg(
        "the weights of {names} have shrunk to {least:.2g} of what they were",
        names=layers(names),
        least=least,
    )
    how = {
        "torch": msg("weight_decay in the optimizer, or an L2 term of the loss"),
        "keras": msg("kernel_regularizer (L2), or weight_decay in the optimizer"),
        "jax": msg("weight_decay in the optimizer (optax.adamw), or an L2 term of the loss"),
    }[run.subject.frontend]
    penalised = run.seen.get("penalty") is not None
    words = msg(
        "a penalty on the weights outweighs the loss: lower it a hundredfold, or leave it out: {how}",
        how=how,
    )
    return Reason(Cause.LOSS_HEAD if penalised else Cause.LEARNING_RATE, (fact,), (words,))


def too_fast(run: Run, *facts: str) -> Reason:
    """A learning rate that is too large."""
    words = msg("lower the learning rate{now} tenfold at first, or warm it up", now=_now(run))
    return Reason(Cause.LEARNING_RATE, facts, (words,))


def _now(run: Run) -> str:
    rate = highest_rate(run)
    return "" if math.isnan(rate) else msg(", now {rate:g},", rate=rate)


def _flat(run: Run) -> Reason | None:
    """No gradient at all, ever or in the last fifth."""
    norms = run.steps["norm"]
    if not len(norms) or not (norms[-max(len(norms) // 5, 1) :] == 0).all():
        return None
    moved = np.flatnonzero(norms > 0)
    if not len(moved):
        words = msg("evengrad check the script: it names where the gradient ends")
        return Reason(
            Cause.LOSS_HEAD,
            (msg("no gradient left the loss in any step: it is exactly 0"),),
            (words,),
        )
    last = int(run.steps["step"][moved[-1]])
    fact = msg(
        "since step {last} the gradient is exactly 0: nothing can change any more", last=last + 1
    )
    raw = raw_inputs(run)
    if raw is not None:
        return Reason(raw.cause, (*raw.facts, fact), raw.advice)
    found = too_fast(run, fact)
    why = (
        msg(
            "start anew: the steps up to {last} drove the model where its outputs are saturated or its "
            "units dead",
            last=last,
        ),
        msg("evengrad check the script: weights that are too large at the start do the same"),
    )
    return Reason(found.cause, found.facts, (*found.advice, *why))


def _faded(run: Run, own: Sequence[int]) -> str | None:
    if len(own) < 2:
        return None
    left = first_to_last(tensor_figure(run, "gradient_rms")[1][-10:], list(own))
    return (
        msg("the first layer's gradient is {left} the last one's: it vanishes", left=of_it(left))
        if left < 1e-3
        else None
    )


def _typical(found: Floats) -> float:
    """Median over the matrices; -1 where nothing is known."""
    values = medians(found)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else -1.0


def _look() -> tuple[str, ...]:
    return (
        msg(
            "try to overfit one single batch; if that works, check whether labels belong to their inputs (two "
            "shuffles, a view or reshape where a transpose belongs)"
        ),
        msg(
            "evengrad check the script: it finds dead units, loss heads and inputs that do not fit"
        ),
    )
