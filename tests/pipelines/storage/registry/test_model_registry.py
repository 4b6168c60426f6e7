"""Location and errors of the MLflow registry, and relocation of a moved data folder."""

import shlex
import shutil
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from filelock import FileLock

from renewals.pipelines.runtime.errors import ConfigError, MissingInputError, RunLockedError, ServiceUnavailableError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.storage.registry import mlflow_artifacts, model_registry
from tests.root import ROOT


def job(folder: Path, *overrides: str) -> Job:
    return Job(read_settings(None, overrides), "", folder, folder / "lists", as_of=date(2026, 1, 1))


def test_default_uri_is_sqlite_in_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_registry.tracking_uri(job(Path("here"))) == f"sqlite:///{tmp_path}/here/mlflow.db"


def test_a_configured_uri_is_unchanged(tmp_path):
    assert model_registry.tracking_uri(job(tmp_path, "tracking.uri=http://mlflow:5000")) == "http://mlflow:5000"


def test_fetch_champion_creates_no_database(tmp_path):
    with pytest.raises(MissingInputError, match="renewals learn"):
        model_registry.fetch_champion(job(tmp_path), "renewal")
    assert not (tmp_path / "mlflow.db").exists()


def test_a_second_writer_raises_an_error_after_the_timeout(tmp_path, monkeypatch):
    monkeypatch.setattr(model_registry, "LOCK_TIMEOUT_SECONDS", 0.05)
    with (
        FileLock(tmp_path / ".mlflow.lock"),
        pytest.raises(RunLockedError, match="another run"),
        model_registry.registry_lock(job(tmp_path)),
    ):
        pass


def test_an_error_of_mlflow_is_one_line_without_the_password():
    from mlflow.exceptions import MlflowException

    mlflow_error = MlflowException("no such host\nand a long trace")
    with (
        pytest.raises(ServiceUnavailableError) as raised,
        model_registry.translate_mlflow_errors("postgresql://me:secret@db/mlflow"),
    ):
        raise mlflow_error
    assert "no such host" in str(raised.value)
    assert "db/mlflow" in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_code_fingerprint_needs_no_git():
    assert model_registry.code_fingerprint() == model_registry.code_fingerprint()
    assert len(model_registry.code_fingerprint()) == 64


@pytest.mark.parametrize("package", ["features", "models"])
def test_the_fingerprint_changes_with_every_file_of_features_and_models(tmp_path, package):
    for name in ("features", "models"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    seen = {model_registry.code_fingerprint(tmp_path)}
    assert seen == {model_registry.code_fingerprint()}
    files = sorted((tmp_path / package).rglob("*.py"))
    assert len(files) > 25
    for file in files:
        file.write_bytes(file.read_bytes() + b"\n")
        seen.add(model_registry.code_fingerprint(tmp_path))
    assert len(seen) == 1 + len(files)


@pytest.mark.parametrize("name", ["a b", "100% 'q'", "20%20", "what?", "a#b", "公司"])
def test_the_registry_is_created_in_a_data_folder_of_any_name(tmp_path, name):
    named_job = job(tmp_path / name)
    with model_registry.registry_lock(named_job):
        client = model_registry.mlflow_client(named_job)
        run = client.create_run(model_registry.ensure_experiment(client, named_job, "renewal"))
        client.log_text(run.info.run_id, "here", "a.txt")
    assert (tmp_path / name / "mlflow.db").is_file()
    assert [file.read_text() for file in (tmp_path / name / "mlartifacts").rglob("a.txt")] == ["here"]


def test_a_relative_sqlite_uri_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configured = model_registry.tracking_uri(job(tmp_path, "tracking.uri=sqlite:///runs.db"))
    assert configured == f"sqlite:///{tmp_path}/runs.db"


def test_error_for_a_sqlite_uri_without_a_slash_contains_the_correct_uri(tmp_path):
    with pytest.raises(ConfigError, match=f"write sqlite:///{tmp_path}/runs.db"):
        model_registry.tracking_uri(job(tmp_path, f"tracking.uri=sqlite://{tmp_path}/runs.db"))


def test_ui_command_contains_the_registry_uri_and_is_quoted_for_a_shell(tmp_path):
    quoted_job = job(tmp_path / "it's here")
    arguments = shlex.split(model_registry.ui_command(quoted_job))
    assert arguments[1:] == ["ui", "--backend-store-uri", model_registry.tracking_uri(quoted_job)]
    assert Path(arguments[0]).name == "mlflow"


# --- a moved data folder -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "expected_end"),
    [
        ("file:///old/place/mlartifacts", ""),
        ("file:///old/place/mlartifacts/models/m-1/artifacts", "/models/m-1/artifacts"),
        ("file:///mlartifacts/in%20the%20name/mlartifacts/7/artifacts", "/7/artifacts"),
        ("/old/place/mlartifacts/7/artifacts", "/7/artifacts"),
    ],
)
def test_local_uri_preserves_the_path_below_mlartifacts(tmp_path, recorded, expected_end):
    assert (
        mlflow_artifacts.local_artifact_uri(tmp_path / "a b", recorded)
        == f"{(tmp_path / 'a b').as_uri()}/mlartifacts{expected_end}"
    )


