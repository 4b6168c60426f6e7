"""Find trained models in the data folder that match the job's date, training table and settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import structlog

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage import old_names
from renewals.pipelines.storage.artifacts import (
    BACKTEST_BY_AGE,
    LEARN_COMMAND,
    MODEL_CARD,
    MODELS,
    SCHEMA,
    TRAINING,
    sha256,
    training_digest,
)
from renewals.pipelines.storage.old_features import old_features_text


def training_settings(job: Job) -> dict[str, Any]:
    """Settings on which a model depends, by their key in `params.yaml`."""
    sections = ("folds", "linear", "lightgbm", "calibration")
    chosen = {
        f"{name}.{key}": value for name in sections for key, value in getattr(job.settings, name).model_dump().items()
    }
    return {
        **chosen,
        "grace.before_days": job.settings.grace.before_days,
        "grace.after_days": job.settings.grace.after_days,
    }


def settings_fingerprint(job: Job) -> str:
    """Fingerprint of the settings on which a model depends."""
    return sha256(json.dumps(training_settings(job), sort_keys=True).encode())


def find_model_folder(job: Job) -> Path | None:
    """Folder whose models were trained for the job's date on its training table; None if there is none.

    The data folder, with the models of the last `learn`, is preferred, whatever its settings were. The job's folder may
    contain models of a trial or an earlier backtest, so its models must also have been trained with the job's settings.
    """
    if not (job.folder / TRAINING).is_file():
        return None
    expected = {"until": str(job.day), "training_sha256": training_digest(job)}
    if _cards_match(expected, job.data, job):
        return job.data
    return (
        job.folder if _cards_match(expected | {"options_sha256": settings_fingerprint(job)}, job.folder, job) else None
    )


def _cards_match(expected: dict[str, str], root: Path, job: Job) -> bool:
    """True if training ran for every target, at least one model exists, and all model cards have the expected
    values."""
    cards = [_read_card(root, target) for target in job.settings.targets]
    trained = [card for card in cards if card]
    return (
        None not in cards
        and bool(trained)
        and all(card.get(name) == value for card in trained for name, value in expected.items())
    )


def _read_card(root: Path, target: str) -> dict[str, Any] | None:
    """Model card of a target; empty if no model could be trained, None if there is none or it is from an older
    release."""
    folder = root / MODELS / target
    if not (folder / SCHEMA).is_file():
        return None
    schema = json.loads((folder / SCHEMA).read_bytes())
    if not schema["trained"]:
        return {}
    if text := old_features_text(schema["names"]):
        structlog.get_logger().warning(
            f"the model was trained on {text} and is not used: `{LEARN_COMMAND}` replaces it", folder=str(folder)
        )
        return None
    card: dict[str, Any] = json.loads(old_names.existing_file(folder / MODEL_CARD).read_bytes())
    return card if old_names.existing_file(folder / BACKTEST_BY_AGE).is_file() and "hyperparameters" in card else None
