"""Every private name of Keras and of its backends that evengrad uses: what for, and what is done without it.

Such a name may be gone in the next release. So nothing else in this adapter spells one; each is read by
``_private`` or ``_imported``; and where one is missing, another way is taken or that one figure is missing:
then ``notes()`` says so in the report, and the log once in a run.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras

from evengrad.errors import CannotCheckError
from evengrad.values.message import msg

log = logging.getLogger("evengrad")
_MISSING: Any = object()
_lost: dict[str, str] = {}


def notes() -> tuple[str, ...]:
    """What is missing because a private name is, one line each, since the process began."""
    return tuple(_lost.values())


def _private(owner: Any, name: str, default: Any = None) -> Any:
    return getattr(owner, name, default)


def _imported(module: str, name: str) -> Any:
    """None where there is no such module or no such name in it."""
    try:
        return _private(importlib.import_module(module), name)
    except ImportError:
        return None


def _without(name: str, missing: str) -> None:
    """Note it, once."""
    if name not in _lost:
        _lost[name] = f"keras {keras.__version__} has no {name}: {missing}"
        log.warning("evengrad: %s", _lost[name])


def _needed(name: str, found: Any) -> Any:
    """Of a name that nothing can stand in for."""
    if found is None:
        raise CannotCheckError(
            msg(
                "Expected Keras to have {name}, by which evengrad follows a model; keras {version} has "
                "not. Install a release of Keras that this evengrad was tested with, or a newer evengrad.",
                name=name,
                version=keras.__version__,
            )
        )
    return found


# --- layers ---------------------------------------------------------------------------------------


def number_anew() -> None:
    """Layers that a script does not name are numbered from the start again, as in a process of its own.
    Without: they go on from where the last script of this process was.
    """
    reset = _imported("keras.src.utils.naming", "reset_uids")
    if reset is not None:
        reset()


def layers_of(layer: Any, include_self: bool = True) -> list[Any]:
    """A layer and all in it, each once, owners first. Without: by its attributes."""
    flatten = _private(layer, "_flatten_layers")
    if flatten is not None:
        return list(flatten(include_self=include_self))
    found: dict[int, Any] = {id(layer): layer}
    left = [layer]
    while left:
        for child in own_layers(left.pop(0)):
            if id(child) not in found:
                found[id(child)] = child
                left.append(child)
    return list(found.values())[0 if include_self else 1 :]


def own_layers(layer: Any) -> list[Any]:
    """The layers that are directly in this one. Without: by its attributes."""
    own = _private(layer, "_layers")
    if own is not None:
        return list(own)
    flat = [v for value in vars(layer).values() for v in _leaves(value)]
    return list({id(v): v for v in flat if isinstance(v, keras.layers.Layer)}.values())


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for v in value for leaf in _leaves(v)]
    return [value]


def own_weights(layer: Any) -> list[Any]:
    """A layer's own weights that a gradient could move, frozen ones too, not those of layers in it. Without:
    frozen ones are left out.
    """
    own = _private(layer, "_trainable_variables")
    if own is not None:
        return list(own)
    _without("Layer._trainable_variables", "frozen weights are left out")
    inner = {id(v) for child in own_layers(layer) for v in child.trainable_variables}
    return [v for v in layer.trainable_variables if id(v) not in inner]


def takes_training(layer: Any) -> bool:
    """Whether its ``call`` has the argument. Without: by its signature."""
    known = _private(layer, "_call_has_training_arg")
    if known is not None:
        return bool(known)
    return "training" in inspect.signature(layer.call).parameters


def sign_training(layer: Any) -> None:
    """Let Keras find ``training`` in the signature of ``call``. Without: a changed layer is not told."""
    signature = _private(layer, "_call_signature")
    if signature is None:
        _without("Layer._call_signature", "a changed layer may not be told of training")
        return
    more = inspect.Parameter("training", inspect.Parameter.KEYWORD_ONLY, default=None)
    given = list(signature.parameters.values())
    ends = len(given) - (bool(given) and given[-1].kind is inspect.Parameter.VAR_KEYWORD)
    layer._call_signature = inspect.Signature([*given[:ends], more, *given[ends:]])
    layer._call_has_training_arg = True
    known = _private(layer, "_call_has_context_arg")
    if known is not None:
        layer._call_has_context_arg = {**known, "training": True}


@contextmanager
def training_told(layer: Any, training: Any) -> Iterator[None]:
    """As within ``Layer.__call__``, where there is none around: the layers called learn ``training``. Without:
    they do not.
    """
    known = _imported("keras.src.backend.common.global_state", "get_global_attribute")
    begin, end = _private(layer, "_get_call_context"), _private(layer, "_maybe_reset_call_context")
    if known is None or begin is None or end is None:
        _without("Layer._get_call_context", "a changed layer may not be told of training")
        yield
    elif known("current_call_ctx") is not None:
        yield
    else:
        begin().training = training
        try:
            yield
        finally:
            end()


@contextmanager
def unlocked(owner: Any) -> Iterator[None]:
    """A built layer or optimizer takes new layers and variables. Without: as it is."""
    tracker = _private(owner, "_tracker")
    locked = _private(tracker, "locked", False)
    if tracker is None or not locked:
        yield
        return
    tracker.unlock()
    try:
        yield
    finally:
        tracker.locked = True


def input_structure(model: Any) -> Any:
    """Symbolic inputs of a Functional or Sequential model in the structure that it takes, None for others.
    Without: the flat list of them.
    """
    functional = _private(model, "_functional") or model
    own = _private(functional, "_inputs_struct", _MISSING)
    if own is _MISSING:
        own = getattr(model, "inputs", None)
    return own[0] if isinstance(own, list) and len(own) == 1 else own


def inner_model(model: Any) -> Any:
    """The Functional model that a Sequential keeps of itself, None of others. Without: none is known."""
    return _private(model, "_functional")


def built_shape(model: Any) -> Any:
    """The shape that a subclassed model was built with. Without: not known."""
    shapes = _private(model, "_build_shapes_dict")
    return next(iter(shapes.values())) if shapes else None


def is_keras_class(cls: Any) -> bool:
    """Whether Keras ships this layer class."""
    return cls.__module__.startswith("keras.src.layers.") or any(
        cls is known for known in vars(keras.layers).values()
    )


def is_recurrent(layer: Any) -> bool:
    """Whether a layer is one of Keras' recurrent ones, or its cell."""
    known = keras.layers
    cells = (known.LSTMCell, known.GRUCell, known.SimpleRNNCell, known.StackedRNNCells)
    return isinstance(layer, (known.RNN, known.Bidirectional, *cells)) or type(
        layer
    ).__module__.startswith("keras.src.layers.rnn")


