"""Which registered version serves: how one comes to serve, waits for it, or is taken back.

The alias `champion` is the truth. The line of champions, oldest first, stands as a tag beside it; an alias that was
moved by other means joins the line when it is next read. A rollback takes the last one off the line, so that the next
rollback goes further back.
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
    """Let a version serve from now on; a challenger that is no newer no longer waits."""
    serving, waiting = (
        model_registry.version_by_alias(client, target, a) for a in (model_registry.CHAMPION, model_registry.CHALLENGER)
    )
    earlier = champion_versions(client, target, serving)
    # The alias first: if this is cut short, the version joins the line when that is next read.
    client.set_registered_model_alias(version.name, model_registry.CHAMPION, version.version)
    client.set_registered_model_tag(version.name, HISTORY_TAG, ",".join([*earlier, str(version.version)]))
    tag_champion(client, version, reason)
    if waiting is not None and int(waiting.version) <= int(version.version):
        client.delete_registered_model_alias(version.name, model_registry.CHALLENGER)


def tag_champion(client: MlflowClient, version: ModelVersion, reason: str) -> None:
    """Tag the version that serves from now on; that it was once taken back is over."""
    for tag, words in ((SERVED_SINCE_TAG, utc_timestamp()), (SERVED_BECAUSE_TAG, reason)):
        client.set_model_version_tag(version.name, version.version, tag, words)
    if ROLLED_BACK_TAG in version.tags:
        client.delete_model_version_tag(version.name, version.version, ROLLED_BACK_TAG)


def set_challenger(client: MlflowClient, version: ModelVersion) -> None:
    """Let a version wait as challenger: it is scored beside the champion and never shown."""
    client.set_registered_model_alias(version.name, model_registry.CHALLENGER, version.version)


def clear_challenger(client: MlflowClient, target: str, version: ModelVersion) -> None:
    """A version that the gate refuses no longer waits."""
    waiting = model_registry.version_by_alias(client, target, model_registry.CHALLENGER)
    if waiting is not None and waiting.version == version.version:
        client.delete_registered_model_alias(version.name, model_registry.CHALLENGER)


def champion_versions(client: MlflowClient, target: str, serving: ModelVersion | None) -> list[str]:
    """The versions that served one after the other, the present one last where there is one."""
    told = client.get_registered_model(model_registry.registry_name(target)).tags.get(HISTORY_TAG, "")
    known = [number for number in told.split(",") if number]
    now = [str(serving.version)] if serving is not None else []
    return known if known[-1:] == now else [*known, *now]


def load_version(job: Job, client: MlflowClient, target: str, version: ModelVersion) -> Any:
    """The model of a version, checked and tried. Raises DataContractError where it is not what was registered, reads
    logged actions, or was trained on features of an older release."""
    files = model_registry.verified_files(client, version)
    reject_unservable_model(target, str(version.version), files)
    return model_loader.load_model(job.data, f"{version.name}/{version.version}", files)


def utc_timestamp() -> str:
    """The present instant, as text."""
    return datetime.now(UTC).isoformat(timespec="seconds")
