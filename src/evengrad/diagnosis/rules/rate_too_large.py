"""EG702 learning rate too large: above the largest stable one.

What it finds: a learning rate far above the largest stable one for this model, loss and optimizer.

Why it matters: beyond the edge each step overshoots by more than the one before. A little beyond, training
may catapult to a flatter region and recover; far beyond, the loss rises until it is NaN, or the units die.

How it decides: by critical sharpness, the step along the actual coming update that leaves the loss where it was
(at most 10 forward passes), or of SGD with --precise by the shortest such step on the way of ten small ones;
times a factor of the optimizer (measured; docs/learning-rate.md has how well that holds). Up to 6 times the
edge, or where the coming step itself still lowers the loss, training often catapults: the report says so, and
this finding does not. Where the update is unusable anyway (a gradient that explodes or does not arrive), that
comes first. Nothing is said of optimizers whose factor is not known
(Adadelta, whose rate is 1 by design; Rprop, LBFGS), nor where the weights that the update turns most lie
straight before a normalisation: they grow with the first steps, and the edge with the square of their length
(Arora 2018). The last layer of a classifier does not count beside those: a cross-entropy's gradient is bounded,
and that layer alone overshoots, but does not diverge.

What to do: set the rate given, or warm up from a small one to it over some hundred steps.

References: Cohen 2021 (2103.00065); Arora 2018 (1812.03981); Cohen 2022 (2207.14484); Lewkowycz 2020
(2003.02218); critical sharpness (2601.16979); Gilmer 2021 (2110.04369).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.diagnosis.rate_advice import instead
from evengrad.theory.stability import largest_stable, verdict, walked
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Rate
from evengrad.values.wording import times

CODE = "EG702"
SICK = (NetworkCase(learning_rate=1e4), NetworkCase(optimizer="adam", learning_rate=3.0))
HEALTHY = (NetworkCase(), NetworkCase(optimizer="adam", learning_rate=1e-3))

_BOUNDED = ("sparse_categorical", "categorical", "binary")
_ECHO_OF = (
    Cause.BAD_BATCH,
    Cause.INPUT_DATA,
    Cause.LOSS_HEAD,
    Cause.INITIALISATION,
    Cause.NORMALISATION,
    Cause.ARCHITECTURE,
)


def check(evidence: Evidence) -> Iterable[Finding]:
    """Compare the rate in use with the largest stable one."""
    rate, optimizer = evidence.probe.rate, evidence.probe.optimizer
    if rate is None or optimizer is None or verdict(rate) != "diverges":
        return
    stable = largest_stable(rate)
    if not math.isfinite(stable) or stable <= 0.0 or _unknown(evidence, rate):
        return
    better, now = instead(evidence), f"{rate.learning_rate:g}"
    words = msg(
        "lower the learning rate, now {now}, if nothing else makes the gradient so large", now=now
    )
    if better is not None:
        words = msg(
            "lower the learning rate, now {now}, to {better:g}, or warm it up from there",
            now=now,
            better=better,
        )
    how = msg("{passes} forward passes", passes=rate.passes)
    if walked(rate):
        how = msg("lowest critical rate of some small steps")
    elif rate.sharpness is not None:
        how = msg("largest eigenvalue")
    yield Finding(
        CODE,
        msg(
            "{name}'s learning rate {learning_rate:g} is {learning_rate2} the largest stable one",
            name=optimizer.name,
            learning_rate=rate.learning_rate,
            learning_rate2=times(rate.learning_rate / stable),
        ),
        Cause.LEARNING_RATE,
        Severity.WARNING,
        symptom=Symptom.RATE_TOO_LARGE,
        evidence=_evidence(rate, how) if better is not None else (),
        advice=(words,),
        explained_by=_ECHO_OF,
    )


def _evidence(rate: Rate, how: str) -> tuple[str, ...]:
    return (
        msg(
            "largest stable rate about {largest_stable:.2g} ({how})",
            largest_stable=largest_stable(rate),
            how=how,
        ),
        msg(
            "the coming step raises the loss from a rate of {critical:.2g} on",
            critical=rate.critical,
        ),
    )


def _unknown(evidence: Evidence, rate: Rate) -> bool:
    """Whether the edge at the start says nothing of the training."""
    if rate.method.family == "other" and rate.sharpness is None:
        return True
    bounded = evidence.probe.loss.family in _BOUNDED
    turned = {True: 0.0, False: 0.0}  # before a normalisation, and elsewhere
    for op in evidence.probe.operations:
        lengthens = op.name in evidence.shares.absorbed
        for weight in () if bounded and evidence.is_last(op) else evidence.matrices(op):
            if weight.update is not None and weight.value.rms > 0:
                turned[lengthens] = max(turned[lengthens], weight.update / weight.value.rms)
    return turned[True] > turned[False]
