"""Every name of torch that it does not promise: what it is for, and what is done without it.

No other file of this adapter has one. Where a name is gone the rest goes on, and ``notes`` says what is
missing.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import torch
from torch import nn
from torch.nn.utils import clip_grad

from evengrad.adapters.common.patching import Patches, Tracing

_ABSENT: Any = object()
F = TypeVar("F", bound=Callable[..., Any])
Tracing.now = staticmethod(torch.compiler.is_compiling)
Tracing.outside = staticmethod(torch.compiler.disable)


@dataclass(frozen=True, slots=True)
class PrivateName:
    """A name, and what hangs on it.

    Attributes:
        path: from ``torch`` on, or the attribute of what ``of`` makes.
        purpose: what it is for.
        loss: what a user lacks without it; "" where there is another way.
        door: whose report says so.
        of: makes the object that has it; None for torch itself.
    """

    path: str
    purpose: str
    loss: str = ""
    door: Literal["forecast", "run"] = "run"
    of: Callable[[], Any] | None = None

    @property
    def there(self) -> bool:
        """Whether this torch has it."""
        place, _, name = self.path.rpartition(".")
        holder = _place(place) if self.of is None else self.of()
        return _attribute(holder, name, _ABSENT) is not _ABSENT


def _weight() -> nn.Parameter:
    return nn.Parameter(torch.zeros(1))


def _schedule() -> Any:
    return torch.optim.lr_scheduler.StepLR(torch.optim.SGD([_weight()], lr=0.1), 1)


def _joined() -> Any:
    join = importlib.import_module("torch.distributed.algorithms.join").Joinable
    made: Any = object.__new__(type("Joined", (join,), dict.fromkeys(join.__abstractmethods__)))
    join.__init__(made)
    return made


NAMES = (
    PrivateName("torch.utils._pytree.tree_leaves", "tensors inside what models take and give"),
    PrivateName("torch.utils._pytree.tree_map", "the same, replaced"),
    PrivateName("torch.utils.weak.WeakTensorKeyDictionary", "facts by tensor that go with it"),
    PrivateName(
        "torch.multiprocessing.reductions.StorageWeakRef", "memory is forgotten with its model"
    ),
    PrivateName("_version", "whether a tensor was written in place", of=lambda: torch.zeros(1)),
    PrivateName("_base", "what a flattened tensor of labels was before", of=lambda: torch.zeros(1)),
    PrivateName(
        "_saved_self_sym_sizes",
        "what flattened scores were before",
        of=lambda: torch.zeros(2, requires_grad=True).view(1, 2).grad_fn,
    ),
    PrivateName("_cdata", "which memory a tensor is of", of=lambda: _weight().untyped_storage()),
    PrivateName(
        "torch.utils._python_dispatch.TorchDispatchMode",
        "what initialisers do to weights without values",
        "the initial values of models that are built without memory are not known",
        "forecast",
    ),
    PrivateName("torch._C.DisableTorchFunction", "our own reads, unseen by others' function modes"),
    PrivateName("torch._foreach_norm", "norms of many tensors by one call"),
    PrivateName("torch._foreach_mul_", "a clip by one call"),
    PrivateName("torch._foreach_clamp_min_", "a clip by value by one call"),
    PrivateName("torch._foreach_clamp_max_", "a clip by value by one call"),
    PrivateName("torch._foreach_copy_", "copies of running statistics by one call"),
    PrivateName(
        "torch.nn.utils.clip_grad._clip_grads_with_norm_",
        "the script's own clip, met behind its norm (torch 2.6)",
    ),
    PrivateName(
        "torch.nn.utils.clip_grad._get_total_norm",
        "the script's own clip, met before its norm (torch 2.6)",
    ),
    PrivateName("torch.compiler.set_stance", "compiled models run eagerly (torch 2.6)"),
    PrivateName("torch.nn.Module._compiled_call_impl", "whether a module is compiled in place"),
    PrivateName("_orig_mod", "a model inside a compiled one", of=lambda: torch.compile(nn.ReLU())),
    PrivateName(
        "torch.overrides._get_current_function_mode_stack", "the function modes that are on"
    ),
    PrivateName("torch.overrides._pop_mode", "to put a function mode below another"),
    PrivateName("torch.overrides._push_mode", "to put it back"),
    PrivateName(
        "torch._dynamo.convert_frame.FRAME_COUNTER",
        "whether anything was compiled: a function mode would have it compiled once more",
        "shares of dead and saturated units are not recorded",
    ),
    PrivateName(
        "torch._dynamo.eval_frame.cached_backends",
        "whether anything is to be compiled, at its first call",
    ),
    PrivateName(
        "_per_optimizer_states",
        "whether a GradScaler has divided the gradients",
        "under a GradScaler, norms are those behind the script's own clip",
        of=lambda: torch.amp.GradScaler("cpu"),
    ),
    PrivateName(
        "_step_supports_amp_scaling",
        "whether an optimizer's kernel clips",
        of=lambda: torch.optim.SGD([_weight()], lr=0.1, fused=True),
    ),
    PrivateName(
        "_optimizer_step_pre_hooks",
        "hooks of an optimizer whose class is changed",
        of=lambda: torch.optim.SGD([_weight()], lr=0.1),
    ),
    PrivateName("_last_lr", "the rate that a schedule keeps", of=_schedule),
    PrivateName("_forward_pre_hooks", "a hook before all others", of=nn.ReLU),
    PrivateName(
        "torch.distributed.distributed_c10d._get_default_store",
        "where the processes of a training find one another",
    ),
    PrivateName("_join_config", "whether a process may end before others", of=_joined),
    PrivateName(
        "_reset_parameters",
        "a module's own initialisation",
        of=lambda: nn.MultiheadAttention(2, 1),
    ),
)


def notes(door: Literal["forecast", "run"]) -> tuple[str, ...]:
    """What a report of this door lacks because this torch has not got a name, one line each."""
    lacking = [n for n in NAMES if n.loss and n.door == door and not n.there]
    return tuple(f"{n.loss}: torch {torch.__version__} has no {n.path}" for n in lacking)


def _place(path: str) -> Any:
    """A module or class, imported if need be; None where there is none."""
    found = _module(path)
    if found is None and "." in path:
        place, _, name = path.rpartition(".")
        return _attribute(_place(place), name)
    return found


@cache
def _module(path: str) -> Any:
    try:
        return importlib.import_module(path)
    except ImportError:
        return None


def _attribute(place: Any, name: str, default: Any = None) -> Any:
    """The one way to what torch may not have."""
    return getattr(place, name, default)


# --- tensors in containers --------------------------------------------------------------------------


def tree_leaves(tree: Any) -> list[Any]:
    """What is in nested containers, as a list; a tensor alone is its own leaf."""
    leaves_of = _attribute(_module("torch.utils._pytree"), "tree_leaves")
    if leaves_of is not None:
        found: list[Any] = leaves_of(tree)
        return found
    leaves: list[Any] = []
    tree_map_plainly(leaves.append, tree)
    return leaves


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same containers with ``function`` of each leaf."""
    mapped = _attribute(_module("torch.utils._pytree"), "tree_map", tree_map_plainly)
    return mapped(function, tree)


