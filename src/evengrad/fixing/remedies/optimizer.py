"""An adaptive optimizer: Adam, else RMSprop or Adagrad.

Treats: gradients whose size differs much between layers, so that no one rate fits all (EG101, EG102, EG806,
EG809; after better weights, EG301, EG302), and rates that are not stable under plain gradient descent.

Why: Adam divides each weight's gradient by its own running size (Kingma 2014, 1412.6980): layers that get a
thousandth of the gradient still move. RMSprop (Tieleman and Hinton 2012) does it without momentum, Adagrad
(Duchi 2011, JMLR 12) by the sum of all squares, so that its steps shrink. None brings back a gradient that is
zero.
"""

from __future__ import annotations

from collections.abc import Iterable

from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.use_optimizer import OptimizerName, UseOptimizer
from evengrad.values.finding import Cause, Symptom
from evengrad.values.message import msg

_TREATED = {Symptom.EXPLODING, Symptom.VANISHING, Symptom.FADING, Symptom.STANDING_STILL}

# PyTorch's and Keras' defaults, but for Adagrad PyTorch's: Keras' 0.001 is meant for warm starts.
_CHOICES: tuple[tuple[OptimizerName, str, float], ...] = (
    ("adam", "Adam", 1e-3),
    ("rmsprop", "RMSprop", 1e-3),
    ("adagrad", "Adagrad", 1e-2),
)


def propose(case: Case) -> Iterable[Candidate]:
    """Where the optimizer is not adaptive already."""
    if case.optimizer.startswith(("adam", "nadam", "rmsprop", "radam", "lion")):
        return
    causes = (Cause.LEARNING_RATE, Cause.ARCHITECTURE, Cause.ACTIVATION, Cause.INITIALISATION)
    known = [cause for cause in causes if cause in case.causes]
    if not known and not case.symptoms & _TREATED:
        return
    cause = known[0] if known else Cause.LEARNING_RATE
    later = int(cause is Cause.INITIALISATION)
    for alternative, (name, title, rate) in enumerate(_CHOICES, start=later):
        words = msg("{title} at {rate:g}", title=title, rate=rate)
        yield Candidate("optimizer", (UseOptimizer(name, rate),), cause, 4, words, alternative)
