"""What the pages of a check, a run and a fix share: one HTML file each that needs nothing else, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from evengrad.diagnosis.catalogue import explanations, paragraphs
from evengrad.errors import EvengradError
from evengrad.report import words
from evengrad.values import wording
from evengrad.values.finding import Finding, with_echoes
from evengrad.values.message import known_text, msg, tag, translated
from evengrad.values.version import __version__

_LABELS = (
    msg("What it finds"),
    msg("Why it matters"),
    msg("How it decides"),
    msg("What to do"),
    msg("References"),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its heading. spec: None where there is nothing to draw; the page then says why."""

    id: str
    title: str
    caption: str
    spec: dict[str, Any] | None


def figure(
    name: str, title: str, caption: str, rows: list[Any], draw: Callable[[Any], dict[str, Any]]
) -> Figure:
    """A figure of rows, as far as any of them has a finite value."""
    fields = ("decades", "share", "value")
    some = any(row.get(field) is not None for row in rows for field in fields)
    return Figure(name, title, caption, draw(rows) if some else None)


def fill(template: str, findings: Iterable[Finding], figures: list[Figure], **values: Any) -> str:
    """A page from its template: all values escaped, and strict about names. About 1 MB, most of it the
    charts' JavaScript, once.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evengrad.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=translated,
    )
    environment.globals |= {"_": msg, "msg": msg}
    environment.filters |= {"first_line": _first_line, "known": known_text}
    findings = tuple(findings)
    page = environment.get_template(template).render(
        findings=findings,
        figures=figures,
        explanations={one.code: explained(one.code) for one in with_echoes(findings)},
        words=words,
        wording=wording,
        version=__version__,
        language=tag(),
        javascript=javascript(),
        **values,
    )
    return str(page)


def _first_line(text: str) -> str:
    return str(translated(text)).partition("\n")[0]


def explained(code: str) -> list[tuple[str, str]]:
    """A rule's explanation as (label, paragraph); empty for a code without one."""
    found = paragraphs(explanations().get(code, ""))[1:]
    return [_labelled(known_text(paragraph)) for paragraph in found]


def _labelled(paragraph: str) -> tuple[str, str]:
    for label in map(known_text, _LABELS):
        for colon in (":", "："):
            if paragraph.startswith(label + colon):
                return label, paragraph.removeprefix(label + colon).strip()
    return "", paragraph


@cache
def javascript() -> str:
    """Vega, Vega-Lite and vega-embed in one bundle, made when evengrad was built (hatch_build.py)."""
    try:
        text = resources.files("evengrad.report").joinpath("vega.js").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EvengradError(
            msg(
                "The charts' JavaScript, evengrad/report/vega.js, is missing: it is made when evengrad is "
                "installed. In a checkout: pip install -e ."
            )
        ) from None
    return text.replace("</script", "<\\/script")
