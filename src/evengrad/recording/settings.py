"""How a training is watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evengrad.errors import EvengradError
from evengrad.recording import clip, guard, trackers
from evengrad.values.message import msg


@dataclass(frozen=True, slots=True)
class Settings:
    """How to watch.

    Attributes:
        every: steps between two observed ones; the first ten are all observed.
        clip: what bounds the gradients; None: nothing.
        guard: what becomes of steps that must not reach the weights; None: they do.
        folder: where runs are written; None: nothing is written.
        name: of the run, by default the script's.
        to: names of the trackers that figures and findings go to; see ``recording.trackers``.
        held: whether whoever runs the script ends the runs there, with findings of its own.
    """

    every: int = 10
    clip: clip.Clip | None = None
    guard: guard.Guard | None = field(default_factory=guard.Guard)
    folder: Path | None = Path("runs")
    name: str = "run"
    to: tuple[str, ...] = ()
    held: bool = False

    def observed(self, step: int) -> bool:
        """Whether this step is read in full."""
        return step < 10 or step % self.every == 0


def settings_of(
    given_clip: str | float | clip.Clip | None,
    given_guard: str | guard.Guard | None,
    every: int,
    folder: str | Path | None,
    name: str,
    to: str | Sequence[str] | None = None,
) -> Settings:
    """Settings from what a user writes.

    Args:
        given_clip: see ``clip.parse``.
        given_guard: see ``guard.parse``.
        every: as in Settings.
        folder: as in Settings.
        name: as in Settings.
        to: a tracker's name, several with commas between, or a list.

    Returns:
        The settings.

    Raises:
        EvengradError: what is not understood, and a tracker that is not installed.
    """
    if every < 1:
        raise EvengradError(
            msg(
                "Expected every=, steps between two observed ones, at least 1; got {every}.",
                every=every,
            )
        )
    where = None if folder is None else Path(folder)
    trackers_ = trackers.chosen(to)
    return Settings(every, clip.parse(given_clip), guard.parse(given_guard), where, name, trackers_)
