"""Which models serve now, as the registry says: `renewals promote` and `rollback` change it while DVC looks away.

This stage runs each time, and after everything that needs no champion: where none serves, `score` is the first to stop.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from renewals.models.settings import RENEWAL
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage.artifacts import CHAMPIONS
from renewals.pipelines.storage.engine import atomic
from renewals.pipelines.storage.registry import model_registry

if TYPE_CHECKING:
    from mlflow import MlflowClient


def champions(job: Job) -> dict[str, Any]:
    """Write `champions.json`: version and digest of the champion and of the challenger of each target, null for none.

    Raises `ServiceUnavailableError` where the registry does not answer.
    """
    targets = tuple(dict.fromkeys((RENEWAL, *job.settings.targets)))
    found = _versions_by_target(job, targets) if model_registry.has_registry(job) else dict.fromkeys(targets)
    atomic.write_bytes(job.folder / CHAMPIONS, (json.dumps(found, indent=1) + "\n").encode())
    return {"champions": found}


def _versions_by_target(job: Job, targets: tuple[str, ...]) -> dict[str, Any]:
    with model_registry.registry_lock(job):
        client = model_registry.mlflow_client(job)
        with model_registry.translate_mlflow_errors(model_registry.tracking_uri(job)):
            return {target: _versions_by_alias(client, target) for target in targets}


def _versions_by_alias(client: MlflowClient, target: str) -> dict[str, Any]:
    """The version under each alias of one target."""
    found = {
        alias: model_registry.version_by_alias(client, target, alias)
        for alias in (model_registry.CHAMPION, model_registry.CHALLENGER)
    }
    return {
        alias: version
        and {"version": str(version.version), "manifest_sha256": version.tags.get(model_registry.MANIFEST_TAG)}
        for alias, version in found.items()
    }


if __name__ == "__main__":
    main(champions)
