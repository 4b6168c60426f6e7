"""What every stage has in common: the job it is given, how it reports, and how it is run by name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.errors import ConfigError

if TYPE_CHECKING:
    from renewals.pipelines.runtime.settings import Settings


TRIALS_FOLDER = "experiments"
"""The folder in the data folder that holds one folder per trial."""
NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Job:
    """One run's inputs: what was configured, where the tables are, and the day it stands on."""

    settings: Settings
    tables: str
    data: Path
    lists: Path
    until: date | None = None
    as_of: date | None = None
    workspace: str | None = None
    """A folder of its own for a study of the past, which must not disturb what learning left."""
    trial: str | None = field(default_factory=lambda: os.environ.get("DVC_EXP_NAME") or None)
    """The name of the trial that this run is part of: it registers no version, promotes none and publishes no list.

    An experiment of DVC is a trial, whichever command or stage it runs: `dvc exp run` sets this variable for the
    stages, in the workspace, with `--temp` and with `--queue`; `dvc repro` does not.
    """

    opened: dict[Path, Any] | None = field(default=None, compare=False, repr=False)
    """What the run has opened and will ask for again, by path; None: nothing is held.

    A mapping belongs to one run: give each run an empty one.
    """

    @property
    def day(self) -> date:
        """The day on which the run stands: nothing known at or after it exists."""
        day = self.as_of or self.until
        if day is None:
            raise ConfigError("this stage needs a day: give --until or --as-of")
        return day

    @property
    def trial_folder(self) -> Path:
        """The folder of the trial that this run is part of. Raises `ConfigError` where its name cannot be a
        folder's."""
        if not NAME_PATTERN.fullmatch(self.trial or ""):
            raise ConfigError(f"{self.trial!r} cannot be the name of a trial: use letters, digits, '.', '_' and '-'")
        return self.data / TRIALS_FOLDER / str(self.trial)

    @property
    def folder(self) -> Path:
        """The folder of this half of the work: `act` on a date, `learn` until one, or what is kept apart."""
        return self.data / (self.workspace or ("act" if self.as_of else "learn"))


def parse_date(text: str, name: str) -> date:
    """A day written as YYYY-MM-DD and in no other way. Raises `ConfigError`."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise ConfigError(f"{name}: {text!r} is not a day; write it as YYYY-MM-DD, for example 2026-06-01")
    return day


def require_first_of_month(job: Job) -> None:
    """Raise `ConfigError` where a forecast is asked for another day than the first of a month."""
    if job.day.day != 1:
        raise ConfigError(f"--as-of: a forecast needs the first day of a month, not {job.day}; use {job.day:%Y-%m}-01")
