"""PyTorch: weights out of a file, by name and shape, and a rate of their own."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.torch import optimizers
from evengrad.fixing.patch.torch.initialise import anchor
from evengrad.fixing.wording import number

_DEFAULTS = {"Adam": 1e-3, "AdamW": 1e-3, "SGD": 1e-3, "RMSprop": 1e-2, "Adagrad": 1e-2}


def pretrained(draft: SourceDraft, file: str, factor: float) -> None:
    """Loaded behind all that initialises the model; then frozen, or in a group of the optimizer's own."""
    source = draft.source
    models = optimizers.trained(source)
    made = optimizers.single(source)
    place = anchor(source, next(iter(models.values())))
    name = source.code(next(iter(models.values())))
    taken = any(source.local(word, made) for word in ("pretrained", "matched"))
    if len(models) != 1 or taken or not optimizers.visible(source, made.func, place):
        raise Manual(made, "before")
    if source.start(place) > source.start(made):
        raise Manual(made, "before")
    lines = _load(draft, file, name)
    if factor == 0:
        lines += [
            f"for name, parameter in {name}.named_parameters():",
            "    parameter.requires_grad = name not in matched",
        ]
    else:
        _groups(draft, made, name, factor)
    draft.after(place, lines)


def _load(draft: SourceDraft, file: str, model: str) -> list[str]:
    path = draft.quoted(file) if file.isprintable() and not set(file) & set("\\\"'") else repr(file)
    if file.endswith(".safetensors"):
        draft.need("import safetensors.torch")
        lines = [f"pretrained = safetensors.torch.load_file({path})"]
    else:
        load = f"{draft.spell('torch.load')}({path}, map_location={draft.quoted('cpu')}"
        lines = [
            f"pretrained = {load}, weights_only=True)",
            f"for key in ({draft.quoted('state_dict')}, {draft.quoted('model')}):",
            "    pretrained = pretrained[key] if isinstance(pretrained.get(key), dict) else pretrained",
        ]
    return [
        *lines,
        f"own = {model}.state_dict()",
        "matched = {",
        "    name: value",
        "    for name, value in pretrained.items()",
        "    if name in own and value.shape == own[name].shape",
        "}",
        f"{model}.load_state_dict(matched, strict=False)",
    ]


def _groups(draft: SourceDraft, made: cst.Call, model: str, factor: float) -> None:
    """The matched parameters at a part of the rate, and the others."""
    source, given = draft.source, optimizers.parameters(draft.source, made)
    kind, rate = optimizers.kind(source, made), arguments.value(made, "lr", 1)
    written = arguments.value(made, "params", 0)
    plain = given is not None and given is written and source.code(given) == f"{model}.parameters()"
    if not plain or given is None or (rate is None and kind not in _DEFAULTS):
        raise Manual(made)
    base = number(_DEFAULTS[kind]) if rate is None else source.code(rate)
    inner = f"for name, p in {model}.named_parameters() if name"
    indent = source.indent(made)
    lines = (
        "[",
        f'    {{"params": [p {inner} not in matched]}},',
        f'    {{"params": [p {inner} in matched], "lr": {factor:g} * {base}}},',
        "]",
    )
    newline = source.module.default_newline + indent
    draft.replace(given, newline.join(lines))
