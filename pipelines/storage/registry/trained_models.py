"""Models of the last learning, or of a trial: are they those of this day and these settings?"""

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
    """The parameters on which a model depends, by their key in `params.yaml`."""
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
    """One fingerprint for the parameters on which a model depends."""
    return sha256(json.dumps(training_settings(job), sort_keys=True).encode())


def find_model_folder(job: Job) -> Path | None:
    """The folder whose models are of this day and of the training table on the side of learning; None without one.

    That of the last learning comes first, under whatever settings it was. What else lies on the side may be of a trial
    or an earlier back-test: it must have been trained under the settings of this job.
    """
    if not (job.folder / TRAINING).is_file():
        return None
    wanted = {"until": str(job.day), "training_sha256": training_digest(job)}
    if _cards_match(wanted, job.data, job):
        return job.data
    return job.folder if _cards_match(wanted | {"options_sha256": settings_fingerprint(job)}, job.folder, job) else None


def _cards_match(expected: dict[str, str], root: Path, job: Job) -> bool:
    """Whether every target was tried and the cards of those that were trained say what is wanted."""
    cards = [_read_card(root, target) for target in job.settings.targets]
    trained = [card for card in cards if card]
    return (
        None not in cards
        and bool(trained)
        and all(card.get(name) == value for card in trained for name, value in expected.items())
    )


def _read_card(root: Path, target: str) -> dict[str, Any] | None:
    """The card of a model; empty where none could be trained, None where it cannot be judged or is of an older
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
    found: dict[str, Any] = json.loads(old_names.existing_file(folder / MODEL_CARD).read_bytes())
    return found if old_names.existing_file(folder / BACKTEST_BY_AGE).is_file() and "hyperparameters" in found else None
