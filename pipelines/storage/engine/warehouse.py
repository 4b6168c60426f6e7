"""The query engine and everything it opens: raw tables in, clean and made tables in and out.

Raw tables come from a folder (Parquet, CSV), a DuckDB file or a Postgres database, and are only ever
read. What is written appears whole or not at all.
"""

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
    """An in-memory DuckDB that counts time in UTC, keeps to its limits, fetches nothing from anywhere and is silent."""
    con = ibis.duckdb.connect(
        threads=engine.threads if engine else 1,
        memory_limit=engine.memory if engine else "2GB",
        temp_directory=str(Path(tempfile.gettempdir()) / f"renewals-spill-{os.getpid()}"),
        autoinstall_known_extensions=False,
    )
    con.raw_sql("SET TimeZone = 'UTC'")
    con.raw_sql("SET enable_progress_bar = false")  # on where nobody's script is running, and then on standard output
    return con


def connect_feature_engine(settings: Settings) -> Any:
    """Where the roll-up, the windows and the families run: the warehouse that `params.yaml` names, or DuckDB here."""
    if settings.warehouse is None:
        return connect(settings.engine)
    from renewals.pipelines.storage.engine import spark

    return spark.connect(settings.warehouse)


# --- tables of our own ---------------------------------------------------------------------------


def clean_tables(con: Any, data: Path) -> dict[str, ir.Table]:
    """The tables that `check` certified, by name; an optional table that was not given is absent."""
    paths = {name: data / "clean" / f"{name}.parquet" for name in TABLES}
    missing = [name for name, path in paths.items() if TABLES[name].required and not path.is_file()]
    if missing:
        raise MissingInputError(f"no clean table {missing[0]} in {data / 'clean'}: run `renewals check` first")
    return {name: read_parquet(con, path) for name, path in paths.items() if path.is_file()}


def read_parquet(con: Any, path: Path) -> ir.Table:
    """A Parquet file, or all Parquet files under a folder as one table."""
    files = parquet_files(path)
    if not files:
        raise MissingInputError(f"nothing to read at {path}: run the stage that writes it first")
    with translate_engine_errors(path.name):
        if con.name == "pyspark":
            from renewals.pipelines.storage.engine import spark

            return spark.read_parquet_files(con, files)
        return con.read_parquet([str(file) for file in files], hive_partitioning=False)


def write_parquet(rows: ir.Table, path: Path, order_by: Sequence[Any] = ()) -> int:
    """Write a table here, whole or not at all, and return its number of rows; `order_by` makes its order sure."""
    if ibis.get_backend(rows).name != "duckdb":
        with translate_engine_errors(path.name):
            rows = connect().create_table("brought_home", rows.to_pyarrow())
    ordered = rows.order_by(list(order_by)) if order_by else rows
    with atomic_path(path) as unfinished, translate_engine_errors(f"writing {path.name}"):
        return copy_to_parquet(ordered, unfinished)


def write_in_engine(rows: ir.Table, path: Path, order_by: Sequence[Any] = ()) -> int:
    """Write a table that stays with the warehouse, as `write_parquet` does; Spark writes a folder, in any order."""
    if ibis.get_backend(rows).name != "pyspark":
        return write_parquet(rows, path, order_by)
    import pyarrow.parquet as pq

    from renewals.pipelines.storage.engine import spark

    with translate_engine_errors(f"writing {path.name}"):
        spark.write_parquet_folder(rows, path)
        return sum(pq.read_metadata(file).num_rows for file in parquet_files(path))


def materialize(con: Any, name: str, rows: ir.Table) -> ir.Table:
    """The same rows, computed once for this run where the engine keeps tables of a session; Spark does so again."""
    return con.create_table(name, rows, temp=True) if con.name == "duckdb" else rows


# --- raw tables ----------------------------------------------------------------------------------


# --- CSV -----------------------------------------------------------------------------------------


# --- databases -----------------------------------------------------------------------------------
