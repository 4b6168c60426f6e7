"""Raw tables in a DuckDB file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import DataContract, InputMissing, Stop, Unavailable
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage.engine import wide_numbers
from renewals.pipelines.storage.engine.engine_errors import faults, first_line
from renewals.pipelines.storage.engine.quoting import _identifier, _quoted
from renewals.pipelines.storage.engine.raw.raw_table import (
    Given,
    fingerprint_of_rows,
)


def _from_duckdb(con: Any, path: Path, source: Source) -> dict[str, Given]:
    catalog, schema = _attach(con, path), source.schema_name or "main"
    where = f"table_catalog = {_quoted(catalog)} AND table_schema = {_quoted(schema)}"
    query = f"SELECT table_name FROM system.information_schema.tables WHERE {where}"
    there = {row[0] for row in con.raw_sql(query).fetchall()}
    found = {}
    for table in TABLES:
        name = source.names.get(table, table)
        if name in there:
            with faults(table), _readable(f"{table}: {schema}.{name} in {path}"):
                con.raw_sql(f"DESCRIBE {_identifier(catalog)}.{schema}.{name}")  # Ibis would hide what a view lacks
                rows, numerals = wide_numbers.spelled_out(con.table(name, database=(catalog, schema)))
                found[table] = Given(table, (rows,), fingerprint_of_rows(con, rows), numerals=numerals)
    return found


def _attach(con: Any, path: Path) -> str:
    """The catalogue of a DuckDB file, attached to be read.

    DuckDB names it after the file, and views may hold that name, as those that dbt writes do. Raises Unavailable while
    another process writes, InputMissing where the file may not be read, DataContract where it is none we can read.
    """
    import duckdb

    before = _catalogs(con)
    try:
        # Our own tables are in `memory`, so a file of that name has to take another.
        named = " AS given" if path.name.split(".")[0].lower() == con.current_catalog else ""
        con.raw_sql(f"ATTACH {_quoted(path)}{named} (READ_ONLY)")
    except duckdb.Error as error:
        raise _unattached(path, error) from None
    (catalog,) = _catalogs(con) - before
    return catalog


def _catalogs(con: Any) -> set[str]:
    return {str(row[0]) for row in con.raw_sql("SELECT database_name FROM duckdb_databases()").fetchall()}


def _unattached(path: Path, error: Exception) -> Stop:
    import duckdb

    said = str(error)
    if "Could not set lock" in said:
        return Unavailable(f"{path} is being written by another process; try again later")
    if "Permission denied" in said:
        return InputMissing(f"{path} may not be read by this user: ask for the permission to read it")
    if "newer version of DuckDB" in said:
        return DataContract(
            f"{path} was written by a newer DuckDB than the {duckdb.__version__} here: write its tables as Parquet "
            f"with that one (EXPORT DATABASE 'FOLDER' (FORMAT parquet)) and give --tables FOLDER"
        )
    if "encrypted" in said:
        return DataContract(
            f"{path} is encrypted, and there is no place for its key: write its tables as Parquet and give the folder"
        )
    return DataContract(f"{path} is not a DuckDB file that can be read: {first_line(error)}")


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Turn whatever DuckDB says of a table that was given, most often of what a view stands on, into a stop."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        lack = first_line(error).rstrip(".!")
        raise DataContract(f"{what} cannot be read: {lack}. {_remedy(str(error))}") from None


def _remedy(said: str) -> str:
    """What to do about a view that does not bind."""
    table = "Write the rows of the view into a table of the file (CREATE TABLE … AS FROM …)"
    if other := re.search(r'(?:Catalog|schema) "(.+?)" does not exist', said):
        return (
            f"{table}; or, if the file had the name {other[1]}.duckdb when the view was made, give it that name again"
        )
    if "No files found" in said:
        where = f"A path in a view counts from the current folder, {Path.cwd()}"
        return f"{where}: run the command where the path holds. {table}"
    return table
