"""The page of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from evengrad.errors import EvengradError
from evengrad.recording import blackbox
from evengrad.recording.blackbox import BlackBox
from evengrad.report import page, run_words
from evengrad.report.page import Figure, figure
from evengrad.values.finding import Finding
from evengrad.values.message import msg
from evengrad.values.run import Run


def render(run: Run, findings: Sequence[Finding]) -> str:
    """The whole page; its size does not grow with the number of steps."""
    return page.fill(
        "run.html.j2",
        findings,
        _figures(run),
        run=run,
        level=run_words.level(run, findings),
        outcome=run_words.outcome(run, findings),
        facts=run_words.facts(run),
        setting=run_words.setting(run),
        started=time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started)),
        events=run.events,
        boxes=_boxes(run.path.parent),
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

    after = rows.norms(run, "clipped") if clipped else []
    gone = rows.not_finite(run)
    return [
        figure(
            "loss",
            msg("Loss"),
            msg(
                "Median and range of neighbouring steps. Dashed: events (red: bad); hover to read them."
            ),
            rows.losses(run),
            lambda data: charts.loss(data, events),
        ),
        figure(
            "norm",
            msg("Gradient norm"),
            msg("Of all gradients together, log scale: blue before the clip")
            + (msg(", green after it.") if clipped else msg("; nothing was clipped."))
            + msg(" Red ticks at the top: not finite."),
            rows.norms(run, "norm"),
            lambda data: charts.norm(data, after, gone, events),
        ),
        figure(
            "gradients",
            msg("Gradient by layer"),
            msg(
                "Rms of each layer's gradient, log scale; the first layer is at the top. Red: zero or "
                "not finite."
            ),
            rows.gradient_cells(run),
            charts.cells,
        ),
        figure(
            "updates",
            msg("Update against weights"),
            msg(
                "rms(update) / rms(weights) of the weight matrices, as they really changed; dark: the first "
                "layers, orange: the last. Green: the usual 0.0001 to 0.1."
            ),
            rows.update_lines(run),
            charts.updates,
        ),
        figure(
            "activations",
            msg("Activations"),
            msg("Shares on a sample of each activation, one line each; the highest ten of each."),
            rows.activation_lines(run),
            charts.activations,
        ),
        figure(
            "last",
            msg("The last steps before the latest event"),
            msg(
                "Rms of each layer's gradient at every single one of them. Red: zero or not finite."
            ),
            rows.last_cells(run),
            charts.cells,
        ),
    ]
