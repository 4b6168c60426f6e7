"""Connections to the query engine, and reading and writing of clean and derived tables; writes are atomic."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.types as ir

from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.storage.engine.atomic import atomic_path
from renewals.pipelines.storage.engine.engine_errors import translate_engine_errors
from renewals.pipelines.storage.engine.parquet import copy_to_parquet, parquet_files

if TYPE_CHECKING:
    from renewals.pipelines.runtime.settings import Engine, Settings


def connect(engine: Engine | None = None) -> Any:
    """Open an in-memory DuckDB with UTC, the limits of `engine`, no downloads of extensions and no progress bar."""
    con = ibis.duckdb.connect(
        threads=engine.threads if engine else 1,
        memory_limit=engine.memory if engine else "2GB",
        temp_directory=str(Path(tempfile.gettempdir()) / f"renewals-spill-{os.getpid()}"),
        autoinstall_known_extensions=False,
    )
    con.raw_sql("SET TimeZone = 'UTC'")
    con.raw_sql("SET enable_progress_bar = false")  # in interactive sessions it would print to standard output
    return con


def connect_feature_engine(settings: Settings) -> Any:
    """Connect to the engine of the roll-up, windows and families: the warehouse of `params.yaml`, or DuckDB here."""
    if settings.warehouse is None:
        return connect(settings.engine)
    from renewals.pipelines.storage.engine import spark

    return spark.connect(settings.warehouse)


# --- clean and derived tables --------------------------------------------------------------------


def clean_tables(con: Any, data: Path) -> dict[str, ir.Table]:
    """Open the clean tables that `check` wrote, by name; optional tables that do not exist are left out.

    Raises MissingInputError if a required table is missing.
    """
    paths = {name: data / "clean" / f"{name}.parquet" for name in TABLES}
    missing = [name for name, path in paths.items() if TABLES[name].required and not path.is_file()]
    if missing:
        raise MissingInputError(f"no clean table {missing[0]} in {data / 'clean'}: run `renewals check` first")
    return {name: read_parquet(con, path) for name, path in paths.items() if path.is_file()}


def read_parquet(con: Any, path: Path) -> ir.Table:
    """Open a Parquet file, or all Parquet files below a folder, as one table. Raises MissingInputError."""
    files = parquet_files(path)
    if not files:
        raise MissingInputError(f"no Parquet file at {path}: run the stage that writes it first")
    with translate_engine_errors(path.name):
        if con.name == "pyspark":
            from renewals.pipelines.storage.engine import spark

            return spark.read_parquet_files(con, files)
        return con.read_parquet([str(file) for file in files], hive_partitioning=False)


def write_parquet(rows: ir.Table, path: Path, order_by: Sequence[Any] = ()) -> int:
    """Write a table to a local Parquet file, completely or not at all, and return its number of rows.

    `order_by` fixes the order of rows.
    """
    if ibis.get_backend(rows).name != "duckdb":
        with translate_engine_errors(path.name):
            rows = connect().create_table("brought_home", rows.to_pyarrow())
    ordered = rows.order_by(list(order_by)) if order_by else rows
    with atomic_path(path) as unfinished, translate_engine_errors(f"writing {path.name}"):
        return copy_to_parquet(ordered, unfinished)


def write_in_engine(rows: ir.Table, path: Path, order_by: Sequence[Any] = ()) -> int:
    """Write a table with the engine that computes it and return its number of rows.

    Spark writes a folder of files, in any order; other engines do the same as `write_parquet`.
    """
    if ibis.get_backend(rows).name != "pyspark":
        return write_parquet(rows, path, order_by)
    import pyarrow.parquet as pq

    from renewals.pipelines.storage.engine import spark

    with translate_engine_errors(f"writing {path.name}"):
        spark.write_parquet_folder(rows, path)
        return sum(pq.read_metadata(file).num_rows for file in parquet_files(path))


def materialize(con: Any, name: str, rows: ir.Table) -> ir.Table:
    """Compute the rows once into a temporary DuckDB table; Spark, which has none, computes them on every use."""
    return con.create_table(name, rows, temp=True) if con.name == "duckdb" else rows
