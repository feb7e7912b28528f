"""What a remedy is given and what it proposes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from evengrad.diagnosis.branches import Branch, branches
from evengrad.diagnosis.even import Even, even_initialisation
from evengrad.diagnosis.evidence import evidence
from evengrad.diagnosis.rate_advice import higher, instead
from evengrad.fixing.trial import Result
from evengrad.recording.reader import load
from evengrad.theory.activations import canonical
from evengrad.theory.stability import largest_stable
from evengrad.values.change import Change
from evengrad.values.finding import Cause, Finding, Symptom, with_echoes
from evengrad.values.probe import Frontend, Probe
from evengrad.values.spec import Kind

_BOUNDED = ("sigmoid", "tanh", "softsign", "hard_sigmoid", "hardtanh", "hard_tanh")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A remedy for one cause, ready to be tried.

    Attributes:
        remedy: its name.
        changes: what it changes.
        cause: what it is for.
        invasiveness: 1 for a number of the training, up to 6 for another network.
        reason: one line, what it is for.
        alternative: 0 for the first choice, more for what is tried only when no first choice has worked, nor
            two of them together.
        source: the script with its mistakes out of it, on which the changes are made; None for the script as it
            is.
        training: which of the script's trainings it is for, from 0; None for the one that a trial changes.
    """

    remedy: str
    changes: tuple[Change, ...]
    cause: Cause
    invasiveness: int
    reason: str
    alternative: int = 0
    source: str | None = None
    training: int | None = None


@dataclass(frozen=True)
class Case:
    """A sick training.

    Attributes:
        probe: before the first step; None where it could not be taken.
        findings: of the probe and of the run.
        result: how the run went.
        steps: of a trial.
        pretrained: a file of weights that the user has.
    """

    probe: Probe | None
    findings: tuple[Finding, ...]
    result: Result
    steps: int
    pretrained: str | None = None

    @property
    def frontend(self) -> Frontend:
        """Whose vocabulary the script uses."""
        if self.probe is not None:
            return self.probe.frontend
        run = None if self.result.run is None else load(Path(self.result.run))
        return "keras" if run is not None and run.subject.frontend == "keras" else "torch"

    @cached_property
    def causes(self) -> tuple[Cause, ...]:
        """Those that were found, the most important first."""
        return tuple(dict.fromkeys(finding.cause for finding in with_echoes(self.findings)))

    @cached_property
    def symptoms(self) -> frozenset[Symptom]:
        """Of all findings, echoes too, and of the end of the run."""
        own = (finding.symptom for finding in with_echoes(self.findings))
        return frozenset(symptom for symptom in own if symptom) | set(self.result.symptoms)

    @property
    def rate(self) -> float | None:
        """The learning rate now."""
        optimizer = None if self.probe is None else self.probe.optimizer
        return None if optimizer is None else optimizer.learning_rate

    @property
    def optimizer(self) -> str:
        """Its name in small letters; empty where it is not known."""
        optimizer = None if self.probe is None else self.probe.optimizer
        return "" if optimizer is None else optimizer.name.lower()

    @property
    def stable(self) -> float | None:
        """The largest stable learning rate, where it is known."""
        rate = None if self.probe is None else self.probe.rate
        found = None if rate is None else largest_stable(rate)
        return found if found is not None and 0 < found < float("inf") else None

    @cached_property
    def lower_rate(self) -> float | None:
        """What check would lower the learning rate to; None where it would not."""
        return None if self.probe is None else instead(evidence(self.probe))

    @property
    def higher_rate(self) -> float | None:
        """What check would raise it to; None where that is not known."""
        rate = None if self.probe is None else self.probe.rate
        return None if rate is None or self.stable is None else higher(rate)

    @cached_property
    def even(self) -> tuple[Even, ...]:
        """Weights that would preserve the variance, for all layers whose scale matters."""
        return () if self.probe is None else even_initialisation(self.probe)

    @cached_property
    def activations(self) -> tuple[str, ...]:
        """Types of the activations in hidden layers, the most frequent first."""
        if self.probe is None:
            return ()
        found = [canonical(o.type) for o in self.probe.operations if o.kind is Kind.ACTIVATION]
        return tuple(sorted(dict.fromkeys(found), key=found.count, reverse=True))

    @property
    def bounded(self) -> tuple[str, ...]:
        """Those with flat ends."""
        return tuple(name for name in self.activations if name in _BOUNDED)

    @property
    def plain(self) -> bool:
        """Whether layers follow one another, with neither a normalisation nor a residual connection."""
        other = (Kind.NORMALISATION, Kind.ATTENTION, Kind.RECURRENT)
        return (
            self.probe is not None
            and not self.branches
            and not any(o.kind in other for o in self.probe.operations)
        )

    @cached_property
    def weighted(self) -> tuple[str, ...]:
        """Layers with a weight matrix, forward order."""
        if self.probe is None:
            return ()
        own = [o.layer for o in self.probe.operations if o.kind is Kind.WEIGHTS]
        return tuple(dict.fromkeys(own))

    @cached_property
    def square(self) -> tuple[str, ...]:
        """Weighted layers whose input and output have the same shape, forward order."""
        if self.probe is None:
            return ()
        shapes: dict[int, tuple[int, ...]] = {}
        found: list[str] = []
        for operation in self.probe.operations:
            if operation.kind is Kind.WEIGHTS and any(
                shapes.get(port.tensor) == operation.forward.shape for port in operation.inputs
            ):
                found.append(operation.layer)
            shapes |= {port.tensor: operation.forward.shape for port in operation.outputs}
        return tuple(dict.fromkeys(found))

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """Residual branches, forward order."""
        return () if self.probe is None else branches(self.probe)

    @cached_property
    def depth(self) -> int:
        """Activations in hidden layers."""
        if self.probe is None:
            return 0
        return sum(o.kind is Kind.ACTIVATION for o in self.probe.operations)

    @cached_property
    def convolutional(self) -> bool:
        """Whether any layer's output has places (time, height, width) beside channels."""
        return self.probe is not None and any(
            o.kind is Kind.WEIGHTS and len(o.forward.shape) > 2 for o in self.probe.operations
        )

    @cached_property
    def normalised(self) -> bool:
        """Whether there is a normalisation already."""
        return self.probe is not None and any(
            o.kind is Kind.NORMALISATION for o in self.probe.operations
        )
