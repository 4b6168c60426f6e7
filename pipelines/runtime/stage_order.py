"""The place of a stage in the runs of commands; each stage declares its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StagedCommand = Literal["learn", "score", "scorecard"]


@dataclass(frozen=True)
class Step:
    """The commands that run a stage, and the stage it follows."""

    after: str | None
    """Name of the stage that must have run before, in whatever command; None for the first stage."""
    commands: tuple[StagedCommand, ...]
    per_target: bool = False
    """True if the stage runs once for each target, after all stages that do not."""
    optional: bool = False
    """True if the command succeeds without it; optional stages run last."""
