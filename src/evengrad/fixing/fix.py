"""Finds the change that makes a sick training healthy: runs it, tries remedies, writes the patch, proves it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evengrad.diagnosis.diagnose import diagnose_probe, diagnose_run, fold, upstream
from evengrad.errors import EvengradError, InternalError, ScriptError
from evengrad.fixing.case import Case
from evengrad.fixing.outcome import Attempt, Fixing, FixPlan
from evengrad.fixing.processes import abandon
from evengrad.fixing.remedies import all_remedies
from evengrad.fixing.search import ByDiagnosis, Search
from evengrad.fixing.trials import FixListener, Silent, Trials, home
from evengrad.fixing.verdict import objection
from evengrad.recording.reader import load
from evengrad.values.finding import Cause, Finding
from evengrad.values.probe import Probe
from evengrad.verbs.check import check_probe
from evengrad.verbs.check_script import ScriptExitedError, ScriptFailedError, probe_script

if TYPE_CHECKING:
    from evengrad.fixing.patch import Patch

_HIDDEN = (Cause.LOSS_HEAD, Cause.INPUT_DATA, Cause.INITIALISATION)
"""Causes that hold a training back without a trace in its losses."""
_FOR_A_HIDDEN_FAULT = 2
"""Remedies that are tried, each alone, on a training that is healthy and learns in spite of a fault."""


def fix(
    train: Callable[[], object] | str | Path,
    *,
    arguments: Sequence[str] = (),
    steps: int = 200,
    seeds: int = 3,
    budget: int = 8,
    jobs: int = 1,
    only: Iterable[str] = (),
    pretrained: str | Path | None = None,
    folder: str | Path = "runs",
    executor: Executor | None = None,
) -> Fixing:
    """Find the change that makes a training healthy, and prove it; no file is changed.

    Every trial runs the training in a process of its own, in which the file is imported anew: keep the call of
    ``evengrad.fix`` itself behind ``if __name__ == "__main__":``.

    Args:
        train: a function at the top of a file that takes no arguments, builds the model and trains it, or a
            script's path.
        arguments: the script's ``sys.argv[1:]``.
        steps: updates of a trial.
        seeds: the patched source must work with each.
        budget: trials of remedies at most.
        jobs: trials side by side.
        only: names of remedies (``evengrad fix --list``); all by default.
        pretrained: a file of weights to try.
        folder: where trials are kept, in fix-SCRIPT; the same call takes up from them.
        executor: performs the trials, such as Dask's ``Client.get_executor()``, by default a pool of ``jobs``;
            its workers must see the folder.

    Returns:
        What was found, what was tried, and the change that works with its patch and its proof.

    Raises:
        ScriptError: there is nothing that can be run.
        EvengradError: an unknown remedy, or a number below 1.

    >>> found = evengrad.fix("train.py")  # doctest: +SKIP
    >>> print(found.status, found.diff)  # doctest: +SKIP
    """
    target, module, function = _located(train)
    weights = None if pretrained is None else str(Path(pretrained).resolve())
    plan = FixPlan(
        target,
        arguments=tuple(arguments),
        module=module,
        steps=steps,
        seeds=seeds,
        budget=budget,
        jobs=jobs,
        only=tuple(only),
        pretrained=weights,
        folder=home(Path(folder), target),
        function=function,
    )
    return fix_script(plan, Silent(), executor)


def fix_script(
    plan: FixPlan,
    listener: FixListener,
    executor: Executor | None = None,
    *,
    search: Callable[[Case, FixPlan], Search] = ByDiagnosis,
) -> Fixing:
    """Fix what a plan names. It is not changed.

    Args:
        plan: what to fix and at what cost.
        listener: told of each trial.
        executor: performs the trials; by default a pool of ``plan.jobs``.
        search: makes what says which remedies are tried, and in which order.

    Returns:
        As ``fix``.

    Raises:
        EvengradError: as ``fix``.
    """
    _expect(plan)
    own = ThreadPoolExecutor(plan.jobs)
    try:
        return _Fix(plan, Trials(plan, executor or own, listener), listener, search).run()
    except BaseException:
        own.shutdown(wait=False, cancel_futures=True)
        abandon()
        raise
    finally:
        own.shutdown()


def _expect(plan: FixPlan) -> None:
    known = [remedy.name for remedy in all_remedies()]
    for name in plan.only:
        if name not in known:
            raise EvengradError(f"There is no remedy {name!r}. There are: {', '.join(known)}.")
    if plan.pretrained is not None and not Path(plan.pretrained).is_file():
        raise EvengradError(f"There is no file {plan.pretrained!r} of pretrained weights.")


def _located(train: Callable[[], object] | str | Path) -> tuple[str, bool, str | None]:
    """The target, whether it is a module's name, and the function in it."""
    if isinstance(train, str | Path):
        return str(train), False, None
    name = getattr(train, "__qualname__", "")
    module = sys.modules.get(getattr(train, "__module__", ""))
    if "." in name or "<" in name or getattr(module, name or "?", None) is not train:
        raise ScriptError(
            f"Expected a function at the top of a file, or a script's path, got {train!r}: each trial imports "
            "it anew in a process of its own."
        )
    file = getattr(module, "__file__", None)
    if file is None:
        raise ScriptError(f"{name} is in no file, which a trial could import; write it into one.")
    if train.__module__ in ("__main__", "__mp_main__"):
        return str(file), False, name
    return train.__module__, True, name


