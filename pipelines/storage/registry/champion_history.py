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
from renewals.pipelines.storage.registry.logged_actions import refuse_actions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

LINE_TAG = "champions"
SINCE_TAG, WHY_TAG, BACK_TAG = "served_since", "served_because", "taken_back"
PASSED_BY_ITSELF, BY_HAND = "passed the gate", "promoted by hand"


def crown(client: MlflowClient, target: str, version: ModelVersion, why: str) -> None:
    """Let a version serve from now on; a challenger that is no newer no longer waits."""
    serving, waiting = (
        model_registry.current(client, target, a) for a in (model_registry.CHAMPION, model_registry.CHALLENGER)
    )
    earlier = line(client, target, serving)
    # The alias first: if this is cut short, the version joins the line when that is next read.
    client.set_registered_model_alias(version.name, model_registry.CHAMPION, version.version)
    client.set_registered_model_tag(version.name, LINE_TAG, ",".join([*earlier, str(version.version)]))
    _say_since(client, version, why)
    if waiting is not None and int(waiting.version) <= int(version.version):
        client.delete_registered_model_alias(version.name, model_registry.CHALLENGER)


def _say_since(client: MlflowClient, version: ModelVersion, why: str) -> None:
    """Tag the version that serves from now on; that it was once taken back is over."""
    for tag, words in ((SINCE_TAG, _today()), (WHY_TAG, why)):
        client.set_model_version_tag(version.name, version.version, tag, words)
    if BACK_TAG in version.tags:
        client.delete_model_version_tag(version.name, version.version, BACK_TAG)


def wait(client: MlflowClient, version: ModelVersion) -> None:
    """Let a version wait as challenger: it is scored beside the champion and never shown."""
    client.set_registered_model_alias(version.name, model_registry.CHALLENGER, version.version)


def turn_away(client: MlflowClient, target: str, version: ModelVersion) -> None:
    """A version that the gate refuses no longer waits."""
    waiting = model_registry.current(client, target, model_registry.CHALLENGER)
    if waiting is not None and waiting.version == version.version:
        client.delete_registered_model_alias(version.name, model_registry.CHALLENGER)


def line(client: MlflowClient, target: str, serving: ModelVersion | None) -> list[str]:
    """The versions that served one after the other, the present one last where there is one."""
    told = client.get_registered_model(model_registry.registry_name(target)).tags.get(LINE_TAG, "")
    known = [number for number in told.split(",") if number]
    now = [str(serving.version)] if serving is not None else []
    return known if known[-1:] == now else [*known, *now]


def load(job: Job, client: MlflowClient, target: str, version: ModelVersion) -> Any:
    """The model of a version, checked and tried. Raises DataContract where it is not what was registered, or reads
    logged actions."""
    files = model_registry.checked(client, version)
    refuse_actions(target, str(version.version), files)
    return model_loader.loaded(job.data, f"{version.name}/{version.version}", files)


def _today() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