def tree_map_plainly(function: Callable[[Any], Any], tree: Any) -> Any:
    """Through Python's own tuples, lists and dicts alone."""
    if isinstance(tree, dict):
        return type(tree)((k, tree_map_plainly(function, v)) for k, v in tree.items())
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(tree_map_plainly(function, v) for v in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(tree_map_plainly(function, v) for v in tree)
    return function(tree)


class TensorTable(MutableMapping[Any, Any]):
    """Facts by tensor, by identity; keeps the tensors alive."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[Any, Any]] = {}

    def __getitem__(self, tensor: Any) -> Any:
        return self._rows[id(tensor)][1]

    def __setitem__(self, tensor: Any, value: Any) -> None:
        self._rows[id(tensor)] = tensor, value

    def __delitem__(self, tensor: Any) -> None:
        del self._rows[id(tensor)]

    def __iter__(self) -> Iterator[Any]:
        return (tensor for tensor, _ in self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)


def tensor_table() -> MutableMapping[Any, Any]:
    """Facts by tensor, by identity; where torch can, a fact goes when its tensor goes."""
    weak = _attribute(_module("torch.utils.weak"), "WeakTensorKeyDictionary", TensorTable)
    table: MutableMapping[Any, Any] = weak()
    return table


def version(tensor: torch.Tensor) -> int:
    """Counts the writes in place; 0 where that is not counted."""
    try:
        return int(_attribute(tensor, "_version", 0))
    except RuntimeError:  # made under inference_mode
        return 0


def shape_before(tensor: torch.Tensor) -> list[int] | None:
    """That of what a tensor is a view of, or of what a view made it of as its gradient tells; else None."""
    node = tensor.grad_fn
    if node is not None:
        sizes = _attribute(node, "_saved_self_sym_sizes")
        return None if sizes is None else [int(n) for n in sizes]
    base = _attribute(tensor, "_base")
    return None if base is None else list(base.shape)


def storage_key(tensor: torch.Tensor) -> int:
    """Which memory a tensor is a view of, without values, too; the storage must be kept alive."""
    storage = tensor.untyped_storage()
    return int(_attribute(storage, "_cdata", id(storage)))


class _StrongReference:
    def __init__(self, storage: Any) -> None:
        self.storage = storage

    def expired(self) -> bool:
        return False


def weak_storage(storage: Any) -> Any:
    """A reference that has ``expired()`` when all tensors of that memory are gone; while it is held, no other
    memory gets the same key. Without: a strong one, so that memory on ``meta`` is remembered for good.
    """
    place = _place("torch.multiprocessing.reductions")
    weak = _attribute(place, "StorageWeakRef", None)
    return (_StrongReference if weak is None else weak)(storage)


# --- modes -----------------------------------------------------------------------------------------


def hearing_dispatch(
    heard: Callable[[Any, Any, Any, Any], None],
) -> AbstractContextManager[Any]:
    """Inside, ``heard(operation, args, kwargs, result)`` is called after every aten call."""
    base: Any = _attribute(_module("torch.utils._python_dispatch"), "TorchDispatchMode")
    if base is None:
        return contextlib.nullcontext()

    class Hearing(base):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            heard(func, args, kwargs or {}, result)
            return result

    mode: AbstractContextManager[Any] = Hearing()
    return mode


def unseen() -> AbstractContextManager[Any]:
    """Calls inside are no function mode's business."""
    disable = _attribute(_module("torch._C"), "DisableTorchFunction", contextlib.nullcontext)
    found: AbstractContextManager[Any] = disable()
    return found


@contextmanager
def under(mode: Any) -> Iterator[list[Any]]:
    """Function modes that begin or end inside lie below this one and all that were begun after it: those,
    the last begun first, and they go on afterwards.

    mode: has ``on``, whether it was begun. Without torch's list of modes it is taken for the last one.
    """
    stack = _attribute(torch.overrides, "_get_current_function_mode_stack")
    modes = ([mode] if mode.on else []) if stack is None else list(stack())
    places = [i for i, other in enumerate(modes) if other is mode]
    above = modes[places[0] :][::-1] if places else []
    for one in above:
        _pop(one)
    try:
        yield above
    finally:
        for one in reversed(above):
            _push(one)


def _pop(mode: Any) -> None:
    pop = _attribute(torch.overrides, "_pop_mode")
    if pop is None:
        mode.__exit__(None, None, None)
    else:
        pop()


def _push(mode: Any) -> None:
    push = _attribute(torch.overrides, "_push_mode")
    if push is None:
        mode.__enter__()
    else:
        push(mode)


# --- compiled models -------------------------------------------------------------------------------

_ORIGINAL = "_orig_mod"
"""Where the layer that ``torch.compile`` puts around a model has it; without, that layer has its own name."""


def uncompiled(module: Any) -> Any:
    """The user's own model inside the layer of ``torch.compile``."""
    return _attribute(module, _ORIGINAL, module)


_FLATTENED = "_fsdp_wrapped_module"
"""The module inside a FullyShardedDataParallel."""


def wrapped_by_compile(module: Any) -> bool:
    """Whether this is such a layer."""
    return _attribute(module, _ORIGINAL) is not None


def plain_path(name: str) -> str:
    """A parameter's or layer's path without such a layer, and without that of the first FSDP."""
    for layer in (_ORIGINAL, _FLATTENED):
        name = name.replace(f"{layer}.", "").removesuffix(layer)
    return name


def compiled(module: Any) -> bool:
    """Whether a module's call is compiled with its hooks inside: a new hook would compile it again."""
    return any(
        _attribute(m, "_compiled_call_impl", None) is not None
        or isinstance(m, torch.jit.ScriptModule)
        for m in module.modules()
    )


def note_compiling(patches: Patches, told: Callable[[], object]) -> None:
    """Tell of what is to be compiled: its first call compiles it with all that listens in."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def compile_(*args: Any, **kwargs: Any) -> Any:
            told()
            return original(*args, **kwargs)

        return compile_

    patches.wrap(torch, "compile", wrap)


def anything_compiled() -> bool:
    """Whether code was compiled in this process, or is to be, or nobody can tell."""
    frames = sys.modules.get("torch._dynamo.convert_frame")
    if frames is None:
        return False
    asked = _attribute(sys.modules.get("torch._dynamo.eval_frame"), "cached_backends", {})
    return any(asked.values()) or _attribute(frames, "FRAME_COUNTER", 1) > 0


def never_traced(function: F) -> F:
    """A hook of ours that stays outside of what is compiled: a compiled step calls it as it is, and all that it
    calls. What makes optimizers loads torch's compiler anyway.
    """
    found: F = torch.compiler.disable(function)
    return found


def run_eagerly() -> Callable[[], None]:
    """From now on compiled models run eagerly, for compiled code hides its calls; until what is returned is
    called.

    Before torch 2.6 the compiler's own switch is held in its place. Where that is gone, too, a compiled model
    cannot be looked into, which its probe says.
    """
    stance = _attribute(torch.compiler, "set_stance")
    if stance is not None:
        set_ = stance("force_eager")
        return lambda: set_.__exit__(None, None, None)
    import torch._dynamo.eval_frame as frames

    patches = Patches()
    for name in ("set_eval_frame", "_maybe_set_eval_frame"):
        original = _attribute(frames, name)
        if original is not None:
            patches.put(frames, name, lambda _, set_=original: set_(None))
    return patches.undo


def compile_later(patches: Patches) -> None:
    """What is compiled from now on runs eagerly, until the patches are undone. Where nothing is, torch's
    compiler is not imported.
    """
    eager: list[bool] = []

    def told() -> None:
        if not eager:
            eager.append(True)
            patches.on_undo(run_eagerly())

    note_compiling(patches, told)


@contextmanager
def eagerly() -> Iterator[None]:
    """Compiled models run eagerly inside."""
    if "torch._dynamo" not in sys.modules:  # nothing can be compiled
        yield
        return
    back = run_eagerly()
    try:
        yield
    finally:
        back()


# --- many tensors at once ----------------------------------------------------------------------------


def foreach_norm(
    tensors: Sequence[torch.Tensor], order: float = 2, dtype: torch.dtype | None = None
) -> Sequence[torch.Tensor]:
    """The norm of each, L2 by default, in its own dtype by default; one of float32 is never widened."""
    whole = _attribute(torch, "_foreach_norm")
    if dtype is not None and all(t.dtype is dtype for t in tensors):
        dtype = None
    if whole is None:
        return [torch.linalg.vector_norm(t, order, dtype=dtype) for t in tensors]
    if dtype is None:
        return whole(tensors, order)
    try:
        return whole(tensors, order, dtype)
    except TypeError:  # torch before 2.4 takes no dtype
        return [torch.linalg.vector_norm(t, order, dtype=dtype) for t in tensors]


def foreach_mul_(tensors: Sequence[torch.Tensor], by: float | Sequence[float]) -> None:
    """Multiply in place, by one number or by one each."""
    whole = _attribute(torch, "_foreach_mul_")
    if whole is not None:
        whole(tensors, by)
        return
    factors = by if isinstance(by, Sequence) else [by] * len(tensors)
    for tensor, factor in zip(tensors, factors, strict=True):
        tensor.mul_(factor)


def foreach_clamp_(tensors: Sequence[torch.Tensor], bound: float) -> None:
    """Bring every element between -bound and bound, in place."""
    low = _attribute(torch, "_foreach_clamp_min_")
    high = _attribute(torch, "_foreach_clamp_max_")
    if low is not None and high is not None:
        high(tensors, bound)
        low(tensors, -bound)
        return
    for tensor in tensors:
        tensor.clamp_(-bound, bound)


def foreach_copy_(targets: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    """Copy in place."""
    whole = _attribute(torch, "_foreach_copy_")
    if whole is not None:
        whole(targets, values)
        return
    for target, value in zip(targets, values, strict=True):
        target.copy_(value)


# --- the script's own clip ---------------------------------------------------------------------------


def holders(function: Any) -> list[tuple[Any, str]]:
    """(module, name) wherever a function is known by, in modules that imported it by name, too."""
    wanted = id(function)
    found = []
    for module in list(sys.modules.values()):
        if isinstance(module, types.ModuleType):
            known = vars(module)
            if wanted in map(id, list(known.values())):  # a hundred thousand names, a few hits
                found += [
                    (module, name) for name, value in list(known.items()) if value is function
                ]
    return found


def wrap_norm_clip(
    patches: Patches, before: Callable[[list[Any], Callable[[], Any]], None]
) -> None:
    """Call ``before(parameters, factor)`` before the script clips by the norm; factor(): what it multiplies by.

    From torch 2.6 on behind the norm, which is thus worked out once; before, it is worked out twice.
    """

    def behind(original: Any) -> Any:
        def clip(parameters: Any, max_norm: float, total_norm: Any, *a: Any, **k: Any) -> Any:
            given = as_list(parameters)
            before(given, lambda: _factor(max_norm, total_norm))
            return original(given, max_norm, total_norm, *a, **k)

        return clip

    def around(original: Any) -> Any:
        def clip_grad_norm_(
            parameters: Any, max_norm: float, norm_type: float = 2.0, *a: Any, **k: Any
        ) -> Any:
            given = as_list(parameters)
            before(given, lambda: _factor(max_norm, _total_norm(given, float(norm_type))))
            return original(given, max_norm, norm_type, *a, **k)

        return clip_grad_norm_

    inner = _attribute(clip_grad, "_clip_grads_with_norm_")
    outer = clip_grad.clip_grad_norm_
    for place, name in holders(outer if inner is None else inner):
        patches.wrap(place, name, around if inner is None else behind)


def norm_clip_entries() -> list[tuple[Any, str]]:
    """Functions that the script's own clip by norm calls before it works out the norm."""
    if _attribute(clip_grad, "_get_total_norm") is not None:
        return [(clip_grad, "_get_total_norm")]
    return holders(clip_grad.clip_grad_norm_)


def as_list(parameters: Any) -> list[Any]:
    """What a clip of torch's takes: one tensor, or any number of them."""
    return [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)


def _factor(max_norm: float, total: Any) -> Any:
    return torch.clamp(float(max_norm) / (total + 1e-6), max=1.0)


def _total_norm(parameters: list[Any], norm_type: float) -> Any:
    norms = [
        torch.linalg.vector_norm(p.grad.detach(), norm_type)
        for p in parameters
        if p.grad is not None
    ]
    if not norms:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack([n.to(norms[0].device) for n in norms]), norm_type)


