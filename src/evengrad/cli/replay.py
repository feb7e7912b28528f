"""``evengrad replay``: a step that the guard refused, from its black box."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evengrad.cli import files
from evengrad.cli.command import ExitStatus, say
from evengrad.errors import EvengradError
from evengrad.recording import blackbox
from evengrad.recording.blackbox import BlackBox, ReplayedOperation
from evengrad.recording.reader import load
from evengrad.report import words
from evengrad.report.spoken import padded, spoken
from evengrad.values.message import msg, translated
from evengrad.values.wording import percent

_ROWS = 30
_WORDS = 40
_SHORT = 100  # characters; longer facts, such as random states, are for machines
_WHAT = {
    "non_finite": msg("its gradients were not finite"),
    "overwrite": msg("its update was larger than the weights that it would change"),
    "spike": msg("its gradient stood far out of the last steps'"),
}


OPTIONS = {"no_args_is_help": True}


def replay(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a black box in it (step-N).")],
    step: Annotated[
        int | None, typer.Option(help="Which step, where several were refused.  [default: first]")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Every layer and every tensor.")] = False,
    what_if: Annotated[
        bool,
        typer.Option(
            "--what-if",
            help="Run the script again up to that step and somewhat further, each time with one thing changed.",
        ),
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="With --what-if: trials side by side.")] = 1,
    json: Annotated[
        Path | None, typer.Option(help="With --what-if: write the answers for machines here.")
    ] = None,
) -> None:
    """Show a step that the guard refused, and where it went wrong.

    With --what-if the script is run again as it was, twice, and with a lower learning rate, with clipped
    gradients, without that step, with another seed, and in float32: which of these prevent it says what caused
    it. The trials are kept in the run's folder.

    Examples:
    - evengrad replay runs/20260101-120000-train

    - evengrad replay runs/20260101-120000-train --step 40 --full

    - evengrad replay runs/20260101-120000-train --what-if --jobs 2

    Exit status: 0; 2 if there is no such black box, or the script cannot be run again; 130 interrupted.
    """
    box, folder, others = _chosen(run, step)
    out = Console(highlight=False)
    if what_if:
        files.expect_writable(json)
        _what_if(folder.parent, box.step, jobs, json, out)
        return
    for part in _screen(box, full):
        out.print(part)
    out.print(Text())
    out.print(spoken(msg("Files: {folder}", folder=folder), "dim"))
    if others:
        listed = ", ".join(map(str, others))
        out.print(spoken(msg("Also refused: step {listed} (--step N)", listed=listed), "dim"))


def _what_if(folder: Path, step: int, jobs: int, json: Path | None, out: Console) -> None:
    from evengrad.fixing.what_if import Answer, Question, what_if
    from evengrad.report import what_if_text

    asked: list[str] = []

    def answered(question: Question, answer: Answer | None) -> None:
        if answer is None:
            asked.append(question.words)
        else:
            asked.remove(question.words)
            out.print(Text("  ") + _line(*what_if_text.row(answer)), soft_wrap=True)
        spinner.update(f"{translated(asked[0])} ..." if asked else "")

    out.print(spoken(msg("What if, at step {step:,}", step=step), "bold"))
    try:
        with Console(stderr=True).status("") as spinner:
            found = what_if(load(folder), step, folder / "what-if", jobs=jobs, answered=answered)
    except KeyboardInterrupt:
        say(msg("Interrupted; the same call takes up from the trials that are done."))
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    out.print(Text())
    out.print(spoken(found.conclusion))
    written = files.write(json, lambda: what_if_text.dumps(found))
    tried = all(a.outcome != "not tried" for a in found.answers if a.question.key == "as it was")
    raise typer.Exit(ExitStatus.HEALTHY if written and tried else ExitStatus.CANNOT)


def _line(words: str, said: Text) -> Text:
    return Text(padded(words, _WORDS + 2)) + said


def _chosen(run: Path, step: int | None) -> tuple[BlackBox, Path, list[int]]:
    """The box, where it lies, and the steps of the run's other ones."""
    folder = run.parent if run.name == "run.sqlite" else run
    found = blackbox.boxes(folder)
    if step is not None and step not in found:
        known = ", ".join(str(other) for other in found if other >= 0) or "none"
        raise EvengradError(
            msg(
                "There is no black box of step {step} in {folder}; there is: {known}.",
                step=step,
                folder=folder,
                known=known,
            )
        )
    place = found[step] if step is not None else next(iter(found.values()), folder)
    box = blackbox.load(place, tensors=False)
    return box, place, [other for other in found if other != box.step and other >= 0]


