"""Gradients clipped before each update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from evengrad.fixing.wording import ADD, BEFORE_STEP, FIT, LOOP, OPTIMIZER, WRITE, number
from evengrad.recording import clip
from evengrad.values.change import Advice, Change, calls

ClipKind = Literal[
    "norm", "value", "tensor", "agc", "percentile", "zscore", "adagc", "update", "auto"
]


@dataclass(frozen=True, slots=True)
class ClipGradients(Change):
    """Clip the gradients before each update. kind, bound: a clip's name and first parameter
    (``recording.clip``).
    """

    stage: ClassVar[int] = 170
    kind: ClipKind
    bound: float

    def settings(self) -> dict[str, Any]:
        """The clip is the watch's own, so that its guard sees what is left after it."""
        return {"clip": clip.parse(f"{self.kind}:{self.bound!r}")}

    write_torch = calls("evengrad.fixing.patch.torch.clip:clip_gradients")
    write_keras = calls("evengrad.fixing.patch.keras.clip:clip_gradients")

    def advice(self, *, keras: bool) -> Advice:
        """See Change."""
        bound = number(self.bound)
        if self.kind not in ("norm", "value"):
            given = f'clip="{self.kind}:{bound}"'
            if keras:
                return Advice(f"callbacks=[evengrad.keras.Watch({given})]", FIT, WRITE)
            code = f"evengrad.watch(model, optimizer, {given}, guard=None, folder=None)"
            return Advice(code, LOOP, ADD)
        if keras:
            word = "global_clipnorm" if self.kind == "norm" else "clipvalue"
            return Advice(f"{word}={bound}", OPTIMIZER, WRITE)
        code = f"torch.nn.utils.clip_grad_{self.kind}_(model.parameters(), {bound})"
        return Advice(code, BEFORE_STEP, ADD)
