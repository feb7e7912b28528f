"""EG931 targets outside what the loss expects: it measures something else, and often falls without bound.

What it finds: targets of a binary or categorical cross-entropy outside [0, 1] (masks of 0 and 255, labels of -1
and 1, class numbers, prices), negative counts of a Poisson loss, targets or inputs of a divergence that are
no (log-)probabilities, an nll_loss that is not given log-probabilities, labels of 0 and 1 for a loss that reads
-1 and 1, and squared errors whose targets the output's sigmoid, softmax, tanh, ReLU or clamp never reaches.

Why it matters: with a target above 1 or below 0 the cross-entropy has no minimum: it falls below zero for ever,
and the outputs saturate. What a squashed or rectified output cannot reach it does not learn either: it sits at
the end of its range, where its slope is 0 (a last ReLU's predictions are all zero).

How it decides: exactly, from the values that the loss was given, where the loss has no minimum. For squashed
outputs: where what is out of reach costs more than a quarter of the targets' variance, the loss of the best
constant answer (a choice). Elements of weight 0 do not count.

What to do: scale or encode the targets as the loss expects them, or take the loss that fits them.

References: torch.nn.functional and keras.losses, what each says of its targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evengrad.diagnosis.examples.program import Program
from evengrad.values.fact import Fact
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import msg, with_values
from evengrad.values.probe import Frontend

CODE = "EG931"
FACT = "targets_outside"

_TORCH = """\
import torch
import torch.nn.functional as F
torch.manual_seed(0)
x = torch.randn(64, 4)
yes = (x[:, :1] > 0).float()
kind = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, {units}))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(20):
    optimizer.zero_grad()
    out = model(x)
    loss = {loss}
    loss.backward()
    optimizer.step()
"""


def _torch(loss: str, units: int = 1) -> tuple[Program, ...]:
    source = _TORCH.format(loss=loss, units=units)
    return Program("torch", source), Program("torch", source, "check")


_KERAS = """\
import keras
import numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
yes = (x[:, :1] > 0).astype("float32")
kind = (x[:, 0] > 0).astype("int32") + (x[:, 1] > 0)

def own(y_true, y_pred):
    return keras.ops.mean(keras.losses.binary_crossentropy(y_true, y_pred)) + 0.1 * keras.ops.mean(y_pred)

def policy(y_true, y_pred):
    return -keras.ops.sum(y_true * keras.ops.log(y_pred + 1e-7), axis=-1)

