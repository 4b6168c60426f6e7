"""`warehouse:` in the parameters: roll-up, windows and families on Spark, and the same figures come home."""

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
    """A small company worked out by DuckDB."""
    data = tmp_path_factory.mktemp("company")
    write_company(simulate_company(40, 24, 7, date(2023, 1, 1)), data / "raw")
    for stage in (check, rollup, spine, ledger, windows, featurize):
        stage(job(data))
    return data


@pytest.fixture
def copy(company, tmp_path):
    """Its own copy of that company, to work out once more."""
    return shutil.copytree(company, tmp_path / "data")


def features(data: Path) -> dict:
    return {path.name: pq.read_table(path) for path in sorted((data / "act" / "features").glob("*.parquet"))}


def assert_same(company: Path, other: Path) -> None:
    expected, found = features(company), features(other)
    assert list(found) == list(expected)
    for name, table in expected.items():
        assert found[name].schema.remove_metadata() == table.schema.remove_metadata()
        rows = zip(table.to_pylist(), found[name].to_pylist(), strict=True)
        unlike = [(one, other) for one, other in rows if not all(values_match(one[c], other[c]) for c in one)]
        assert not unlike, f"{name}: {unlike[0]}"


def test_what_comes_home_from_spark_is_what_duckdb_writes(company, copy, sail):
    shutil.rmtree(copy / "rollup")
    for stage in HEAVY:
        stage(job(copy, sail))
    assert (copy / "act" / "windows" / "person_windows.parquet").is_dir(), "the windows stay with Spark"
    assert_same(company, copy)
    for stage in HEAVY:  # and back again in the same folder, where Spark's parts are as good as DuckDB's
        stage(job(copy))
    assert (copy / "act" / "windows" / "person_windows.parquet").is_file()
    assert_same(company, copy)


@pytest.mark.spark
def test_a_cluster_is_reached_by_its_master(company, copy, spark_home, tmp_path):
    """A master and one worker on this machine, and the stages as a scheduler calls them, with the whole of pyspark."""
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
    assert_same(company, copy)


def run_stage(name: str, data: Path, url: str, spark_home: Path, conf: Path) -> None:
    paths = f"{spark_home.resolve().parent}{os.pathsep}{ROOT}"
    own = {"PYTHONPATH": paths, "SPARK_CONF_DIR": str(conf), "SPARK_LOCAL_IP": "127.0.0.1"}
    # A client of Spark Connect in this process has left word in the environment that everything goes through it.
    others = {
        name: value for name, value in os.environ.items() if not name.startswith(("SPARK_CONNECT", "SPARK_REMOTE"))
    }
    options = ["--act", "--data", str(data), "--set", f"warehouse={url}", "--set", f"dates.as_of='{AS_OF}'"]
    subprocess.run(
        [sys.executable, "-m", f"renewals.pipelines.stages.prepare.{name}", *options],
        cwd=ROOT,
        env=others | own,
        check=True,
        timeout=600,
    )


# --- what stops a run --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["sc", "spark"])
def test_nobody_answers(scheme, monkeypatch):
    monkeypatch.setattr(spark, "_require_packages", lambda scheme: None)
    with pytest.raises(
        ServiceUnavailableError, match=f"no Spark answers at {scheme}://127.0.0.1:1: Connection refused"
    ):
        spark.connect(f"{scheme}://127.0.0.1:1")


@pytest.mark.parametrize(("scheme", "extra"), [("sc", "spark"), ("spark", "spark-master")])
def test_a_missing_package_names_the_extra(scheme, extra, monkeypatch):
    monkeypatch.setattr(spark, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=f"install the extra `{extra}`"):
        spark.connect(f"{scheme}://127.0.0.1:1")


def test_a_master_without_java_says_so(monkeypatch):
    monkeypatch.setattr(spark, "find_spec", lambda package: package)
    monkeypatch.setattr(spark.shutil, "which", lambda program: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ConfigError, match="needs Java"):
        spark.connect("spark://127.0.0.1:1")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:secret@host/db", "the features are not computed there"),
        ("mysql://me:secret@host/db", "spark://HOST:PORT"),
        ("spark://", "spark://HOST:PORT"),
    ],
)
def test_another_warehouse_is_refused_without_its_secrets(url, said):
    with pytest.raises(ConfigError, match=said) as stopped:
        read_settings(None, [f"warehouse={url}"])
    assert "secret" not in str(stopped.value)


def test_an_address_is_shown_without_its_token():
    assert spark.redact_spark_url("sc://host:15002/;token=secret") == "sc://host:15002"


@pytest.mark.parametrize("server", ["sail", pytest.param("spark_connect", marks=pytest.mark.spark)])
def test_a_folder_that_spark_does_not_see_is_named(server, request, tmp_path):
    con = spark.connect(request.getfixturevalue(server))
    with (
        pytest.raises(ConfigError, match=r"spine\.parquet: Spark does not see"),
        engine_errors.translate_engine_errors("spine.parquet"),
    ):
        spark.read_parquet_files(con, [tmp_path / "spine.parquet"])


def test_what_is_written_to_another_machines_disk_is_missed(tmp_path):
    with pytest.raises(OutputError, match="must be shared with Spark"):
        spark._move_into_place(tmp_path / "nothing", tmp_path / "part.parquet")