@pytest.mark.parametrize(
    "recorded", [None, "s3://bucket/mlartifacts/7", "models:/m-1", "file:///old/other/7", "file:///mlartifacts-2/7"]
)
def test_uris_outside_mlartifacts_are_unchanged(tmp_path, recorded):
    assert mlflow_artifacts.local_artifact_uri(tmp_path, recorded) == recorded


def artifact_uris(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return [value for (value,) in database.execute("SELECT artifact_uri FROM runs")]


@pytest.fixture
def relocated_folder(tmp_path):
    """Data folder with one run, renamed after its creation."""
    original = job(tmp_path / "original")
    with model_registry.registry_lock(original):
        client = model_registry.mlflow_client(original)
        run = client.create_run(model_registry.ensure_experiment(client, original, "renewal"))
        client.log_text(run.info.run_id, "here", "a.txt")
    (tmp_path / "original").rename(tmp_path / "moved")
    return tmp_path / "moved"


def test_relocation_updates_the_uris_once(relocated_folder):
    assert mlflow_artifacts.relocate_artifacts(relocated_folder) == 2
    (uri,) = artifact_uris(relocated_folder)
    assert uri.startswith(f"{relocated_folder.as_uri()}/mlartifacts/")
    before = (relocated_folder / "mlflow.db").stat().st_mtime_ns
    assert mlflow_artifacts.relocate_artifacts(relocated_folder) == 0
    assert (relocated_folder / "mlflow.db").stat().st_mtime_ns == before


def test_a_relocated_registry_writes_new_runs_in_the_new_folder(relocated_folder):
    relocated_job = job(relocated_folder)
    with model_registry.registry_lock(relocated_job):
        client = model_registry.mlflow_client(relocated_job)
        run = client.create_run(model_registry.ensure_experiment(client, relocated_job, "renewal"))
        client.log_text(run.info.run_id, "new", "b.txt")
    assert len(list(relocated_folder.rglob("b.txt"))) == 1
    assert not (relocated_folder.parent / "original").exists()


def test_relocation_creates_no_database_and_leaves_a_damaged_one(tmp_path):
    assert mlflow_artifacts.relocate_artifacts(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    assert mlflow_artifacts.relocate_artifacts(tmp_path) == 0
    assert (tmp_path / "mlflow.db").read_bytes() == b"no database" * 100


def test_relocation_is_atomic(relocated_folder, monkeypatch):
    before = artifact_uris(relocated_folder)
    monkeypatch.setattr(
        mlflow_artifacts, "URI_COLUMNS", (*mlflow_artifacts.URI_COLUMNS, ("no_such_table", "no_such_column"))
    )
    assert mlflow_artifacts.relocate_artifacts(relocated_folder) == 0
    assert artifact_uris(relocated_folder) == before


def test_a_configured_registry_is_not_relocated(relocated_folder):
    before = artifact_uris(relocated_folder)
    client = model_registry.mlflow_client(
        job(relocated_folder.parent / "other", f"tracking.uri=sqlite:///{relocated_folder}/mlflow.db")
    )
    assert artifact_uris(relocated_folder) == before
    client.create_registered_model("renewals-renewal")
    client.create_model_version("renewals-renewal", before[0])
    assert client.get_model_version_download_uri("renewals-renewal", "1") == before[0]
