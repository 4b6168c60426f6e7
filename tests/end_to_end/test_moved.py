"""A copied data folder works from its copied files, also when the original is missing or damaged."""

import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from renewals.pipelines.commands.explain import explain
from renewals.pipelines.commands.score import run_score
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.stages.learn.register import register
from renewals.pipelines.storage.registry import mlflow_artifacts, model_registry


@pytest.fixture
def original(learned):
    """The job after `learn`; the name and the models of its folder are restored after the test."""
    job, _ = learned
    away, backup = job.data.with_name("away"), job.data.with_name("backup")
    shutil.copytree(job.data / mlflow_artifacts.ARTIFACTS, backup)
    yield job
    if away.exists():
        away.rename(job.data)
    shutil.rmtree(job.data / mlflow_artifacts.ARTIFACTS)
    backup.rename(job.data / mlflow_artifacts.ARTIFACTS)


@pytest.fixture
def copied(original, tmp_path):
    """The job on a copy; the name of its folder needs quoting."""
    folder = tmp_path / "it's a 100% copy 公司"
    shutil.copytree(original.data, folder, ignore=shutil.ignore_patterns("lists"))
    return replace(original, data=folder, lists=tmp_path / "lists")


def hide(job) -> None:
    job.data.rename(job.data.with_name("away"))


def test_score_and_explain_work_on_a_copy_without_the_original(original, copied):
    hide(original)
    score_job = replace(copied, as_of=copied.until, until=None)
    result = run_score(score_job)
    assert result["models"]["renewal"] == "renewals-renewal/1"
    import pandas as pd

    listed = pd.read_parquet(Path(result["folder"]) / "risk_list.parquet")
    account = str(listed["account_id"][listed["status"] == "scored"].iloc[0])
    assert explain(score_job, account)["account"]["account_id"] == account
    assert not original.data.exists()


def test_the_registry_of_a_copy_has_no_path_of_the_original_after_first_use(original, copied):
    assert columns_with_path(copied.data, original.data)
    model_registry.fetch_champion(copied, "renewal")
    assert columns_with_path(copied.data, original.data) == set()
    assert columns_with_path(original.data, copied.data) == set()


def columns_with_path(data: Path, folder: Path) -> set[tuple[str, str]]:
    """(table, column) pairs of the registry that contain the path of a folder, plain or as a URI."""
    columns = set()
    with closing(sqlite3.connect(data / mlflow_artifacts.DATABASE)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, *_ in database.execute(f'PRAGMA table_info("{table}")').fetchall():
                texts = [str(value) for (value,) in database.execute(f'SELECT "{column}" FROM "{table}"')]
                if any(form in text for text in texts for form in (f"{folder}/", f"{folder.as_uri()}/")):
                    columns.add((table, column))
    return columns


@pytest.mark.parametrize("writable", [True, False])
def test_a_copy_never_reads_the_models_of_the_original(original, copied, monkeypatch, writable):
    if not writable:  # simulates a database on a read-only disk
        monkeypatch.setattr(mlflow_artifacts, "relocate_artifacts", lambda data: 0)
    for file in (original.data / mlflow_artifacts.ARTIFACTS).rglob("additive_model.json"):
        file.write_bytes(b"{}")
    model_registry.fetch_champion(copied, "renewal")
    for file in (copied.data / mlflow_artifacts.ARTIFACTS).rglob("model.txt"):
        file.unlink()
    with pytest.raises(DataContractError):
        model_registry.fetch_champion(copied, "renewal")
    assert list((original.data / mlflow_artifacts.ARTIFACTS).rglob("model.txt"))


def test_a_version_registered_in_a_copy_is_stored_in_the_copy(original, copied):
    hide(original)
    before = set((copied.data / mlflow_artifacts.ARTIFACTS).rglob("*"))
    changed = copied.settings.model_copy(
        update={"calibration": copied.settings.calibration.model_copy(update={"prior_renewals": 1.0})}
    )
    assert register(replace(copied, settings=changed), "renewal")["version"] == "2"
    assert set((copied.data / mlflow_artifacts.ARTIFACTS).rglob("*")) > before
    assert not original.data.exists()


def fetch(address: str, query: dict | None = None) -> bytes:
    body = json.dumps(query).encode() if query is not None else None
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


@pytest.fixture
def server(copied, tmp_path):
    """Address of the MLflow server of the copy, started with the command that `learn` prints."""
    model_registry.fetch_champion(copied, "renewal")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*shlex.split(model_registry.ui_command(copied)), "--port", str(port), "--workers", "1"]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(
        command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    ) as started:  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        for _ in range(120):
            try:
                fetch(f"{address}/health")
                break
            except OSError:
                time.sleep(1)
        yield address
        os.killpg(started.pid, signal.SIGTERM)


@pytest.mark.slow
def test_mlflow_opens_a_run_of_a_copy_and_its_plots(original, server, tmp_path):
    hide(original)
    api = f"{server}/api/2.0/mlflow"
    experiment = json.loads(fetch(f"{api}/experiments/get-by-name?experiment_name=renewals-renewal"))["experiment"]
    (run,) = json.loads(fetch(f"{api}/runs/search", {"experiment_ids": [experiment["experiment_id"]]}))["runs"]
    run_id = run["info"]["run_id"]
    assert {param["key"] for param in run["data"]["params"]} >= {"until", "lightgbm.num_rounds"}
    files = json.loads(fetch(f"{api}/artifacts/list?run_id={run_id}"))["files"]
    assert {file["path"] for file in files} == {"params.json", "plots"}
    plot = fetch(f"{server}/get-artifact?path=plots/roc.png&run_uuid={run_id}")
    assert plot.startswith(b"\x89PNG")
