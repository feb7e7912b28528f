"""Keras: weights out of a file, wherever name and shape agree."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.keras import optimizers
from evengrad.fixing.patch.keras.head import built
from evengrad.fixing.patch.script.draft import Manual, SourceDraft


def pretrained(draft: SourceDraft, file: str, factor: float) -> None:
    """Behind ``compile``; layers whose weights came from the file are frozen. A part of the rate has no plain
    form.
    """
    source = draft.source
    compiled = optimizers.compiles(source)
    if len(compiled) != 1 or not isinstance(compiled[0].func, cst.Attribute):
        raise Manual(next(iter(compiled), None), "after")
    call, model = compiled[0], source.code(compiled[0].func.value)
    names = ("before", "pretrained", "layer", "weight", "value")
    taken = any(source.local(name, call) for name in names)
    if factor not in (0, 1) or taken or not built(source):
        raise Manual(call, "after")
    load = _load(draft, file, model)
    if factor == 0:
        load = [
            f"before = {{layer.name: layer.get_weights() for layer in {model}.layers}}",
            *load,
            f"for layer in {model}.layers:",
            "    values = zip(before[layer.name], layer.get_weights())",
            "    layer.trainable = all((old == new).all() for old, new in values)",
        ]
    draft.after(call, load)


def _load(draft: SourceDraft, file: str, model: str) -> list[str]:
    path = draft.quoted(file) if file.isprintable() and not set(file) & set("\\\"'") else repr(file)
    if not file.endswith(".safetensors"):
        return [f"{model}.load_weights({path}, skip_mismatch=True)"]
    draft.need("import safetensors.numpy")
    dot, slash, prefix = draft.quoted("."), draft.quoted("/"), f"{model}.name + {draft.quoted('/')}"
    return [
        f"pretrained = safetensors.numpy.load_file({path})",
        f"pretrained = {{name.replace({dot}, {slash}): v for name, v in pretrained.items()}}",
        f"pretrained |= {{name.partition({slash})[2]: v for name, v in pretrained.items()}} | pretrained",
        f"for weight in {model}.weights:",
        f"    value = pretrained.get(weight.path.removeprefix({prefix}))",
        "    if value is not None and value.shape == tuple(weight.shape):",
        "        weight.assign(value)",
    ]
