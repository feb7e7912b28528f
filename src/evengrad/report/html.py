"""The page of a check or a forecast."""

from __future__ import annotations

from evengrad.diagnosis.evidence import Evidence, evidence
from evengrad.report import expected, page, rows, words
from evengrad.report.page import Figure, figure
from evengrad.values.message import msg
from evengrad.verbs.check import Check


def render(check: Check) -> str:
    """The whole page."""
    measured = evidence(check.probe)
    return page.fill(
        "page.html.j2",
        check.findings,
        _figures(check, measured),
        check=check,
        growth=words.growth(check.probe, measured.budget),
        forecast=expected.sentences(check, measured.budget),
        measured=not expected.is_forecast(check),
        table=rows.table(check, measured),
    )


def _figures(check: Check, measured: Evidence) -> list[Figure]:
    from evengrad.report import charts

    return [
        figure(
            "profile",
            msg("Gradient norm over depth"),
            msg(
                "Left: the model's input. Right: its output, where the gradient starts and the norm "
                "counts as 1. "
                "Pale: inside a branch, where only a part of it flows. "
                "Green: within three decades of the output. Violet: where 95% of seeds would put it, "
                "forecast from the architecture and the weights' scales. Red: layers that a finding names; "
                "a cross: zero or not finite."
            ),
            rows.profile(check, measured),
            charts.profile,
        ),
        figure(
            "operations",
            msg("Growth by operation"),
            msg(
                "What each operation adds to the total, by cause; what the branches of a block add to their "
                "sum stands at the block's last operation."
            ),
            rows.operations(measured),
            charts.operations,
        ),
        figure(
            "causes",
            msg("Growth by cause"),
            msg("The total growth from output to input, split by cause; the bars add up to it."),
            rows.causes(measured),
            charts.causes,
        ),
        figure(
            "updates",
            msg("Coming update against weights"),
            msg("rms(update) / rms(weights) of the first step. Green: the usual 0.0001 to 0.1."),
            rows.updates(check),
            charts.updates,
        ),
        figure(
            "health",
            msg("Activations"),
            msg("Shares over one batch. Zeros of a ReLU are half of its outputs when it is well."),
            rows.health(check),
            charts.health,
        ),
    ]
