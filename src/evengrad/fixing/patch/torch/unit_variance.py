"""PyTorch: weights that the first batch scales, by hooks that go after their first call."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.torch import optimizers
from evengrad.fixing.patch.torch.initialise import Drawing, anchor, lines

_NAMES = {"unit_variance", "hooks"}


def unit_variance(draft: SourceDraft, layers: Sequence[str]) -> None:
    """Orthogonal weights, and a hook for each of the layers."""
    source, models = draft.source, optimizers.trained(draft.source)
    if len(models) != 1 or any(node.value in _NAMES for node in source.all(cst.Name)):
        raise Manual(optimizers.optimizers(source)[0], "before")
    model = next(iter(models.values()))
    drawn = Drawing(tuple(layers), 1.0, "orthogonal")
    loop = lines(
        draft,
        drawn,
        source.code(model),
        model,
        lambda name: [f"hooks[{name}] = {name}.register_forward_hook(unit_variance)"],
    )
    draft.after(
        anchor(source, model),
        [
            "hooks = {}",
            "",
            "",
            "def unit_variance(module, inputs, output):",
            '    """Divides the weights by the deviation of the layer\'s output on the first batch."""',
            "    hooks.pop(module).remove()",
            "    module.weight.data /= output.detach().std()",
            "    return module.forward(*inputs)",
            "",
            "",
            *loop,
        ],
    )
