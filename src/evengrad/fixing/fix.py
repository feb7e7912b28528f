"""Finds the change that makes a sick training healthy: runs it, tries remedies, writes the patch, proves it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from evengrad.errors import EvengradError, ScriptError
from evengrad.fixing.case import Case
from evengrad.fixing.course import Course
from evengrad.fixing.outcome import Fixing, FixPlan
from evengrad.fixing.processes import abandon
from evengrad.fixing.remedies import all_remedies
from evengrad.fixing.search import ByDiagnosis, Search
from evengrad.fixing.trials import FixListener, Silent, Trials, home
from evengrad.fixing.warm import warmed
from evengrad.values.message import msg


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
        with warmed():
            return Course(plan, Trials(plan, executor or own, listener), listener, search).run()
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
            raise EvengradError(
                msg(
                    "There is no remedy {name!r}. There are: {known}.",
                    name=name,
                    known=", ".join(known),
                )
            )
    if plan.pretrained is not None and not Path(plan.pretrained).is_file():
        raise EvengradError(
            msg(
                "There is no file {pretrained!r} of pretrained weights.", pretrained=plan.pretrained
            )
        )


def _located(train: Callable[[], object] | str | Path) -> tuple[str, bool, str | None]:
    """The target, whether it is a module's name, and the function in it."""
    if isinstance(train, str | Path):
        return str(train), False, None
    name = getattr(train, "__qualname__", "")
    module = sys.modules.get(getattr(train, "__module__", ""))
    if "." in name or "<" in name or getattr(module, name or "?", None) is not train:
        raise ScriptError(
            msg(
                "Expected a function at the top of a file, or a script's path, got {train!r}: each "
                "trial imports "
                "it anew in a process of its own.",
                train=train,
            )
        )
    file = getattr(module, "__file__", None)
    if file is None:
        raise ScriptError(
            msg("{name} is in no file, which a trial could import; write it into one.", name=name)
        )
    if train.__module__ in ("__main__", "__mp_main__"):
        return str(file), False, name
    return train.__module__, True, name
