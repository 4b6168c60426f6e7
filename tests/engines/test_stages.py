"""Stages with `warehouse:` set to Spark: roll-up, windows and families write the same features as with DuckDB."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from renewals.examples.company import simulate_company, write_company
from renewals.pipelines.runtime.errors import ConfigError, OutputError, ServiceUnavailableError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.featurize import featurize
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows
from renewals.pipelines.storage.engine import engine_errors, spark
from tests.engines.conftest import free_port, running
from tests.oracle.worlds import values_match
from tests.root import ROOT

AS_OF = date(2025, 1, 1)
HEAVY = (rollup, windows, featurize)
SPARK = "org.apache.spark.deploy"


def job(data: Path, url: str | None = None) -> Job:
    overrides = [f"warehouse={url}"] if url else []
    return Job(read_settings(ROOT / "params.yaml", overrides), str(data / "raw"), data, data / "lists", as_of=AS_OF)


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """Data folder of a small company, with features computed by DuckDB."""
    data = tmp_path_factory.mktemp("company")
    write_company(simulate_company(40, 24, 7, date(2023, 1, 1)), data / "raw")
    for stage in (check, rollup, ledger, spine, windows, featurize):
        stage(job(data))
    return data


@pytest.fixture
def copy(company, tmp_path):
    """Copy of that folder for one test."""
    return shutil.copytree(company, tmp_path / "data")


def features(data: Path) -> dict:
    return {path.name: pq.read_table(path) for path in sorted((data / "act" / "features").glob("*.parquet"))}


def assert_equal_features(company: Path, data: Path) -> None:
    expected, actual = features(company), features(data)
    assert list(actual) == list(expected)
    for name, table in expected.items():
        assert actual[name].schema.remove_metadata() == table.schema.remove_metadata()
        rows = zip(table.to_pylist(), actual[name].to_pylist(), strict=True)
        differences = [(left, right) for left, right in rows if not all(values_match(left[c], right[c]) for c in left)]
        assert not differences, f"{name}: {differences[0]}"


@pytest.mark.slow
def test_spark_stages_write_the_same_features_as_duckdb(company, copy, sail):
    shutil.rmtree(copy / "rollup")
    for stage in HEAVY:
        stage(job(copy, sail))
    assert (copy / "act" / "windows" / "person_windows.parquet").is_dir(), "the windows stay in Spark"
    assert_equal_features(company, copy)
    for stage in HEAVY:  # DuckDB continues in the same folder and reuses Spark's parts
        stage(job(copy))
    assert (copy / "act" / "windows" / "person_windows.parquet").is_file()
    assert_equal_features(company, copy)


@pytest.mark.spark
def test_stages_run_on_a_cluster_by_the_address_of_its_master(company, copy, spark_home, tmp_path):
    """A master and one worker run on this machine; the stages run as commands, with the full pyspark package."""
    shutil.rmtree(copy / "rollup")
    port = free_port()
    address, logs = f"spark://127.0.0.1:{port}", tmp_path / "logs"
    logs.mkdir()
    (logs / "spark-defaults.conf").write_text("spark.sql.shuffle.partitions 1\n")
    master = [f"{SPARK}.master.Master", "--host", "127.0.0.1", "--port", port, "--webui-port", free_port()]
    worker = [f"{SPARK}.worker.Worker", "--cores", 2, "--memory", "2g", "--webui-port", (page := free_port()), address]
    classes = ["bin/spark-class"]
    with (
        running(classes + master, spark_home, port, logs),
        running(classes + worker, spark_home, page, logs),
    ):
        for stage in HEAVY:
            run_stage(stage.__name__, copy, address, spark_home, conf=logs)
    assert_equal_features(company, copy)


def run_stage(name: str, data: Path, url: str, spark_home: Path, conf: Path) -> None:
    paths = f"{spark_home.resolve().parent}{os.pathsep}{ROOT}"
    spark_variables = {"PYTHONPATH": paths, "SPARK_CONF_DIR": str(conf), "SPARK_LOCAL_IP": "127.0.0.1"}
    # A Spark Connect client in this process has set variables that would direct the command to its server.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("SPARK_CONNECT", "SPARK_REMOTE"))
    }
    options = ["--act", "--data", str(data), "--set", f"warehouse={url}", "--set", f"dates.as_of='{AS_OF}'"]
    subprocess.run(
        [sys.executable, "-m", f"renewals.pipelines.stages.prepare.{name}", *options],
        cwd=ROOT,
        env=inherited | spark_variables,
        check=True,
        timeout=600,
    )


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["sc", "spark"])
def test_address_without_a_server_is_refused(scheme, monkeypatch):
    monkeypatch.setattr(spark, "_require_packages", lambda scheme: None)
    with pytest.raises(
        ServiceUnavailableError, match=f"no Spark answers at {scheme}://127.0.0.1:1: Connection refused"
    ):
        spark.connect(f"{scheme}://127.0.0.1:1")


@pytest.mark.parametrize(("scheme", "extra"), [("sc", "spark"), ("spark", "spark-master")])
def test_missing_package_names_the_extra(scheme, extra, monkeypatch):
    monkeypatch.setattr(spark, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=f"install the extra `{extra}`"):
        spark.connect(f"{scheme}://127.0.0.1:1")


def test_master_without_java_is_refused(monkeypatch):
    monkeypatch.setattr(spark, "find_spec", lambda package: package)
    monkeypatch.setattr(spark.shutil, "which", lambda program: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ConfigError, match="needs Java"):
        spark.connect("spark://127.0.0.1:1")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://me:secret@host/db", "the features are not computed there"),
        ("mysql://me:secret@host/db", "spark://HOST:PORT"),
        ("spark://", "spark://HOST:PORT"),
    ],
)
def test_unsupported_warehouse_is_refused_without_its_secrets(url, message):
    with pytest.raises(ConfigError, match=message) as error:
        read_settings(None, [f"warehouse={url}"])
    assert "secret" not in str(error.value)


def test_address_is_shown_without_its_token():
    assert spark.redact_spark_url("sc://host:15002/;token=secret") == "sc://host:15002"


@pytest.mark.parametrize("server", ["sail", pytest.param("spark_connect", marks=pytest.mark.spark)])
def test_file_that_spark_does_not_see_is_named(server, request, tmp_path):
    con = spark.connect(request.getfixturevalue(server))
    with (
        pytest.raises(ConfigError, match=r"spine\.parquet: Spark does not find"),
        engine_errors.translate_engine_errors("spine.parquet"),
    ):
        spark.read_parquet_files(con, [tmp_path / "spine.parquet"])


def test_output_on_a_disk_that_is_not_shared_is_refused(tmp_path):
    with pytest.raises(OutputError, match="must be shared with Spark"):
        spark._move_into_place(tmp_path / "nothing", tmp_path / "part.parquet")
