"""The arguments of a call: finding, setting and dropping them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import libcst as cst

from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source


def argument(call: cst.Call, keyword: str, position: int | None = None) -> cst.Arg | None:
    """By its keyword, else by its position; None where it is not given."""
    for arg in call.args:
        if arg.keyword is not None and arg.keyword.value == keyword:
            return arg
    if position is None or position >= len(call.args):
        return None
    if any(arg.star or arg.keyword for arg in call.args[: position + 1]):
        return None
    return call.args[position]


def value(call: cst.Call, keyword: str, position: int | None = None) -> cst.BaseExpression | None:
    """The expression given for an argument; None where it is not given."""
    arg = argument(call, keyword, position)
    return None if arg is None else arg.value


def unpacked(call: cst.Call) -> bool:
    """Whether there are arguments that the call does not show: ``*args``, ``**options``."""
    return any(arg.star for arg in call.args)


def passed(source: Source, parameter: cst.CSTNode, name: str) -> bool:
    """Whether some call of the script gives a function's parameter another value than its default."""
    function = source.around(parameter, cst.FunctionDef)
    if function is None:
        return True
    params, called = [param.name.value for param in function.params.params], function.name.value
    owner = source.around(function, cst.ClassDef)
    if owner is not None and params[:1] == ["self"]:
        params, called = params[1:], owner.name.value if called == "__init__" else called
    position = params.index(name) if name in params else len(params)
    return any(
        argument(call, name, position) is not None or unpacked(call)
        for call in source.all(cst.Call)
        if source.code(call.func).rpartition(".")[2] == called
    )


def change(
    draft: SourceDraft,
    call: cst.Call,
    put: Mapping[str, str],
    *,
    drop: Collection[cst.Arg] = (),
    positions: Mapping[str, int] | None = None,
) -> None:
    """Give arguments values, new ones where there are none, and drop others."""
    positions, free = positions or {}, list(drop)
    new: list[str] = []
    for keyword, code in put.items():
        arg = argument(call, keyword, positions.get(keyword))
        if arg is not None and arg not in drop:
            draft.replace(arg.value, code)
        elif free:
            draft.replace(free.pop(0), f"{keyword}={code}")
        else:
            new.append(f"{keyword}={code}")
    if new:
        append(draft, call, new)
    _drop(draft, call, free)


def append(draft: SourceDraft, call: cst.Call, new: list[str]) -> None:
    """Write further arguments behind the others, on lines of their own where these are."""
    source = draft.source
    if not call.args:
        draft.insert(source.end(call) - 1, ", ".join(new))
        return
    last = call.args[-1]
    if isinstance(last.value, cst.GeneratorExp) and not last.value.lpar:
        raise Manual(call)
    opening = source.line(call)
    if (
        source.line(last) == opening
        or source.text[source.line_start(last) : source.start(last)].strip()
    ):
        draft.insert(source.end(last), "".join(f", {code}" for code in new))
        return
    indent = source.indent(last)
    newline = source.module.default_newline
    at = source.text.find("\n", source.end(last)) + 1
    if isinstance(last.comma, cst.Comma) and 0 < at < source.end(call):
        draft.insert(at, "".join(f"{indent}{code},{newline}" for code in new))
    else:
        draft.insert(source.end(last), "".join(f",{newline}{indent}{code}" for code in new))


def _drop(draft: SourceDraft, call: cst.Call, dropped: Collection[cst.Arg]) -> None:
    source, kept = draft.source, [arg for arg in call.args if arg not in dropped]
    if not dropped:
        return
    if not kept:
        draft.cut(source.start(call.args[0]), source.end(call) - 1)
        return
    args, final = list(call.args), call.args.index(kept[-1])
    for index, arg in enumerate(args[:final]):
        if arg in dropped:
            draft.cut(source.start(arg), source.start(args[index + 1]))
    if final + 1 < len(args):
        draft.cut(source.end(args[final]), source.end(args[-1]))
