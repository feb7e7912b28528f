"""What is said to people: English text that remembers how it was made, so that another language can say it.

``msg("the losses of {count} steps", count=3)`` is the string "the losses of 3 steps" wherever a string is asked
for: in JSON, in a test, in a terminal in English. ``translated`` looks its template up in the catalogue of the
language in use (gettext, ``locale/``) and puts the same values in.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gettext import NullTranslations

ENGLISH, CHINESE = "en", "zh"
LANGUAGES = (ENGLISH, CHINESE)
_CATALOGUES = {CHINESE: "zh_CN"}
_LOCALE = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
_SPELLING = "message"
_chosen: list[str] = []


class Message(str):
    """English text with its template and its values.

    Attributes:
        template: as ``str.format`` reads it where there are values, as it is where there are none; the entry
            of the catalogue.
        values: by name; Messages among them are translated with it, other strings are names or code, and stay.
    """

    template: str
    values: Mapping[str, Any]

    def __new__(cls, template: str, values: Mapping[str, Any] | None = None) -> Message:
        """The text in English."""
        made = super().__new__(cls, template.format(**values) if values else template)
        made.template, made.values = template, values or {}
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Message, (self.template, self.values)

    def __add__(self, other: str) -> Message:
        return joined("", (self, other))

    def __radd__(self, other: str) -> Message:
        return joined("", (other, self))


def msg(template: str, /, **values: Any) -> Message:
    """A message. template: a literal, else the catalogue lacks it; with braces for values where there are
    any.
    """
    return Message(template, values)


def with_values(message: Message, values: Mapping[str, Any]) -> Message:
    """The same with values put in: of one that stands in a table, its braces not filled yet."""
    return Message(message.template, values)


def joined(separator: str, parts: Iterable[str]) -> Message:
    """Parts, one after another, each of which may be a message; and so may the separator."""
    values: dict[str, Any] = {f"part{n}": part for n, part in enumerate(parts)}
    between = "" if not separator else "{separator}"
    template = between.join("{" + name + "}" for name in values)
    return Message(template, values | ({"separator": separator} if len(values) > 1 else {}))


def spelled(text: str) -> dict[str, Any]:
    """For JSON beside the text itself, what ``respelled`` makes the message of again; of plain text nothing."""
    return {_SPELLING: spelling(text)} if isinstance(text, Message) else {}


def respelled(text: str, values: dict[str, Any]) -> str:
    """The message that was written down as ``text`` and ``spelled``, which is taken out of values."""
    found = values.pop(_SPELLING, None)
    return text if found is None else of_spelling(found)


def spelling(text: Any) -> Any:
    """A message as {"template": ..., "values": ...}; anything else as a number or a string."""
    if isinstance(text, Message):
        return {
            "template": text.template,
            "values": {k: spelling(v) for k, v in text.values.items()},
        }
    plain = text.item() if hasattr(text, "item") else text
    return plain if plain is None or isinstance(plain, str | int | float | bool) else str(plain)


def of_spelling(found: Any) -> Any:
    """What ``spelling`` gave."""
    if not isinstance(found, dict):
        return found
    return Message(found["template"], {k: of_spelling(v) for k, v in found["values"].items()})


def translated(text: object) -> Any:
    """A message in the language in use; whatever is none, as it is."""
    if not isinstance(text, Message):
        return text
    if language() == ENGLISH:
        return str(text)
    template = _catalogue(language()).gettext(text.template) if text.template else ""
    if not text.values:
        return template
    return template.format(**{name: translated(value) for name, value in text.values.items()})


def known_text(text: str) -> str:
    """What the catalogue has for this very text, as for a paragraph of a docstring; else the text."""
    return str(translated(Message(text)))


def tag() -> str:
    """The language in use as HTML has it: "en" or "zh-CN"."""
    return {CHINESE: "zh-CN"}.get(language(), language())


def language() -> str:
    """The one in use: what was chosen, else that of EVENGRAD_LANG, else the locale's, else English."""
    return _chosen[-1] if _chosen else _of_environment()


def choose(name: str) -> None:
    """Speak this language from now on.

    Args:
        name: such as "zh", "zh_CN.UTF-8" or "en".

    Raises:
        ValueError: it is none of LANGUAGES.
    """
    found = _known(name)
    if found is None:
        raise ValueError(f"Expected one of {', '.join(LANGUAGES)}, got {name!r}.")
    _chosen[:] = [found]


def _of_environment() -> str:
    wanted = os.environ.get("EVENGRAD_LANG")
    if wanted:
        return _known(wanted) or ENGLISH
    first = next((os.environ[name] for name in _LOCALE if os.environ.get(name)), "")
    return _known(first.partition(":")[0]) or ENGLISH


def _known(name: str) -> str | None:
    short = name.replace("-", "_").partition("_")[0].partition(".")[0].lower()
    return short if short in LANGUAGES else None


@cache
def _catalogue(name: str) -> NullTranslations:
    """Without one: what was not compiled, as in a checkout that was never installed, stays English."""
    from gettext import translation

    folder = Path(__file__).with_name("locale")
    return translation("evengrad", folder, [_CATALOGUES[name]], fallback=True)
