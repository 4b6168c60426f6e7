"""Change of the champion and the challenger in the model registry, and the history of champions.

The alias `champion` is authoritative. The history of champions, oldest first, is a tag of the registered model; a
version that received the alias by other means is added when the history is next read. A rollback removes the last
version from the history, so that the next rollback goes further back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.registry import model_loader, model_registry
from renewals.pipelines.storage.registry.serving_checks import reject_unservable_model

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

HISTORY_TAG = "champions"
SERVED_SINCE_TAG, SERVED_BECAUSE_TAG, ROLLED_BACK_TAG = "served_since", "served_because", "taken_back"
PASSED_GATE, PROMOTED_MANUALLY = "passed the gate", "promoted by hand"


def set_champion(client: MlflowClient, target: str, version: ModelVersion, reason: str) -> None:
    """Make this version the champion, tag it with `reason` and append it to the history; remove a challenger that is
    not newer."""
    serving, waiting = (
        model_registry.version_by_alias(client, target, a) for a in (model_registry.CHAMPION, model_registry.CHALLENGER)
    )
    earlier = champion_versions(client, target, serving)
    # The alias first: if the run is killed here, the version is added to the history when that is next read.
    client.set_registered_model_alias(version.name, model_registry.CHAMPION, version.version)
    client.set_registered_model_tag(version.name, HISTORY_TAG, ",".join([*earlier, str(version.version)]))
    tag_champion(client, version, reason)
    if waiting is not None and int(waiting.version) <= int(version.version):
        client.delete_registered_model_alias(version.name, model_registry.CHALLENGER)


def tag_champion(client: MlflowClient, version: ModelVersion, reason: str) -> None:
    """Tag a new champion with the time and the reason; remove its tag of an earlier rollback."""
    for tag, value in ((SERVED_SINCE_TAG, utc_timestamp()), (SERVED_BECAUSE_TAG, reason)):
        client.set_model_version_tag(version.name, version.version, tag, value)
    if ROLLED_BACK_TAG in version.tags:
        client.delete_model_version_tag(version.name, version.version, ROLLED_BACK_TAG)


def set_challenger(client: MlflowClient, version: ModelVersion) -> None:
    """Make this version the challenger: it is scored next to the champion, and its scores are never shown."""
    client.set_registered_model_alias(version.name, model_registry.CHALLENGER, version.version)


def clear_challenger(client: MlflowClient, target: str, version: ModelVersion) -> None:
    """Remove the alias `challenger` from this version, which the gate has rejected, if it has it."""
    waiting = model_registry.version_by_alias(client, target, model_registry.CHALLENGER)
    if waiting is not None and waiting.version == version.version:
        client.delete_registered_model_alias(version.name, model_registry.CHALLENGER)


def champion_versions(client: MlflowClient, target: str, serving: ModelVersion | None) -> list[str]:
    """Version numbers of all champions of a target, oldest first; `serving`, the present one, is last if not None."""
    tag = client.get_registered_model(model_registry.registry_name(target)).tags.get(HISTORY_TAG, "")
    history = [number for number in tag.split(",") if number]
    current = [str(serving.version)] if serving is not None else []
    return history if history[-1:] == current else [*history, *current]


def load_version(job: Job, client: MlflowClient, target: str, version: ModelVersion) -> Any:
    """Load the model of a version after checking its files. Raises DataContractError if they changed since registration
    or cannot be loaded, or if the model uses logged actions or features of an older release."""
    files = model_registry.verified_files(client, version)
    reject_unservable_model(target, str(version.version), files)
    return model_loader.load_model(job.data, f"{version.name}/{version.version}", files)


def utc_timestamp() -> str:
    """Current time in UTC as ISO text, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
