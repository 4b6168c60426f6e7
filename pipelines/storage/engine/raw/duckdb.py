"""Raw tables in a DuckDB file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import DataContractError, MissingInputError, RunError, ServiceUnavailableError
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage.engine import wide_numbers
from renewals.pipelines.storage.engine.engine_errors import first_line, translate_engine_errors
from renewals.pipelines.storage.engine.quoting import sql_identifier, sql_literal
from renewals.pipelines.storage.engine.raw.raw_table import (
    RawTable,
    fingerprint_rows,
)


def read_duckdb(con: Any, path: Path, source: Source) -> dict[str, RawTable]:
    """The tables of a DuckDB file, by name."""
    catalog, schema = _attach_database(con, path), source.schema_name or "main"
    where = f"table_catalog = {sql_literal(catalog)} AND table_schema = {sql_literal(schema)}"
    query = f"SELECT table_name FROM system.information_schema.tables WHERE {where}"
    there = {row[0] for row in con.raw_sql(query).fetchall()}
    found = {}
    for table in TABLES:
        name = source.table_names.get(table, table)
        if name in there:
            with translate_engine_errors(table), _translate_read_errors(f"{table}: {schema}.{name} in {path}"):
                con.raw_sql(f"DESCRIBE {sql_identifier(catalog)}.{schema}.{name}")  # Ibis would hide what a view lacks
                rows, numerals = wide_numbers.wide_integers_to_text(con.table(name, database=(catalog, schema)))
                found[table] = RawTable(table, (rows,), fingerprint_rows(con, rows), numeric_text_columns=numerals)
    return found


def _attach_database(con: Any, path: Path) -> str:
    """The catalogue of a DuckDB file, attached to be read.

    DuckDB names it after the file, and views may hold that name, as those that dbt writes do. Raises
    ServiceUnavailableError while another process writes, MissingInputError where the file may not be read,
    DataContractError where it is none we can read.
    """
    import duckdb

    before = _attached_catalogs(con)
    try:
        # Our own tables are in `memory`, so a file of that name has to take another.
        named = " AS given" if path.name.split(".")[0].lower() == con.current_catalog else ""
        con.raw_sql(f"ATTACH {sql_literal(path)}{named} (READ_ONLY)")
    except duckdb.Error as error:
        raise _attach_error(path, error) from None
    (catalog,) = _attached_catalogs(con) - before
    return catalog


def _attached_catalogs(con: Any) -> set[str]:
    return {str(row[0]) for row in con.raw_sql("SELECT database_name FROM duckdb_databases()").fetchall()}


def _attach_error(path: Path, error: Exception) -> RunError:
    import duckdb

    said = str(error)
    if "Could not set lock" in said:
        return ServiceUnavailableError(f"{path} is being written by another process; try again later")
    if "Permission denied" in said:
        return MissingInputError(f"{path} may not be read by this user: ask for the permission to read it")
    if "newer version of DuckDB" in said:
        return DataContractError(
            f"{path} was written by a newer DuckDB than the {duckdb.__version__} here: write its tables as Parquet "
            f"with that one (EXPORT DATABASE 'FOLDER' (FORMAT parquet)) and give --tables FOLDER"
        )
    if "encrypted" in said:
        return DataContractError(
            f"{path} is encrypted, and there is no place for its key: write its tables as Parquet and give the folder"
        )
    return DataContractError(f"{path} is not a DuckDB file that can be read: {first_line(error)}")


@contextmanager
def _translate_read_errors(relation: str) -> Iterator[None]:
    """Turn whatever DuckDB says of a table that was given, most often of what a view stands on, into a stop."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        lack = first_line(error).rstrip(".!")
        raise DataContractError(f"{relation} cannot be read: {lack}. {_view_hint(str(error))}") from None


def _view_hint(error_text: str) -> str:
    """What to do about a view that does not bind."""
    table = "Write the rows of the view into a table of the file (CREATE TABLE … AS FROM …)"
    if other := re.search(r'(?:Catalog|schema) "(.+?)" does not exist', error_text):
        return (
            f"{table}; or, if the file had the name {other[1]}.duckdb when the view was made, give it that name again"
        )
    if "No files found" in error_text:
        where = f"A path in a view counts from the current folder, {Path.cwd()}"
        return f"{where}: run the command where the path holds. {table}"
    return table
