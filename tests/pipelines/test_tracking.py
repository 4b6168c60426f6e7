"""Where MLflow is, and what is said when it is not; none of these tests makes a database."""

from datetime import date
from pathlib import Path

import pytest
from filelock import FileLock

from pipelines import tracking
from pipelines.errors import Busy, InputMissing, Unavailable
from pipelines.settings import read_settings
from pipelines.stage import Job


def job(folder: Path, *overrides: str) -> Job:
    return Job(read_settings(None, overrides), "", folder, folder / "lists", as_of=date(2026, 1, 1))


def test_by_default_it_is_sqlite_in_the_data_folder_wherever_we_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracking.tracking_uri(job(Path("here"))) == f"sqlite:////{str(tmp_path)[1:]}/here/mlflow.db"


def test_a_configured_address_is_taken_as_it_is(tmp_path):
    assert tracking.tracking_uri(job(tmp_path, "tracking.uri=http://mlflow:5000")) == "http://mlflow:5000"


def test_asking_for_a_champion_makes_no_database(tmp_path):
    with pytest.raises(InputMissing, match="renewals learn"):
        tracking.champion(job(tmp_path), "renewal")
    assert not (tmp_path / "mlflow.db").exists()


def test_a_second_writer_waits_and_is_then_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "WAIT_SECONDS", 0.05)
    with FileLock(tmp_path / ".mlflow.lock"), pytest.raises(Busy, match="another run"), tracking.alone(job(tmp_path)):
        pass


def test_a_complaint_of_mlflow_is_one_line_without_the_password():
    from mlflow.exceptions import MlflowException

    complaint = MlflowException("no such host\nand a long trace")
    with pytest.raises(Unavailable) as stopped, tracking.answering("postgresql://me:secret@db/mlflow"):
        raise complaint
    assert "no such host" in str(stopped.value)
    assert "db/mlflow" in str(stopped.value)
    assert "secret" not in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_the_code_has_a_fingerprint_that_needs_no_git():
    assert tracking.code_fingerprint() == tracking.code_fingerprint()
    assert len(tracking.code_fingerprint()) == 64
