"""The backend's own functions on symbolic tensors, each as one Keras operation."""

from __future__ import annotations

from typing import Any

import keras

from evengrad.adapters.keras import compat


class Native(keras.Operation):
    """A backend function: ``tf.nn.relu``, ``torch.flatten``."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self._function = function

    def call(self, *args: Any, **kwargs: Any) -> Any:
        result = self._function(*args, **kwargs)
        if keras.backend.backend() == "tensorflow" and type(self).__name__ in (
            "softmax",
            "sigmoid",
        ):
            # In a compiled training step Keras finds these by their graph operation and reads the
            # logits behind them; here, run eagerly, it goes by this mark.
            compat.mark_logits(result, args[0] if args else next(iter(kwargs.values())))
        return result

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        return compat.symbolic_result(self.call, *args, **kwargs)


def call_symbolic(function: Any, name: str, args: Any, kwargs: Any) -> Any:
    """Make the call a node of the graph; the operation's class has the function's name."""
    operation: Any = type(compat.plain_name(name), (Native,), {})(function)
    return operation(*args, **kwargs)


def has_symbolic(*structures: Any) -> bool:
    """Whether a symbolic tensor is among the arguments."""
    return any(isinstance(t, keras.KerasTensor) for t in keras.tree.flatten(structures))
