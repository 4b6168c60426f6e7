"""Access to runs, registered models and champions in MLflow.

A version is identified by the fingerprints of its files. They are in a manifest among the artifacts, and that of the
manifest is a tag in the registry's database. Every file is checked before LightGBM reads it, because a damaged booster
crashes the interpreter instead of raising an error, and one with an altered digit loads silently.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from filelock import FileLock, Timeout

from renewals.pipelines.runtime.errors import (
    DataContractError,
    MissingInputError,
    NoChampionError,
    RunLockedError,
    ServiceUnavailableError,
)
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.paths import project_root
from renewals.pipelines.storage import addresses, old_names
from renewals.pipelines.storage.artifacts import sha256
from renewals.pipelines.storage.published.hindsight import TrainedVersion
from renewals.pipelines.storage.registry import mlflow_artifacts
from renewals.pipelines.storage.registry.old_model_files import upgrade_model_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
CODE_ROOT = Path(__file__).resolve().parents[3]
"""Folder that contains the packages."""
MANIFEST = "manifest.json"
EXTRA_FILES = "extra_files"
"""Subfolder in which MLflow stores the extra files of a model."""
MANIFEST_TAG, IDENTITY_TAG, REASONS_TAG = "manifest_sha256", "identity", "gate_reasons"
GATE_TAG, PASSED, REJECTED = "gate", "passed", "refused"
MODEL_FILE_SUFFIXES = (".txt", ".json", ".parquet")
"""The only file types of a model: LightGBM's text, JSON and Parquet; none of them contains executable code."""
LOCK_TIMEOUT_SECONDS = 300
UI_URL = "http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
"""Page of `mlflow ui` with the training runs; without the option it opens pages for language models."""


def registry_name(target: str) -> str:
    """Name of a target's registered model and experiment in MLflow."""
    return f"renewals-{target}"


def registry_folder(job: Job) -> Path:
    """Data folder with the registry: that of the project, also for an experiment that runs in a copy of the project."""
    return project_root() / job.data


def tracking_uri(job: Job) -> str:
    """Address of MLflow: `tracking.uri`, or SQLite in the data folder; SQLite files with their absolute path."""
    uri = job.settings.tracking.uri
    if uri is None:
        return _local_database_uri(job)
    if addresses.scheme_of(uri) != "sqlite" or "?" in uri:
        return uri
    return addresses.file_address("sqlite", addresses.writable_file(uri, "tracking.uri"))


def _local_database_uri(job: Job) -> str:
    return addresses.file_address("sqlite", (registry_folder(job) / mlflow_artifacts.DATABASE).resolve())


def ui_command(job: Job) -> str:
    """Shell command that opens MLflow's user interface for this registry, with its absolute address."""
    mlflow = Path(sys.executable).with_name("mlflow")
    program = shlex.quote(str(mlflow)) if mlflow.is_file() else "mlflow"
    return f"{program} ui --backend-store-uri {shlex.quote(tracking_uri(job))}"


@contextmanager
def registry_lock(job: Job) -> Iterator[None]:
    """Hold the lock of the registry: two processes that create the database at the same time would corrupt it.

    Raises RunLockedError after `LOCK_TIMEOUT_SECONDS`.
    """
    folder = registry_folder(job)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".mlflow.lock", timeout=LOCK_TIMEOUT_SECONDS):
            yield
    except Timeout:
        raise RunLockedError(f"another run writes to MLflow in {folder}: try again later") from None


