"""Reader of raw tables in a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import ConfigError, DataContractError, MissingInputError, ServiceUnavailableError
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage.addresses import redact_secrets, redact_url
from renewals.pipelines.storage.engine import wide_numbers
from renewals.pipelines.storage.engine.engine_errors import first_line
from renewals.pipelines.storage.engine.raw.csv import materialize_text, read_text_columns
from renewals.pipelines.storage.engine.raw.raw_table import (
    RawTable,
    fingerprint_rows,
)


def read_postgres(con: Any, url: str, source: Source, scratch: Path) -> dict[str, RawTable]:
    """Copy the tables of the data contract in one read-only transaction, so that all are of the same moment; by name.

    Raises `ConfigError` without the package psycopg, MissingInputError without permission to read, and
    ServiceUnavailableError for other errors of the database.
    """
    try:
        import psycopg
    except ImportError:
        raise ConfigError("postgresql:// needs the package psycopg: install the extra `postgres`") from None
    options = "-c default_transaction_read_only=on -c TimeZone=UTC -c DateStyle=ISO -c extra_float_digits=3"
    try:
        with psycopg.connect(url, connect_timeout=10, client_encoding="utf8", options=options) as database:
            database.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            database.read_only = True
            names = {table: source.table_names.get(table, table) for table in TABLES}
            columns = {t: _postgres_columns(database, source.schema_name, name, t) for t, name in names.items()}
            return {
                table: _copy_postgres_table(con, database, table, names[table], source, kinds, scratch)
                for table, kinds in columns.items()
                if kinds
            }
    except psycopg.errors.InsufficientPrivilege as error:
        raise MissingInputError(f"{redact_url(url)}: {first_line(error)}") from None
    except psycopg.Error as error:
        raise ServiceUnavailableError(f"{redact_url(url)}: {redact_secrets(first_line(error), url)}") from None


POSTGRES_COLUMNS_QUERY = """
SELECT attribute.attname, base.typname, format_type(attribute.atttypid, attribute.atttypmod)
FROM pg_attribute AS attribute
JOIN pg_type AS type ON type.oid = attribute.atttypid
JOIN pg_type AS base ON base.oid = CASE type.typtype WHEN 'd' THEN type.typbasetype ELSE type.oid END
WHERE attribute.attrelid = to_regclass(%s) AND attribute.attnum > 0 AND NOT attribute.attisdropped
ORDER BY attribute.attnum
"""
POSTGRES_TYPES = {
    **dict.fromkeys(("int2", "int4", "int8"), "int64"),
    **dict.fromkeys(("float4", "float8", "numeric"), "float64"),
    **dict.fromkeys(("timestamp", "timestamptz"), "timestamp(6)"),
    "date": "date",
    "bool": "boolean",
}
NUMERIC_TEXT = "digits"
"""Marker for an id of type numeric, which is read as the text of its digits because it may have any number of them."""


def _postgres_columns(database: Any, schema: str | None, name: str, table: str) -> dict[str, str]:
    """Type as which each column of a table is read, by column; empty if there is no such table."""
    qualified = f'"{schema}"."{name}"' if schema else f'"{name}"'
    ids = wide_numbers.id_columns(table)
    rows = database.execute(POSTGRES_COLUMNS_QUERY, (qualified,)).fetchall()
    return {column: _postgres_type(f"{table}.{column}", kind, written, column in ids) for column, kind, written in rows}


def _postgres_type(qualified_name: str, type_name: str, declared_type: str, is_id: bool) -> str:
    table, _dot, column = qualified_name.partition(".")
    if type_name == "money" and column in TABLES[table].columns:
        raise DataContractError(
            f"{qualified_name} has PostgreSQL's type money, which is formatted by the server's locale and has no "
            f"currency: read it from a view that casts it, `{column}::numeric AS {column}`, and name the view in "
            f"source.table_names.{table}"
        )
    if type_name == "numeric" and is_id:
        return NUMERIC_TEXT
    return (
        "int64" if type_name == "numeric" and declared_type.endswith(",0)") else POSTGRES_TYPES.get(type_name, "string")
    )


def _copy_postgres_table(
    con: Any, database: Any, table: str, name: str, source: Source, column_types: dict[str, str], scratch: Path
) -> RawTable:
    from psycopg import sql

    relation = sql.Identifier(source.schema_name, name) if source.schema_name else sql.Identifier(name)
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in column_types)
    query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv)").format(columns, relation)
    copy = scratch / f"{table}.csv"
    with copy.open("wb") as out, database.cursor() as cursor, cursor.copy(query) as stream:
        for block in stream:
            out.write(block)
    texts = read_text_columns(con, copy, list(column_types), header=False, nullstr=[""], allow_quoted_nulls=False)
    numeric_texts = frozenset(column for column, kind in column_types.items() if kind == NUMERIC_TEXT)
    typed = {c: texts[c].cast(kind) for c, kind in column_types.items() if c not in numeric_texts}
    rows = materialize_text(con, table, texts.mutate(**typed), scratch)
    copy.unlink()
    return RawTable(table, (rows,), fingerprint_rows(con, rows), numeric_text_columns=numeric_texts)
