"""`renewals promote` and `renewals rollback`: which registered version serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from renewals.pipelines.runtime.errors import GateRefused, InputMissing
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.registry import model_registry
from renewals.pipelines.storage.registry.champion_history import (
    BACK_TAG,
    BY_HAND,
    LINE_TAG,
    WHY_TAG,
    _say_since,
    _today,
    crown,
    line,
    load,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def promote(job: Job, target: str, number: int, why: str | None, forced: bool) -> dict[str, Any]:
    """Make a registered version serve; what serves now, and what did before.

    Raises InputMissing where there is no such version, GateRefused where the gate did not pass it and it is not
    forced, DataContract where its files are harmed, do not load or read logged actions: then nothing is changed.
    """
    model_registry.need_registry(job, target)
    with model_registry.alone(job):
        client = model_registry.tracking(job)
        with model_registry.answering(model_registry.tracking_uri(job)):
            version, before = _asked_for(client, target, number), model_registry.current(client, target)
            _must_have_passed(version, target, forced)
            load(job, client, target, version)
            already = before is not None and before.version == version.version
            if not already:
                crown(client, target, version, f"forced: {why}" if forced else why or BY_HAND)
            return _now(client, target, "already serves" if already else "promoted", before)


def rollback(job: Job, target: str) -> dict[str, Any]:
    """Let the champion before the present one serve again; what serves now, and what did before.

    Raises InputMissing where no model serves or none did before it, DataContract where that one is harmed.
    """
    model_registry.need_registry(job, target)
    with model_registry.alone(job):
        client = model_registry.tracking(job)
        with model_registry.answering(model_registry.tracking_uri(job)):
            serving = model_registry.current(client, target)
            if serving is None:
                raise InputMissing(f"no model of {target} serves: there is nothing to roll back")
            *earlier, _ = line(client, target, serving)
            back = _one_before(client, target, serving, earlier)
            load(job, client, target, back)
            # The line first: if this is cut short, the present champion joins it again, as if nothing had happened.
            client.set_registered_model_tag(back.name, LINE_TAG, ",".join(earlier))
            client.set_registered_model_alias(back.name, model_registry.CHAMPION, back.version)
            client.set_model_version_tag(serving.name, serving.version, BACK_TAG, _today())
            _say_since(client, back, f"version {serving.version} was rolled back")
            return _now(client, target, "rolled back", serving)


def _asked_for(client: MlflowClient, target: str, number: int) -> ModelVersion:
    known = model_registry.versions(client, target)
    if not known:
        raise InputMissing(model_registry.none_registered(target))
    for version in known:
        if int(version.version) == number:
            return version
    there = ", ".join(str(version.version) for version in reversed(known))
    raise InputMissing(f"no version {number} of {target} is registered; there are: {there}")


def _must_have_passed(version: ModelVersion, target: str, forced: bool) -> None:
    if forced or version.tags.get(model_registry.GATE_TAG) == model_registry.PASSED:
        return
    reasons = version.tags.get(model_registry.REASONS_TAG, "it was never judged")
    raise GateRefused(
        f"version {version.version} of {target} did not pass the gate: {reasons}. To let it serve all the same: "
        f'`renewals promote {target} --version {version.version} --force --reason "…"`'
    )


def _one_before(client: MlflowClient, target: str, serving: ModelVersion, earlier: list[str]) -> ModelVersion:
    if not earlier:
        raise InputMissing(f"no model of {target} served before version {serving.version}: it stays")
    known = {str(version.version): version for version in model_registry.versions(client, target)}
    if earlier[-1] not in known:
        raise InputMissing(
            f"version {earlier[-1]} of {target}, which served before version {serving.version}, is registered no "
            f"longer: name one that is with `renewals promote {target} --version N`"
        )
    return known[earlier[-1]]


def _now(client: MlflowClient, target: str, state: str, before: ModelVersion | None) -> dict[str, Any]:
    """What serves now, as the registry says it."""
    serving = model_registry.current(client, target)
    assert serving is not None
    return {
        "target": target,
        "state": state,
        "serves": str(serving.version),
        "served_before": str(before.version) if before is not None else None,
        "line": line(client, target, serving),
        "until": serving.tags.get("until"),
        "gate": serving.tags.get(model_registry.GATE_TAG),
        "because": serving.tags.get(WHY_TAG),
    }
