"""The `Job` that every stage receives: settings, paths and dates of one run."""

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
"""Subfolder of the data folder with one folder per trial."""
NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Job:
    """Inputs of one run: its settings, the address of the raw tables, its folders and its date."""

    settings: Settings
    tables: str
    data: Path
    lists: Path
    until: date | None = None
    as_of: date | None = None
    workspace: str | None = None
    """Name of a separate folder in the data folder, for a backtest that must not overwrite the files of `learn`."""
    trial: str | None = field(default_factory=lambda: os.environ.get("DVC_EXP_NAME") or None)
    """Name of the trial to which this run belongs. A trial registers and promotes no version and publishes no list.

    Every DVC experiment is a trial: `dvc exp run` sets `DVC_EXP_NAME` for all stages, in the workspace, with `--temp`
    and with `--queue`; `dvc repro` does not.
    """

    opened: dict[Path, Any] | None = field(default=None, compare=False, repr=False)
    """Cache of objects that the run has read and needs again, by path; None: no cache.

    Pass a new empty mapping to each run.
    """

    @property
    def day(self) -> date:
        """As-of date of the run: only facts known before it are used. Raises `ConfigError` if there is none."""
        day = self.as_of or self.until
        if day is None:
            raise ConfigError("this stage needs a day: give --until or --as-of")
        return day

    @property
    def trial_folder(self) -> Path:
        """Folder of the trial to which this run belongs. Raises `ConfigError` if its name is not a valid folder
        name."""
        if not NAME_PATTERN.fullmatch(self.trial or ""):
            raise ConfigError(f"{self.trial!r} is not a valid name of a trial: use letters, digits, '.', '_' and '-'")
        return self.data / TRIALS_FOLDER / str(self.trial)

    @property
    def folder(self) -> Path:
        """Work folder of the run: `act` for a scoring date, `learn` for a training cutoff, or `workspace`."""
        return self.data / (self.workspace or ("act" if self.as_of else "learn"))


def parse_date(text: str, name: str) -> date:
    """Parse a date written as YYYY-MM-DD. Raises `ConfigError` for every other form; `name` is the option in its
    message."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise ConfigError(f"{name}: {text!r} is not a date; write it as YYYY-MM-DD, for example 2026-06-01")
    return day


def require_first_of_month(job: Job) -> None:
    """Raise `ConfigError` if the date of a forecast job is not the first day of a month."""
    if job.day.day != 1:
        raise ConfigError(f"--as-of: a forecast needs the first day of a month, not {job.day}; use {job.day:%Y-%m}-01")
