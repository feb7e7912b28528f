"""What a loop of the script's own is made of on each backend: how it differentiates, and when it has values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat


@dataclass(frozen=True, slots=True, eq=False)
class Differentiated:
    """A loss was differentiated.

    Attributes:
        target: of ``GradientTape.gradient``, of ``backward()``, the value of ``value_and_grad``; None where JAX
            gives the gradient alone.
        sources: what it was differentiated by, flat: variables, or tensors; empty on PyTorch.
        gradients: in the same order, None where no path leads to the target; empty on PyTorch.
        function: of JAX, with the arguments that it was called with, to be called again; else None.
        arguments: of the function.
    """

    target: Any
    sources: tuple[Any, ...]
    gradients: tuple[Any, ...]
    function: Callable[..., Any] | None = None
    arguments: tuple[Any, ...] = ()


Heard = Callable[[Callable[[], Differentiated]], None]
"""Is given what makes the event, for the case that somebody wants it."""


def differentiating(patches: Patches, heard: Heard) -> None:
    """Hear of every loss that is differentiated, until the patches are undone."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        _by_tape(patches, heard)
    elif backend == "jax":
        _by_function(patches, heard)
    else:
        _by_backward(patches, lambda loss: heard(lambda: Differentiated(loss, (), ())))


def _by_tape(patches: Patches, heard: Heard) -> None:
    import tensorflow as tf

    def making(original: Any) -> Any:
        @wraps(original)
        def gradient(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
            beside = _asked_for()
            if beside:
                found, more = original(tape, target, [sources, beside], *args, **kwargs)
                _tell_beside(more)
            else:
                found = original(tape, target, sources, *args, **kwargs)
            heard(lambda: Differentiated(target, _flat(sources), _flat(found)))
            return found

        return gradient

    patches.wrap(tf.GradientTape, "gradient", making)
    compat.leave_unconverted(tf.GradientTape.gradient)


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """Somebody who wants the derivatives by some tensors, too, of what is differentiated with values.

    Attributes:
        wanted: the tensors, asked for before.
        told: is given the derivatives, None where there is none, in the same order.
    """

    wanted: Callable[[], list[Any]]
    told: Callable[[Sequence[Any]], None]


_beside: list[Beside] = []


def differentiated_beside(patches: Patches, beside: Beside) -> None:
    """Until the patches are undone, on TensorFlow and PyTorch."""
    _beside.append(beside)
    patches.on_undo(lambda: _beside.remove(beside))


def _asked_for() -> list[Any]:
    """Of the first who wants any."""
    return next(filter(None, (one.wanted() for one in _beside)), [])


def _tell_beside(found: Sequence[Any]) -> None:
    for one in _beside:
        one.told(found)


def _by_function(patches: Patches, heard: Heard) -> None:
    import jax

    def making(original: Any, valued: bool) -> Any:
        @wraps(original)
        def make(fun: Any, *args: Any, **kwargs: Any) -> Any:
            inner = original(fun, *args, **kwargs)
            chosen = kwargs.get("argnums", args[0] if args else 0)
            auxiliary = kwargs.get("has_aux", args[1] if len(args) > 1 else False)

            @wraps(inner)
            def call(*given: Any, **named: Any) -> Any:
                found = inner(*given, **named)

                def event() -> Differentiated:
                    value: Any = found[0] if valued else None
                    gradients = found[1] if valued else found[0] if auxiliary else found
                    if valued and auxiliary:
                        value = value[0]
                    numbers = (chosen,) if isinstance(chosen, int) else chosen
                    sources = [given[n] for n in numbers if n < len(given)]
                    again = wraps(fun)(lambda *args: fun(*args, **named))
                    return Differentiated(value, _flat(sources), _flat(gradients), again, given)

                heard(event)
                return found

            return call

        return make

    patches.wrap(jax, "value_and_grad", lambda original: making(original, True))
    patches.wrap(jax, "grad", lambda original: making(original, False))


def _by_backward(patches: Patches, heard: Callable[[Any], None]) -> None:
    import torch

    def making(original: Any) -> Any:
        @wraps(original)
        def backward(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            beside = [t for t in _asked_for() if t.requires_grad]
            if beside and not args and not kwargs:
                _tell_beside(
                    torch.autograd.grad(tensor, beside, retain_graph=True, allow_unused=True)
                )
            heard(tensor)
            return original(tensor, *args, **kwargs)

        return backward

    patches.wrap(torch.Tensor, "backward", making)


def _flat(structure: Any) -> tuple[Any, ...]:
    """Leaves, with Keras' variables whole and None counted."""
    return tuple(keras.tree.flatten(structure))


def run_by_host() -> bool:
    """Whether operations have values now, and are not only traced."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.executing_eagerly())
    return keras.backend.backend() == "torch"


def outside() -> Any:
    """Out of the function that TensorFlow is tracing, where variables have values."""
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    return tf.init_scope()


def reached(tensor: Any) -> bool:
    """Whether a tensor has a value where we are: on TensorFlow not in another function's graph."""
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    if tf.executing_eagerly():
        return not tf.is_symbolic_tensor(tensor)
    graph: Any = tf.compat.v1.get_default_graph()
    own = getattr(tensor, "graph", None)
    while graph is not None and graph is not own:
        graph = getattr(graph, "outer_graph", None)
    return graph is not None


def is_replica() -> bool:
    """Whether this is one of several replicas of a TensorFlow strategy, which meet to update."""
    if not has_strategy():
        return False
    import tensorflow as tf

    return tf.distribute.get_replica_context() is not None


def first_of(strategy: Any, value: Any) -> Any:
    """What the first replica has of a value, where they meet."""
    return strategy.experimental_local_results(value)[0]


def is_distributed(model: Any) -> bool:
    """Whether a model was made under a strategy of TensorFlow's."""
    if keras.backend.backend() != "tensorflow":
        return False
    with model.distribute_strategy.scope():
        return has_strategy()


def has_strategy() -> bool:
    """Whether a strategy of TensorFlow's is in force here."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.distribute.has_strategy())


def met(action: Callable[[], None]) -> None:
    """Do something once for all replicas, where they meet; alone at once."""
    if not is_replica():
        action()
        return
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def merged(_strategy: Any) -> None:
        action()

    tf.distribute.get_replica_context().merge_call(merged)


def run_eagerly(patches: Patches) -> None:
    """Until the patches are undone, compiled steps are run operation by operation."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        patches.wrap(compat.function_class(), "__call__", _calling_eagerly)
    elif backend == "jax":
        import jax

        before = bool(jax.config.jax_disable_jit)
        jax.config.update("jax_disable_jit", True)
        patches.on_undo(lambda: jax.config.update("jax_disable_jit", before))


def _calling_eagerly(original: Any) -> Any:
    import tensorflow as tf

    @wraps(original)
    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        if _compiled or not tf.executing_eagerly() or tf.config.functions_run_eagerly():
            return original(function, *args, **kwargs)
        tf.config.run_functions_eagerly(True)
        try:
            return original(function, *args, **kwargs)
        finally:
            tf.config.run_functions_eagerly(False)

    return call


_compiled: list[None] = []
"""Not empty while what is compiled may run so."""


@contextmanager
def compiled() -> Iterator[None]:
    """While it lasts, what is compiled is run so again."""
    if keras.backend.backend() == "jax":
        import jax

        with jax.disable_jit(False):
            yield
        return
    _compiled.append(None)
    try:
        yield
    finally:
        _compiled.pop()


def trace(step: Callable[[], None]) -> None:
    """On TensorFlow make a graph of a step, without running it. Elsewhere nothing."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.function(step, autograph=False).get_concrete_function()


def tape() -> Any:
    """TensorFlow's gradient tape."""
    import tensorflow as tf

    return tf.GradientTape()


def has_value(tensor: Any) -> bool:
    """Whether a tensor can be read now, and is not only traced."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return not tf.is_tensor(tensor) or not tf.is_symbolic_tensor(tensor)
    if backend == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    return not getattr(tensor, "is_meta", False)


def number(value: Any) -> float:
    """The sum of a structure of tensors, which is what is differentiated; NaN where it has no value."""
    own = parts(value)
    if not own or not all(map(has_value, own)):
        return float("nan")
    return float(sum(float(keras.ops.convert_to_numpy(keras.ops.sum(part))) for part in own))


def parts(value: Any) -> list[Any]:
    """The tensors of a structure."""
    return [part for part in keras.tree.flatten(value) if part is not None]


def bring(value: Any, told: Callable[[Any], None]) -> None:
    """In a step that JAX compiles: have the host told of a value at each of its calls."""
    import jax

    jax.debug.callback(told, value)


def variable_class(name: str) -> Any:
    """The class of TensorFlow's own variables that has this method; None on other backends."""
    if keras.backend.backend() != "tensorflow":
        return None
    mro = compat.variable_kind().__mro__
    return next((cls for cls in mro if name in vars(cls)), None)


def differences() -> list[tuple[Any, str, str]]:
    """What subtracts on TensorFlow, as it runs: where it stands, its name, what to call it."""
    if keras.backend.backend() != "tensorflow":
        return []
    import tensorflow as tf

    base = tf.Tensor
    named = [(tf, n, f"tf.{n}") for n in ("subtract",)]
    named += [(tf.math, n, f"tf.{n}") for n in ("subtract", "squared_difference")]
    named += [(keras.ops, "subtract", "ops.subtract")]
    return [(base, "__sub__", "-"), (base, "__rsub__", "-"), *named]


def products() -> list[tuple[Any, str]]:
    """What multiplies as it runs, on TensorFlow and PyTorch: where it stands, and its name."""
    backend = keras.backend.backend()
    if backend == "jax":
        return []
    found: list[tuple[Any, str]] = [(keras.ops, "multiply")]
    if backend == "torch":
        import torch

        return [*found, (torch.Tensor, "__mul__"), (torch.Tensor, "__rmul__"), (torch, "mul")]
    import tensorflow as tf

    base = tf.Tensor
    return [*found, (base, "__mul__"), (base, "__rmul__"), (tf, "multiply"), (tf.math, "multiply")]


def constant(tensor: Any) -> Any:
    """The value that a tensor of TensorFlow has already while it is traced; None where it has none."""
    import tensorflow as tf

    return tf.get_static_value(tensor)


def sums() -> list[tuple[Any, str, str]]:
    """What sums up on TensorFlow: where it stands, its name, what to call it."""
    if keras.backend.backend() != "tensorflow":
        return []
    import tensorflow as tf

    named = [(tf, "reduce_sum", "tf.reduce_sum()"), (tf.math, "reduce_sum", "tf.reduce_sum()")]
    return [*named, (keras.ops, "sum", "ops.sum()")]


def clips() -> list[tuple[Any, str]]:
    """Functions that clip gradients, the bound last: where they stand, and their names."""
    found: list[tuple[Any, str]] = [(keras.ops, "clip")]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found += [(tf, name) for name in ("clip_by_norm", "clip_by_global_norm", "clip_by_value")]
    elif keras.backend.backend() == "torch":
        from torch.nn import utils

        found += [(utils, name) for name in _IN_PLACE]
    return found


_IN_PLACE = ("clip_grad_norm_", "clip_grad_value_")


def in_place(clip: Any) -> bool:
    """Whether a function that clips changes what it is given."""
    return getattr(clip, "__name__", "") in _IN_PLACE


def clippable(value: Any) -> tuple[Any, ...]:
    """Tensors of what such a function takes or gives, of PyTorch's parameters the gradients."""
    if keras.backend.backend() != "torch":
        return _flat(value)
    leaves = [value] if hasattr(value, "grad") else list(value)
    return tuple(leaf if leaf.grad is None else leaf.grad for leaf in leaves)


def cuts() -> list[tuple[Any, str, str]]:
    """Functions that give a value without its gradient: where they stand, their names, what to call them."""
    found: list[tuple[Any, str, str]] = [
        (keras.ops, "stop_gradient", "stop_gradient"),
        (keras.ops, "convert_to_numpy", "numpy"),
    ]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found += [(tf, "stop_gradient", "stop_gradient")]
        own = (kind for kind in tf.Tensor.__subclasses__() if "numpy" in vars(kind))
        found += [(kind, "numpy", "numpy") for kind in own]
    elif keras.backend.backend() == "torch":
        import torch

        found += [(torch.Tensor, "detach", "detach")]
    return found
