"""What the user is told to write where a patch could not: the code and its place."""

from __future__ import annotations

from dataclasses import replace
from difflib import SequenceMatcher

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual
from evengrad.fixing.patch.script.edits import split
from evengrad.fixing.patch.script.numbers import number
from evengrad.fixing.patch.script.source import Source
from evengrad.values.change import (
    Activation,
    AddNormalisation,
    Beta2,
    Change,
    ClipGradients,
    Decay,
    Finite,
    FiniteTargets,
    Initialise,
    Inputs,
    Logits,
    LossScale,
    Pretrained,
    SetRate,
    Skip,
    UnitVariance,
    UseOptimizer,
    Warmup,
)

_OPTIMIZER = "where the optimizer is made"
_MODEL = "after the model is made"
_FEW = 4


def advise(
    source: Source, change: Change, frontend: str, left: Manual, script: str, original: str
) -> str:
    """One message. source: the script as it was when the change was to be written; original: at first."""
    if left.layers and isinstance(change, Initialise | AddNormalisation):
        change = replace(change, layers=left.layers)
    code, place, verb = _advice(change, frontend)
    at = None if left.at is None else source.statement(left.at) or left.at
    if at is not None:
        line = split(source.text)[source.line(at) - 1].strip()
        place = f"{left.verb} the line `{line}` ({script}:{_original(source, at, original)})"
        verb = "write" if left.verb == "in" else "add"
    return f"{place} {verb}: {code}"


def _original(source: Source, at: cst.CSTNode, original: str) -> int:
    """The line's number in the script as the user has it."""
    now, then, line = split(source.text), split(original), source.line(at) - 1
    for match in SequenceMatcher(None, now, then, autojunk=False).get_matching_blocks():
        if match.a <= line < match.a + match.size:
            return match.b + line - match.a + 1
    return line + 1


def _advice(change: Change, frontend: str) -> tuple[str, str, str]:
    """The code, its usual place, and what to do there."""
    keras = frontend == "keras"
    match change:
        case SetRate(value):
            word = "learning_rate" if keras else "lr"
            return f"{word}={number(value)}", _OPTIMIZER, "write"
        case UseOptimizer():
            return _optimizer(change, keras), _OPTIMIZER, "write"
        case Beta2(value):
            code = f"beta_2={value!r}" if keras else f"betas=(0.9, {value!r})"
            return code, "where Adam is made", "write"
        case ClipGradients():
            return _clip(change, keras)
        case Initialise():
            return _initialise(change, keras)
        case Activation(old, new, slope):
            rest = "" if slope is None else f" with a negative slope of {slope:.3g}"
            return f"{new}{rest} instead of {old}", "in each hidden layer", "write"
        case AddNormalisation(kind, layers):
            code = f"a {kind} normalisation behind {_some(layers)}, before the activation"
            return code, "in the model", "add"
        case Warmup() | Decay():
            return _schedule(change, keras)
        case Logits(from_logits):
            return _logits(keras, from_logits)
        case Inputs(mean, std):
            return f"x = (x - {mean:.4g}) / {std:.4g}", "where the inputs are made", "add"
        case LossScale(value):
            return _loss_scale(value, keras)
        case Finite() | FiniteTargets() | UnitVariance() | Skip() | Pretrained():
            return _of_data_or_network(change, keras)


def _of_data_or_network(
    change: Finite | FiniteTargets | UnitVariance | Skip | Pretrained, keras: bool
) -> tuple[str, str, str]:
    call = "np.nan_to_num({}, posinf=0, neginf=0)" if keras else "torch.nan_to_num({}, 0, 0, 0)"
    match change:
        case Finite():
            return f"x = {call.format('x')}", "where the inputs are made", "add"
        case FiniteTargets():
            return f"y = {call.format('y')}", "where the targets are made", "add"
        case UnitVariance(layers):
            code = "weights divided by the standard deviation of the layer's output on one batch"
            return f"{code}, from the first to the last of {_some(layers)}", _MODEL, "add"
        case Skip(layers):
            code = (
                f"x + a * f(x) for f in {_some(layers)}, with a trained scalar a that begins at 0"
            )
            return code, "in the model", "write"
        case Pretrained(file, factor):
            rate = "frozen" if factor == 0 else f"with {factor:g} times the learning rate"
            return f"weights from {file!r} where name and shape agree, {rate}", _MODEL, "load"


