"""EG813 no gradient at any step: the loss never told the weights anything.

What it finds: an optimizer whose gradients were exactly zero, or missing, in every step of the run.

Why it matters: nothing was trained. The script ran to its end, and the weights are those of its start (or of
what weight decay and momentum made of them).

How it decides: the norm of all gradients was exactly 0 at each of at least ten steps; there is no threshold. So
it was of all weight matrices at each step that was observed, where biases alone have a gradient: then weights
that began at zero are said to be the reason where there are some.

What to do: look for what cuts the loss off from these weights: .detach(), .item(), .numpy(), torch.no_grad() or
stop_gradient between them; argmax, rounding or a comparison in the forward pass; an optimizer that was given
other weights than the loss depends on; an activation or a loss that is flat where it is (a closing ReLU, a
clipped or saturated output).

References: docs.pytorch.org/docs/stable/notes/autograd.html (locally disabling gradient computation).
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.diagnosis.learning import raw_inputs
from evengrad.diagnosis.readings import matrices, tensor_figure
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg
from evengrad.values.run import Run
from evengrad.values.wording import layers

CODE = "EG813"
SICK = (
    Scenario(loss="flat", norm=0.0, steps=12),
    Scenario(loss="flat", norm=0.0, steps=12, inputs=2e5),
    Scenario(loss="flat", norm=0.0, noise=0.5, interleaved=True),
)
HEALTHY = (Scenario(), Scenario(norm=1e-12), Scenario(steps=3, norm=0.0))
_ENOUGH = 10
_OBSERVED = 5


def check(run: Run) -> Iterable[Finding]:
    """Fire where it is so at every step."""
    yield from _some(run)
    norms = run.steps["norm"]
    if len(norms) >= _ENOUGH and not (norms == 0).all():
        yield from _of_matrices(run)
    if len(norms) < _ENOUGH or not (norms == 0).all():
        return
    why = raw_inputs(run)  # they drive a closing sigmoid, or its like, to where it is flat
    yield Finding(
        CODE,
        msg(
            "no gradient reached the weights in any of {number} steps: all are exactly zero",
            number=len(norms),
        ),
        Cause.ARCHITECTURE if why is None else why.cause,
        Severity.ERROR,
        unhealthy=True,
        evidence=(
            msg(
                "{model} was trained by {optimizer}, and nothing changed it",
                model=run.subject.model,
                optimizer=run.subject.optimizer,
            ),
            *(() if why is None else why.facts),
        ),
        advice=(*(() if why is None else why.advice), *_unreached(run.subject.frontend == "torch")),
    )


def _unreached(torch: bool) -> tuple[str, str]:
    cuts = (
        msg(".detach(), .item() or torch.no_grad()")
        if torch
        else msg("stop_gradient, argmax or NumPy")
    )
    return (
        msg(
            "let the loss depend on these weights: no {cuts} between them and the loss, and no "
            "output that is "
            "flat there (a closing ReLU, a saturated or clipped one)",
            cuts=cuts,
        ),
        msg(
            "give the optimizer the weights that the loss depends on: make it after the model was changed"
        ),
    )


def _some(run: Run) -> Iterable[Finding]:
    """Of a fit of single numbers: some of them never have a gradient."""
    if run.subject.model != "raw tensors":
        return
    found = tensor_figure(run, "gradient_rms")[1]
    if len(found) < _ENOUGH:
        return
    still = (found[1:] == 0).all(0)
    if not still.any() or still.all():
        return
    names = layers([t.name for t, s in zip(run.subject.tensors, still, strict=True) if s])
    yield Finding(
        CODE,
        msg(
            "no gradient reached {names}, {sum} of {number}, after the first step: exactly 0",
            names=names,
            sum=int(still.sum()),
            number=len(still),
        ),
        Cause.ACTIVATION,
        Severity.ERROR,
        unhealthy=True,
        evidence=(
            msg(
                "the function that they stand in is flat there (saturated), or does not depend on them"
            ),
        ),
        advice=(
            msg(
                "normalise the inputs to about unit size, less their mean, or begin with values at "
                "which it has a "
                "slope"
            ),
        ),
    )


def _of_matrices(run: Run) -> Iterable[Finding]:
    """Biases alone have a gradient."""
    own = matrices(run)
    gradients = tensor_figure(run, "gradient_rms")[1][:, own]
    if not own or len(gradients) < _OBSERVED or not (gradients == 0).all():
        return
    weights = tensor_figure(run, "weight_rms")[1][:, own]
    tensors = [run.subject.tensors[i] for i in own]
    nothing = [t for t, zero in zip(tensors, (weights == 0).all(0), strict=True) if zero]
    names = layers(list(dict.fromkeys(t.layer for t in nothing or tensors)))
    torch = run.subject.frontend == "torch"
    how = "nn.init.kaiming_normal_(weight)" if torch else 'kernel_initializer="he_normal"'
    how = "jax.nn.initializers.he_normal()" if run.subject.frontend == "jax" else how
    yield Finding(
        CODE,
        msg(
            "no gradient reached a weight matrix in any of {number} observed steps: biases alone are "
            "trained",
            number=len(gradients),
        ),
        Cause.INITIALISATION if nothing else Cause.ARCHITECTURE,
        Severity.ERROR,
        unhealthy=True,
        layers=tuple(dict.fromkeys(t.layer for t in nothing or tensors)),
        evidence=(
            msg(
                "the weights of {names} are all zero, and stay so: all units are alike, and nothing passes",
                names=names,
            )
            if nothing
            else msg("the gradients of {names} are exactly zero", names=names),
        ),
        advice=(
            msg("initialise them at random, not at zero: {how}", how=how)
            if nothing
            else msg(
                "look for units that are dead from the start, or flat outputs: evengrad check names them"
            ),
        ),
    )
