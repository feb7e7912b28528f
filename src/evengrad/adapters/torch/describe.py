"""A torch model as a ModelSpec, from one forward pass on ``meta`` tensors: shapes and no values.

The pass goes through the same recorder as a probe's, so both have the same operations by the same names.
(``torch.export`` has names of its own, fails on more models, and takes minutes where this takes a second.)
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from evengrad.adapters.torch.compat import eagerly, notes
from evengrad.adapters.torch.laws.caches import fillings, forget_meta
from evengrad.adapters.torch.laws.constants import LARGEST
from evengrad.adapters.torch.laws.laws import heard, initialise_again, listening, measured
from evengrad.adapters.torch.laws.stand_ins import drawn
from evengrad.adapters.torch.record.describing import DescribingRecorder
from evengrad.adapters.torch.record.ends import path_to_any, where_the_budget_begins
from evengrad.adapters.torch.record.naming import assign, parameter_names, prefixes
from evengrad.adapters.torch.record.specify import specify
from evengrad.adapters.torch.record.state import noise_kept
from evengrad.errors import CannotCheckError
from evengrad.values.message import msg
from evengrad.values.spec import Kind, ModelSpec, Shape

TensorType = tuple[Shape, str]
InputTypes = tuple[TensorType, ...] | dict[str, TensorType] | None


def describe(model: Any, inputs: InputTypes, **_: Any) -> ModelSpec:
    """The operations of a model in training mode, with the laws of its weights. Nothing of it is changed.

    Args:
        model: weights with values count by their mean and rms, those on ``meta`` by their initialiser.
        inputs: shapes, batch included, and dtypes, of the positional arguments or by name.

    Returns:
        The model as a graph.

    Raises:
        CannotCheckError: it cannot be described; the message says what to do.
    """
    _expect_ready(model)
    if not inputs:
        raise CannotCheckError(
            msg(
                "Expected input_shape=..., the shape of one sample without the batch, such as (3, 224, 224): "
                "a torch model ({kind}) does not know its own.",
                kind=type(model).__name__,
            )
        )
    twin, values = _twin(model)
    recorder = DescribingRecorder()
    recorder.laws = {id(p): measured(value) for p, value in values if isinstance(p, nn.Parameter)}
    recorder.reals.update(values)
    with noise_kept():
        returned = _forward(twin, inputs, recorder)
    return _spec(model, twin, recorder, returned)


def abstract(factory: Callable[[], Any]) -> Any:
    """What the factory builds, on ``meta``: no memory for weights, their initialisers noted."""
    with listening(), torch.device("meta"):
        return factory()


def _expect_ready(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise CannotCheckError(
            msg(
                "Expected a torch.nn.Module, or a function that builds one, got {kind}.",
                kind=type(model).__name__,
            )
        )
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if torch.nn.parameter.is_lazy(tensor):
            raise CannotCheckError(
                msg(
                    "{name} belongs to a lazy module and has no shape yet. Run one batch through the model "
                    "first, or use the plain class, such as nn.Linear(in_features, out_features).",
                    name=name,
                )
            )


def _twin(model: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """The same modules with ``meta`` tensors; of those that have values, (meta tensor, values)."""
    memo: dict[int, Any] = {}
    values: list[tuple[Any, Any]] = []
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.is_meta:
                memo[id(tensor)] = tensor
                continue
            empty = torch.empty_like(tensor, device="meta")
            memo[id(tensor)] = nn.Parameter(empty, requires_grad=tensor.requires_grad)
            values.append((memo[id(tensor)], tensor))
        for tensor in model.buffers():
            memo[id(tensor)] = torch.empty_like(tensor, device="meta")
            if tensor.is_meta:
                known = drawn(heard(tensor), tuple(tensor.shape), tensor.dtype)
            else:  # counters are counted up
                known = tensor.clone() if tensor.numel() <= LARGEST else None
            if known is not None:
                values.append((memo[id(tensor)], known))
    twin = copy.deepcopy(model, memo)
    twin.train()
    if any(heard(p) is None for p in model.parameters() if p.is_meta):
        initialise_again(twin)
    return twin, values


def _forward(twin: Any, inputs: Any, recorder: DescribingRecorder) -> list[Any]:
    parts = list(inputs.values()) if isinstance(inputs, dict) else list(inputs)
    tensors = [torch.empty(s, dtype=getattr(torch, d), device="meta") for s, d in parts]
    before = fillings()
    with eagerly(), torch.enable_grad():
        recorder.enter()
        try:
            if isinstance(inputs, dict):
                result = twin(**dict(zip(inputs, tensors, strict=True)))
            else:
                result = twin(*tensors)
        except CannotCheckError:
            raise
        except Exception as error:
            raise _could_not(twin, parts, error) from error
        finally:
            recorder.leave()
            if recorder.made_constants:
                forget_meta(before)
    return [result]


def _could_not(twin: Any, parts: list[TensorType], error: Exception) -> CannotCheckError:
    given = ", ".join(f"{shape} {dtype}" for shape, dtype in parts)
    line = (
        str(error).strip().splitlines()[0][:200].rstrip(".")
        if str(error).strip()
        else type(error).__name__
    )
    if isinstance(error, NotImplementedError) or "meta" in str(error) or "item()" in str(error):
        return CannotCheckError(
            msg(
                "{kind} needs values on its way ({line}{where}), and a forecast has only "
                "shapes. `evengrad check` measures it on a batch, and forecasts what it saw.",
                kind=type(twin).__name__,
                line=line,
                where=_where(error),
            )
        )
    return CannotCheckError(
        msg(
            "{kind} could not be called on input of shape {given} (batch first): {line}"
            "{where}. Give the input_shape and dtype that its forward() takes.",
            kind=type(twin).__name__,
            given=given,
            line=line,
            where=_where(error),
        )
    )


def _where(error: BaseException) -> str:
    """The user's own line where it happened."""
    trace = error.__traceback__
    found = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if "site-packages" not in code.co_filename and "evengrad" not in code.co_filename:
            found = f", {code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _expect_floats(model: Any, recorder: DescribingRecorder) -> None:
    """Shapes alone let integers through a dense layer."""
    integers = any(i.number is None for i in recorder.inputs)
    for node in recorder.nodes:
        if integers and node.kind is Kind.WEIGHTS and not node.reads:
            raise CannotCheckError(
                msg(
                    '{kind} puts integers into {path}, which takes floats. Give dtype="float32".',
                    kind=type(model).__name__,
                    path=node.path or node.function,
                )
            )


def _spec(model: Any, twin: Any, recorder: DescribingRecorder, returned: list[Any]) -> ModelSpec:
    ends = list(dict.fromkeys(recorder.modules.returned))
    if not ends:
        raise CannotCheckError(
            msg(
                "{kind} returned nothing that hangs on its parameters. Expected float tensors.",
                kind=type(model).__name__,
            )
        )
    _expect_floats(model, recorder)
    logits = recorder.number(getattr(returned[0], "logits", None))
    ends = ends if logits is None else [logits]
    nodes = path_to_any(ends, recorder.nodes)
    assign(nodes, prefixes([twin]))
    names = parameter_names([twin], nodes)
    outputs, _ = where_the_budget_begins(nodes, ends, None)
    outputs = [n for n in outputs if n in recorder.shapes] or ends
    nodes = path_to_any(outputs, nodes)
    found = specify(recorder, nodes, recorder.inputs, outputs, names, type(model).__name__)
    return replace(found, notes=found.notes + notes("forecast"))
