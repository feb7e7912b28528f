"""The measured budget: one forward and backward pass on one real batch, as a frozen value.

A probe is a directed graph. Tensors are integers; operations read some and make others. Only
tensors that a gradient passes through are in it. The arithmetic on top of it is in ``budget``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from evengrad.values.fact import Fact, Where
from evengrad.values.spec import Kind, ModelSpec
from evengrad.values.summary import Summary, root_sum_squares
from evengrad.values.wording import count


@dataclass(frozen=True, slots=True)
class Port:
    """A tensor where it meets an operation, and the norm of the gradient there.

    Attributes:
        tensor: its number in the probe.
        norm: Euclidean; at an input of an operation of dL/dx through that operation alone, at an output of
            dL/dy by all paths from y to the loss.
    """

    tensor: int
    norm: float


@dataclass(frozen=True, slots=True)
class ActivationHealth:
    """Shares over one batch, 0 to 1.

    Attributes:
        saturated: elements where the slope of a bounded activation is all but gone.
        dead: units (channels, or features of a dense layer) that are zero for the whole batch, at every
            position; 0 for activations that have no zero region.
        units: how many there are.
    """

    saturated: float
    dead: float
    units: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the network, with what one probe measured at it.

    Attributes:
        name: unique.
        layer: the user's own name of the layer that it belongs to, e.g. "conv1" for both parts of
            ``Conv2D(activation="relu", name="conv1")``.
        kind: what it is in evengrad's words.
        type: what it is in the framework's, e.g. "Conv2D", "relu", "BatchNorm2d", "add".
        inputs: the tensors that it reads, and the gradients there.
        outputs: those that it makes.
        forward: figures of its output. (Several outputs: taken together, shape of the first.)
        backward: figures of dL/dy there.
        weights: names of those that it uses.
        health: of an activation.
        source: "model.py:31", where it was called; None where not known.
        dtype: of its output.
    """

    name: str
    layer: str
    kind: Kind
    type: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    forward: Summary
    backward: Summary
    weights: tuple[str, ...] = ()
    health: ActivationHealth | None = None
    source: str | None = None
    dtype: str = "float32"

    @property
    def log_gain(self) -> float | None:
        """log(||dL/dx through o alone|| / ||dL/dy||), natural; None where there is no such ratio.

        That is where no gradient goes in (a zero norm at the output) or none comes out (an operation on
        integers).

        References:
            docs/theory.md, "Growth through depth".
        """
        below = root_sum_squares(port.norm for port in self.inputs)
        above = root_sum_squares(port.norm for port in self.outputs)
        if not self.inputs or above == 0.0:
            return None
        return log_ratio(below, above)


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight tensor.

    Attributes:
        name: the framework's (``named_parameters()``, or Keras' variable path).
        value: its figures.
        fan_in: how many inputs each output element sums, on average (transposed convolutions); None for biases,
            scales and embeddings.
        gradient: of the data's loss alone; None where no gradient comes (frozen, unused).
        penalty: rms of the gradient of the regularisation, 0 where there is none, NaN where not all of it is
            finite.
        update: rms of the coming update, by the user's own optimizer; None where unknown.
    """

    name: str
    value: Summary
    fan_in: float | None = None
    gradient: Summary | None = None
    penalty: float = 0.0
    update: float | None = None

    @property
    def scale(self) -> float | None:
        """sqrt(mean(W^2) * fan_in): the factor by which it changes the norm.

        References:
            docs/theory.md, "Closed forms".
        """
        return None if self.fan_in is None else self.value.rms * math.sqrt(self.fan_in)


@dataclass(frozen=True, slots=True)
class Input:
    """One input of the model.

    Attributes:
        name: the framework's, or its place.
        value: its figures.
        port: the gradient there; None for integers, through which none goes.
        feature_rms: of each column, for inputs of shape (batch, features).
    """

    name: str
    value: Summary
    port: Port | None
    feature_rms: tuple[float, ...] = ()  # per column, for inputs of shape (batch, features)


@dataclass(frozen=True, slots=True)
class Targets:
    """The labels as the loss gets them.

    Attributes:
        shape: batch included.
        dtype: such as "int64".
        min: the least finite value.
        max: the largest finite value.
        integral: whether every value is a whole number.
        non_finite: share of the elements, 0 to 1.
    """

    shape: tuple[int, ...]
    dtype: str
    min: float
    max: float
    integral: bool  # every value a whole number
    non_finite: float  # share


Frontend = Literal["keras", "torch", "jax"]
Reads = Literal["logits", "probabilities", "log_probabilities", "values", "unknown"]
Family = Literal["sparse_categorical", "categorical", "binary", "regression", "other"]


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss and the end of the network that it reads.

    Attributes:
        name: the framework's.
        value: of the data's loss.
        family: what kind of targets it compares with.
        reads: what it takes its input for.
        head: the closing activation, "softmax", "sigmoid", "log_softmax", or None for a linear end.
        undone: the framework goes round that closing activation and reads the logits behind it (Keras on
            TensorFlow does).
        penalty: value of the regularisation.
        output: figures of the tensor that it is given.
        classes: that tensor's last axis.
        targets: the labels.
        ignored: a label that counts as none (torch's ignore_index).
        summed: the loss over the mean of its elements, where it is their sum; else 1.
        known: the value was read; else it is NaN.
    """

    name: str
    value: float
    family: Family = "other"
    reads: Reads = "unknown"
    head: str | None = None
    undone: bool = False
    penalty: float = 0.0
    output: Summary | None = None
    classes: int | None = None
    targets: Targets | None = None
    ignored: int | None = None
    summed: float = 1.0
    known: bool = True


