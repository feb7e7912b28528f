"""How a training is watched."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from evengrad.errors import EvengradError
from evengrad.recording import clip, guard


@dataclass(frozen=True, slots=True)
class Settings:
    """How to watch.

    Attributes:
        every: steps between two observed ones; the first ten are all observed.
        clip: what bounds the gradients; None: nothing.
        guard: what becomes of steps that must not reach the weights; None: they do.
        folder: where runs are written; None: nothing is written.
        name: of the run, by default the script's.
    """

    every: int = 10
    clip: clip.Clip | None = None
    guard: guard.Guard | None = field(default_factory=guard.Guard)
    folder: Path | None = Path("runs")
    name: str = "run"

    def observed(self, step: int) -> bool:
        """Whether this step is read in full."""
        return step < 10 or step % self.every == 0


def settings_of(
    given_clip: str | float | clip.Clip | None,
    given_guard: str | guard.Guard | None,
    every: int,
    folder: str | Path | None,
    name: str,
) -> Settings:
    """Settings from what a user writes.

    Args:
        given_clip: see ``clip.parse``.
        given_guard: see ``guard.parse``.
        every: as in Settings.
        folder: as in Settings.
        name: as in Settings.

    Returns:
        The settings.

    Raises:
        EvengradError: what is not understood.
    """
    if every < 1:
        raise EvengradError(
            f"Expected every=, steps between two observed ones, at least 1; got {every}."
        )
    where = None if folder is None else Path(folder)
    return Settings(every, clip.parse(given_clip), guard.parse(given_guard), where, name)
