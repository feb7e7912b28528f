"""``evengrad.check``: one probe of a live model, judged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evengrad.adapters import adapter_of
from evengrad.diagnosis.diagnose import diagnose_probe
from evengrad.diagnosis.evidence import evidence
from evengrad.diagnosis.gradient_norm import GradientNorm, gradient_norm
from evengrad.errors import CannotCheckError
from evengrad.theory.prediction import Prediction, predict
from evengrad.values import wording
from evengrad.values.display import Displayed, Headline, finding_lines
from evengrad.values.finding import Finding
from evengrad.values.message import msg
from evengrad.values.probe import Probe
from evengrad.values.spec import Law

__all__ = ["Check", "check"]


def check(
    model: Any,
    *unnamed: Any,
    batch: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    rate: bool = True,
    precise: bool = False,
) -> Check:
    """Probe a model on one batch and judge what was measured. Nothing in the model changes.

    Args:
        model: a ``torch.nn.Module`` or a Keras 3 model on any backend.
        *unnamed: none; the others are named.
        batch: (inputs, targets) as the training would see them; inputs may be a tensor, a list or a dict.
        loss: for torch a callable, ``loss(output, target)``; for Keras a name, a ``keras.losses.Loss``, or None
            for the compiled one.
        optimizer: the training's own, for the size of the coming update and the largest stable learning rate;
            for Keras None means the compiled one.
        rate: False saves the forward passes, 10 at most, that the rate takes.
        precise: takes the rate from the Hessian's largest eigenvalue.

    Returns:
        What was measured, and the findings, most important first.

    Raises:
        CannotCheckError: there is nothing to measure, or an argument is not what was expected.
        MissingFrameworkError: the framework is older than what evengrad reads.

    >>> result = evengrad.check(model, loss=nn.CrossEntropyLoss(), batch=(x, y))  # doctest: +SKIP
    >>> result.findings[0].advice  # doctest: +SKIP
    """
    _expect(model, unnamed, batch)
    measured: Probe = adapter_of(model, "probe")(
        model, loss=loss, batch=batch, optimizer=optimizer, rate=rate, precise=precise
    )
    return check_probe(measured)


def _expect(model: Any, unnamed: tuple[Any, ...], batch: Any) -> None:
    """The mistakes of a first call, told apart from what an adapter finds."""
    if isinstance(model, type):
        raise CannotCheckError(
            msg(
                "Expected a model, got the class {kind}: make one, as in {kind}(...).",
                kind=model.__qualname__,
            )
        )
    if unnamed:
        came = ", ".join(type(one).__name__ for one in unnamed)
        raise CannotCheckError(
            msg(
                "Expected the model alone without a name, got {came} after it. Name them: "
                "evengrad.check(model, loss=..., batch=(x, y), optimizer=...).",
                came=came,
            )
        )
    if not isinstance(batch, tuple | list):
        came = "none" if batch is None else type(batch).__name__
        adapter_of(model, "probe")  # no model at all is the more important news
        raise CannotCheckError(
            msg(
                "Expected batch=(inputs, targets), a pair as the training sees it, got {came}.",
                came=came,
            )
        )


@dataclass(frozen=True, repr=False)
class Check(Displayed):
    """The result of a check: what was measured, and what it means.

    Attributes:
        probe: what was measured.
        findings: most important first.
        forecast: where nothing was measured and the probe is what theory expects.
    """

    probe: Probe
    findings: tuple[Finding, ...]
    forecast: Prediction | None = None

    def headline(self) -> Headline:
        """In a few lines."""
        total = wording.factor(evidence(self.probe).budget.total)
        found = msg("healthy") if self.healthy else wording.count(len(self.findings), "finding")
        what = msg("Check") if self.forecast is None else msg("Forecast")
        title = msg(
            "{what} of {model}: {found}; gradient {total} from output to input",
            what=what,
            model=self.probe.model,
            found=found,
            total=total,
        )
        return Headline(title, finding_lines(self.findings))

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def prediction(self) -> Prediction | None:
        """What theory says of the same model, its weights by their moments only, for inputs with the mean
        and rms of this batch; None where it could not be made (``unpredicted`` says why).
        """
        return self.forecast or self._predicted[0]

    @property
    def unpredicted(self) -> str | None:
        """Why there is no prediction."""
        return None if self.forecast else self._predicted[1]

    @cached_property
    def norm(self) -> GradientNorm | None:
        """What makes the gradient's norm what it is; None where nothing was measured."""
        if self.forecast is not None:
            return None
        return gradient_norm(self.probe, evidence(self.probe).budget.total, self.prediction)

    @cached_property
    def _predicted(self) -> tuple[Prediction | None, str | None]:
        """Worked out when it is asked for: it costs about as much as a probe."""
        spec = self.probe.spec
        if spec is None:
            return None, None
        inputs = zip(spec.inputs, self.probe.inputs, strict=False)
        laws = {
            i.tensor: Law(seen.value.mean, seen.value.rms) for i, seen in inputs if not i.integer
        }
        try:
            return predict(spec, laws), None
        except Exception as error:  # the measured budget stands, whatever becomes of the forecast
            return None, f"{type(error).__name__} {error}"


def check_probe(probe: Probe) -> Check:
    """Judge a probe by every rule."""
    return Check(probe, diagnose_probe(probe))
