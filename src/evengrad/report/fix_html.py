"""A fix as one HTML file that needs nothing else: diagnosis, patch, all trials side by side."""

from __future__ import annotations

from evengrad.fixing.outcome import Fixing
from evengrad.report import fix_charts as charts
from evengrad.report import html, words
from evengrad.report.fix_text import closest, headline
from evengrad.report.html import Figure, explained
from evengrad.values import wording
from evengrad.values.version import __version__

_LEVELS = {"healthy": "good", "fixed": "good", "not_fixed": "error", "cannot_run": "error"}


def render(found: Fixing) -> str:
    """The whole page."""
    every = [one for finding in found.findings for one in (finding, *finding.echoes)]
    figures = [
        Figure(
            "losses",
            "Losses",
            "A line for each trial. Dashed: constant baseline.",
            charts.losses(found),
        ),
        Figure(
            "profile",
            "Gradient by layer",
            "Rms of each weight matrix's gradient, dashed in the first step, solid at the end; log scale, "
            "without what is exactly 0.",
            charts.profile(found),
        ),
    ]
    return html.fill(
        "fix.html.j2",
        found=found,
        headline=headline(found),
        closest=closest(found),
        level=_LEVELS[found.status],
        diff="" if found.patch is None else found.patch.diff(found.plan.target),
        figures=figures,
        words=words,
        wording=wording,
        explanations={one.code: explained(one.code) for one in every},
        version=__version__,
        javascript=html.javascript(),
    )