def mlflow_client(job: Job) -> MlflowClient:
    """Open a client of MLflow's tracking store and registry. Raises ServiceUnavailableError if they do not answer."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default, seven, takes four minutes
    import mlflow

    class Client(mlflow.MlflowClient):
        """MLflow client that reads the files of a version from this data folder, whatever address was recorded."""

        def get_model_version_download_uri(self, name: str, version: str) -> str:
            recorded = str(super().get_model_version_download_uri(name, version))
            return str(mlflow_artifacts.local_artifact_uri(registry_folder(job), recorded)) if is_local else recorded

    uri = tracking_uri(job)
    is_local = uri == _local_database_uri(job)
    if is_local and (changed := mlflow_artifacts.relocate_artifacts(registry_folder(job))):
        structlog.get_logger().info(
            "the data folder was moved or copied", data=str(registry_folder(job)), addresses=changed
        )
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with translate_mlflow_errors(uri):
        return Client(tracking_uri=uri, registry_uri=uri)


@contextmanager
def translate_mlflow_errors(uri: str) -> Iterator[None]:
    """Turn errors of MLflow and its database into `ServiceUnavailableError` with one sentence, without secrets of the
    address."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        address = uri.split("@")[-1]
        raise ServiceUnavailableError(f"MLflow at {address} does not answer: {str(error).splitlines()[0]}") from error


def ensure_experiment(client: MlflowClient, job: Job, target: str) -> str:
    """Id of the experiment of a target's runs, created if needed; without a server its artifacts are in the data
    folder."""
    name = registry_name(target)
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    local = not tracking_uri(job).startswith(("http://", "https://"))
    location = mlflow_artifacts.artifacts_folder(registry_folder(job)).as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=location))


def registered_versions(client: MlflowClient, target: str) -> list[ModelVersion]:
    """All registered versions of a target, newest first."""
    versions = client.search_model_versions(f"name = '{registry_name(target)}'")
    return sorted(versions, key=lambda version: -int(version.version))


