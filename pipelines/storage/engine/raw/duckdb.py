"""Reader of raw tables in a DuckDB file."""

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
    """Open the tables of the data contract in a DuckDB file, by name; raises the errors of `_attach_database`, and
    `DataContractError` for a table or view that cannot be read."""
    catalog, schema = _attach_database(con, path), source.schema_name or "main"
    where = f"table_catalog = {sql_literal(catalog)} AND table_schema = {sql_literal(schema)}"
    query = f"SELECT table_name FROM system.information_schema.tables WHERE {where}"
    existing = {row[0] for row in con.raw_sql(query).fetchall()}
    raw_tables = {}
    for table in TABLES:
        name = source.table_names.get(table, table)
        if name in existing:
            with translate_engine_errors(table), _translate_read_errors(f"{table}: {schema}.{name} in {path}"):
                con.raw_sql(f"DESCRIBE {sql_identifier(catalog)}.{schema}.{name}")  # Ibis hides errors of a view
                rows, wide = wide_numbers.wide_integers_to_text(con.table(name, database=(catalog, schema)))
                raw_tables[table] = RawTable(table, (rows,), fingerprint_rows(con, rows), numeric_text_columns=wide)
    return raw_tables


def _attach_database(con: Any, path: Path) -> str:
    """Attach a DuckDB file read-only and return the name of its catalogue.

    DuckDB names the catalogue after the file, and views may contain that name, as those written by dbt do. Raises
    ServiceUnavailableError while another process writes, MissingInputError without permission to read the file,
    DataContractError if the file cannot be read.
    """
    import duckdb

    before = _attached_catalogs(con)
    try:
        # Our own tables are in the catalogue `memory`, so a file of that name needs another one.
        alias = " AS given" if path.name.split(".")[0].lower() == con.current_catalog else ""
        con.raw_sql(f"ATTACH {sql_literal(path)}{alias} (READ_ONLY)")
    except duckdb.Error as error:
        raise _attach_error(path, error) from None
    (catalog,) = _attached_catalogs(con) - before
    return catalog


def _attached_catalogs(con: Any) -> set[str]:
    return {str(row[0]) for row in con.raw_sql("SELECT database_name FROM duckdb_databases()").fetchall()}


def _attach_error(path: Path, error: Exception) -> RunError:
    import duckdb

    message = str(error)
    if "Could not set lock" in message:
        return ServiceUnavailableError(f"{path} is being written by another process; try again later")
    if "Permission denied" in message:
        return MissingInputError(f"{path} may not be read by this user: ask for the permission to read it")
    if "newer version of DuckDB" in message:
        return DataContractError(
            f"{path} was written by a newer DuckDB than the {duckdb.__version__} here: write its tables as Parquet "
            f"with that one (EXPORT DATABASE 'FOLDER' (FORMAT parquet)) and give --tables FOLDER"
        )
    if "encrypted" in message:
        return DataContractError(
            f"{path} is encrypted, which is not supported: write its tables as Parquet and give --tables FOLDER"
        )
    return DataContractError(f"{path} is not a DuckDB file that can be read: {first_line(error)}")


@contextmanager
def _translate_read_errors(relation: str) -> Iterator[None]:
    """Turn an error of DuckDB on reading a table, most often of a view, into `DataContractError`; `relation` names the
    table in the message."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        reason = first_line(error).rstrip(".!")
        raise DataContractError(f"{relation} cannot be read: {reason}. {_view_hint(str(error))}") from None


def _view_hint(error_text: str) -> str:
    """Advice for a view that cannot be resolved."""
    advice = "Write the rows of the view into a table of the file (CREATE TABLE … AS FROM …)"
    if match := re.search(r'(?:Catalog|schema) "(.+?)" does not exist', error_text):
        return (
            f"{advice}; or, if the file had the name {match[1]}.duckdb when the view was made, give it that name again"
        )
    if "No files found" in error_text:
        reason = f"A path in a view is relative to the current folder, {Path.cwd()}"
        return f"{reason}: run the command in the folder where the path is valid. {advice}"
    return advice
