"""What `evengrad fix` makes of sick trainings whose cause is known.

python -m bench.fixes                              all; an hour or two; can be stopped and goes on where it was
python -m bench.fixes --half development --searches diagnosis --minutes 15
python -m bench.fixes --only torch-mlp --failures  some of them, and why they were not repaired
python -m bench.fixes --write                      into docs/fixing-corpus.md
python -m bench.fixes --kept --write               the same of what is measured so far, and measure nothing
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.fixes import tables
from bench.fixes.calls import ROOT, Ending, Outcome, fixed, is_known, plain
from bench.fixes.judging import learns, sick
from bench.fixes.pieces import BATCH
from bench.fixes.scripts import script
from bench.fixes.specs import Spec, corpus, healthy
from bench.fixes.tables import Case

PAGE = ROOT / "docs" / "fixing-corpus.md"
BEGIN, END = "<!-- bench/fixes writes from here -->", "<!-- to here -->"
SEARCHES = ("diagnosis", "random", "warm-up")
EVERY = 3  # of the cases get the other searches, too


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fixes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--half", choices=["development", "held-out", "all"], default="all")
    add("--searches", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    add("--only", default="", help="cases whose name begins with this")
    add("--limit", type=int, help="so many cases at most")
    add("--jobs", type=int, default=1, help="calls side by side")
    add("--examples", action="store_true", help="examples/sick and examples/healthy, too")
    add("--failures", action="store_true", help="say what was not repaired, and why")
    add("--kept", action="store_true", help="only what was measured before")
    add("--minutes", type=float, help="begin nothing new after so long")
    add("--write", action="store_true", help="into docs/fixing-corpus.md")
    given = parser.parse_args()
    specs = [
        spec
        for spec in corpus()
        if given.half in ("all", spec.half) and spec.name.startswith(given.only)
    ][: given.limit]
    console = Console(stderr=True)
    try:
        text = _report(specs, given, console)
    except KeyboardInterrupt:
        console.print("Interrupted; the same call goes on from here.")
        raise SystemExit(130) from None
    print(text)
    if given.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def _report(specs: Sequence[Spec], given: argparse.Namespace, console: Console) -> str:
    with (
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        ) as progress,
        ThreadPoolExecutor(given.jobs) as pool,
    ):
        late = time.monotonic() + 60 * (given.minutes or math.inf)

        def all_of(title: str, function: object, items: Sequence[object]) -> list[object]:
            task = progress.add_task(title, total=len(items))

            def one(item: object) -> object:
                return None if time.monotonic() > late else function(item)  # type: ignore[operator]

            found = []
            for item in pool.map(one, items):
                found.append(item)
                progress.advance(task)
            return found

        def at_hand(own: Sequence[Spec], options: tuple[str, ...] | None = None) -> list[Spec]:
            return [s for s in own if not given.kept or is_known(script(s), options)]

        specs = [spec for spec in at_hand(specs) if len(at_hand([spec.twin, spec.recipe])) == 2]
        ends = dict(zip(specs, all_of("plain runs", _ends, specs), strict=True))
        specs = [spec for spec in specs if ends[spec] is not None]
        unfit = [s for s in specs if not learns(ends[s][1].loss, s.baseline)]
        chosen = [
            spec
            for spec in specs
            if spec not in unfit and sick(ends[spec][0].loss * _mean(spec), ends[spec][1].loss)
        ]
        sick_ones, chosen = len(chosen), at_hand(chosen, ())
        cases = {spec.name: Case(spec, {}, ends[spec][2].score) for spec in chosen}
        for search in given.searches:
            third = [s for s in chosen if s.seed % EVERY == 0]
            own = chosen if search == "diagnosis" else at_hand(third, _options(search))
            found = all_of(search, lambda s, search=search: _fixed(s, search), own)
            for spec, outcome in zip(own, found, strict=True):
                if outcome is not None:
                    cases[spec.name].outcomes[search] = outcome
        cases = {name: case for name, case in cases.items() if "diagnosis" in case.outcomes}
        twins = at_hand(healthy(chosen), ()) if "diagnosis" in given.searches else []
        well = all_of("healthy", lambda s: _fixed(s, "diagnosis"), twins)
        own = [p for p in _scripts() if given.examples and (not given.kept or is_known(*_call(p)))]
        examples = all_of("examples", _example, own)
    lines = list(
        _text(
            list(cases.values()),
            (len(specs), len(unfit), sick_ones),
            [(t, w) for t, w in zip(twins, well, strict=True) if w is not None],
            [e for e in examples if e is not None],
        )
    )
    if given.failures:
        lines += ["", "Not repaired, or another cause named first:", "", *_failures(cases.values())]
    return "\n".join(lines)


def _ends(spec: Spec) -> tuple[Ending, Ending, Ending]:
    """Of the script, its healthy twin, and the recipe."""
    return plain(spec), plain(spec.twin), plain(spec.recipe)


def _mean(spec: Spec) -> float:
    """What makes a loss that was summed over its batch the mean."""
    return 1 / BATCH if spec.plant == "loss_sum" and spec.framework == "torch" else 1.0


def _fixed(spec: Spec, search: str) -> Outcome:
    return fixed(spec.name, script(spec), _options(search))


def _options(search: str) -> tuple[str, ...]:
    return () if search == "diagnosis" else ("--search", search)


def _scripts() -> list[Path]:
    return [
        p for part in ("sick", "healthy") for p in sorted((ROOT / "examples" / part).glob("*.py"))
    ]


def _example(path: Path) -> tuple[str, Outcome]:
    return f"{path.parent.name}/{path.name}", fixed(path.name, *_call(path))


def _call(path: Path) -> tuple[str, tuple[str, ...], str]:
    """Source, options and backend, as its docstring says: ``Cure: evengrad fix FILE [options]``."""
    source = path.read_text()
    call = re.search(r"(?:KERAS_BACKEND=(\w+) )?evengrad fix \S+([^\n`\"]*)", source)
    words = call.group(2).split() if call else []
    options = [str(ROOT / word) if (ROOT / word).is_file() else word for word in words]
    return source, tuple(options), (call and call.group(1)) or ""


def _text(
    cases: list[Case],
    counts: tuple[int, int, int],
    well: list[tuple[Spec, Outcome]],
    examples: Sequence[tuple[str, Outcome]],
) -> Iterator[str]:
    drawn, unfit, sick_ones = counts
    yield f"{drawn} trainings were drawn. {unfit} have a healthy twin that does not learn, and "
    yield f"{drawn - unfit - sick_ones} are not sick in spite of what was planted; **{sick_ones} are sick**, "
    yield f"of which {len(cases)} were tried."
    yield ""
    halves = tables.by(cases, lambda c: c.spec.half)
    if any("diagnosis" in c.outcomes for c in cases):
        yield "Goals: cause >= 90%, repaired >= 97%, cost <= 3 plain runs in the median."
        yield ""
        yield from tables.diagnosis({**halves, **tables.by(cases, lambda c: c.spec.framework)})
        yield ""
        yield from tables.diagnosis(tables.by(cases, lambda c: c.spec.plant or ""))
        yield ""
        alone = sum(outcome.status == "healthy" for _, outcome in well)
        yield f"Healthy twins left alone: {alone} of {len(well)}."
    if any(len(c.outcomes) == len(SEARCHES) for c in cases):
        yield ""
        yield "The searches, each with the same budget and tests, on every third case:"
        yield ""
        yield from tables.searches(halves)
    if examples:
        yield from ("", "The scripts in `examples/`, by the calls that they name:", "")
    for name, outcome in examples:
        how = f"{outcome.remedy}{' (by hand)' if outcome.by_hand else ''}" if outcome.remedy else ""
        yield f"* {name}: {outcome.status}, {how}, cost {outcome.cost:.1f}"


def _failures(cases: Iterable[Case]) -> Iterator[str]:
    for case in cases:
        outcome = case.outcomes["diagnosis"]
        if tables.repaired(case) and tables.named(case):
            continue
        spec = case.spec
        about = f"depth {spec.depth}, width {spec.width}, {spec.activation}, {spec.optimizer}, {spec.size:g}"
        said = f"{' '.join(outcome.codes)} {' '.join(outcome.causes[:1])} {outcome.message}"
        came = f"; {outcome.score:.2f} of the recipe's {case.recipe:.2f}"
        yield f"* {spec.name} ({about}): {outcome.status}{came}; {said}"
        if not tables.repaired(case):
            yield from (f"    - {line}" for line in outcome.tried)


if __name__ == "__main__":
    main()
