"""The last training batch once more when the script is over: does a sample's answer depend on the others?"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from evengrad.adapters.torch.compat import tree_leaves, tree_map
from evengrad.adapters.torch.record.state import untouched
from evengrad.adapters.torch.tap.capture import Capture, ForwardCall, outputs_of
from evengrad.adapters.torch.tap.evaluation import LossOfOutput
from evengrad.values.fact import Fact

log = logging.getLogger("evengrad")
_ROWS = 4
_SHARE = 0.5  # of the samples whose answer changes
_CHANGE = 1e-3  # of the answers' spread, far above rounding
_TIME_FIRST = (nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer)
"""Modules whose first axis is time, not the batch, unless they are told otherwise."""


def mixed(capture: Capture, loss: LossOfOutput) -> Fact | None:
    """Where the answers to samples that were kept change with the other samples, and which module mixes them;
    nothing of the model changes. None where each sample is answered by itself, or where that is not known.
    """
    call = capture.last
    if call is None or not _of_samples(call, loss.given.get("target")):
        return None
    try:
        with untouched(call.module), torch.no_grad():
            return _found(call, loss)
    except Exception as error:  # a model or a batch that is not what it was
        log.info("whether the samples are mixed is not known: %s", error)
        return None


def _found(call: ForwardCall, loss: LossOfOutput) -> Fact | None:
    rows = _first(call).shape[0]
    every = torch.arange(rows)
    neighbours = every - every % 2 + 1  # each even one is its odd neighbour's copy
    neighbours = neighbours.clamp(max=rows - 1)
    kept = every[1::2]
    before, plain = _pass(call, every)
    after, other = _pass(call, neighbours)
    again, _ = _pass(call, every)
    if before.shape[0] != rows:
        return None
    if not _changes(before, after, kept) or _changes(before, again, every):
        return None
    name, module = _culprit(call, plain, other, kept)
    known = isinstance(module, _TIME_FIRST) and not getattr(module, "batch_first", True)
    if not known:
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(0))
        turned, _ = _pass(call, order)
        if not _changes(before[order], turned, every):
            return None  # each is set beside all others alike, as a batch statistic does
    values = {
        "module": name,
        "kind": "" if module is None else type(module).__name__,
        "known": known,
        "loss": loss.of(before),
        "shape": list(_first(call).shape),
    }
    return Fact("samples_mixed", None, None, values)


def _of_samples(call: ForwardCall, target: Any) -> bool:
    """Whether all that the model was given, and the targets, are rows of one batch of samples that have more
    than features: else the first axis may be a time.
    """
    given = [t for t in tree_leaves((call.args, call.kwargs)) if isinstance(t, torch.Tensor)]
    if not given or not isinstance(target, torch.Tensor) or not target.ndim:
        return False
    rows, first = int(target.shape[0]), given[0]
    if rows < _ROWS or any(not t.ndim or t.shape[0] != rows for t in given):
        return False
    if first.ndim < 2 or (first.ndim == 2 and first.is_floating_point()):
        return False
    steps = first.shape[1]
    plain = target.numel() == rows or (target.ndim == 2 and target.shape[1] != steps)
    return plain and 1 < steps != rows


def _first(call: ForwardCall) -> Any:
    return next(t for t in tree_leaves((call.args, call.kwargs)) if isinstance(t, torch.Tensor))


def _pass(call: ForwardCall, rows: Any) -> tuple[Any, list[tuple[Any, Any, Any]]]:
    """The answers to these rows in evaluation mode, and what each module took and gave, innermost first."""

    def choose(value: Any) -> Any:
        return value[rows.to(value.device)] if isinstance(value, torch.Tensor) else value

    args, kwargs = tree_map(choose, (call.args, call.kwargs))
    call.module.eval()
    torch.set_rng_state(call.noise)
    with _seeing(call.module) as seen:
        output = call.module(*args, **kwargs)
    return outputs_of(output)[0].float(), seen


@contextmanager
def _seeing(root: Any) -> Iterator[list[tuple[Any, Any, Any]]]:
    seen: list[tuple[Any, Any, Any]] = []

    def hook(module: Any, args: Any, output: Any) -> None:
        taken, given = outputs_of(args), outputs_of(output)
        if taken and given:
            seen.append((module, taken[0].float(), given[0].float()))

    hooks = [m.register_forward_hook(hook) for m in root.modules() if m is not root]
    try:
        yield seen
    finally:
        for one in hooks:
            one.remove()


def _culprit(call: ForwardCall, plain: Any, other: Any, kept: Any) -> tuple[str, Any]:
    """The first module whose inputs of the kept samples are what they were, and whose outputs are not."""
    names = {module: name for name, module in call.module.named_modules()}
    rows = int(_first(call).shape[0])
    for (module, taken, given), (_, taken_then, given_then) in zip(plain, other, strict=False):
        alike = taken.shape == taken_then.shape and given.shape == given_then.shape
        if not alike or taken.shape[0] != rows or given.shape[0] != rows:
            continue
        if not _changes(taken, taken_then, kept) and _changes(given, given_then, kept):
            return names.get(module, ""), module
    return "", None


def _changes(before: Any, after: Any, rows: Any) -> bool:
    """Whether most of these rows are clearly not what they were."""
    old, new = before[rows].flatten(1), after[rows].flatten(1)
    bound = _CHANGE * float(old.std()) + 1e-12
    return float(((old - new).abs().amax(1) > bound).float().mean()) >= _SHARE
