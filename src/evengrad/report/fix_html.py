"""The page of a fix: diagnosis, patch, all trials side by side."""

from __future__ import annotations

from evengrad.fixing.outcome import Fixing
from evengrad.report import page
from evengrad.report.fix_text import closest, headline, reference
from evengrad.report.page import Figure
from evengrad.values.message import msg

_GOOD = ("healthy", "fixed")


def render(found: Fixing) -> str:
    """The whole page."""
    from evengrad.report import fix_charts as charts

    figures = [
        Figure(
            "losses",
            msg("Losses"),
            msg("A line for each trial. Dashed: the constant baseline."),
            charts.losses(found),
        ),
        Figure(
            "profile",
            msg("Gradient by layer"),
            msg(
                "Rms of each weight matrix's gradient, dashed in the first step, solid at the end; log scale, "
                "without what is exactly 0."
            ),
            charts.profile(found),
        ),
    ]
    return page.fill(
        "fix.html.j2",
        found.findings,
        figures,
        found=found,
        headline=headline(found),
        closest=closest(found),
        reference=reference(found),
        level="good" if found.status in _GOOD else "error",
        diff="" if found.patch is None else found.patch.diff(found.plan.target),
    )
