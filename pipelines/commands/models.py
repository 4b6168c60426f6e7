"""`renewals promote` and `renewals rollback`: which registered version serves."""

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
    """Make a registered version serve; what serves now, and what did before.

    Raises MissingInputError where there is no such version, GateRejectedError where the gate did not pass it and it is
    not forced, DataContractError where its files are harmed, do not load or read logged actions: then nothing is
    changed.
    """
    model_registry.require_registry(job, target)
    with model_registry.registry_lock(job):
        client = model_registry.mlflow_client(job)
        with model_registry.translate_mlflow_errors(model_registry.tracking_uri(job)):
            version, before = _find_version(client, target, number), model_registry.version_by_alias(client, target)
            _require_gate_passed(version, target, forced)
            load_version(job, client, target, version)
            already = before is not None and before.version == version.version
            if not already:
                set_champion(client, target, version, f"forced: {reason}" if forced else reason or PROMOTED_MANUALLY)
            return _serving_state(client, target, "already serves" if already else "promoted", before)


def rollback(job: Job, target: str) -> dict[str, Any]:
    """Let the champion before the present one serve again; what serves now, and what did before.

    Raises MissingInputError where no model serves or none did before it, DataContractError where that one is harmed.
    """
    model_registry.require_registry(job, target)
    with model_registry.registry_lock(job):
        client = model_registry.mlflow_client(job)
        with model_registry.translate_mlflow_errors(model_registry.tracking_uri(job)):
            serving = model_registry.version_by_alias(client, target)
            if serving is None:
                raise MissingInputError(f"no model of {target} serves: there is nothing to roll back")
            *earlier, _ = champion_versions(client, target, serving)
            back = _previous_champion(client, target, serving, earlier)
            load_version(job, client, target, back)
            # The line first: if this is cut short, the present champion joins it again, as if nothing had happened.
            client.set_registered_model_tag(back.name, HISTORY_TAG, ",".join(earlier))
            client.set_registered_model_alias(back.name, model_registry.CHAMPION, back.version)
            client.set_model_version_tag(serving.name, serving.version, ROLLED_BACK_TAG, utc_timestamp())
            tag_champion(client, back, f"version {serving.version} was rolled back")
            return _serving_state(client, target, "rolled back", serving)


def _find_version(client: MlflowClient, target: str, number: int) -> ModelVersion:
    known = model_registry.registered_versions(client, target)
    if not known:
        raise MissingInputError(model_registry.no_version_message(target))
    for version in known:
        if int(version.version) == number:
            return version
    there = ", ".join(str(version.version) for version in reversed(known))
    raise MissingInputError(f"no version {number} of {target} is registered; there are: {there}")


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
    known = {str(version.version): version for version in model_registry.registered_versions(client, target)}
    if history[-1] not in known:
        raise MissingInputError(
            f"version {history[-1]} of {target}, which served before version {serving.version}, is registered no "
            f"longer: name one that is with `renewals promote {target} --version N`"
        )
    return known[history[-1]]


def _serving_state(client: MlflowClient, target: str, state: str, previous: ModelVersion | None) -> dict[str, Any]:
    """What serves now, as the registry says it."""
    serving = model_registry.version_by_alias(client, target)
    assert serving is not None
    return {
        "target": target,
        "state": state,
        "champion_version": str(serving.version),
        "previous_version": str(previous.version) if previous is not None else None,
        "champion_history": champion_versions(client, target, serving),
        "until": serving.tags.get("until"),
        "gate": serving.tags.get(model_registry.GATE_TAG),
        "reason": serving.tags.get(SERVED_BECAUSE_TAG),
    }
