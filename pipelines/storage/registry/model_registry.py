"""MLflow: where runs and models live, and which model serves.

A version is known by the fingerprint of its files. The fingerprints stand in a manifest among the artifacts, and the
manifest's own stands as a tag in the registry's database: every byte is checked against it before LightGBM sees any,
for a damaged booster does not raise but kills the interpreter, and one altered digit loads without a word.
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
"""The folder of the packages."""
MANIFEST = "manifest.json"
EXTRA_FILES = "extra_files"
"""Where MLflow keeps what is logged beside a model."""
MANIFEST_TAG, IDENTITY_TAG, REASONS_TAG = "manifest_sha256", "identity", "gate_reasons"
GATE_TAG, PASSED, REJECTED = "gate", "passed", "refused"
MODEL_FILE_SUFFIXES = (".txt", ".json", ".parquet")
"""The only kinds of file a model is made of: LightGBM's text, JSON and Parquet; none of them runs anything."""
LOCK_TIMEOUT_SECONDS = 300
UI_URL = "http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
"""What `mlflow ui` shows of training runs; without the option it opens on pages for language models."""


def registry_name(target: str) -> str:
    """The name of a target's models in the registry."""
    return f"renewals-{target}"


def registry_folder(job: Job) -> Path:
    """The data folder that holds the registry: the project's, also for an experiment that runs in a copy of it."""
    return project_root() / job.data


def tracking_uri(job: Job) -> str:
    """The configured address, or SQLite in the data folder; a file by its absolute path, wherever we go meanwhile."""
    uri = job.settings.tracking.uri
    if uri is None:
        return _local_database_uri(job)
    if addresses.scheme_of(uri) != "sqlite" or "?" in uri:
        return uri
    return addresses.file_address("sqlite", addresses.writable_file(uri, "tracking.uri"))


def _local_database_uri(job: Job) -> str:
    return addresses.file_address("sqlite", (registry_folder(job) / mlflow_artifacts.DATABASE).resolve())


def ui_command(job: Job) -> str:
    """The command that shows the runs in MLflow's user interface, with the absolute address of this registry."""
    mlflow = Path(sys.executable).with_name("mlflow")
    program = shlex.quote(str(mlflow)) if mlflow.is_file() else "mlflow"
    return f"{program} ui --backend-store-uri {shlex.quote(tracking_uri(job))}"


@contextmanager
def registry_lock(job: Job) -> Iterator[None]:
    """One writer at a time. Two that create the database at once leave it broken."""
    folder = registry_folder(job)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".mlflow.lock", timeout=LOCK_TIMEOUT_SECONDS):
            yield
    except Timeout:
        raise RunLockedError(f"another run writes to MLflow in {folder}: try again later") from None


def mlflow_client(job: Job) -> MlflowClient:
    """A client of the tracking store and registry. Raises ServiceUnavailableError where they do not answer."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own seven take four minutes
    import mlflow

    class Client(mlflow.MlflowClient):
        """MLflow's client; a version's files lie in this data folder, whatever address was recorded."""

        def get_model_version_download_uri(self, name: str, version: str) -> str:
            recorded = str(super().get_model_version_download_uri(name, version))
            return str(mlflow_artifacts.local_artifact_uri(registry_folder(job), recorded)) if own else recorded

    uri = tracking_uri(job)
    own = uri == _local_database_uri(job)
    if own and (moved := mlflow_artifacts.relocate_artifacts(registry_folder(job))):
        structlog.get_logger().info(
            "the data folder was moved or copied", data=str(registry_folder(job)), addresses=moved
        )
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with translate_mlflow_errors(uri):
        return Client(tracking_uri=uri, registry_uri=uri)


@contextmanager
def translate_mlflow_errors(uri: str) -> Iterator[None]:
    """Whatever MLflow or its database complain of is one sentence, without the secrets of an address."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        place = uri.split("@")[-1]
        raise ServiceUnavailableError(f"MLflow at {place} does not answer: {str(error).splitlines()[0]}") from error


def ensure_experiment(client: MlflowClient, job: Job, target: str) -> str:
    """The experiment of a target's runs; artifacts lie in the data folder, unless a server looks after them."""
    name = registry_name(target)
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    local = not tracking_uri(job).startswith(("http://", "https://"))
    place = mlflow_artifacts.artifacts_folder(registry_folder(job)).as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=place))


def registered_versions(client: MlflowClient, target: str) -> list[ModelVersion]:
    """Every registered version of a target, the newest first."""
    found = client.search_model_versions(f"name = '{registry_name(target)}'")
    return sorted(found, key=lambda version: -int(version.version))