model = keras.Sequential([
    keras.Input((4,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense({head})
])
model.compile(keras.optimizers.Adam(3e-3), loss={loss})
model.fit(x, {targets}, batch_size=16, epochs=5, verbose=0)
"""


def _keras(
    loss: str, targets: str, head: str = "1, activation='sigmoid'", verb: str = "check"
) -> Program:
    source = _KERAS.format(loss=loss, targets=targets, head=head)
    others = ("tensorflow", "jax")  # PyTorch's own function refuses such targets
    return Program("keras", source, "run" if verb == "run" else "check", others)


SICK = (
    *_torch("F.binary_cross_entropy_with_logits(out, 255 * yes)"),
    *_torch("torch.nn.BCEWithLogitsLoss()(out, 2 * yes - 1)"),
    *_torch("F.mse_loss(out.sigmoid(), 255 * yes)"),
    *_torch("F.mse_loss(out.relu(), x[:, :1] - 1)"),
    *_torch("F.mse_loss(out.clamp(0, 1), 5 * yes)"),
    *_torch("F.l1_loss(F.hardtanh(out).view(-1), 5 * yes.view(-1))"),
    _keras("'mean_squared_error'", "x[:, :1] - 1", "1, activation='relu'"),
    _keras("'mean_squared_error'", "99 * yes", "1, activation='relu6'", "run"),
    _keras("'mean_absolute_error'", "9 * yes", "1, activation='hard_sigmoid'"),
    *_torch("F.nll_loss(out, kind)", 3),
    *_torch("F.kl_div(out.softmax(1), F.one_hot(kind, 3).float(), reduction='batchmean')", 3),
    *_torch("F.poisson_nll_loss(out, x[:, :1])"),
    *_torch("F.soft_margin_loss(out, yes)"),
    *_torch("F.binary_cross_entropy_with_logits(out, 255 * yes, reduction='none').mean()"),
    *_torch("1 - 2 * (out.sigmoid() * (255 * yes)).sum() / (out.sigmoid() + 255 * yes).sum()"),
    _keras("own", "255 * yes"),
    _keras("own", "255 * yes", verb="run"),
    _keras("'sparse_categorical_crossentropy'", "kind + 1", "3, activation='softmax'"),
)
HEALTHY = (
    *_torch("F.binary_cross_entropy_with_logits(out, 0.9 * yes + 0.05)"),
    *_torch(
        "F.binary_cross_entropy_with_logits(out, torch.where(x[:, 1:2] > 0, yes, -1.0), "
        "weight=(x[:, 1:2] > 0).float())"
    ),
    *_torch(
        "(F.binary_cross_entropy_with_logits(out, torch.where(x[:, 1:2] > 0, yes, -1.0), "
        "reduction='none') * (x[:, 1:2] > 0)).mean()"
    ),
    *_torch(
        "F.binary_cross_entropy_with_logits(out, torch.where(x[:, 1:2] > 0, yes, 255.0), "
        "reduction='none')[x[:, 1:2] > 0].mean()"
    ),
    *_torch("1 - 2 * (out.sigmoid() * yes).sum() / (out.sigmoid() + yes).sum()"),
    *_torch("F.mse_loss(out.sigmoid(), 0.8 * yes + 0.1)"),
    *_torch("F.mse_loss(out.relu(), x[:, :1].abs())"),
    *_torch("F.mse_loss(out.clamp(-1, 2), yes)"),
    _keras("'mean_squared_error'", "abs(x[:, :1])", "1, activation='softplus'"),
    _keras("'mean_squared_error'", "x[:, :1]", "1, activation='leaky_relu'"),
    *_torch("F.cross_entropy(out, kind, label_smoothing=0.1)", 3),
    *_torch("F.nll_loss(out.log_softmax(1), kind)", 3),
    *_torch("F.kl_div(out.log_softmax(1), F.one_hot(kind, 3).float(), reduction='batchmean')", 3),
    *_torch("F.soft_margin_loss(out, 2 * yes - 1)"),
    _keras("own", "yes"),
    _keras("own", "yes", verb="run"),
    _keras("policy", "np.eye(3)[kind] * (yes - 0.4)", "3, activation='softmax'", "run"),
    _keras("'sparse_categorical_crossentropy'", "kind", "3, activation='softmax'"),
)

_KINDS = {
    "probability": msg("targets in [0, 1]"),
    "count": msg("targets that count, from 0 up"),
    "log_probability": msg("log-probabilities"),
    "sign": msg("targets of -1 and 1"),
    "class": msg("class numbers from {least:g} to {most:g}"),
    "distribution": msg("rows of targets that sum to 1"),
}


def check(facts: Sequence[Fact], frontend: Frontend) -> Iterable[Finding]:
    """One finding a line."""
    for fact in facts:
        v = fact.values
        side = msg("inputs") if v["side"] == "input" else msg("targets")
        seen = msg("{side} from {low:g} to {high:g}", side=side, low=v["low"], high=v["high"])
        yield Finding(
            CODE,
            _title(fact, seen),
            _cause(v),
            Severity.ERROR,
            evidence=(
                *([str(fact.where)] if fact.where else []),
                msg("{seen} here", seen=seen),
                _why(fact),
            ),
            advice=(_advice(fact, frontend),),
            where=fact.where,
            mistake=True,
        )


def _cause(values: Mapping[str, Any]) -> Cause:
    if values["side"] == "input":
        return Cause.LOSS_HEAD
    rectified = values["kind"] == "reach" and values["most"] is None
    return Cause.ACTIVATION if rectified else Cause.INPUT_DATA


def _title(fact: Fact, seen: str) -> str:
    v = fact.values
    if v["kind"] == "reach":
        known = [v[side] for side in ("least", "most") if v[side] is not None]
        ends = msg("ends at {least:g}", least=known[0])
        if len(known) > 1:
            ends += msg(" and {most:g}", most=known[1])
        elif v["least"] == 0:
            ends += msg(" and is never negative")
        return msg(
            "{seen} are out of reach of a {head} output, which {ends}",
            seen=seen,
            head=v["head"],
            ends=ends,
        )
    if v["kind"] == "distribution":
        seen = msg("rows that sum to {sums:g}", sums=v["sums"])
    return msg(
        "{function} reads {format}, but is given {seen}",
        function=v["function"],
        format=with_values(_KINDS[v["kind"]], v),
        seen=seen,
    )


def _why(fact: Fact) -> str:
    v = fact.values
    if v["kind"] == "reach":
        return msg(
            "what cannot be reached keeps the squared error above {floor:.3g}; the targets' variance, "
            "which a constant answer has, is {spread:.3g}",
            floor=v["floor"],
            spread=v["spread"],
        )
    return _WHY.get(v["kind"], _UNBOUNDED)


_UNBOUNDED = msg(
    "such a loss has no minimum: it falls below zero without bound as the outputs grow"
)
_WHY = {
    "sign": msg("a label of 0 has no meaning there, and gives no gradient or a wrong one"),
    "class": msg(
        "a class that no output stands for: an error on a CPU; on a GPU and in JAX NaN, or nonsense"
    ),
    "distribution": msg("what a softmax gives sums to 1 and cannot come near such targets"),
}


def _advice(fact: Fact, frontend: Frontend) -> str:
    v = fact.values
    torch = frontend == "torch"
    if v["side"] == "input":
        if v["function"] == "nll_loss":
            return msg("use F.cross_entropy on the logits, or give it F.log_softmax(logits, dim=1)")
        return msg(
            "give its first argument as log-probabilities: F.log_softmax(logits, dim=-1), or p.log()"
        )
    if v["kind"] == "class":
        return _classes(fact)
    if v["kind"] == "distribution":
        return msg(
            "for several classes at once end in a sigmoid and use a binary cross-entropy; for one class a "
            "sample make the targets one-hot"
        )
    if v["kind"] == "sign":
        return msg("encode the labels as -1 and 1: target * 2 - 1")
    if v["kind"] == "count":
        return msg(
            "use a loss for targets of any sign (mean squared error), or undo what made the counts negative"
        )
    if v["kind"] == "log_probability":
        return msg("give the targets as log-probabilities, or leave log_target=True out")
    return _probabilities(fact, torch)


def _classes(fact: Fact) -> str:
    v = fact.values
    if not v["integral"]:
        return msg(
            "give whole class numbers; for targets that are measured values use a loss for regression"
        )
    units = msg("give the last layer {high:g} units, one a class", high=v["high"] + 1)
    if v["low"] < 0:
        return msg(
            "number the classes (labels) from 0; what is to be ignored takes ignore_class or sample weight 0"
        )
    if v["low"] >= 1 and v["high"] == v["most"] + 1:
        return msg("number the classes from 0: labels - 1; or {units}", units=units)
    return msg("number the classes (labels) from 0 without gaps, or {units}", units=units)


def _probabilities(fact: Fact, torch: bool) -> str:
    """What makes targets fit that should be in a bounded range."""
    v = fact.values
    low, high = v["low"], v["high"]
    if v["integral"] and (low, high) == (-1, 1) and v["least"] == 0:
        return msg("encode the labels as 0 and 1: target = (target + 1) / 2")
    if low >= 0 and high == 255:
        return msg("scale the targets to 0 to 1: target / 255")
    if v["kind"] == "reach":
        if v["most"] is None and v["least"] == 0:
            return msg(
                "end in a linear layer: no {head} on the output, where targets are negative",
                head=v["head"],
            )
        if v["most"] is None or v["least"] is None:
            return msg(
                "end in a linear layer: no {head} on the output, whose range the targets leave",
                head=v["head"],
            )
        ends = f"[{v['least']:g}, {v['most']:g}]"
        return msg(
            "scale the targets into {ends}, or end in a linear layer without the {head}",
            ends=ends,
            head=v["head"],
        )
    if v["integral"] and low >= 0 and high < 1000 and v["function"] != "cross_entropy":
        many = (
            msg("F.cross_entropy with one output a class")
            if torch
            else msg("a sparse categorical one")
        )
        return msg(
            "encode yes and no as targets of 0 and 1 (a mask: target > 0); for class labels use {many}",
            many=many,
        )
    mean = "F.mse_loss" if torch else '"mean_squared_error"'
    return msg(
        "scale the targets to [0, 1]; for targets that are measured values use {mean} and a linear output",
        mean=mean,
    )
