"""MLflow: where runs and models are kept, and how the champion comes back.

A model is registered as native files: LightGBM's text, JSON beside it, and a manifest of SHA-256. Nothing is
pickled. A file is compared with the manifest, and the manifest with a tag of the registered version, before LightGBM
sees it: a damaged text would kill the interpreter.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipelines.errors import DataContract, InputMissing, Unavailable
from pipelines.stage import Job

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
CHAMPION = "champion"
MANIFEST = "sha256.json"
FOLDER = "renewals"
"""The artifact folder of a run that holds the model's files."""
DIGEST = "renewals.manifest"
"""The tag of a registered version that holds the digest of its manifest."""


def client(job: Job) -> Any:
    """An MLflow client for the configured store; the SQLite one is made, under a lock, where there is none."""
    os.environ.update(QUIET)
    import mlflow
    from mlflow.exceptions import MlflowException

    job.data.mkdir(parents=True, exist_ok=True)
    uri = store(job)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        # Two processes that make the database at once leave it half made.
        with FileLock(job.data / ".mlflow.lock"):
            found = mlflow.MlflowClient()
            found.search_experiments(max_results=1)
    except (MlflowException, OSError) as error:
        raise Unavailable(f"MLflow at {_shown(uri)} does not answer: {_first(error)}") from None
    return found


def store(job: Job) -> str:
    """The tracking URI: as configured, or SQLite in the data folder."""
    return job.settings.tracking.uri or f"sqlite:///{(job.data / 'mlflow.db').resolve()}"


def experiment(found: Any, job: Job, name: str = "renewals") -> str:
    """The id of the experiment; its artifacts lie beside the database, wherever the process was started."""
    known = found.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    place = None if job.settings.tracking.uri else (job.data / "mlartifacts").resolve().as_uri()
    return str(found.create_experiment(name, artifact_location=place))


def registered_name(target: str) -> str:
    """The name of a target's registered model."""
    return f"renewals-{target}"


def manifest(files: dict[str, bytes]) -> bytes:
    """The SHA-256 of each file, as JSON."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    return (json.dumps(digests, indent=1) + "\n").encode()


def champion(job: Job, target: str) -> tuple[str, str, dict[str, bytes]]:
    """Name, version and checked files of the target's champion, its alias resolved once.

    Raises InputMissing where there is none, and DataContract where a file is not what was registered.
    """
    from mlflow.exceptions import MlflowException

    found, name = client(job), registered_name(target)
    try:
        version = found.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        raise InputMissing(
            f"{target} has no champion in {_shown(store(job))}: run `renewals learn`, and read what its gate says"
        ) from None
    files = artifacts(found, version.run_id, f"{name}/{version.version}")
    _refuse_altered(files, version, f"{name}/{version.version}")
    return name, str(version.version), files


def artifacts(found: Any, run_id: str, words: str) -> dict[str, bytes]:
    """The model's files as they lie in the store, by name."""
    from mlflow.exceptions import MlflowException

    try:
        folder = Path(found.download_artifacts(run_id, FOLDER))
    except (MlflowException, OSError) as error:
        raise DataContract(f"the files of model {words} are not in the store: {_first(error)}") from None
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def _refuse_altered(files: dict[str, bytes], version: Any, words: str) -> None:
    listed = files.pop(MANIFEST, b"")
    if hashlib.sha256(listed).hexdigest() != version.tags.get(DIGEST):
        raise DataContract(f"model {words}: {MANIFEST} is missing or is not the one that was registered")
    wanted = json.loads(listed)
    for name in sorted(wanted.keys() | files.keys()):
        have = hashlib.sha256(files[name]).hexdigest() if name in files else "no such file"
        if have != wanted.get(name):
            raise DataContract(
                f"model {words}: {name} does not match the registry (expected {wanted.get(name, 'no such file')}, "
                f"found {have}); restore it from a backup or learn again"
            )


def _shown(uri: str) -> str:
    """The store without what may be a password."""
    head, at, tail = uri.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at else uri


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
