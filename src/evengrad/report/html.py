"""A check as one HTML file that needs nothing else: no network, no server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from evengrad.diagnosis.catalogue import explanations
from evengrad.diagnosis.evidence import evidence
from evengrad.errors import EvengradError
from evengrad.report import expected, rows, words
from evengrad.values import wording
from evengrad.values.finding import Finding
from evengrad.values.version import __version__
from evengrad.verbs.check import Check

_LABELS = ("What it finds", "Why it matters", "How it decides", "What to do", "References")


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its heading. spec: None where there is nothing to draw; why says so."""

    id: str
    title: str
    caption: str
    spec: dict[str, Any] | None


def render(check: Check) -> str:
    """The whole page, about 1 MB: most of it is the charts' JavaScript, inlined once."""
    seen = evidence(check.probe)
    profile, *others = _figures(check)
    return fill(
        "page.html.j2",
        check=check,
        words=words,
        wording=wording,
        growth=words.growth(check.probe, seen.budget),
        forecast=expected.sentences(check, seen.budget),
        measured=not expected.is_forecast(check),
        profile=profile,
        figures=others,
        table=rows.table(check, seen),
        explanations={f.code: explained(f.code) for f in _all(check.findings)},
        version=__version__,
        javascript=javascript(),
    )


def fill(template: str, **values: Any) -> str:
    """A page from its template: all values escaped, and strict about names."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evengrad.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return str(environment.get_template(template).render(**values))


def explained(code: str) -> list[tuple[str, str]]:
    """A rule's explanation as (label, paragraph); empty for a code without one."""
    paragraphs = explanations().get(code, "").split("\n\n")[1:]
    return [_labelled(" ".join(paragraph.split())) for paragraph in paragraphs]


def _labelled(paragraph: str) -> tuple[str, str]:
    label, colon, rest = paragraph.partition(":")
    return (label, rest.strip()) if colon and label in _LABELS else ("", paragraph)


def _all(findings: tuple[Finding, ...]) -> list[Finding]:
    return [one for finding in findings for one in (finding, *_all(finding.echoes))]


def _figures(check: Check) -> list[Figure]:
    from evengrad.report import charts

    seen = evidence(check.probe)
    parts: tuple[tuple[str, str, str, list[Any], Callable[[Any], charts.Spec]], ...] = (
        (
            "profile",
            "Gradient norm over depth",
            "Left: the model's input. Right: its output, where the gradient starts and the norm counts as 1. "
            "Pale: inside a branch, where only a part of it flows. "
            "Green: within three decades of the output. Violet: where 95% of seeds would put it, forecast from "
            "the architecture and the weights' scales. Red: layers that a finding names; "
            "a cross: zero or not finite.",
            rows.profile(check, seen),
            charts.profile,
        ),
        (
            "operations",
            "Growth by operation",
            "What each operation adds to the total, by cause; what the branches of a block add to their "
            "sum stands at the block's last operation.",
            rows.operations(seen),
            charts.operations,
        ),
        (
            "causes",
            "Growth by cause",
            "The total growth from output to input, split by cause; the bars add up to it.",
            rows.causes(seen),
            charts.causes,
        ),
        (
            "updates",
            "Coming update against weights",
            "rms(update) / rms(weights) of the first step. Green: the usual 0.0001 to 0.1.",
            rows.updates(check),
            charts.updates,
        ),
        (
            "health",
            "Activations",
            "Shares over one batch. Zeros of a ReLU are half of its outputs when it is well.",
            rows.health(check),
            charts.health,
        ),
    )
    return [
        Figure(name, title, caption, draw(data) if _finite(data) else None)
        for name, title, caption, data, draw in parts
    ]


def _finite(data: list[Any]) -> bool:
    return any(row.get("decades", row.get("share")) is not None for row in data)


@cache
def javascript() -> str:
    """Vega, Vega-Lite and vega-embed in one bundle, made when evengrad was built (hatch_build.py)."""
    try:
        text = resources.files("evengrad.report").joinpath("vega.js").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EvengradError(
            "The charts' JavaScript, evengrad/report/vega.js, is missing: it is made when evengrad is "
            "installed. In a checkout: pip install -e ."
        ) from None
    return text.replace("</script", "<\\/script")
