"""``evengrad lab``: causes x remedies, measured; the article's claims on trial."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evengrad.cli import cluster, files
from evengrad.cli.command import ExitStatus, ScriptCommand, say
from evengrad.errors import EvengradError
from evengrad.fixing.lab.cells import LabTraining
from evengrad.fixing.lab.claims import all_claims
from evengrad.fixing.lab.cures import CURES
from evengrad.fixing.lab.grid import LabPlan
from evengrad.fixing.lab.laboratory import Experiment, experiment
from evengrad.fixing.lab.planted import CAUSES
from evengrad.report import lab_html, lab_json
from evengrad.report.lab_text import render
from evengrad.values.message import known_text, msg, translated

OPTIONS = {"cls": ScriptCommand}


class Frameworks(StrEnum):
    """Of the article's network."""

    TORCH = "torch"
    KERAS = "keras"


def lab(
    script: Annotated[
        str | None,
        typer.Argument(help="A training script of your own; the article's CNN by default."),
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="The script's own arguments, after --.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The small grid: minutes on two cores.")
    ] = False,
    framework: Annotated[
        Frameworks, typer.Option(help="Of the article's CNN; Keras runs on KERAS_BACKEND.")
    ] = Frameworks.TORCH,
    seeds: Annotated[int, typer.Option(min=1, help="Of each cell; a test needs 2.")] = 3,
    steps: Annotated[
        int | None, typer.Option(min=20, help="Updates of each training [200; --quick: 100].")
    ] = None,
    depth: Annotated[
        list[int] | None,
        typer.Option(min=2, help="Convolutions of the article's CNN [2, 8, 20; --quick: 2, 8]."),
    ] = None,
    cause: Annotated[
        list[str] | None, typer.Option(help="Plant this cause only; may be given several times.")
    ] = None,
    remedy: Annotated[
        list[str] | None, typer.Option(help="Try this remedy only; may be given several times.")
    ] = None,
    pretrained: Annotated[
        Path | None, typer.Option(help="Weights for SCRIPT: a safetensors, Keras or PyTorch file.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Trainings side by side [one a core].")
    ] = None,
    dask: Annotated[
        str | None, typer.Option(help="Train on a Dask cluster: its scheduler's address.")
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Say what causes, remedies and claims there are.")
    ] = False,
    folder: Annotated[
        Path, typer.Option(help="Where lab-NAME, with the trainings and report.html, goes.")
    ] = Path("runs"),
    html: Annotated[
        Path | None, typer.Option(help="Write the page here instead of beside the trainings.")
    ] = None,
    no_html: Annotated[bool, typer.Option("--no-html", help="Write no page.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the result for machines here.")] = None,
    module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is a module's dotted name, as in python -m.")
    ] = False,
) -> None:
    """Measure which remedy cures which cause, and put the article's claims on trial.

    Plants each cause of exploding and vanishing gradients (the scale of the weights, the activation, the
    learning rate) in a training, tries each of the article's nine remedies upon it with several seeds, and
    shows what was reached and how the gradient grows over depth. Every claim of the article is then judged by
    what was measured, by a stated test; what the cells at hand cannot decide is "not measured". Of SCRIPT the
    last "accuracy 0.93" that it prints counts, else its loss.

    Examples:
    - evengrad lab --quick

    - evengrad lab --quick --framework keras

    - evengrad lab --cause "weights x4" --remedy clipping --remedy Kaiming --depth 8

    - evengrad lab --dask tcp://head:8786

    - evengrad lab train.py --steps 300 -- --epochs 3

    - evengrad lab --list

    Exit status: 0 measured; 2 nothing could be, a file not be written, or evengrad itself failed; 130
    interrupted (what is done is shown, and the next call takes up from there).
    """
    if listing:
        _list()
        raise typer.Exit(ExitStatus.HEALTHY)
    if pretrained is not None and not pretrained.is_file():
        raise EvengradError(
            msg(
                "There is no file {pretrained!r} of pretrained weights.", pretrained=str(pretrained)
            )
        )
    files.expect_writable(html, json)
    keras = framework is Frameworks.KERAS and script is None
    backend = os.environ.get("KERAS_BACKEND", "tensorflow") if keras else ""
    name = (
        Path(script).stem.rpartition(".")[2]
        if script
        else f"article-{framework}{backend and '-'}{backend}"
    )
    plan = LabPlan(
        script=script,
        arguments=tuple(arguments or ()),
        module=module,
        framework="keras" if keras else "torch",
        backend=backend,
        quick=quick,
        seeds=seeds,
        steps=steps or (100 if quick else 200),
        depths=tuple(depth or ((2, 8) if quick else (2, 8, 20))),
        causes=tuple(cause or ()),
        cures=tuple(remedy or ()),
        pretrained=None if pretrained is None else str(pretrained),
        jobs=jobs or os.cpu_count() or 1,
        folder=folder / f"lab-{name}",
    )
    found = _experiment(plan, dask)
    _expect_any(found)
    print(render(found), end="")
    page = None if no_html else html or plan.folder / "report.html"
    written = files.write_results(
        page, lambda: lab_html.render(found), json, lambda: lab_json.dumps(found)
    )
    if not written:
        raise typer.Exit(ExitStatus.CANNOT)
    raise typer.Exit(ExitStatus.HEALTHY if found.whole else ExitStatus.INTERRUPTED)


def _expect_any(found: Experiment) -> None:
    """Raise where nothing trained, with the reason of the first one."""
    measured = found.table.measured
    if not measured:
        say(msg("Interrupted before anything was measured."))
        raise typer.Exit(ExitStatus.INTERRUPTED)
    if not any(one.ran for one in measured):
        said = measured[0].result.message.strip().split("\n", 1)[0]
        raise EvengradError(
            msg("None of {number} trainings could be run: {said}", number=len(measured), said=said)
        )


def _list() -> None:
    print(translated(msg("Causes:")))
    for cause in CAUSES:
        print(f"  {cause.name:<22}{cause.kind.replace('_', ' ')}")
    print(translated(msg("Remedies:")))
    for cure in CURES:
        print(f"  {cure.name:<22}{translated(cure.title)}")
    print(translated(msg("Claims:")))
    for claim in all_claims():
        print(f"  {claim.section:<8}{known_text(claim.title)}")


def _experiment(plan: LabPlan, dask: str | None) -> Experiment:
    with _LabProgress() as progress:
        if dask is None:
            return experiment(plan, progress)
        with cluster.client(dask) as client:
            return experiment(plan, progress, client.get_executor())


class _LabProgress:
    """A bar on stderr with the time that is left, and a line for each training that failed."""

    def __init__(self) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        self._bar = Progress(
            *columns, TimeRemainingColumn(), console=Console(stderr=True, highlight=False)
        )

    def __enter__(self) -> _LabProgress:
        self._bar.start()
        self._task = self._bar.add_task(translated(msg("getting ready")), total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, cells: int) -> None:
        """So many trainings are to come."""
        self._bar.update(self._task, total=cells, description=translated(msg("training")))

    def measured(self, one: LabTraining) -> None:
        """One is over."""
        self._bar.advance(self._task)
        if not one.ran:
            what = msg(
                "{subject}, {cause}, {cure}, seed {seed}",
                subject=one.subject,
                cause=one.cause,
                cure=one.cure,
                seed=one.seed,
            )
            said = one.result.message.strip().split("\n", 1)[0]
            self._bar.console.print(f"{translated(what)}: {said}", soft_wrap=True, markup=False)
