"""Detection of lists made with hindsight: by a model trained on data of the list's date or later.

Such a list is made only on request (`--hindsight`, `list.hindsight`) and is marked in its manifest. It is never used as
history and never replaces a list made without hindsight (ADR 34).
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
"""Key of a manifest, and of an archived list, that says whether the list was made with hindsight."""


@dataclass(frozen=True)
class TrainedVersion:
    """Version number of a model and its training cutoff."""

    version: str
    until: date | None
    """Training cutoff: the model has seen only what was known before this day. None if it is not recorded."""


def check_hindsight(job: Job, models: Mapping[str, TrainedVersion]) -> bool:
    """Return True if one of the models, by target, was trained on data of the job's date or later.

    Raises `ConfigError` if that is so and the settings do not allow hindsight.
    """
    later = {target: model for target, model in models.items() if model.until is not None and model.until > job.day}
    if later and not job.settings.list.hindsight:
        newest = max(model.until for model in later.values() if model.until is not None)
        details = ", ".join(f"{target} version {model.version} until {model.until}" for target, model in later.items())
        raise ConfigError(
            f"the current models were trained on data of {job.day} or later ({details}). Use --as-of {newest} or "
            "later, or --hindsight (list.hindsight: true in the parameter file) to get a list that is marked and never "
            "used as history"
        )
    return bool(later)


def is_same_version(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """True if two manifest records are of the same model version; compares `name` and `version` only, because records
    of earlier releases have no training cutoff."""
    return all(first[name] == second[name] for name in ("name", "version"))


def is_hindsight_list(manifest: Mapping[str, Any]) -> bool:
    """True if a manifest marks its list as made with hindsight; manifests of earlier releases have no mark."""
    return manifest.get(HINDSIGHT_KEY) is True


def has_original_list(folder: Path, read: Callable[[Path], Mapping[str, Any]]) -> bool:
    """True if a folder contains a list made without hindsight, intact or damaged.

    `read` returns the file with the hindsight mark. If it cannot be read the answer is True, to be safe.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    try:
        return not is_hindsight_list(read(folder))
    except (*UNREADABLE, AttributeError, DataContractError):
        return True
