"""Load the models that score the list: the champion of each target, with the reason where a target has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import structlog

from renewals.models.settings import RENEWAL
from renewals.pipelines.runtime.errors import (
    LoggedActionsError,
    MissingInputError,
    NoChampionError,
    OldFeaturesError,
    RunError,
)
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.scoring import drift_reference
from renewals.pipelines.scoring.feature_policy import Parameters
from renewals.pipelines.storage.artifacts import HISTORY, MODEL_CARD, MODELS, SCHEMA
from renewals.pipelines.storage.published import published_lists
from renewals.pipelines.storage.registry import model_loader, model_registry
from renewals.pipelines.storage.registry.serving_checks import reject_unservable_model

if TYPE_CHECKING:
    from renewals.models.training.ensemble import EnsembleModel


@dataclass(frozen=True)
class Champion:
    """The model that a target's registry alias pointed to when the run began."""

    name: str
    version: str
    model: EnsembleModel
    reference: Mapping[str, Any] | None = None
    """The reference that the drift check compares with; None if the version has none."""
    until: date | None = None
    """The training day: the model has not seen what became known on that day or later."""
    parameters: Parameters | None = None
    """The parameters that decided what its features meant in training; None if the version has none."""
    history: tuple[Mapping[str, Any], ...] = ()
    """Notices about columns without a history in its training table."""

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def load_champions(job: Job) -> tuple[dict[str, Champion], dict[str, str]]:
    """Load the champion of each target; return the champions and, for the other targets, the reason why there is none.

    Raises the registry's error if it does not answer, if the champion of renewal may not serve, or if a model's files
    are not those that were registered; MissingInputError if renewal has no champion although an earlier list had a
    model: then the registry was lost.
    """
    champions: dict[str, Champion] = {}
    absent: dict[str, str] = {}
    for target in dict.fromkeys((RENEWAL, *job.settings.targets)):
        try:
            champions[target] = load_champion(job, target)
        except (MissingInputError, LoggedActionsError, OldFeaturesError) as error:
            if target == RENEWAL:
                require_never_scored(job, error)
            absent[target] = str(error)
            structlog.get_logger().warning("no model for target", target=target, why=str(error))
    return champions, absent


def require_never_scored(job: Job, error: RunError) -> None:
    """Raise unless no model of renewal ever was a champion: no earlier list was scored by one, and the registry of a
    trained model is there."""
    was_trained = (job.data / MODELS / RENEWAL / SCHEMA).is_file()
    if not isinstance(error, NoChampionError) or (was_trained and not model_registry.has_registry(job)):
        raise error
    last = published_lists.latest_list(job)
    if last is not None and last.model is not None:
        name, version = last.model
        raise MissingInputError(
            f"{error}. The list of {last.day} was scored by {name}/{version}: restore that registry (tracking.uri, "
            "or the data folder)"
        ) from error


def load_champion(job: Job, target: str) -> Champion:
    """Load the champion of one target.

    Raises MissingInputError if there is none, LoggedActionsError or OldFeaturesError if it may not serve.
    """
    name, version, files = model_registry.fetch_champion(job, target)
    reject_unservable_model(target, version, files)
    model = model_loader.load_model(job.data, f"{name}/{version}", files)
    card = model_registry.read_model_json(files, MODEL_CARD) if MODEL_CARD in files else {}
    until = date.fromisoformat(card["until"]) if card.get("until") else None
    reference, history = drift_reference.read_reference(files), tuple(card.get(HISTORY, ()))
    return Champion(name, version, model, reference, until, card.get("parameters"), history)