class _Fix:
    def __init__(
        self,
        plan: FixPlan,
        trials: Trials,
        listener: FixListener,
        search: Callable[[Case, FixPlan], Search],
    ) -> None:
        self.plan, self.trials, self.listener = plan, trials, listener
        self._search = search
        self._attempts: list[Attempt] = []

    def run(self) -> Fixing:
        """From the script as it is to the proof."""
        plain = [self.trials.one(None, 0)]
        first = plain[0]
        if first.result.end == "internal":
            return self._internal(first.result.message, plain=(first,))
        if first.result.end in ("failed", "unseen"):
            return Fixing(self.plan, "cannot_run", plain=(first,), message=first.result.message)
        if first.verdict.good:
            plain += [self.trials.one(None, seed) for seed in range(1, self.plan.seeds)]
        each = all(a.verdict.good for a in plain)
        against = objection([a.result for a in plain]) if each else None
        well = each and against is None
        try:
            probe = self._probe()
        except InternalError as error:
            return self._internal(str(error), plain=tuple(plain))
        worst = next((a for a in plain if not a.verdict.good), first)
        findings = _faults(probe) if well else _findings(probe, worst)
        if against is not None:
            plain[-1] = _refused(plain[-1], against)
        found = Fixing(self.plan, "healthy" if well else "not_fixed", findings, tuple(plain))
        if well and not findings:
            return found
        if well:
            self.trials.to_beat = {attempt.seed: attempt.result for attempt in plain}
        self.listener.found(findings)
        case = Case(probe, findings, worst.result, self.plan.steps, self.plan.pretrained)
        for attempt in self._promising(case, well):
            assert attempt.candidate is not None
            candidate, proved = attempt.candidate, self._prove(attempt, case)
            if proved is not None:
                return replace(
                    found,
                    status="fixed",
                    attempts=tuple(self._attempts),
                    chosen=candidate,
                    patch=proved[0],
                    proof=proved[1],
                )
        untried = [a.result.message for a in self._attempts if a.result.end == "internal"]
        if untried and not well:
            found = self._internal(untried[0], findings=findings, plain=tuple(plain))
        return replace(found, attempts=tuple(self._attempts))

    def _internal(self, message: str, **known: Any) -> Fixing:
        """A fault of our own has kept us from finding out."""
        return Fixing(self.plan, "internal_error", message=message, **known)

    def _promising(self, case: Case, well: bool) -> Iterator[Attempt]:
        """Those that work with the first seed. well: the training is, as it stands."""
        search = self._search(case, self.plan)
        left = min(self.plan.budget, _FOR_A_HIDDEN_FAULT) if well else self.plan.budget
        while chosen := search.take(min(self.plan.jobs, left)):
            left -= len(chosen)
            for attempt in self.trials.side_by_side(chosen):
                self._attempts.append(attempt)
                if attempt.verdict.good:
                    yield attempt
                if not well:
                    search.learn(attempt)

    def _prove(self, tried: Attempt, case: Case) -> tuple[Patch, tuple[Attempt, ...]] | None:
        """The patch, if the patched script works with every seed."""
        from evengrad.fixing.patch import (
            write,  # LibCST takes a fifth of a second, which only a fix needs
        )

        candidate = tried.candidate
        assert candidate is not None
        frontend = _frontend(case)
        patch = write(self.trials.source, candidate.changes, frontend, self.plan.target)
        source = None if patch.manual else patch.after
        proof: list[Attempt] = []
        # The first seed has been tried on the live training, unless there is no other.
        # One trial is made to its end: what is clear early may still come to grief later.
        first = 1 if self.plan.seeds > 1 else 0
        for seed in range(first, self.plan.seeds):
            proof.append(self.trials.one(candidate, seed, source, early=seed > first))
            if not proof[-1].verdict.good:
                self._attempts.extend(proof)
                return None
        results = [tried.result, *(attempt.result for attempt in proof)]
        against = objection(results, self.trials.start(candidate))
        if against is not None:
            self._attempts.extend([*proof[:-1], _refused(proof[-1], against)])
            return None
        return patch, tuple(proof)

    def _probe(self) -> Probe | None:
        """Before the first step, in this process; what the script prints goes into a file."""
        plan = self.plan
        try:
            with _printing_into(self.trials.folder / "check.txt"):
                return probe_script(
                    plan.target, plan.arguments, module=plan.module, function=plan.function
                )
        except InternalError:
            raise
        except (EvengradError, ScriptFailedError, ScriptExitedError):
            return None  # what the trials show must do


def _refused(attempt: Attempt, against: str) -> Attempt:
    """An attempt that is good by itself, and not together with those of the other seeds."""
    return replace(attempt, verdict=replace(attempt.verdict, learning=False, why=against))


@contextmanager
def _printing_into(file: Path) -> Iterator[None]:
    """Standard output and error of this process, also of what is not Python's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with file.open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, one in enumerate(kept, start=1):
                os.dup2(one, number)
                os.close(one)


def _faults(probe: Probe | None) -> tuple[Finding, ...]:
    """What is wrong whatever the losses say: a training may learn in spite of it."""
    found = () if probe is None else check_probe(probe).findings
    return upstream(f for f in found if f.cause in _HIDDEN)


def _findings(probe: Probe | None, plain: Attempt) -> tuple[Finding, ...]:
    """Of the check, and of the run, in the order in which they are to be fixed."""
    still = plain.verdict.healthy and not plain.verdict.learning
    found = [] if probe is None else list(diagnose_probe(probe, still=still))
    if plain.result.run is not None:
        found += diagnose_run(load(Path(plain.result.run)))
    return upstream(fold(found))


def _frontend(case: Case) -> Literal["keras", "torch"]:
    """Whose vocabulary the script uses."""
    if case.probe is not None:
        return case.probe.frontend
    run = None if case.result.run is None else load(Path(case.result.run))
    return "keras" if run is not None and run.subject.frontend == "keras" else "torch"