def kernel_of(layer: Any, name: str = "kernel") -> Any:
    """The variable itself; the public property may compute with it (quantised, LoRA). Without: that."""
    found = _private(layer, f"_{name}")
    return getattr(layer, name) if found is None else found


def projections(layer: Any) -> list[Any]:
    """The maps of GroupQueryAttention to query, key, value, and back. Without: the layer has no rule."""
    names = ("_query_dense", "_key_dense", "_value_dense", "_output_dense")
    found = [_private(layer, name) for name in names]
    if any(f is None for f in found):
        raise AttributeError(f"{type(layer).__name__} has no {names[0]}")
    return found


def gate_of(layer: Any) -> Any:
    """The gate of an attention layer, None for most."""
    return _private(layer, "_gate_dense")


def module_name(owner: Any, layer: Any) -> str | None:
    """On PyTorch, the attribute under which a layer is a module of its owner."""
    modules = _private(owner, "_modules") or {}
    return next((str(n) for n, v in modules.items() if v is layer and n[:1] != "_"), None)


def snake_case(name: str) -> str:
    """As Keras makes a layer's name of its class' name."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def fans(shape: Sequence[int], *axes: Any) -> tuple[int, int]:
    """Fan-in and fan-out of a weight, as Keras' initialisers have them. Without: the plain formula."""
    known = _imported("keras.src.initializers.random_initializers", "compute_fans")
    if known is not None:
        found: tuple[int, int] = known(tuple(shape), *axes)
        return found
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    taps = 1
    for n in shape[:-2]:
        taps *= n
    return shape[-2] * taps, shape[-1] * taps


# --- symbolic tensors and the graph ----------------------------------------------------------------


