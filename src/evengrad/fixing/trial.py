"""A trial: the user's own training, shortened and seeded, with some changes made; and what came of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from evengrad.fixing.changes import from_json, to_json
from evengrad.values.change import Change
from evengrad.values.finding import Symptom
from evengrad.values.message import of_spelling, spelling

End = Literal["budget", "clear", "finished", "stopped", "failed", "refused", "unseen", "internal"]
"""How a trial ended: its steps were made; its outcome was clear before; the script was over before; the guard
stopped it; it raised; a change does not fit; no training step was seen; evengrad itself failed."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What to run.

    Attributes:
        target: a script's path, or a module's dotted name.
        arguments: the script's ``sys.argv[1:]``.
        module: whether the target is a module.
        changes: to be made in the live training.
        seed: added to the script's own seeds.
        steps: how many updates are made before it ends.
        source: instead of the script's, if it is patched.
        enough: it may end before, once it clearly learns and its loss is clearly below this; None: it may not.
        hopeless: it may end before, once it is clear that it does not learn.
        function: of the script, called without arguments, where the script alone does not train.
        seconds: of training, after which it ends, too; None for no limit.
        check: nothing is trained: the first step is probed, and its errors are what is unhealthy.
        without: a kind of mistake that it is tried to be without: it ends where that is seen.
        training: which of the script's trainings the result is of, from 0; None for the longest.
        whole: no example is withheld from the loss: each batch is the script's own.
        measured: the first step is probed, too, and no guard stands before the weights: what goes wrong is to
            be seen.
        onward: behind its last probe the script goes on to its own end, and none of its examples is withheld.
    """

    target: str
    arguments: tuple[str, ...] = ()
    module: bool = False
    changes: tuple[Change, ...] = ()
    seed: int = 0
    steps: int = 200
    source: str | None = None
    enough: float | None = None
    hopeless: bool = False
    function: str | None = None
    seconds: float | None = None
    check: bool = False
    without: str = ""
    training: int | None = None
    whole: bool = False
    measured: bool = False
    onward: bool = False

    def key(self, content: str) -> str:
        """A name for what this trial does, given the script's content: the same for the same."""
        facts = json.dumps([self.to_json(), content], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return own | {"changes": to_json(self.changes), "arguments": list(self.arguments)}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Trial:
        """What ``to_json`` gave."""
        return Trial(
            **{
                **values,
                "changes": from_json(values["changes"]),
                "arguments": tuple(values["arguments"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a trial.

    Attributes:
        end: how it ended.
        losses: of each update, before it.
        norms: of the gradients of each update, before any clip.
        seconds: that it took.
        withheld: mean losses of the examples that are withheld from the training, of the steps that showed
            some.
        epoch: how many steps show every example once: up to there each loss is of examples not trained on
            before; None where that did not end.
        baseline: the constant baseline; None where not known.
        floor: what no loss of this kind can be below, where every loss function in it has such a bound.
        symptoms: of the findings of the run and of the last probe.
        unhealthy: titles of those of them with which no training is healthy: mistakes in the script, and of a
            training that came to its own end each error.
        profile_at_start: rms of the gradient by layer in the first step.
        profile: the same at the end.
        growth_at_start: growth of the gradient from the output to the input before the first step, split by
            cause, in decades; empty where it was not probed.
        growth: the same at the end.
        message: what the script or the guard said.
        notes: what a change did (which weights were matched).
        run: its file.
        optimizers: how many were stepped side by side, each with a loss of its own.
        changeable: whether changes could be made live; else they are tried in the source.
    """

    end: End
    losses: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()
    seconds: float = 0.0
    withheld: tuple[float, ...] = ()
    epoch: int | None = None
    baseline: float | None = None
    floor: float | None = None
    symptoms: tuple[Symptom, ...] = ()
    unhealthy: tuple[str, ...] = ()
    profile_at_start: tuple[tuple[str, float], ...] = field(default=())
    profile: tuple[tuple[str, float], ...] = field(default=())
    growth_at_start: tuple[tuple[str, float], ...] = field(default=())
    growth: tuple[tuple[str, float], ...] = field(default=())
    message: str = ""
    notes: tuple[str, ...] = ()
    run: str | None = None
    optimizers: int = 1
    changeable: bool = True

    @property
    def held_out(self) -> tuple[float, ...]:
        """See ``held_out``."""
        return tuple(held_out(self.losses, self.withheld, self.epoch))

    def to_json(self) -> dict[str, Any]:
        """As plain values; numbers that are not finite as None."""
        found = asdict(self)
        for name in ("losses", "norms", "withheld"):
            found[name] = [v if math.isfinite(v) else None for v in found[name]]
        for name in ("growth_at_start", "growth"):
            found[name] = [(cause, v if math.isfinite(v) else None) for cause, v in found[name]]
        return found

    def stored(self) -> str:
        """The text of ``result.json``: with what it is called in other languages."""
        return json.dumps(self.to_json() | {"said": [spelling(text) for text in self.unhealthy]})

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Result:
        """What ``to_json`` gave, or ``stored``."""
        nan = float("nan")
        own = dict(values)
        for name in ("losses", "norms", "withheld"):
            own[name] = tuple(nan if v is None else float(v) for v in own[name])
        own["unhealthy"] = tuple(map(of_spelling, own.pop("said", own["unhealthy"])))
        own["notes"] = tuple(own["notes"])
        own["symptoms"] = tuple(map(Symptom, own["symptoms"]))
        for name in ("profile_at_start", "profile"):
            own[name] = tuple((str(layer), float(v)) for layer, v in own[name])
        for name in ("growth_at_start", "growth"):
            own[name] = tuple((str(c), nan if v is None else float(v)) for c, v in own[name])
        return Result(**own)


def held_out(
    losses: Sequence[float], withheld: Sequence[float], epoch: int | None
) -> Sequence[float]:
    """Losses of examples that had not been trained on: of those that are withheld, else, where none could be,
    of the first pass over the data.
    """
    return withheld or losses[:epoch]


def stored_result(folder: Path) -> Result | None:
    """The result in a trial's folder, if it was ended."""
    try:
        return Result.from_json(json.loads((folder / "result.json").read_text()))
    except (OSError, ValueError, TypeError, KeyError):
        return None
