"""Record which model versions serve now: `renewals promote` and `rollback` change this without DVC.

Therefore this stage runs every time. It runs after all stages that need no champion; if there is none, `score` is the
first stage to stop.
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
    """Write `champions.json`: version and digest of each target's champion and challenger, null where there is none.

    Raises `ServiceUnavailableError` if the registry does not answer.
    """
    targets = tuple(dict.fromkeys((RENEWAL, *job.settings.targets)))
    versions = _versions_by_target(job, targets) if model_registry.has_registry(job) else dict.fromkeys(targets)
    atomic.write_bytes(job.folder / CHAMPIONS, (json.dumps(versions, indent=1) + "\n").encode())
    return {"champions": versions}


def _versions_by_target(job: Job, targets: tuple[str, ...]) -> dict[str, Any]:
    with model_registry.registry_lock(job):
        client = model_registry.mlflow_client(job)
        with model_registry.translate_mlflow_errors(model_registry.tracking_uri(job)):
            return {target: _versions_by_alias(client, target) for target in targets}


def _versions_by_alias(client: MlflowClient, target: str) -> dict[str, Any]:
    """Version and manifest digest under each alias (champion, challenger) of one target; None where there is none."""
    versions = {
        alias: model_registry.version_by_alias(client, target, alias)
        for alias in (model_registry.CHAMPION, model_registry.CHALLENGER)
    }
    return {
        alias: version
        and {"version": str(version.version), "manifest_sha256": version.tags.get(model_registry.MANIFEST_TAG)}
        for alias, version in versions.items()
    }


if __name__ == "__main__":
    main(champions)