def _optimizer(change: UseOptimizer, keras: bool) -> str:
    names = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}
    name, rate = names.get(change.name, "Adagrad"), number(change.rate)
    if keras:
        return f"keras.optimizers.{name}(learning_rate={rate})"
    return f"torch.optim.{name}(model.parameters(), lr={rate})"


def _clip(change: ClipGradients, keras: bool) -> tuple[str, str, str]:
    bound = number(change.bound)
    if change.kind not in ("norm", "value"):
        clip = f'clip="{change.kind}:{bound}"'
        if keras:
            return f"callbacks=[evengrad.keras.Watch({clip})]", "in fit()", "write"
        code = f"evengrad.watch(model, optimizer, {clip}, guard=None, folder=None)"
        return code, "before the training loop", "add"
    if keras:
        word = "global_clipnorm" if change.kind == "norm" else "clipvalue"
        return f"{word}={bound}", _OPTIMIZER, "write"
    code = f"torch.nn.utils.clip_grad_{change.kind}_(model.parameters(), {bound})"
    return code, "before optimizer.step()", "add"


def _initialise(change: Initialise, keras: bool) -> tuple[str, str, str]:
    gain = f"{change.gain:.4g}"
    if not keras:
        code = f"torch.nn.init.normal_(layer.weight, std={gain} / layer.weight[0].numel() ** 0.5)"
        if change.scheme == "orthogonal":
            code = f"torch.nn.init.orthogonal_(layer.weight, gain={gain})"
        if change.scheme == "zeros":
            code = "torch.nn.init.zeros_(layer.weight)"
        code = f"{code}; torch.nn.init.zeros_(layer.bias)"
        return f"{code} for layer in {_some(change.layers)}", "after the model is made", "add"
    code = f'VarianceScaling({change.gain**2:.3g}, "fan_in", "truncated_normal")'
    if change.scheme == "orthogonal":
        code = f"Orthogonal({gain} * max(1, outputs / inputs) ** 0.5)"
    if change.scheme == "zeros":
        code = "Zeros()"
    return (
        f"kernel_initializer=keras.initializers.{code} for {_some(change.layers)}",
        "where these layers are made",
        "write",
    )


def _schedule(change: Warmup | Decay, keras: bool) -> tuple[str, str, str]:
    steps = change.steps
    if keras:
        code = f"keras.optimizers.schedules.CosineDecay(rate, decay_steps={steps})"
        if isinstance(change, Warmup):
            end = f"decay_steps={steps - 1}, end_learning_rate=rate"
            code = f"keras.optimizers.schedules.PolynomialDecay(rate / {steps}, {end})"
        return f"learning_rate={code}", _OPTIMIZER, "write"
    code = f"CosineAnnealingLR(optimizer, T_max={steps})"
    if isinstance(change, Warmup):
        code = f"LinearLR(optimizer, start_factor=1 / {steps}, total_iters={steps - 1})"
    name = "warmup" if isinstance(change, Warmup) else "decay"
    code = (
        f"{name} = torch.optim.lr_scheduler.{code}, and {name}.step() after each optimizer.step()"
    )
    return code, "after the optimizer is made", "add"


def _logits(keras: bool, from_logits: bool) -> tuple[str, str, str]:
    if not from_logits:
        return "the logits without softmax or sigmoid", "at the end of the network", "return"
    if keras:
        return "from_logits=True", "where the loss is made", "write"
    code = "a loss of logits (CrossEntropyLoss, BCEWithLogitsLoss)"
    return code, "where the loss is made", "write"


def _loss_scale(value: float, keras: bool) -> tuple[str, str, str]:
    if keras:
        code = f"keras.optimizers.LossScaleOptimizer(optimizer, initial_scale={value:g})"
        return code, _OPTIMIZER, "write"
    code = (
        f"scaler = torch.amp.GradScaler(device, init_scale={value:g}), then "
        "scaler.scale(loss).backward(), scaler.step(optimizer), scaler.update()"
    )
    return code, "in the place of loss.backward() and optimizer.step()", "write"


def _some(layers: tuple[str, ...]) -> str:
    if len(layers) <= _FEW:
        return ", ".join(layers)
    return f"{layers[0]} ... {layers[-1]} ({len(layers)} layers)"
