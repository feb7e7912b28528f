"""Where a Keras script says what it trains with: optimizer objects, and strings given to compile()."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source

CLASSES = {
    "adam": "Adam",
    "adamw": "AdamW",
    "sgd": "SGD",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "nadam": "Nadam",
    "adamax": "Adamax",
    "adadelta": "Adadelta",
    "adafactor": "Adafactor",
    "ftrl": "Ftrl",
    "lion": "Lion",
}
_TOLD = {"optimizer", "loss", "metrics"}
Site = cst.Call | cst.SimpleString


def optimizers(source: Source) -> list[Site]:
    """Every optimizer of the script: its construction, or its name in a string. Raises Manual if none."""
    found: list[Site] = [call for call in source.all(cst.Call) if kind(source, call)]
    for call in compiles(source):
        found += [
            s for s in _strings(source, arguments.value(call, "optimizer", 0)) if s not in found
        ]
    if not found:
        raise Manual(next(iter(compiles(source)), None))
    return sorted(found, key=source.start)


def single(source: Source) -> Site:
    """The one optimizer of the script. Raises Manual at the first where there are several."""
    found = optimizers(source)
    if len({source.code(site) for site in found}) > 1 or isinstance(
        source.parent(found[0]), cst.IfExp
    ):
        raise Manual(found[0])
    return found[0]


def kind(source: Source, site: Site) -> str:
    """The optimizer's class ("SGD"); nothing for any other call."""
    if isinstance(site, cst.SimpleString):
        return CLASSES.get(str(site.evaluated_value).lower(), "")
    module, _, name = source.called(site).rpartition(".")
    return name if module == "keras.optimizers" and name in CLASSES.values() else ""


def compiles(source: Source) -> list[cst.Call]:
    """Every ``model.compile(...)``."""
    return [call for call in source.all(cst.Call) if _compile(source, call)]


def put(
    draft: SourceDraft, site: Site, given: dict[str, str], drop: Sequence[cst.Arg] = ()
) -> None:
    """Give an optimizer arguments; one named by a string becomes an object."""
    if isinstance(site, cst.SimpleString):
        made = ", ".join(f"{key}={code}" for key, code in given.items())
        name = draft.spell(f"keras.optimizers.{kind(draft.source, site)}")
        draft.replace(site, f"{name}({made})")
        return
    if any(arg.star == "**" for arg in site.args) or arguments.argument(site, "lr") is not None:
        raise Manual(site)
    arguments.change(draft, site, given, drop=drop, positions={"learning_rate": 0})


def _compile(source: Source, call: cst.Call) -> bool:
    if not isinstance(call.func, cst.Attribute) or call.func.attr.value != "compile":
        return False
    words = {arg.keyword.value for arg in call.args if arg.keyword is not None}
    if source.called(call).startswith(("re.", "torch.")):
        return False
    return bool(words & _TOLD) or bool(_strings(source, arguments.value(call, "optimizer", 0)))


def _strings(source: Source, given: cst.BaseExpression | None) -> list[Site]:
    """The names of optimizers in what compile() was given, through names and conditional branches."""
    if isinstance(given, cst.IfExp):
        return [*_strings(source, given.body), *_strings(source, given.orelse)]
    if isinstance(given, cst.Name):
        values = [found.value for found in source.definitions(given) if found.value is not None]
        return [site for value in values for site in _strings(source, value)]
    if isinstance(given, cst.SimpleString) and kind(source, given):
        return [given]
    return []
