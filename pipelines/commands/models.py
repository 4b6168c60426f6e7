"""Commands `renewals promote` and `renewals rollback`: choose which registered version is the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.errors import GateRejectedError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.registry import model_registry
from renewals.pipelines.storage.registry.champion_history import (
    HISTORY_TAG,
    PROMOTED_MANUALLY,
    ROLLED_BACK_TAG,
    SERVED_BECAUSE_TAG,
    champion_versions,
    load_version,
    set_champion,
    tag_champion,
    utc_timestamp,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def promote(job: Job, target: str, number: int, reason: str | None, forced: bool) -> dict[str, Any]:
    """Make a registered version the champion; return the new and the previous champion.

    Raises MissingInputError for an unknown version, GateRejectedError if the gate did not pass it and it is not forced,
    DataContractError if its files are corrupted, cannot be loaded or use features from logged actions. On an error
    nothing changes.
    """
    model_registry.require_registry(job, target)
    with model_registry.registry_lock(job):
        client = model_registry.mlflow_client(job)
        with model_registry.translate_mlflow_errors(model_registry.tracking_uri(job)):
            version, previous = _find_version(client, target, number), model_registry.version_by_alias(client, target)
            _require_gate_passed(version, target, forced)
            load_version(job, client, target, version)
            is_champion = previous is not None and previous.version == version.version
            if not is_champion:
                set_champion(client, target, version, f"forced: {reason}" if forced else reason or PROMOTED_MANUALLY)
            return _serving_state(client, target, "already serves" if is_champion else "promoted", previous)


def rollback(job: Job, target: str) -> dict[str, Any]:
    """Make the previous champion the champion again; return the new and the previous champion.

    Raises MissingInputError if there is no champion or no earlier one, DataContractError if the files of the earlier
    one are corrupted.
    """
    model_registry.require_registry(job, target)
    with model_registry.registry_lock(job):
        client = model_registry.mlflow_client(job)
        with model_registry.translate_mlflow_errors(model_registry.tracking_uri(job)):
            current = model_registry.version_by_alias(client, target)
            if current is None:
                raise MissingInputError(f"{target} has no champion: there is nothing to roll back")
            *earlier, _ = champion_versions(client, target, current)
            restored = _previous_champion(client, target, current, earlier)
            load_version(job, client, target, restored)
            # History first: if the run stops here, `champion_versions` appends the current champion again.
            client.set_registered_model_tag(restored.name, HISTORY_TAG, ",".join(earlier))
            client.set_registered_model_alias(restored.name, model_registry.CHAMPION, restored.version)
            client.set_model_version_tag(current.name, current.version, ROLLED_BACK_TAG, utc_timestamp())
            tag_champion(client, restored, f"version {current.version} was rolled back")
            return _serving_state(client, target, "rolled back", current)


def _find_version(client: MlflowClient, target: str, number: int) -> ModelVersion:
    versions = model_registry.registered_versions(client, target)
    if not versions:
        raise MissingInputError(model_registry.no_version_message(target))
    for version in versions:
        if int(version.version) == number:
            return version
    numbers = ", ".join(str(version.version) for version in reversed(versions))
    raise MissingInputError(f"version {number} of {target} is not registered; registered versions: {numbers}")


def _require_gate_passed(version: ModelVersion, target: str, forced: bool) -> None:
    if forced or version.tags.get(model_registry.GATE_TAG) == model_registry.PASSED:
        return
    reasons = version.tags.get(model_registry.REASONS_TAG, "the gate has not evaluated it")
    raise GateRejectedError(
        f"version {version.version} of {target} was rejected by the gate: {reasons}. To promote it anyway: "
        f'`renewals promote {target} --version {version.version} --force --reason "…"`'
    )


def _previous_champion(client: MlflowClient, target: str, serving: ModelVersion, history: list[str]) -> ModelVersion:
    if not history:
        raise MissingInputError(f"no earlier champion of {target}: version {serving.version} stays champion")
    versions = {str(version.version): version for version in model_registry.registered_versions(client, target)}
    if history[-1] not in versions:
        raise MissingInputError(
            f"version {history[-1]} of {target}, the champion before version {serving.version}, is no longer "
            f"registered: choose a registered version with `renewals promote {target} --version N`"
        )
    return versions[history[-1]]


def _serving_state(client: MlflowClient, target: str, state: str, previous: ModelVersion | None) -> dict[str, Any]:
    """The current champion as the registry records it, with the previous version."""
    champion = model_registry.version_by_alias(client, target)
    assert champion is not None
    return {
        "target": target,
        "state": state,
        "champion_version": str(champion.version),
        "previous_version": str(previous.version) if previous is not None else None,
        "champion_history": champion_versions(client, target, champion),
        "until": champion.tags.get("until"),
        "gate": champion.tags.get(model_registry.GATE_TAG),
        "reason": champion.tags.get(SERVED_BECAUSE_TAG),
    }
