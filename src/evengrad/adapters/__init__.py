"""The only places that import a framework: one folder each, with identical file names.

probe.py has ``probe(model, *, loss, batch, optimizer) -> Probe``; script.py has ``arm(session) -> Armed``,
which steps into the user's unmodified script. live.py has ``arm(session: LiveSession) -> Armed``, which
watches it to its end, and trying.py ``arm(session: TrialSession) -> Armed``, which changes it;
inquiry.py has ``arm(session: InquirySession) -> Armed``, which looks for where a NaN was born.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

from evengrad.errors import CannotCheckError, MissingFrameworkError
from evengrad.values.message import msg

FLOORS = {"torch": "2.4", "keras": "3.12", "jax": "0.7"}
"""The oldest version that each adapter reads; pyproject.toml's extras say the same."""


_MODELS = (
    ("keras", "Layer", "keras"),
    ("torch", "nn.Module", "torch"),
    ("flax.linen", "Module", "jax"),
    ("flax.nnx", "Module", "jax"),
    ("equinox", "Module", "jax"),
    ("optax", "GradientTransformation", "jax"),
)
"""Where a type of models is, and which adapter reads it; an optimizer of optax stands for its training."""


def below_floor(framework: Any) -> MissingFrameworkError | None:
    """What to say of an imported framework that is too old; None where it is not."""
    name, found = framework.__name__, str(getattr(framework, "__version__", ""))
    needed = FLOORS[name]
    if not found or _parts(found) >= _parts(needed):
        return None
    return MissingFrameworkError(
        msg(
            "evengrad needs {name} {needed} or newer, found {found}: pip install '{name}>={needed}'.",
            name=name,
            needed=needed,
            found=found,
        )
    )


def _parts(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def adapter_of(model: Any, task: str) -> Any:
    """The function of an adapter that knows this model.

    Args:
        model: of any framework; Keras is asked first, for on its torch backend a model is both.
        task: name of the function, such as "probe" or "describe".

    Returns:
        The function.

    Raises:
        CannotCheckError: what is no model.
        MissingFrameworkError: the framework is too old.
    """
    for name, kind, framework in _MODELS:
        module = sys.modules.get(name)
        if module is not None and _is_a(model, module, kind):
            old = below_floor(sys.modules[framework])
            if old is not None:
                raise old
            return getattr(importlib.import_module(f"evengrad.adapters.{framework}.{task}"), task)
    if type(model).__module__.split(".")[0] == "tf_keras":
        raise CannotCheckError(
            msg(
                "This is a Keras 2 model (tf_keras). evengrad reads Keras 3: build the model with "
                "`import keras`, and unset TF_USE_LEGACY_KERAS."
            )
        )
    raise CannotCheckError(
        msg(
            "Expected a torch.nn.Module, a Keras 3, flax or Equinox model, got {kind}. "
            "Pass the model itself, not its class, its output or its weights.",
            kind=type(model).__qualname__,
        )
    )


def _is_a(model: Any, module: Any, dotted: str) -> bool:
    kind: Any = module
    for part in dotted.split("."):
        kind = getattr(kind, part, None)
    return isinstance(kind, type) and isinstance(model, kind)
