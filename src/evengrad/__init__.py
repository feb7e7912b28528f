"""evengrad keeps the gradients of neural networks even.

``evengrad.check(model, loss=..., batch=(x, y))`` measures where the gradient grows or vanishes, and
says which layer, which cause and what to change. Importing evengrad loads no framework.
"""

from evengrad import keras as keras  # loads no framework until it is used
from evengrad.check import Check, check
from evengrad.errors import CannotCheckError, EvengradError
from evengrad.finding import Cause, Finding, Severity
from evengrad.fix import fix
from evengrad.fixing import Fixing
from evengrad.forecast import Forecast, forecast
from evengrad.guard import GuardStopError
from evengrad.probe import Probe
from evengrad.run import Run
from evengrad.store import load
from evengrad.watch import watch

__version__ = "0.1.0"

__all__ = [
    "CannotCheckError",
    "Cause",
    "Check",
    "EvengradError",
    "Finding",
    "Fixing",
    "Forecast",
    "GuardStopError",
    "Probe",
    "Run",
    "Severity",
    "check",
    "fix",
    "forecast",
    "load",
    "watch",
]
