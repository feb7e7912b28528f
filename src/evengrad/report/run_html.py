"""A run as one HTML file that needs nothing else: no network, no server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evengrad.errors import EvengradError
from evengrad.recording import blackbox
from evengrad.recording.blackbox import BlackBox
from evengrad.report import html, run_words, words
from evengrad.report.charts import Spec
from evengrad.report.html import Figure, explained
from evengrad.values import wording
from evengrad.values.finding import Finding
from evengrad.values.run import Run
from evengrad.values.version import __version__


def render(run: Run, findings: Sequence[Finding]) -> str:
    """The whole page; its size does not grow with the number of steps."""
    every = [one for finding in findings for one in (finding, *finding.echoes)]
    return html.fill(
        "run.html.j2",
        run=run,
        findings=tuple(findings),
        level=run_words.level(run, findings),
        outcome=run_words.outcome(run, findings),
        facts=run_words.facts(run),
        setting=run_words.setting(run),
        started=time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started)),
        words=words,
        wording=wording,
        figures=_figures(run),
        boxes=_boxes(run.path.parent),
        explanations={one.code: explained(one.code) for one in every},
        version=__version__,
        javascript=html.javascript(),
    )


def _boxes(folder: Path) -> list[BlackBox]:
    """The black boxes, without their tensors; one that cannot be read is left out."""
    found = []
    for box in blackbox.boxes(folder).values():
        try:
            found.append(blackbox.load(box, tensors=False))
        except EvengradError:
            continue
    return found


def _figures(run: Run) -> list[Figure]:
    from evengrad.report import run_charts as charts
    from evengrad.report import run_rows as rows

    events = rows.events(run)
    clipped = bool((run.steps["coefficient"] < 1).any())

    def norm(before: Any) -> Spec:
        after = rows.norms(run, "clipped") if clipped else []
        return charts.norm(before, after, rows.not_finite(run), events)

    parts: tuple[tuple[str, str, str, list[Any], Callable[[Any], Spec]], ...] = (
        (
            "loss",
            "Loss",
            "Median and range of neighbouring steps. Dashed: events (red: bad); hover to read them.",
            rows.losses(run),
            lambda data: charts.loss(data, events),
        ),
        (
            "norm",
            "Gradient norm",
            "Of all gradients together, log scale: blue before the clip"
            + (", green after it." if clipped else "; nothing was clipped.")
            + " Red ticks at the top: not finite.",
            rows.norms(run, "norm"),
            norm,
        ),
        (
            "gradients",
            "Gradient by layer",
            "Rms of each layer's gradient, log scale; the first layer is at the top. Red: zero or not finite.",
            rows.gradient_cells(run),
            charts.cells,
        ),
        (
            "updates",
            "Update against weights",
            "rms(update) / rms(weights) of the weight matrices, as they really changed; dark: the first "
            "layers, orange: the last. Green: the usual 0.0001 to 0.1.",
            rows.update_lines(run),
            charts.updates,
        ),
        (
            "activations",
            "Activations",
            "Shares on a sample of each activation, one line each; the highest ten of each.",
            rows.activation_lines(run),
            charts.activations,
        ),
        (
            "last",
            "The last steps before the latest event",
            "Rms of each layer's gradient at every single one of them. Red: zero or not finite.",
            rows.last_cells(run),
            charts.cells,
        ),
    )
    return [
        Figure(name, title, caption, draw(data) if _some(data) else None)
        for name, title, caption, data, draw in parts
    ]


def _some(data: list[Any]) -> bool:
    return any(row.get("decades", row.get("value")) is not None for row in data)
