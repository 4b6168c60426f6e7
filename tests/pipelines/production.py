"""The state of production as digests: last learning, registry and published lists."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.storage.registry import model_registry

LAST_LEARNING = ("models", "evaluation", "registered")


def production(job: Job) -> dict[str, Any]:
    """Digests of the files of the last learning and the lists, and versions, tags and aliases of the registry."""
    folders = [
        *(job.data / name for name in LAST_LEARNING),
        job.data / "list_archive",
        job.data / "alert_history",
        job.lists,
    ]
    return {**{str(folder): digests(folder) for folder in folders}, **registry(job)}


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, except locks."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith("lock")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def registry(job: Job) -> dict[str, Any]:
    """Aliases and tags of each registered model and its versions."""
    client, state = model_registry.mlflow_client(job), {}
    for model in client.search_registered_models():
        versions = client.search_model_versions(f"name = '{model.name}'")
        state[model.name] = {
            "aliases": client.get_registered_model(model.name).aliases,
            "tags": client.get_registered_model(model.name).tags,
            "versions": {version.version: (version.source, version.tags) for version in versions},
        }
    return state


def runs_of(job: Job, trial: str, target: str = "renewal") -> list[Any]:
    """MLflow runs of a trial."""
    client = model_registry.mlflow_client(job)
    known = client.get_experiment_by_name(model_registry.registry_name(target))
    return list(client.search_runs([known.experiment_id], f"tags.`renewals.experiment` = '{trial}'")) if known else []
