"""The models that score: the champion of each target, and why another target has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import structlog

from renewals.models.settings import RENEWAL
from renewals.pipelines.runtime.errors import LoggedActionsError, MissingInputError, OldFeaturesError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.scoring import drift_reference
from renewals.pipelines.scoring.feature_policy import Parameters
from renewals.pipelines.storage.artifacts import (
    MODEL_CARD,
)
from renewals.pipelines.storage.registry import model_loader
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
    """What drift is told by, where the version has it."""
    until: date | None = None
    """The training day: what was known on it or later the model has not seen."""
    parameters: Parameters | None = None
    """Those that decided what its features meant when it learned, where the version has them."""

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def load_champions(job: Job) -> tuple[dict[str, Champion], dict[str, str]]:
    """The champion of each target, asked for once, and why another target has none.

    Raises what the registry raises where renewal has no champion that may serve, or where any model is not what was
    registered.
    """
    champions: dict[str, Champion] = {}
    absent: dict[str, str] = {}
    for target in dict.fromkeys((RENEWAL, *job.settings.targets)):
        try:
            champions[target] = load_champion(job, target)
        except (MissingInputError, LoggedActionsError, OldFeaturesError) as stop:
            if target == RENEWAL:
                raise
            absent[target] = str(stop)
            structlog.get_logger().warning("no model for target", target=target, why=str(stop))
    return champions, absent


def load_champion(job: Job, target: str) -> Champion:
    """The champion of one target. Raises MissingInputError where there is none, LoggedActionsError or OldFeaturesError
    where it may not serve."""
    from renewals.pipelines.storage.registry import model_registry

    name, version, files = model_registry.fetch_champion(job, target)
    reject_unservable_model(target, version, files)
    model = model_loader.load_model(job.data, f"{name}/{version}", files)
    card = model_registry.read_model_json(files, MODEL_CARD) if MODEL_CARD in files else {}
    until = date.fromisoformat(card["until"]) if card.get("until") else None
    return Champion(name, version, model, drift_reference.read_reference(files), until, card.get("parameters"))
