"""Spark as the engine for the roll-up, the windows and the families, through a cluster's master or Spark Connect.

Spark reads the Parquet files of the data folder in place and writes the roll-up and the windows next to them, so the
folder must have the same path on this machine and on all Spark machines. `pyspark` is imported only when it is used.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ibis
import ibis.expr.types as ir

from renewals.pipelines.runtime.errors import ConfigError, OutputError, RunError, ServiceUnavailableError

DEFAULT_PORTS = {"spark": 7077, "sc": 15002}
"""Ports of a master and of a Spark Connect server, for addresses without a port."""
REQUIRED_PACKAGES = {"spark": ("pyspark", "py4j"), "sc": ("pyspark", "grpc", "grpc_status")}
CONNECT_TIMEOUT_SECONDS = 10
NOT_SHARED_MESSAGE = "Spark does not find the data folder at the path that it has here; both must share it"
IGNORED_WARNINGS = (".*verifySchema.*", "The copy keyword is deprecated")
"""Warnings of Spark Connect and pandas 3 about calls inside Ibis and pyspark, which we cannot change."""


def connect(url: str) -> Any:
    """Connect to Spark and return an Ibis connection.

    `url` is `spark://HOST:PORT`, a cluster's master, or `sc://HOST:PORT`, a Spark Connect server. Raises `ConfigError`
    if a package or Java is missing, `ServiceUnavailableError` if the server does not answer.
    """
    scheme = url.partition("://")[0]
    require_spark(url)
    from pyspark.sql import SparkSession

    for pattern in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
    builder = SparkSession.builder
    builder = builder.remote(url) if scheme == "sc" else builder.master(url).config("spark.ui.enabled", "false")
    _register_bit_aggregates()
    try:
        return ibis.pyspark.connect(builder.appName("renewals").getOrCreate())
    except Exception as error:
        raise translate_spark_error(redact_spark_url(url), error) or error from None


def require_spark(url: str) -> None:
    """Raise `ConfigError` if a package or Java is missing, `ServiceUnavailableError` if no server listens at the
    address."""
    _require_packages(url.partition("://")[0])
    _require_connection(url)


def _require_packages(scheme: str) -> None:
    extra = {"sc": "spark", "spark": "spark-master"}[scheme]
    missing = [package for package in REQUIRED_PACKAGES[scheme] if find_spec(package) is None]
    if missing:
        raise ConfigError(f"warehouse: {scheme}:// needs the package {missing[0]}: install the extra `{extra}`")
    if scheme == "spark" and not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise ConfigError("warehouse: spark:// needs Java 17 or newer: install it, or set JAVA_HOME")


def _require_connection(url: str) -> None:
    """Open a test connection, because Spark's own client would retry for minutes. Raises `ServiceUnavailableError`."""
    hosts = url.partition("://")[2].partition("/")[0].split(",")
    refused = ""
    for host in hosts:
        parts = urlsplit(f"//{host}")
        try:
            address = (parts.hostname or "", parts.port or DEFAULT_PORTS[url.partition("://")[0]])
            with socket.create_connection(address, timeout=CONNECT_TIMEOUT_SECONDS):
                return
        except ValueError:
            raise ConfigError(
                f"warehouse: {redact_spark_url(url)} is not a valid address; write spark://HOST:PORT"
            ) from None
        except OSError as error:
            refused = error.strerror or str(error)
    raise ServiceUnavailableError(f"no Spark answers at {redact_spark_url(url)}: {refused}")


def _register_bit_aggregates() -> None:
    """Add `bit_or` and `bit_xor` to Ibis's Spark compiler: Ibis 12 lacks them, Spark has had them since version 3."""
    from ibis.backends.sql.compilers.pyspark import PySparkCompiler

    for rule, function in (("visit_BitOr", "bit_or"), ("visit_BitXor", "bit_xor")):
        setattr(PySparkCompiler, rule, _aggregate_visitor(function))


def _aggregate_visitor(function: str) -> Any:
    def visit(self: Any, op: Any, *, arg: Any, where: Any) -> Any:
        return getattr(self.agg, function)(arg, where=where)

    return visit


def redact_spark_url(url: str) -> str:
    """Spark address for display: without user, token and options."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition(';')[0].rpartition('@')[2]}"


def translate_spark_error(operation: str, error: Exception) -> RunError | None:
    """Translate a Spark error into a `RunError`; None for a mistake in a query and for errors that are not Spark's."""
    if "pyspark" not in sys.modules:
        return None
    from pyspark.errors import AnalysisException, PySparkException

    message = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if "PATH_NOT_FOUND" in message:
        return ConfigError(f"{operation}: {NOT_SHARED_MESSAGE}")
    if isinstance(error, AnalysisException):
        return None
    from_spark = isinstance(error, PySparkException) or type(error).__module__.split(".")[0] in ("py4j", "grpc")
    return ServiceUnavailableError(f"{operation}: Spark failed: {message}") if from_spark else None


# --- Parquet in and out --------------------------------------------------------------------------


def read_parquet_files(con: Any, files: Sequence[Path]) -> ir.Table:
    """Open Parquet files as one Spark table. Raises `ConfigError` if Spark does not see them."""
    name = ibis.util.gen_name("read")
    con._session.read.parquet(*(str(file.resolve()) for file in files)).createOrReplaceTempView(name)
    table = con.table(name)
    if not table.columns:  # Sail returns a table without columns for files that it does not find
        raise ConfigError(f"{files[0].name}: {NOT_SHARED_MESSAGE}")
    return table


def write_parquet_folder(rows: ir.Table, path: Path) -> None:
    """Write a Spark table as a folder of Parquet files at `path`, completely or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp").resolve()
    try:
        _cast_columns(rows).write.mode("overwrite").parquet(str(unfinished))
        _move_into_place(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _cast_columns(rows: ir.Table) -> Any:
    """Spark frame of the rows with each column cast to its Ibis type: Spark may turn a number combined with a literal
    into a decimal."""
    from ibis.backends.pyspark.datatypes import PySparkType

    con = ibis.get_backend(rows)
    con._run_pre_execute_hooks(rows)  # registers in-memory tables, such as those of a calendar, with Spark
    frame = con._session.sql(con.compile(rows))
    types = {name: PySparkType.from_ibis(kind) for name, kind in rows.schema().items()}
    return frame.select(*(frame[name].cast(kind) for name, kind in types.items()))


def _move_into_place(staging: Path, path: Path) -> None:
    """Move the folder that Spark wrote to `path`. Raises `OutputError` if it is on the disk of another machine."""
    if not any(file.suffix == ".parquet" for file in staging.glob("*")):
        raise OutputError(f"{path}: the files that Spark wrote are not here; the data folder must be shared with Spark")
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    staging.rename(path)