@dataclass(frozen=True, slots=True)
class Optimizer:
    """The user's optimizer.

    Attributes:
        name: the framework's.
        learning_rate: the present one; None where not known.
    """

    name: str
    learning_rate: float | None


@dataclass(frozen=True, slots=True)
class Method:
    """What of an optimizer decides its largest stable rate.

    Attributes:
        family: whose rule it follows.
        momentum: of SGD and RMSprop, or Adam's beta1; 0 to 1.
        nesterov: whether the momentum is Nesterov's.
        memory: Adam's beta2, RMSprop's rho; 0 to 1.
    """

    family: Literal["sgd", "adam", "rmsprop", "adagrad", "other"]
    momentum: float = 0.0
    nesterov: bool = False
    memory: float = 0.999


@dataclass(frozen=True, slots=True)
class LaterRate:
    """The critical rate after some small steps on the same batch.

    Attributes:
        steps: how many.
        loss: of the batch then.
        critical: as in ``Rate``.
        lowest: the lowest critical rate on the way, the first one among them.
    """

    steps: int
    loss: float
    critical: float
    lowest: float


@dataclass(frozen=True, slots=True)
class Rate:
    """How large a step along the coming update lowers this batch's loss.

    Attributes:
        learning_rate: now.
        critical: the rate at which a step of that direction leaves the loss where it was; inf where no step
            raises it.
        passes: forward passes that it took.
        method: what of the optimizer decides its largest stable rate.
        sharpness: with precise, the largest eigenvalue of the Hessian, preconditioned as the optimizer does.
        loss: of the batch; None where it is not known.
        later: the critical rate after some small steps; measured with precise, and where the rate is too large.

    References:
        2601.16979 (eta_c); docs/theory.md, "Learning rate".
    """

    learning_rate: float
    critical: float
    passes: int
    method: Method
    sharpness: float | None = None
    loss: float | None = None
    later: LaterRate | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """Which of a script's trainings was measured.

    Attributes:
        number: from 1, in the script's order.
        name: the user's own of the model and its optimizer, such as "netG by optimizerG".
        where: the line that begins it: of Keras' ``fit``, of the making of torch's optimizer.
    """

    number: int
    name: str
    where: Where | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Probe:
    """What one probe measured.

    Attributes:
        frontend: whose vocabulary the user writes.
        backend: what computes.
        versions: such as "torch 2.13.0".
        model: its class.
        batch_size: samples in the batch.
        inputs: of the model.
        outputs: the tensors where the budget begins: the model's outputs, before a closing softmax, log_softmax
            or sigmoid (that one counts as part of the loss).
        operations: forward order, the loss's own included.
        weights: the trained tensors that the loss depends on.
        loss: the loss function and what it was given.
        optimizer: the user's; None where not given.
        notes: what could not be measured, and why.
        spec: the same model as a graph to forecast from, its operations by the same names; None where it could
            not be made.
        rate: the present learning rate against the largest stable one; None where not asked for or not known.
        loss_scale: of the training's own loss scaling; all gradients here are divided by it.
        facts: what was seen of the script's loop, for the rules in ``diagnosis/fact_rules``.
        training: which of the script's it is; None where no script was run.
        accumulated: losses of one line that go into one step, undivided.
    """

    frontend: Frontend
    backend: Literal["tensorflow", "jax", "torch"]
    versions: tuple[str, ...]
    model: str
    batch_size: int
    inputs: tuple[Input, ...]
    outputs: tuple[Port, ...]
    operations: tuple[Operation, ...]
    weights: tuple[Weight, ...]
    loss: Loss
    optimizer: Optimizer | None = None
    notes: tuple[str, ...] = field(default=())
    spec: ModelSpec | None = None
    rate: Rate | None = None
    loss_scale: float = 1.0
    facts: tuple[Fact, ...] = ()
    training: Turn | None = None
    accumulated: int = 1

    def __repr__(self) -> str:
        parts = [count(len(self.operations), "operation"), count(len(self.weights), "weight")]
        return (
            f"<Probe of {self.model} ({', '.join(self.versions)}): {', '.join(parts)}, batch of "
            f"{self.batch_size}, {self.loss.name} {self.loss.value:.4g}>"
        )

    def weight(self, name: str) -> Weight:
        """One of its weights.

        Args:
            name: as in ``Weight.name``.

        Returns:
            The weight of that name.

        Raises:
            KeyError: there is none.
        """
        for weight in self.weights:
            if weight.name == name:
                return weight
        raise KeyError(name)


def log_ratio(below: float, above: float) -> float:
    """log(below / above), with -inf for 0 / x and NaN where either is not finite."""
    if not (math.isfinite(below) and math.isfinite(above)):
        return math.nan
    if below == 0.0:
        return -math.inf
    return math.log(below) - math.log(above)
