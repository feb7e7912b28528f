"""What evengrad raises. Each message says what was expected, what came and what to do."""


class EvengradError(Exception):
    """Something kept evengrad from doing what it was asked; the message says what to do."""


class CannotCheckError(EvengradError):
    """The model, the batch or the loss is not one that can be probed."""


class MissingFrameworkError(EvengradError):
    """A framework is not installed, or is of a generation that evengrad does not read."""


class ScriptError(EvengradError):
    """The user's script could not be started, or never came to a training step."""


class CannotChangeError(EvengradError):
    """A change does not fit this model, this optimizer or this source; the message says why."""


class InternalError(EvengradError):
    """evengrad itself failed. ``__cause__``: what was raised inside it."""


class DefinitionError(EvengradError):
    """A file of a rule, a remedy or a change lacks a name or has a wrong one; the message says which."""
