"""The mutable record of one forward pass, filled in by hooks as the backward pass goes by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from evengrad.adapters.torch.ops.draft import OperationDraft
from evengrad.adapters.torch.record.losses import Head
from evengrad.values.probe import ActivationHealth
from evengrad.values.spec import Kind, Law
from evengrad.values.summary import Summary


@dataclass(frozen=True, slots=True)
class MadeBefore:
    """Stands for a tensor that the model or an earlier call of the script made, so that it need not be kept."""

    number: int


@dataclass(slots=True, eq=False)
class RecordedCall:
    """One recorded call.

    Attributes:
        function: torch's name.
        kind: what it is in evengrad's words.
        owner: class of the innermost module.
        path: of that module in the model.
        framework: that class is torch's own.
        leaf: it has no layers inside, or counts as one.
        root: id of the outermost module, 0 for none.
        call: the number of the module's call.
        forward_pass: the number of the outermost module's call.
        source: "model.py:31", where it was called.
        reads: tensor numbers.
        makes: tensor numbers.
        forward: figures of its output.
        below: place in ``reads`` -> norm of the gradient there.
        above: place in ``makes`` -> figures of the gradient there.
        name: given at the end, when it is known what is on the path to the loss.
        layer: given at the end, too.
        type: given at the end, too.
    """

    function: str
    kind: Kind
    owner: str = ""
    path: str = ""
    framework: bool = False
    leaf: bool = False
    root: int = 0
    call: int = 0
    forward_pass: int = 0
    source: str | None = None
    reads: list[int] = field(default_factory=list)
    makes: list[int] = field(default_factory=list)
    forward: Summary | None = None
    below: dict[int, float] = field(default_factory=dict)
    above: dict[int, Summary] = field(default_factory=dict)
    parameters: list[Any] = field(default_factory=list)
    fan_in: dict[int, float] = field(default_factory=dict)  # id(parameter) -> fan-in
    flat: tuple[float, float] | None = None  # the range of a hardtanh
    health: ActivationHealth | None = None
    dtype: str = "float32"
    head: Head | None = None  # what a loss was given
    call_made: Any = None  # until it has ended: name, function, args, kwargs
    tail: Any = None  # of a call outside the model: function, args, kwargs with MadeBefore, to make it again
    draft: OperationDraft | None = None  # the operation as a spec has it
    laws: dict[int, Law] = field(default_factory=dict)  # id(operand) -> of weights and constants
    name: str = ""
    layer: str = ""
    type: str = ""

    @property
    def inside(self) -> bool:
        """Of a module's call, not of the script's own code around it."""
        return self.root != 0

    @property
    def label(self) -> str:
        """The layer's class, or the function's name."""
        return self.owner if self.framework and self.leaf else self.function