# --- optimizers, scalers and schedules -------------------------------------------------------------------

_TAKES_SCALE = "_step_supports_amp_scaling"
"""On a fused optimizer; without, gradients are clipped in place and decided on by the host."""
_STATES = "_per_optimizer_states"
"""Of a GradScaler."""
_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
"""Of an optimizer; without, those put on before its class is changed are gone."""
SCHEDULE_RATES = ("base_lrs", "_last_lr")
"""What a schedule keeps of the learning rates, one each group."""


def takes_scale(optimizer: Any) -> bool:
    """Whether its kernel divides by ``grad_scale`` and heeds ``found_inf``."""
    return bool(_attribute(optimizer, _TAKES_SCALE, False))


def scaled_still(scaler: Any, optimizer: Any) -> bool | None:
    """Whether a GradScaler has not divided this optimizer's gradients yet; None where nobody can tell."""
    states = _attribute(scaler, _STATES)
    try:
        return None if states is None else bool(states[id(optimizer)]["stage"].name == "READY")
    except (KeyError, AttributeError):
        return None


def step_hooks(optimizer: Any) -> dict[str, Any]:
    """Attributes of an optimizer that hold its hooks."""
    found = {name: _attribute(optimizer, name) for name in _HOOKS}
    return {name: table for name, table in found.items() if table is not None}


