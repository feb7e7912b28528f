"""Where a NaN or an infinity was born: the user's script run again from its start, in a process of its own."""

from __future__ import annotations

import json
import math
import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from evengrad.recording import failure
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.verbs.children import run_child

LONGEST = 120.0
"""Seconds: a script that took longer is not run again unasked."""
_SLOWER, _STARTING = 4.0, 30.0
_QUIET = {
    "WANDB_MODE": "disabled",
    "COMET_MODE": "DISABLED",
    "NEPTUNE_MODE": "debug",
    "MPLBACKEND": "Agg",
    "TQDM_DISABLE": "1",
}
_WORKER = "evengrad.verbs.inquiry_worker"


@dataclass(frozen=True, slots=True)
class Beginnings:
    """What a script was begun with, so that it can be begun so again.

    Attributes:
        folder: the working folder.
        environment: the variables.
        python: state of ``random``.
        numpy: state of ``np.random``: its generator's name, keys, position and the rest.
        time: of ``time.time``.
    """

    folder: str = field(default_factory=os.getcwd)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    python: Any = field(default_factory=random.getstate)
    numpy: Any = field(default_factory=lambda: np.random.get_state(legacy=True))
    time: float = field(default_factory=time.time)

    @property
    def alone(self) -> bool:
        """Whether the script was one process, not one of several that wait for one another."""
        return self.environment.get("WORLD_SIZE", "1") in ("", "1")

    def noise(self) -> list[Any]:
        """Both states, as JSON has them; ``put_back`` is their way back."""
        name, keys, *rest = self.numpy
        return [self.python, [name, np.asarray(keys).tolist(), *rest]]


def put_back(noise: Sequence[Any]) -> None:
    """The generators that belong to no framework, as they were."""
    (version, state, gauss), (name, keys, *rest) = noise
    random.setstate((version, tuple(state), gauss))
    np.random.set_state((name, np.array(keys, np.uint32), *rest))


def inquire(
    target: str,
    arguments: Sequence[str],
    *,
    module: bool,
    step: int,
    seconds: float,
    beginnings: Beginnings | None = None,
    limit: float | None = LONGEST,
    say: Callable[[str], None] = lambda _: None,
    source: str | None = None,
    function: str | None = None,
) -> Fact | None:
    """Run a script again up to a step that was not finite, and find the operation where that began.

    Args:
        target: the script's path, or with ``module`` a dotted name.
        arguments: its ``sys.argv[1:]``.
        module: whether the target is a module.
        step: which step, 0-based, counted over all of its optimizers.
        seconds: how long it took to get there.
        beginnings: what it was begun with; by default what is now.
        limit: seconds above which it is not run again; None for none.
        say: told in one line what happens, before it does.
        source: run instead of the script's own, under its name.
        function: called in it.

    Returns:
        A fact of kind "born"; None where nothing was found: the fault did not come again, or it took too long.
    """
    begun = beginnings or Beginnings()
    if not begun.alone:
        return None
    if limit is not None and seconds > limit:
        say(
            msg(
                "where it was born is not known: it took {seconds:.0f} s to get there, and a script is "
                "run again "
                "unasked only for {limit:.0f} s. --rerun runs it again all the same.",
                seconds=seconds,
                limit=limit,
            )
        )
        return None
    say(
        msg(
            "looking for where it was born: running the script again up to step {step} (about "
            "{about} s; --no-rerun forbids it)",
            step=step,
            about=math.ceil(seconds + 1),
        )
    )
    longest = None if limit is None else min(limit, _STARTING + _SLOWER * seconds)
    job = {
        "target": target,
        "arguments": [*arguments],
        "module": module,
        "step": max(step - 1, 0),
        "noise": begun.noise(),
        "source": source,
        "function": function,
    }
    try:
        return _performed(job, begun, longest, step)
    except Exception as error:
        say(str(failure.internal("looking for where it was born", error)))
        return None


def _performed(
    job: Mapping[str, Any], begun: Beginnings, limit: float | None, step: int
) -> Fact | None:
    with tempfile.TemporaryDirectory(prefix="evengrad-inquiry-") as name:
        folder = Path(name)
        (folder / "inquiry.json").write_text(json.dumps(job))
        environment = {**begun.environment, **_QUIET}
        run_child(_WORKER, [name], folder=begun.folder, environment=environment, limit=limit)
        found = folder / "fact.json"
        if not found.exists():
            return None
        fact = Fact.from_values(json.loads(found.read_text()))
        return replace(fact, step=step)
