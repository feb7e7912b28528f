"""EG501 loss head that does not fit: the closing activation and the loss disagree.

What it finds: a softmax or sigmoid in front of a loss that expects logits (it is then applied twice); a
linear end, or one in a ReLU or its like, in front of a loss that expects probabilities; a sigmoid end with a
categorical loss or a softmax end with a binary one; a softmax over one unit; squared error on a squashed class
score, where the optimizer does not divide by the gradient's size.

Why it matters: softmax twice can never be sure: with 10 classes the probability of the right one stays
under 0.24, and the gradient shrinks. A linear end under a log gives NaN or a clipped, dead gradient.

How it decides: exactly, by the loss's own arguments and the last operation. Keras on TensorFlow silently
goes round a softmax or sigmoid and reads the logits behind it (``from_logits=True`` or not); on JAX and
PyTorch the doubled softmax is live. The report says which.

What to do: one of the two: logits and a loss that reads logits (preferred: stable), or probabilities and
a loss that reads those.

References: torch.nn.CrossEntropyLoss and keras.losses, their arguments from_logits.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.diagnosis.evidence import Evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.theory.activations import canonical
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.message import msg
from evengrad.values.probe import Operation, Probe
from evengrad.values.spec import Kind

CODE = "EG501"
SICK = (
    NetworkCase(head="softmax"),
    NetworkCase(loss="probabilities"),
    NetworkCase(head="relu", loss="probabilities"),
    NetworkCase(head="sigmoid", loss="mse"),
)
HEALTHY = (
    NetworkCase(),
    NetworkCase(head="softmax", loss="probabilities"),
    NetworkCase(loss="mse"),
    NetworkCase(head="sigmoid", loss="mse", optimizer="adam", learning_rate=1e-3),
)

_OPEN = {"relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh"}
_ADAPTIVE = {"adam", "rmsprop", "adagrad"}
_LINEAR = {Kind.WEIGHTS, Kind.MERGE, Kind.NORMALISATION}


def check(evidence: Evidence) -> Iterable[Finding]:
    """Compare what the loss reads with what the network ends in."""
    probe = evidence.probe
    verdict = _verdict(probe)
    if verdict is None:
        return
    what, severity, facts, advice = verdict
    last = [op for op in probe.operations if op.kind is not Kind.LOSS]
    yield Finding(
        CODE,
        what,
        Cause.LOSS_HEAD,
        severity,
        symptom=Symptom.UNFIT_HEAD,
        layers=(last[-1].layer,) if last else (),
        evidence=facts,
        advice=(advice,),
    )


_Misfit = tuple[str, Severity, tuple[str, ...], str]


def _verdict(probe: Probe) -> _Misfit | None:
    loss = probe.loss
    seen = any(fact.kind == "one_unit_softmax" for fact in probe.facts)
    if loss.head == "softmax" and loss.classes == 1 and not seen:
        advice = msg("end in one linear unit and a binary cross-entropy on logits")
        return msg("softmax over one unit is always 1"), Severity.ERROR, (), advice
    if loss.reads == "logits" and loss.head in {"softmax", "sigmoid"}:
        return _twice(probe)
    if loss.reads == "probabilities" and (end := _open_end(probe)):
        what = msg(
            "{name} reads probabilities, but the network ends in {end} values",
            name=loss.name,
            end=end,
        )
        return what, Severity.ERROR, (), _read_logits(probe)
    if loss.reads == "log_probabilities" and (
        _open_end(probe) or loss.head in {"softmax", "sigmoid"}
    ):
        end = loss.head or _open_end(probe).replace("linear", "logits")
        what = msg(
            "{name} reads log-probabilities, but the network ends in {end}", name=loss.name, end=end
        )
        return (
            what,
            Severity.ERROR,
            (),
            msg("use nn.CrossEntropyLoss on logits, or end in LogSoftmax"),
        )
    return _wrong_partner(probe)


def _twice(probe: Probe) -> _Misfit:
    loss = probe.loss
    advice = msg(
        "end in linear logits: drop the {head}, keep {name} as it is",
        head=loss.head,
        name=loss.name,
    )
    if probe.frontend == "keras":
        advice += msg("; or keep the activation and say from_logits=False")
    what = msg("{head} output, but {name} reads logits", head=loss.head, name=loss.name)
    if loss.undone:
        facts = (
            msg(
                "Keras on TensorFlow silently undoes it: it reads the logits behind the {head}",
                head=loss.head,
            ),
            msg(
                "on the JAX and PyTorch backends the same script applies it twice, and learns slowly"
            ),
        )
        return what, Severity.WARNING, facts, advice
    return (
        what,
        Severity.ERROR,
        (msg("the {head} is applied twice: live on this backend", head=loss.head),),
        advice,
    )


def _linear_end(probe: Probe) -> bool:
    last = _last(probe)
    return bool(last) and all(op.kind in _LINEAR for op in last)


def _open_end(probe: Probe) -> str:
    """What it ends in that is no probability: "linear", or an activation; empty where that is not known."""
    if _linear_end(probe):
        return "linear"
    types = {canonical(op.type) for op in _last(probe) if op.kind is Kind.ACTIVATION}
    open_ends = [name for name in sorted(types) if name in _OPEN]
    return open_ends[0] if len(open_ends) == len(_last(probe)) == 1 else ""


def _last(probe: Probe) -> list[Operation]:
    if probe.loss.head is not None:
        return []
    ends = {port.tensor for port in probe.outputs}
    return [op for op in probe.operations if any(port.tensor in ends for port in op.outputs)]


def _read_logits(probe: Probe) -> str:
    if probe.frontend == "keras":
        return msg("say from_logits=True, or end in the matching softmax or sigmoid")
    return msg("use nn.BCEWithLogitsLoss (or nn.CrossEntropyLoss), which reads logits")


def _wrong_partner(probe: Probe) -> _Misfit | None:
    loss = probe.loss
    if loss.head == "sigmoid" and loss.family in {"categorical", "sparse_categorical"}:
        what = msg(
            "sigmoid output with {name}: the classes' scores do not sum to 1", name=loss.name
        )
        return what, Severity.WARNING, (), msg("end in a softmax, or in logits that the loss reads")
    if loss.head == "softmax" and loss.family == "binary":
        what = msg("softmax output with {name}", name=loss.name)
        return what, Severity.WARNING, (), msg("use a categorical cross-entropy with a softmax")
    whole = loss.targets is not None and loss.targets.integral
    adapts = probe.rate is not None and probe.rate.method.family in _ADAPTIVE
    if loss.head in {"softmax", "sigmoid"} and loss.family == "regression" and whole and not adapts:
        what = msg(
            "{head} output with {name} on class labels: its slope shrinks the gradient",
            head=loss.head,
            name=loss.name,
        )
        return what, Severity.WARNING, (), msg("use a cross-entropy that reads logits")
    return None
