"""The days until which the models of a list learned: one that learned after the list's day knows what happened later.

Such a list is made only where it is asked for (`--hindsight`, `list.hindsight`), and is marked in its manifest. It is
never read as history, and never takes the place of a list made in its time (ADR 34).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from renewals.pipelines.runtime.errors import ConfigError, DataContractError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.published.manifest import UNREADABLE

HINDSIGHT_KEY = "hindsight"
"""The key of a manifest, and of what is kept of a published day, that says whether the list was made with hindsight."""


@dataclass(frozen=True)
class TrainedVersion:
    """The version of a model, and its training day: what was known on it or later it has not seen."""

    version: str
    until: date | None
    """None for a model that does not say it."""


def check_hindsight(job: Job, models: Mapping[str, TrainedVersion]) -> bool:
    """Whether the list of the day is made with hindsight by these models, by target.

    Raises `ConfigError` where it would be and was not asked for.
    """
    later = {target: own for target, own in models.items() if own.until is not None and own.until > job.day}
    if later and not job.settings.list.hindsight:
        newest = max(own.until for own in later.values() if own.until is not None)
        named = ", ".join(f"{target} version {own.version} until {own.until}" for target, own in later.items())
        raise ConfigError(
            f"the current models were trained on data of {job.day} or later ({named}). Use --as-of {newest} or later, "
            "or --hindsight (list.hindsight: true in the parameter file) to get a list that is marked and never used "
            "as history"
        )
    return bool(later)


def is_same_version(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two records name the same version of a model; those of earlier releases say no training day."""
    return all(first[name] == second[name] for name in ("name", "version"))


def is_hindsight_list(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest says that its list was made with hindsight; one of an earlier release says nothing."""
    return manifest.get(HINDSIGHT_KEY) is True


def has_original_list(folder: Path, read: Callable[[Path], Mapping[str, Any]]) -> bool:
    """Whether a list made in its time stands in a folder, whole or harmed; `read` gives what holds the mark.

    A folder whose mark cannot be read may hold one.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    try:
        return not is_hindsight_list(read(folder))
    except (*UNREADABLE, AttributeError, DataContractError):
        return True