# --- modules -------------------------------------------------------------------------------------------


def reset_of(module: Any) -> Callable[[], Any] | None:
    """A module's own initialisation of its parameters."""
    names = ("reset_parameters", "_reset_parameters")
    found = (_attribute(module, name) for name in names)
    return next((reset for reset in found if callable(reset)), None)


def initialiser_of(model: Any) -> Callable[[Any], Any] | None:
    """A model's function that initialises one of its modules, as ``transformers`` and many others call it."""
    found = _attribute(model, "_init_weights")
    return found if callable(found) else None


def run_first(model: Any, hook_ids: Sequence[int]) -> None:
    """Forward pre-hooks of a model before all others, in this order; without torch's table, behind them."""
    table = _attribute(model, "_forward_pre_hooks")
    for hook in reversed(hook_ids):
        if table is not None:
            table.move_to_end(hook, last=False)


# --- many processes --------------------------------------------------------------------------------------


_STORE = "_get_default_store"
"""Of torch's processes; without, each measures its own part."""
_JOIN = "_join_config"
"""Of a module of which each process may have another number of batches."""


def shared_store() -> Any:
    """The store of torch's own processes; None without."""
    get = _attribute(_module("torch.distributed.distributed_c10d"), _STORE)
    return None if get is None else get()


def may_end_early(module: Any) -> bool:
    """Whether this process may be done with its batches before the others are (``Join``)."""
    return bool(getattr(_attribute(module, _JOIN), "enable", False))


def prefixed(prefix: str, store: Any) -> Any:
    """The same store for our keys alone."""
    return torch.distributed.PrefixStore(prefix, store)


def gloo_group(store: Any, rank: int, size: int, timeout: Any) -> Any:
    """Processes that reduce numbers on the CPU, apart from the script's own groups."""
    return torch.distributed.ProcessGroupGloo(store, rank, size, timeout)


def all_reduce(group: Any, packed: Any, most: bool, timeout: Any) -> Any:
    """The work of a sum over all processes, or of the largest; in place."""
    options = torch.distributed.AllreduceOptions()
    kinds = torch.distributed.ReduceOp
    options.timeout = timeout
    options.reduceOp = kinds.MAX if most else kinds.SUM
    return group.allreduce([packed], options)