def node_class() -> Any:
    """Each operation on symbolic tensors makes one. Without: no model can be followed."""
    return _needed("keras.src.ops.node.Node", _imported("keras.src.ops.node", "Node"))


def unlink(nodes: Sequence[Any]) -> None:
    """Take nodes out of the operations that they join. Without: they stay, and do no harm but to memory."""
    ours = {id(node) for node in nodes}
    for node in nodes:
        _drop(_private(node.operation, "_inbound_nodes"), ours)
        for tensor in node.arguments.keras_tensors:
            maker = _private(_private(tensor, "_keras_history"), "operation")
            _drop(_private(maker, "_outbound_nodes"), ours)


def _drop(nodes: list[Any] | None, ours: set[int]) -> None:
    while nodes and id(nodes[-1]) in ours:
        nodes.pop()


def symbolic_result(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Symbolic outputs of a layer or function; a layer is built by it. Without: by a public operation."""
    known = _imported("keras.src.backend", "compute_output_spec")
    if known is not None:
        return known(function, *args, **kwargs)
    operation = keras.Operation()
    operation.call = function
    return operation.compute_output_spec(*args, **kwargs)


def dense_tensor(tensor: Any) -> None:
    """Keras marks x * 2.0 as sparse, which it is not. Without: nothing marks it."""
    if _private(tensor, "_sparse"):
        tensor._sparse = False


def reshape_symbol(tensor: Any, shape: Sequence[Any]) -> None:
    """Give a symbolic tensor the lengths that Keras has forgotten. Without: they stay unknown."""
    if _private(tensor, "_shape") is not None:
        tensor._shape = tuple(shape)


def mask_of(tensor: Any) -> Any:
    """The mask that Keras has put on a tensor, or None."""
    known = _imported("keras.src.backend", "get_keras_mask")  # Keras >= 3.6
    return _private(tensor, "_keras_mask") if known is None else known(tensor)


def set_mask(tensor: Any, mask: Any) -> None:
    """Put one on. Without: the layers behind see none."""
    known = _imported("keras.src.backend", "set_keras_mask")
    if known is not None:
        known(tensor, mask)
    else:
        tensor._keras_mask = mask


def mark_logits(result: Any, logits: Any) -> None:
    """Let a loss read the logits behind a softmax, as it does in a compiled step. Without: it reads what it
    is given, and its value may be less exact.
    """
    result._keras_logits = logits


def name_counters() -> dict[str, int] | None:
    """Keras' counters of layer names. Without: a probe makes them count on."""
    known = _imported("keras.src.backend.common.global_state", "get_global_attribute")
    found: dict[str, int] | None = None if known is None else known("object_name_uids")
    return found


LAYER_FLAGS = ("_called", "built", "_compile_loss", "training")
"""Attributes of a layer that a symbolic call sets."""


# --- variables ------------------------------------------------------------------------------------

Variable: Any = _imported("keras.src.backend", "Variable") or keras.Variable
"""The class of the variables that layers make; ``keras.Variable`` was another before Keras 3.7."""

VARIABLE_HOOKS = ("_initialize_with_initializer", "_deferred_initialize")
"""Methods of a variable that draw its first values, from an initialiser and from its own."""


def defers_values() -> bool:
    """Whether variables can be made without values. Without: ``abstract`` makes the values."""
    found = all(_private(Variable, name) is not None for name in VARIABLE_HOOKS)
    if not found:
        _without("Variable._initialize_with_initializer", "a model is built with its weights")
    return found


def initialiser_of(variable: Any) -> Any:
    """What would draw it, where it waits for its values."""
    return _private(variable, "_initializer")


def value_of(variable: Any) -> Any:
    """What it holds, None where it has no value."""
    return _private(variable, "_value")


def hold(variable: Any, value: Any, initialiser: Any = _MISSING) -> None:
    """Let a variable hold something without assigning it."""
    variable._value = value
    if initialiser is not _MISSING:
        variable._initializer = initialiser


# --- the loss and the training step ----------------------------------------------------------------


def compile_loss(loss: Any, names: Any = None) -> Any:
    """A loss as ``Model.compile`` makes it. Without: only a single loss can be measured."""
    cls = _imported("keras.src.trainers.compile_utils", "CompileLoss")
    if cls is not None:
        return cls(loss, output_names=names)
    found = keras.losses.get(loss)
    if not callable(found):
        _needed("CompileLoss", None)
    if isinstance(found, keras.losses.Loss):
        return found
    return lambda y, outputs, _weight=None: keras.ops.mean(found(y, outputs))


def compiled_loss(model: Any) -> Any:
    """What ``compile`` has made of the loss, None where there is none. Without: made once more."""
    found = _private(model, "_compile_loss", _MISSING)
    if found is not _MISSING:
        return found
    given = getattr(model, "loss", None)
    return None if given is None else compile_loss(given)


def fresh_loss(model: Any, change: Callable[[Any], Any] = lambda loss: loss) -> Any:
    """The compiled loss anew, without its state; each part through ``change``. Without: of ``model.loss``."""
    old = compiled_loss(model)
    user = _private(old, "_user_loss", _MISSING)
    user = model.loss if user is _MISSING else user
    weights = _private(old, "_user_loss_weights", getattr(model, "loss_weights", None))
    told = keras.tree.map_structure(change, user)
    return type(old)(told, weights, old.reduction, old.output_names)


def put_loss(model: Any, loss: Any) -> None:
    """In place of the compiled one. Without: the model's own stays."""
    if _private(model, "_compile_loss", _MISSING) is not _MISSING:
        model.__dict__["_compile_loss"] = loss


def single_losses(loss: Any) -> list[Any]:
    """The losses that a built ``compile_loss`` is made of. Without: what they read is unknown."""
    entries = _private(loss, "_flat_losses", _MISSING)
    if entries is not _MISSING:
        return [entry.loss for entry in entries or ()]
    entries = _private(loss, "flat_losses")  # Keras < 3.7
    if entries is None:
        _without("CompileLoss._flat_losses", "what the loss reads is not known")
    return [v for v in keras.tree.flatten(entries) if callable(v)]


def loss_options(loss: Any) -> dict[str, Any]:
    """Arguments of the function in a loss. Without: of its config."""
    found = _private(loss, "_fn_kwargs")
    if found is None and hasattr(loss, "get_config"):
        try:
            found = loss.get_config()
        except Exception:
            found = None
    return dict(found or {})


def compute_loss(model: Any, x: Any, y: Any, y_pred: Any, weight: Any) -> Any:
    """The model's own ``compute_loss`` in training mode, with or without that argument."""
    given = {"x": x, "y": y, "y_pred": y_pred, "sample_weight": weight}
    adapted = _private(model, "_compute_loss")
    if adapted is not None:
        return adapted(**given, training=True)
    if "training" in inspect.signature(model.compute_loss).parameters:
        given["training"] = True
    return model.compute_loss(**given)


def loss_tracker(model: Any) -> Any:
    """The metric that is told the loss of each step. Without: a run has no losses."""
    found = _private(model, "_loss_tracker", _MISSING)
    if found is _MISSING:
        _without("Model._loss_tracker", "a run has no losses")
        return None
    return found


def own_metrics(model: Any) -> list[Any]:
    """The list of a model's metrics that are not compiled. Without: no example can be held out."""
    return _needed("Model._metrics", _private(model, "_metrics"))


def symbolic_build(model: Any, batch: Any) -> None:
    """Build a compiled model on symbolic (x, y, weight), as ``fit`` does. Without: the model alone."""
    build = _private(model, "_symbolic_build")
    if build is not None:
        build(data_batch=batch)
    else:
        symbolic_result(model, keras.utils.unpack_x_y_sample_weight(batch)[0], training=False)


def step_eagerly(model: Any) -> None:
    """Let ``fit`` run a model's training step operation by operation."""
    model.run_eagerly = True
    model.train_function = None


STEP_WRAPPER = "_autoconvert_optionals"
"""TensorFlow's trainer passes its step through this method, outside of XLA."""


def wraps_step(model: Any) -> bool:
    """Whether it has that. Without (Keras < 3.8): a black box has no batch, and activations no figures."""
    found = _private(model, STEP_WRAPPER) is not None
    if not found:
        _without(
            f"Model.{STEP_WRAPPER}", "batches are not kept, nor activations sampled, on TensorFlow"
        )
    return found


def jax_state(model: Any) -> Any:
    """The state that ``fit`` hands round on JAX, None outside of it."""
    return _private(model, "_jax_state")


def give_back_jax(model: Any, state: Any) -> None:
    """Before an error leaves ``fit``: its variables get the values of that state."""
    names = ("trainable", "non_trainable", "optimizer", "metrics")
    model._jax_state = {f"{n}_variables": part for n, part in zip(names, state, strict=True)}
    model._jax_state_synced = False
    model.jax_state_sync()
    model._jax_state = None


@contextmanager
def callback_added(callbacks: Any, callback: Any) -> Iterator[None]:
    """One more in a CallbackList, called in this thread. Without: as the list is."""
    apart = _private(callbacks, "_async_train", _MISSING)  # Keras >= 3.6
    if apart and not getattr(callback, "async_safe", False):
        callbacks._async_train = False
    callbacks.callbacks.append(callback)
    try:
        yield
    finally:
        if apart is not _MISSING:
            callbacks._async_train = apart
        callbacks.callbacks.remove(callback)


# --- data -----------------------------------------------------------------------------------------


def fit_batches(given: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Each batch of ``fit``'s arguments through Keras' own data adapters, and all of (x, y, weight) that it
    trains on. Without: a script's batches cannot be read before the training takes them.
    """
    data = given["x"], given["y"], given["sample_weight"]
    if given["validation_split"] and given["validation_data"] is None:
        split = _needed(
            "train_validation_split",
            _imported("keras.src.trainers.data_adapters.array_slicing", "train_validation_split"),
        )
        data, _ = split(data, validation_split=given["validation_split"])
    cls = _needed("EpochIterator", _imported("keras.src.trainers.epoch_iterator", "EpochIterator"))
    names = ("batch_size", "steps_per_epoch", "shuffle", "class_weight")
    x, y, weight = data
    try:
        epoch = cls(x=x, y=y, sample_weight=weight, **{name: given[name] for name in names})
    except IndexError:  # of an empty generator, which Keras 3.12 asks for its first batch
        return
    for found in epoch:
        yield keras.utils.unpack_x_y_sample_weight(found[-1][0]), data


def class_weights(y: Any, weights: Any) -> Any:
    """Sample weights of class weights."""
    known = _imported(
        "keras.src.trainers.data_adapters.data_adapter_utils", "class_weight_to_sample_weights"
    )
    return _needed("class_weight_to_sample_weights", known)(y, weights)


def are_arrays(data: Any) -> bool:
    """Whether Keras takes this for arrays. Without: what has a shape is one."""
    known = _imported("keras.src.trainers.data_adapters.array_data_adapter", "can_convert_arrays")
    if known is not None:
        return bool(known(data))
    return all(hasattr(v, "shape") for v in keras.tree.flatten(data) if v is not None)


# --- optimizers -----------------------------------------------------------------------------------


def trained_by(optimizer: Any) -> list[Any]:
    """The variables that an optimizer was built for. Without: it is asked for none."""
    found = _private(optimizer, "_trainable_variables")
    if found is None:
        _without("Optimizer._trainable_variables", "all of the model's weights are watched")
    return list(found or ())


def slot(optimizer: Any, name: str, variable: Any) -> Any:
    """What an optimizer keeps along a variable: "velocities", "accumulators", "u". None where it has none, or
    Keras keeps it elsewhere.
    """
    kept, index = _private(optimizer, f"_{name}"), _private(optimizer, "_get_variable_index")
    if not kept or index is None:
        return None
    return kept[index(variable)]


def keeps(optimizer: Any, name: str) -> bool:
    """Whether an optimizer, perhaps not yet built, has that list."""
    return hasattr(optimizer, f"_{name}")


def slots(optimizer: Any) -> dict[str, list[Any]]:
    """All of those lists, by name."""
    count = len(trained_by(optimizer))
    return {
        name.strip("_"): values
        for name, values in vars(optimizer).items()
        if isinstance(values, list)
        and name not in ("_variables", "_trainable_variables")
        and len(values) == count
    }


def accumulated(optimizer: Any) -> list[Any]:
    """The sums of gradients that wait for their step."""
    return [v for v in _private(optimizer, "_accumulated_gradients") or () if v is not None]


def set_iterations(optimizer: Any, steps: Any) -> None:
    """How many steps were made."""
    counter = _private(optimizer, "_iterations")
    (optimizer.iterations if counter is None else counter).assign(steps)


def given_rate(optimizer: Any) -> Any:
    """The learning rate as it was given: a schedule, a function, or a variable. Without: its present value."""
    found = _private(optimizer, "_learning_rate")
    return optimizer.learning_rate if found is None else found


def fix_rate(optimizer: Any, value: float) -> None:
    """One number, also in place of a schedule."""
    optimizer._learning_rate = value


UPDATE = "_backend_apply_gradients"
"""The method of an optimizer that moves the weights, on every backend."""


MERGED_UPDATE = "_distributed_tf_update_step"
"""TensorFlow: the method of an optimizer that moves the weights where the replicas of a strategy meet."""


def add_again(optimizer: Any, variables: Sequence[Any]) -> None:
    """Put variables that were taken out into an optimizer again, at its end."""
    with unlocked(optimizer):
        for variable in variables:
            optimizer._track_variable(variable)


def take_out(optimizer: Any, variables: Sequence[Any]) -> None:
    """Take variables out of an optimizer."""
    untrack = _private(optimizer, "_untrack_variable")
    for variable in variables:
        if untrack is not None:
            untrack(variable)
        else:  # Keras < 3.7
            with unlocked(optimizer):
                _needed("Optimizer._tracker", _private(optimizer, "_tracker")).untrack(variable)


# --- backends -------------------------------------------------------------------------------------


def enable_x64() -> AbstractContextManager[None]:
    """JAX: while it lasts, float64 tensors stay float64."""
    import jax

    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    known = _imported("jax.experimental", "enable_x64")
    return nullcontext() if known is None else known()


def dispatcher() -> Any:
    """TensorFlow's base class of those who are asked when a function cannot read an argument. Without: such a
    function on symbolic tensors is an error, so that its block is measured as one operation.
    """
    import tensorflow as tf

    found = _private(_private(_private(tf, "__internal__"), "dispatch"), "GlobalOpDispatcher")
    if found is None:
        _without(
            "tf.__internal__.dispatch", "models that call TensorFlow's functions are not opened"
        )
    return found


def plain_name(function: str) -> str:
    """TensorFlow: of ``relu_v2_with_dispatch``, relu. Without such endings: the name."""
    return function.removesuffix("_with_dispatch").removesuffix("_v2")


def copied_operation(operation: Any, inputs: list[Any], dtype: Any, mark: str) -> Any:
    """TensorFlow: the operation once more in its graph, marked so that the two are not made one again. Without:
    its own result, and the watched step may round differently.
    """
    from tensorflow.core.framework import attr_value_pb2

    make = _private(operation.graph, "_create_op_internal")
    if make is None:
        _without("tf.Graph._create_op_internal", "a watched step may round differently")
        return operation.outputs[0]
    attributes = {k: v for k, v in operation.node_def.attr.items() if not k.startswith("_")}
    again = make(operation.type, inputs, [dtype], attrs=attributes)
    again._set_attr(mark, attr_value_pb2.AttrValue(b=True))
    return again.outputs[0]


def xla_barrier(value: Any) -> Any:
    """TensorFlow: what XLA does not compute across. Without: it may."""
    known = _imported("tensorflow.compiler.tf2xla.python.xla", "optimization_barrier")
    return value if known is None else known(value)[0]


@contextmanager
def function_modes_off() -> Iterator[None]:
    """PyTorch: function modes of others do not see our calls; a default device stays. Without: they do."""
    import torch

    core = _private(torch, "_C")
    count = _private(core, "_len_torch_function_stack")
    pop, push = (_private(core, f"_{word}_torch_function_stack") for word in ("pop", "push_on"))
    if count is None or pop is None or push is None:
        yield
        return
    device = _imported("torch.utils._device", "DeviceContext")
    modes = [pop() for _ in range(count())]
    for mode in modes:
        if device is not None and isinstance(mode, device):
            push(mode)
    try:
        yield
    finally:
        for _ in range(count()):
            pop()
        for mode in reversed(modes):
            push(mode)


def torch_norms(tensors: list[Any]) -> list[Any]:
    """PyTorch: the norm of each, by one kernel. Without: one by one."""
    import torch

    known = _private(torch, "_foreach_norm")
    if known is not None:
        return list(known(tensors))
    return [torch.linalg.vector_norm(t) for t in tensors]


def torch_dtype(name: str) -> Any:
    """PyTorch's of Keras' word."""
    import torch

    known = _imported("keras.src.backend.torch.core", "to_torch_dtype")
    return getattr(torch, name) if known is None else known(name)


def add_op_callback(callback: Callable[..., None]) -> None:
    """TensorFlow: called behind each operation of this thread, as ``enable_check_numerics`` is. Without: no
    operation can be seen.
    """
    known = _imported("tensorflow.python.framework.op_callbacks", "add_op_callback")
    _needed("op_callbacks", known)(callback)


def remove_op_callback(callback: Callable[..., None]) -> None:
    """Take it off again."""
    known = _imported("tensorflow.python.framework.op_callbacks", "remove_op_callback")
    _needed("op_callbacks", known)(callback)


def eager_number(tensor: Any) -> int:
    """TensorFlow: of an eager tensor, which no other has. Without: Python's, which another may get later."""
    found = _private(tensor, "_id")
    return id(tensor) if found is None else int(found)


def gradient_code() -> Any:
    """TensorFlow: the code of the function that computes one operation's gradient, to be known on the stack.
    Without: gradients are told by the user's line alone.
    """
    function = _imported("tensorflow.python.eager.backprop", "_gradient_function")
    return getattr(function, "__code__", None)


def leave_unconverted(function: Any) -> None:
    """TensorFlow: AutoGraph takes this function as it is, also in a ``tf.function`` of the script's. Without:
    it converts it, and the training is the same.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        marked = vars(tf.autograph.experimental.do_not_convert(lambda: None))
        function.__dict__.update({k: v for k, v in marked.items() if k.startswith("autograph")})


def variable_kind() -> Any:
    """TensorFlow: the class of a ``tf.Variable``, of which none is made, for that would settle which devices
    there are, while the script may still want to say. Without: the public one.
    """
    import tensorflow as tf

    left = [tf.Variable]
    for kind in left:
        if kind.__name__ == "ResourceVariable":
            return kind
        left += kind.__subclasses__()
    return tf.Variable


def function_class() -> Any:
    """TensorFlow: what ``tf.function`` makes."""
    import tensorflow as tf

    return type(tf.function(lambda: None))


def compiles_by_xla(function: Any) -> bool:
    """TensorFlow: whether a ``tf.function`` was made with jit_compile. Without: it was not."""
    return bool(_private(function, "_jit_compile"))


def rewritten_from(frame: Any) -> tuple[str, int] | None:
    """TensorFlow: file and line of the script that a line of AutoGraph's copy was made from; None for a frame
    of any other code. Without: None.
    """
    number, found = frame.f_lineno, frame
    if "__autograph_generated_file" not in frame.f_code.co_filename:
        return None
    while found is not None:
        lines = getattr(found.f_locals.get("converted_f"), "ag_source_map", None)
        for place, origin in (lines or {}).items():
            if place.lineno == number:
                return origin.loc.filename, origin.loc.lineno
        found = found.f_back
    return None


def eval_trace() -> Any:
    """JAX: the class whose ``process_primitive`` evaluates each primitive. Without: none can be seen."""
    return _needed("EvalTrace", _imported("jax._src.core", "EvalTrace"))


def jax_place() -> tuple[tuple[tuple[Any, int], ...], bool]:
    """JAX: of the primitive that is being evaluated, by whom it was called, (code, its last instruction) each,
    the innermost first, and whether it is of a backward pass. Without: it is not known.
    """
    known = _imported("jax._src.source_info_util", "current")
    info: Any = None if known is None else known()
    trace = getattr(info, "traceback", None)
    if trace is None:
        return (), False
    codes, instructions = trace.raw_frames()
    return tuple(zip(codes, instructions, strict=True)), "transpose" in str(info.name_stack)