def _screen(box: BlackBox, full: bool) -> Iterator[RenderableType]:
    why = _WHAT.get(box.kind, box.kind)
    yield spoken(msg("Step {step:,} was refused: {why}", step=box.step, why=why), "bold red")
    if box.origin is None:
        finite = msg("All of it is finite: it was refused for its size.")
        text = msg("Its origin was not found.") if box.kind == "non_finite" else finite
        yield spoken(text, "dim")
    else:
        yield spoken(
            msg(
                "Origin: {layer} ({phase}). {message}",
                layer=box.origin.layer,
                phase=box.origin.phase,
                message=box.origin.message,
            )
        )
    yield from _section(msg("Batch"), _batch(box))
    if box.origin is not None and box.origin.operations:
        rows = _operations(box.origin.operations, box.origin.layer, full)
        yield from _section(msg("The step again: rms forward and backward"), rows)
    if box.gradients:
        yield from _section(msg("Gradient norm by tensor"), _gradients(box, full))
    short = {name: str(value) for name, value in box.facts.items() if len(str(value)) <= _SHORT}
    if short:
        facts = _table("left", "left")
        for name, value in short.items():
            facts.add_row(str(name), value)
        yield from _section(msg("Also"), facts)


def _section(title: str, body: RenderableType) -> Iterator[RenderableType]:
    yield Text()
    yield spoken(title, "dim")
    yield Padding(body, (0, 0, 0, 2))


def _table(*justify: Any) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for side in justify:
        table.add_column(justify=side, no_wrap=side == "right")
    return table


def _batch(box: BlackBox) -> RenderableType:
    if not box.batch:
        return spoken(msg("not kept"), "dim")
    table = _table("left", "left", "left", "left", "left")
    for name, array in box.batch.items():
        table.add_row(
            name, str(array.dtype), "x".join(map(str, array.shape)) or "scalar", *_range(array)
        )
    return table


def _range(array: Any) -> tuple[str, Text]:
    """From the smallest to the largest finite value; how many are not finite."""
    if not np.issubdtype(array.dtype, np.number) or not array.size:
        return "", Text("")
    finite = array[np.isfinite(array)]
    bad = array.size - finite.size
    ends = (
        msg("{min} to {max}", min=_number(float(finite.min())), max=_number(float(finite.max())))
        if finite.size
        else "-"
    )
    if not bad:
        return translated(ends), spoken(msg("all finite"), "dim")
    where = np.unique(np.argwhere(~np.isfinite(array))[:, 0]) if array.ndim else np.array([0])
    rows = ", ".join(map(str, where[:5])) + (", ..." if len(where) > 5 else "")
    return translated(ends), spoken(
        msg("{bad:,} not finite, in rows {rows}", bad=bad, rows=rows), "red"
    )


def _operations(operations: tuple[ReplayedOperation, ...], origin: str, full: bool) -> Table:
    """Forward order; the first bad one marked; far from it left out where there are many."""
    table = _table("left", "left", "left", "right", "right", "right", "right")
    table.show_header = True
    forward, backward, bad = msg("forward"), msg("backward"), msg("not finite")
    heads = ("", msg("layer"), msg("type"), forward, bad, backward, bad)
    for column, head in zip(table.columns, heads, strict=True):
        column.header = spoken(head, "dim")
    at = _first(operations, origin)
    shown = range(len(operations)) if full else _near(len(operations), at)
    left_out = 0
    for i, operation in enumerate(operations):
        if i not in shown:
            left_out += 1
            continue
        style = "bold red" if i == at else ""
        table.add_row(
            ">" if i == at else "",
            operation.layer,
            operation.type,
            _number(operation.forward),
            _share(operation.forward_non_finite),
            _number(operation.backward),
            _share(operation.backward_non_finite),
            style=style,
        )
    if left_out:
        table.add_row("", spoken(msg("({number} more: --full)", number=left_out)), style="dim")
    return table


def _first(operations: tuple[ReplayedOperation, ...], origin: str) -> int | None:
    """The origin's place; else the first that is not finite, going forward and then backward."""
    named = [i for i, p in enumerate(operations) if p.layer == origin]
    bad = [i for i, p in enumerate(operations) if p.forward_non_finite]
    back = [i for i, p in reversed(list(enumerate(operations))) if p.backward_non_finite]
    wrong = [
        i for i in named if operations[i].forward_non_finite or operations[i].backward_non_finite
    ]
    return next(iter([*wrong, *named, *bad, *back]), None)


def _near(count: int, at: int | None) -> range:
    if count <= _ROWS:
        return range(count)
    start = min(max((at or 0) - _ROWS // 2, 0), count - _ROWS)
    return range(start, start + _ROWS)


def _number(value: float | None) -> str:
    """A figure; "-" where it was not seen."""
    return "-" if value is None else words.number(value)


def _share(value: float) -> str:
    return percent(value) if value else ""


def _gradients(box: BlackBox, full: bool) -> Table:
    """Those that are not finite first, then the largest."""
    table = _table("left", "right")
    norms = {name: float(value) for name, value in box.gradients.items()}
    order = sorted(norms, key=lambda name: (math.isfinite(norms[name]), -norms[name]))
    shown = order if full else order[:10]
    for name in shown:
        style = "" if math.isfinite(norms[name]) else "red"
        table.add_row(name, Text(_number(norms[name]), style=style))
    if len(order) > len(shown):
        table.add_row(
            spoken(msg("({number} more: --full)", number=len(order) - len(shown))), "", style="dim"
        )
    return table