def version_by_alias(client: MlflowClient, target: str, alias: str = CHAMPION) -> ModelVersion | None:
    """The version that serves, or that stands under another alias, if any does."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(registry_name(target), alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def fetch_champion(job: Job, target: str) -> tuple[str, str, dict[str, bytes]]:
    """The version that serves a target: its name, its number and its files, every one checked.

    The alias is resolved once: what moves it later does not touch this run. Raises MissingInputError where no model
    serves, DataContractError where a file is not the one that was registered, Unavailable where nothing answers.
    """
    require_registry(job, target)
    with registry_lock(job):
        client = mlflow_client(job)
        with translate_mlflow_errors(tracking_uri(job)):
            version = version_by_alias(client, target)
            if version is None:
                raise MissingInputError(_no_champion_message(client, target))
            files = verified_files(client, version)
    return registry_name(target), str(version.version), files


def champions_by_target(job: Job, targets: Iterable[str]) -> dict[str, TrainedVersion]:
    """The version that serves each of these targets and its training day, by target; without those that none serves.

    Raises as `fetch_champion` does, but reads no file of a model.
    """
    found = {}
    with registry_lock(job):
        client = mlflow_client(job)
        with translate_mlflow_errors(tracking_uri(job)):
            for target in targets:
                version = version_by_alias(client, target)
                if version is not None:
                    until = version.tags.get("until")
                    found[target] = TrainedVersion(str(version.version), date.fromisoformat(until) if until else None)
    return found


def fetch_challenger(job: Job, target: str) -> tuple[str, str, dict[str, bytes]] | None:
    """The version that passed the gate and waits, as `fetch_champion` gives it; None where none does."""
    require_registry(job, target)
    with registry_lock(job):
        client = mlflow_client(job)
        with translate_mlflow_errors(tracking_uri(job)):
            version = version_by_alias(client, target, CHALLENGER)
            files = verified_files(client, version) if version is not None else {}
    return (registry_name(target), str(version.version), files) if version is not None else None


def fetch_version(job: Job, target: str, number: str) -> dict[str, bytes]:
    """The files of any version, every one checked. Raises as `fetch_champion` does; MissingInputError where it is not
    there."""
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
    """Raises MissingInputError where there is no database yet: asking for a model must not make one."""
    if not has_registry(job):
        raise MissingInputError(
            f"no model of {target} in {registry_folder(job)}: run `renewals learn --until DATE` first"
        )


def has_registry(job: Job) -> bool:
    """Whether a server is configured or a database was made in the data folder."""
    return job.settings.tracking.uri is not None or (registry_folder(job) / mlflow_artifacts.DATABASE).is_file()


def _no_champion_message(client: MlflowClient, target: str) -> str:
    known = registered_versions(client, target)
    if not known:
        return no_version_message(target)
    newest = known[0]
    if newest.tags.get(GATE_TAG) == PASSED:
        return (
            f"no model of {target} serves: version {newest.version} passed the gate and waits; "
            f"`renewals promote {target} --version {newest.version}` makes it serve"
        )
    reasons = newest.tags.get(REASONS_TAG, "not said")
    return f"no model of {target} has passed the gate; the newest, version {newest.version}, was refused: {reasons}"


def no_version_message(target: str) -> str:
    """What is said where a target has no version at all."""
    what = "run `renewals learn --until DATE`; where it has run, there were too few outcomes to learn from"
    return f"no model of {target} is registered: {what}"


def verified_files(client: MlflowClient, version: ModelVersion) -> dict[str, bytes]:
    """The files of a version, each as its manifest says. Raises DataContractError otherwise."""
    name = f"{version.name}/{version.version}"
    with tempfile.TemporaryDirectory(prefix="renewals-model-") as folder:
        files = _download_files(client, version, Path(folder))
    manifest = files.pop(MANIFEST, b"")
    if sha256(manifest) != version.tags.get(MANIFEST_TAG):
        raise DataContractError(
            f"model {name}: its manifest is not the one that was registered; run `renewals learn` again"
        )
    said: dict[str, str] = json.loads(manifest)["files"]
    foreign = sorted(
        file for file in said.keys() | files.keys() if file not in said or Path(file).suffix not in MODEL_FILE_SUFFIXES
    )
    if foreign:
        raise DataContractError(
            f"model {name}: unexpected file {', '.join(foreign)} (a model has registered files only, each "
            f"{', '.join(MODEL_FILE_SUFFIXES)}); remove it, or run `renewals learn` again"
        )
    wrong = [file for file, digest in said.items() if sha256(files.get(file, b"")) != digest]
    if wrong:
        raise DataContractError(
            f"model {name}: {', '.join(wrong)} changed since registration (SHA-256); restore the files or run "
            "`renewals learn` again"
        )
    return upgrade_model_files(old_names.rename_model_files({file: files[file] for file in said}))


def _download_files(client: MlflowClient, version: ModelVersion, folder: Path) -> dict[str, bytes]:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        source = client.get_model_version_download_uri(version.name, version.version)
        got = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"{source}/{EXTRA_FILES}", dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        lost = str(error).splitlines()[0]
        raise DataContractError(f"model {version.name}/{version.version}: its files cannot be read: {lost}") from error
    return {path.name: path.read_bytes() for path in got.iterdir() if path.is_file()}


def build_manifest(files: dict[str, bytes]) -> bytes:
    """The fingerprint of every file, as a file."""
    digests = {name: sha256(content) for name, content in sorted(files.items())}
    return (json.dumps({"files": digests}, indent=1) + "\n").encode()


def code_fingerprint(root: Path = CODE_ROOT) -> str:
    """One fingerprint of the code that decides what a feature and a model are; needs no git."""
    digest = hashlib.sha256()
    for path in sorted([*root.glob("features/**/*.py"), *root.glob("models/**/*.py")]):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def read_model_json(files: dict[str, bytes], name: str) -> Any:
    """One of a model's JSON files."""
    return json.loads(files[name])
