"""Where MLflow is, and what is said when it is not; and what becomes of a data folder that was moved."""

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


def test_by_default_it_is_sqlite_in_the_data_folder_wherever_we_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert model_registry.tracking_uri(job(Path("here"))) == f"sqlite:///{tmp_path}/here/mlflow.db"


def test_a_configured_address_is_taken_as_it_is(tmp_path):
    assert model_registry.tracking_uri(job(tmp_path, "tracking.uri=http://mlflow:5000")) == "http://mlflow:5000"


def test_asking_for_a_champion_makes_no_database(tmp_path):
    with pytest.raises(MissingInputError, match="renewals learn"):
        model_registry.fetch_champion(job(tmp_path), "renewal")
    assert not (tmp_path / "mlflow.db").exists()


def test_a_second_writer_waits_and_is_then_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(model_registry, "LOCK_TIMEOUT_SECONDS", 0.05)
    with (
        FileLock(tmp_path / ".mlflow.lock"),
        pytest.raises(RunLockedError, match="another run"),
        model_registry.registry_lock(job(tmp_path)),
    ):
        pass


def test_a_complaint_of_mlflow_is_one_line_without_the_password():
    from mlflow.exceptions import MlflowException

    complaint = MlflowException("no such host\nand a long trace")
    with (
        pytest.raises(ServiceUnavailableError) as stopped,
        model_registry.translate_mlflow_errors("postgresql://me:secret@db/mlflow"),
    ):
        raise complaint
    assert "no such host" in str(stopped.value)
    assert "db/mlflow" in str(stopped.value)
    assert "secret" not in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_the_code_has_a_fingerprint_that_needs_no_git():
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
def test_the_registry_is_made_in_the_data_folder_whatever_it_is_called(tmp_path, name):
    there = job(tmp_path / name)
    with model_registry.registry_lock(there):
        client = model_registry.mlflow_client(there)
        run = client.create_run(model_registry.ensure_experiment(client, there, "renewal"))
        client.log_text(run.info.run_id, "here", "a.txt")
    assert (tmp_path / name / "mlflow.db").is_file()
    assert [file.read_text() for file in (tmp_path / name / "mlartifacts").rglob("a.txt")] == ["here"]


def test_a_relative_sqlite_address_stays_where_it_was_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configured = model_registry.tracking_uri(job(tmp_path, "tracking.uri=sqlite:///runs.db"))
    assert configured == f"sqlite:///{tmp_path}/runs.db"


def test_a_sqlite_address_with_a_slash_too_few_names_the_right_one(tmp_path):
    with pytest.raises(ConfigError, match=f"write sqlite:///{tmp_path}/runs.db"):
        model_registry.tracking_uri(job(tmp_path, f"tracking.uri=sqlite://{tmp_path}/runs.db"))


def test_the_command_for_the_runs_names_this_registry_and_survives_a_shell(tmp_path):
    there = job(tmp_path / "it's here")
    words = shlex.split(model_registry.ui_command(there))
    assert words[1:] == ["ui", "--backend-store-uri", model_registry.tracking_uri(there)]
    assert Path(words[0]).name == "mlflow"


# --- a data folder that was moved ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "end"),
    [
        ("file:///old/place/mlartifacts", ""),
        ("file:///old/place/mlartifacts/models/m-1/artifacts", "/models/m-1/artifacts"),
        ("file:///mlartifacts/in%20the%20name/mlartifacts/7/artifacts", "/7/artifacts"),
        ("/old/place/mlartifacts/7/artifacts", "/7/artifacts"),
    ],
)
def test_an_address_is_read_by_its_end(tmp_path, recorded, end):
    assert (
        mlflow_artifacts.local_artifact_uri(tmp_path / "a b", recorded)
        == f"{(tmp_path / 'a b').as_uri()}/mlartifacts{end}"
    )


@pytest.mark.parametrize(
    "recorded", [None, "s3://bucket/mlartifacts/7", "models:/m-1", "file:///old/other/7", "file:///mlartifacts-2/7"]
)
def test_an_address_that_is_no_file_of_ours_stays(tmp_path, recorded):
    assert mlflow_artifacts.local_artifact_uri(tmp_path, recorded) == recorded


def recorded_in(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return [value for (value,) in database.execute("SELECT artifact_uri FROM runs")]


@pytest.fixture
def moved(tmp_path):
    """A data folder with one run, at another place than where it was made."""
    made = job(tmp_path / "made")
    with model_registry.registry_lock(made):
        client = model_registry.mlflow_client(made)
        run = client.create_run(model_registry.ensure_experiment(client, made, "renewal"))
        client.log_text(run.info.run_id, "here", "a.txt")
    (tmp_path / "made").rename(tmp_path / "moved")
    return tmp_path / "moved"


def test_the_first_use_of_a_moved_folder_brings_its_addresses_up_to_date_and_the_next_changes_nothing(moved):
    assert mlflow_artifacts.relocate_artifacts(moved) == 2
    (uri,) = recorded_in(moved)
    assert uri.startswith(f"{moved.as_uri()}/mlartifacts/")
    before = (moved / "mlflow.db").stat().st_mtime_ns
    assert mlflow_artifacts.relocate_artifacts(moved) == 0
    assert (moved / "mlflow.db").stat().st_mtime_ns == before


def test_opening_a_moved_registry_writes_new_runs_here_and_not_where_it_was(moved):
    there = job(moved)
    with model_registry.registry_lock(there):
        client = model_registry.mlflow_client(there)
        run = client.create_run(model_registry.ensure_experiment(client, there, "renewal"))
        client.log_text(run.info.run_id, "new", "b.txt")
    assert len(list(moved.rglob("b.txt"))) == 1
    assert not (moved.parent / "made").exists()


def test_where_no_database_is_none_is_made_and_one_that_is_damaged_is_left(tmp_path):
    assert mlflow_artifacts.relocate_artifacts(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    assert mlflow_artifacts.relocate_artifacts(tmp_path) == 0
    assert (tmp_path / "mlflow.db").read_bytes() == b"no database" * 100


def test_addresses_change_all_or_none(moved, monkeypatch):
    before = recorded_in(moved)
    monkeypatch.setattr(
        mlflow_artifacts, "URI_COLUMNS", (*mlflow_artifacts.URI_COLUMNS, ("no_such_table", "no_such_column"))
    )
    assert mlflow_artifacts.relocate_artifacts(moved) == 0
    assert recorded_in(moved) == before


def test_a_registry_that_was_configured_elsewhere_keeps_its_addresses(moved):
    before = recorded_in(moved)
    client = model_registry.mlflow_client(job(moved.parent / "other", f"tracking.uri=sqlite:///{moved}/mlflow.db"))
    assert recorded_in(moved) == before
    client.create_registered_model("renewals-renewal")
    client.create_model_version("renewals-renewal", before[0])
    assert client.get_model_version_download_uri("renewals-renewal", "1") == before[0]