def version_by_alias(client: MlflowClient, target: str, alias: str = CHAMPION) -> ModelVersion | None:
    """Version of a target with an alias, by default the champion; None if no version has it."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(registry_name(target), alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def fetch_champion(job: Job, target: str) -> tuple[str, str, dict[str, bytes]]:
    """Champion of a target: registered name, version number and verified files (content by name).

    The alias is read once, so a later change does not affect this run. Raises MissingInputError if there is no champion
    (NoChampionError if there never was one), DataContractError if a file changed since registration,
    ServiceUnavailableError if MLflow does not answer.
    """
    require_registry(job, target)
    with registry_lock(job):
        client = mlflow_client(job)
        with translate_mlflow_errors(tracking_uri(job)):
            version = version_by_alias(client, target)
            if version is None:
                raise _no_champion(client, target)
            files = verified_files(client, version)
    return registry_name(target), str(version.version), files


def champions_by_target(job: Job, targets: Iterable[str]) -> dict[str, TrainedVersion]:
    """Version number and training cutoff of the champion of each target, by target; targets without one are left out.

    Reads no model files. Raises ServiceUnavailableError if MLflow does not answer.
    """
    champions: dict[str, TrainedVersion] = {}
    if not has_registry(job):
        return champions
    with registry_lock(job):
        client = mlflow_client(job)
        with translate_mlflow_errors(tracking_uri(job)):
            for target in targets:
                version = version_by_alias(client, target)
                if version is not None:
                    until = version.tags.get("until")
                    cutoff = date.fromisoformat(until) if until else None
                    champions[target] = TrainedVersion(str(version.version), cutoff)
    return champions


def fetch_challenger(job: Job, target: str) -> tuple[str, str, dict[str, bytes]] | None:
    """Challenger of a target, in the form of `fetch_champion`; None if there is none."""
    require_registry(job, target)
    with registry_lock(job):
        client = mlflow_client(job)
        with translate_mlflow_errors(tracking_uri(job)):
            version = version_by_alias(client, target, CHALLENGER)
            files = verified_files(client, version) if version is not None else {}
    return (registry_name(target), str(version.version), files) if version is not None else None


def fetch_version(job: Job, target: str, number: str) -> dict[str, bytes]:
    """Verified files of a version by its number, content by name.

    Raises the errors of `fetch_champion`; MissingInputError if the version is not registered.
    """
    from mlflow.exceptions import MlflowException

    require_registry(job, target)
    with registry_lock(job):
        client = mlflow_client(job)
        with translate_mlflow_errors(tracking_uri(job)):
            try:
                version = client.get_model_version(registry_name(target), number)
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                raise MissingInputError(f"version {number} of {target} is not registered") from None
            return verified_files(client, version)


def require_registry(job: Job, target: str) -> None:
    """Raise NoChampionError if there is no database yet, because a request for a model must not create one."""
    if not has_registry(job):
        raise NoChampionError(
            f"no model of {target} in {registry_folder(job)}: run `renewals learn --until DATE` first"
        )


def has_registry(job: Job) -> bool:
    """True if `tracking.uri` is set or the data folder contains a database."""
    return job.settings.tracking.uri is not None or (registry_folder(job) / mlflow_artifacts.DATABASE).is_file()


def _no_champion(client: MlflowClient, target: str) -> MissingInputError:
    """The error for a target without a champion: NoChampionError if no version ever passed the gate."""
    versions = registered_versions(client, target)
    if not versions:
        return NoChampionError(no_version_message(target))
    newest = versions[0]
    if newest.tags.get(GATE_TAG) == PASSED:
        return MissingInputError(
            f"{target} has no champion: version {newest.version} passed the gate and waits; "
            f"`renewals promote {target} --version {newest.version}` makes it the champion"
        )
    reasons = newest.tags.get(REASONS_TAG, "no reason recorded")
    message = f"no model of {target} has passed the gate; the newest, version {newest.version}, was rejected: {reasons}"
    passed = any(version.tags.get(GATE_TAG) == PASSED for version in versions)
    return MissingInputError(message) if passed else NoChampionError(message)


def no_version_message(target: str) -> str:
    """Error message for a target without any registered version."""
    advice = "run `renewals learn --until DATE`; if it has run, there were too few outcomes for training"
    return f"no model of {target} is registered: {advice}"


def verified_files(client: MlflowClient, version: ModelVersion) -> dict[str, bytes]:
    """Download the files of a version and check them against its manifest; content by name, with present names and
    keys.

    Raises DataContractError if a file is missing, unexpected or changed.
    """
    name = f"{version.name}/{version.version}"
    with tempfile.TemporaryDirectory(prefix="renewals-model-") as folder:
        files = _download_files(client, version, Path(folder))
    manifest = files.pop(MANIFEST, b"")
    if sha256(manifest) != version.tags.get(MANIFEST_TAG):
        raise DataContractError(
            f"model {name}: its manifest is not the one that was registered; run `renewals learn` again"
        )
    digests: dict[str, str] = json.loads(manifest)["files"]
    unexpected = sorted(
        file
        for file in digests.keys() | files.keys()
        if file not in digests or Path(file).suffix not in MODEL_FILE_SUFFIXES
    )
    if unexpected:
        raise DataContractError(
            f"model {name}: unexpected file {', '.join(unexpected)} (a model has registered files only, each "
            f"{', '.join(MODEL_FILE_SUFFIXES)}); remove it, or run `renewals learn` again"
        )
    changed = [file for file, digest in digests.items() if sha256(files.get(file, b"")) != digest]
    if changed:
        raise DataContractError(
            f"model {name}: {', '.join(changed)} changed since registration (SHA-256); restore the files or run "
            "`renewals learn` again"
        )
    return upgrade_model_files(old_names.rename_model_files({file: files[file] for file in digests}))


def _download_files(client: MlflowClient, version: ModelVersion, folder: Path) -> dict[str, bytes]:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        source = client.get_model_version_download_uri(version.name, version.version)
        copy = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"{source}/{EXTRA_FILES}", dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataContractError(
            f"model {version.name}/{version.version}: its files cannot be read: {reason}"
        ) from error
    return {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()}


def build_manifest(files: dict[str, bytes]) -> bytes:
    """Content of a manifest with the SHA-256 of every file."""
    digests = {name: sha256(content) for name, content in sorted(files.items())}
    return (json.dumps({"files": digests}, indent=1) + "\n").encode()


def code_fingerprint(root: Path = CODE_ROOT) -> str:
    """Fingerprint of the code that defines features and models (`features/` and `models/`); needs no Git."""
    digest = hashlib.sha256()
    for path in sorted([*root.glob("features/**/*.py"), *root.glob("models/**/*.py")]):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def read_model_json(files: dict[str, bytes], name: str) -> Any:
    """Parse one of a model's JSON files."""
    return json.loads(files[name])
