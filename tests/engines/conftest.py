"""Fixtures: servers to test the features on, skipped with a reason if not installed, and the expected features."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.oracle import answers as oracle
from tests.oracle.worlds import differences, engine
from tests.postgres import running_postgres
from tests.properties.accounts import DATES, POLICY, settle

ACCOUNTS = range(200)


@pytest.fixture(scope="session")
def world():
    """Tables of two hundred random accounts with edge cases: late facts, users without id, several currencies."""
    return settle(ACCOUNTS)


@pytest.fixture(scope="session")
def expected(world):
    """Features computed by DuckDB, after a check that they equal the oracle's."""
    answers = engine(DATES, POLICY).answers(world)
    assert differences(oracle.answers(world, DATES, POLICY), answers) == []
    return answers


@pytest.fixture(scope="session")
def sail():
    """Address of a Spark Connect server that needs no Java (Sail)."""
    server = pytest.importorskip("pysail.spark", reason="pysail is not installed").SparkConnectServer("127.0.0.1", 0)
    pytest.importorskip("grpc", reason="pyspark-client is not installed")
    server.start(background=True)
    yield f"sc://127.0.0.1:{server.listening_address[1]}"
    server.stop()


@pytest.fixture(scope="session")
def spark_home():
    """Folder of a Spark installation."""
    home = Path(os.environ.get("SPARK_HOME", ".venv/spark/pyspark"))
    if not (home / "bin" / "spark-submit").exists():
        pytest.skip("no Spark: `make test-engines` fetches one, or set SPARK_HOME")
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Spark needs Java 17 or newer, and there is none on the path")
    return home


@pytest.fixture(scope="session")
def spark_connect(spark_home, tmp_path_factory):
    """Address of a Connect server of the real Spark."""
    port = free_port()
    conf = {"spark.connect.grpc.binding.port": port, "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": 1}
    options = [argument for key, value in conf.items() for argument in ("--conf", f"{key}={value}")]
    server = "org.apache.spark.sql.connect.service.SparkConnectServer"
    command = ["bin/spark-submit", "--class", server, "--master", "local[2]", "--driver-memory", "2g", *options]
    with running(command, spark_home, port, tmp_path_factory.mktemp("spark")):
        yield f"sc://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def postgres():
    """Address of a PostgreSQL server."""
    with running_postgres() as server:
        yield server.get_uri()


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


class running:
    """Run a Spark server until the block ends."""

    def __init__(self, command, home, port, folder):
        self.command, self.home, self.port, self.folder = command, home, port, folder

    def __enter__(self):
        environment = os.environ | {"SPARK_HOME": str(self.home.resolve()), "SPARK_LOCAL_IP": "127.0.0.1"}
        self.log = (self.folder / "log.txt").open("w")
        command = [str(self.home.resolve() / self.command[0]), *map(str, self.command[1:])]
        self.server = subprocess.Popen(
            command, env=environment, cwd=self.folder, stdout=self.log, stderr=self.log, start_new_session=True
        )
        for _second in range(90):
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(1)
        self.__exit__()
        raise AssertionError(f"Spark did not start: {(self.folder / 'log.txt').read_text()[-2000:]}")

    def __exit__(self, *_error):
        self.server.terminate()
        self.server.wait(30)
        self.log.close()


def pytest_terminal_summary(terminalreporter):
    """Print the comparison of each engine, including those that a worker ran."""
    reports = [report for key in ("passed", "failed") for report in terminalreporter.stats.get(key, ())]
    lines = [text for report in reports for name, text in report.user_properties if name == "engine"]
    if lines:
        terminalreporter.section("engines")
        terminalreporter.write_line("\n".join(lines))
