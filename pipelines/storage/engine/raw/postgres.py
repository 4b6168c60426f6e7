"""Raw tables in a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import Config, DataContract, InputMissing, Unavailable
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage.addresses import redacted, without_secrets
from renewals.pipelines.storage.engine import wide_numbers
from renewals.pipelines.storage.engine.engine_errors import first_line
from renewals.pipelines.storage.engine.raw.csv import _texts, settled
from renewals.pipelines.storage.engine.raw.raw_table import (
    Given,
    fingerprint_of_rows,
)


def _from_postgres(con: Any, url: str, source: Source, scratch: Path) -> dict[str, Given]:
    """Each table copied in one read-only transaction, so that all are of one moment."""
    try:
        import psycopg
    except ImportError:
        raise Config("postgresql:// needs the package psycopg: install the extra `postgres`") from None
    options = "-c default_transaction_read_only=on -c TimeZone=UTC -c DateStyle=ISO -c extra_float_digits=3"
    try:
        with psycopg.connect(url, connect_timeout=10, client_encoding="utf8", options=options) as database:
            database.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            database.read_only = True
            names = {table: source.names.get(table, table) for table in TABLES}
            columns = {t: _postgres_columns(database, source.schema_name, name, t) for t, name in names.items()}
            return {
                table: _postgres_table(con, database, table, names[table], source, kinds, scratch)
                for table, kinds in columns.items()
                if kinds
            }
    except psycopg.errors.InsufficientPrivilege as error:
        raise InputMissing(f"{without_secrets(url)}: {first_line(error)}") from None
    except psycopg.Error as error:
        raise Unavailable(f"{without_secrets(url)}: {redacted(first_line(error), url)}") from None


POSTGRES_COLUMNS = """
SELECT attribute.attname, base.typname, format_type(attribute.atttypid, attribute.atttypmod)
FROM pg_attribute AS attribute
JOIN pg_type AS type ON type.oid = attribute.atttypid
JOIN pg_type AS base ON base.oid = CASE type.typtype WHEN 'd' THEN type.typbasetype ELSE type.oid END
WHERE attribute.attrelid = to_regclass(%s) AND attribute.attnum > 0 AND NOT attribute.attisdropped
ORDER BY attribute.attnum
"""
FROM_POSTGRES = {
    **dict.fromkeys(("int2", "int4", "int8"), "int64"),
    **dict.fromkeys(("float4", "float8", "numeric"), "float64"),
    **dict.fromkeys(("timestamp", "timestamptz"), "timestamp(6)"),
    "date": "date",
    "bool": "boolean",
}
DIGITS = "digits"
"""How an id of type numeric is read: as the text of its digits, for it may have any number of them."""


def _postgres_columns(database: Any, schema: str | None, name: str, table: str) -> dict[str, str]:
    """The columns of a table and the type each is read as; empty where there is no such table."""
    qualified = f'"{schema}"."{name}"' if schema else f'"{name}"'
    ids = wide_numbers.id_columns(table)
    rows = database.execute(POSTGRES_COLUMNS, (qualified,)).fetchall()
    return {column: _postgres_kind(f"{table}.{column}", kind, written, column in ids) for column, kind, written in rows}


def _postgres_kind(place: str, kind: str, written: str, is_id: bool) -> str:
    table, _dot, column = place.partition(".")
    if kind == "money" and column in TABLES[table].columns:
        raise DataContract(
            f"{place} is of PostgreSQL's type money, which is written as the server's locale has it, without a "
            f"currency: read it from a view that casts it, `{column}::numeric AS {column}`, and name the view in "
            f"source.names.{table}"
        )
    if kind == "numeric" and is_id:
        return DIGITS
    return "int64" if kind == "numeric" and written.endswith(",0)") else FROM_POSTGRES.get(kind, "string")


def _postgres_table(
    con: Any, database: Any, table: str, name: str, source: Source, kinds: dict[str, str], scratch: Path
) -> Given:
    from psycopg import sql

    place = sql.Identifier(source.schema_name, name) if source.schema_name else sql.Identifier(name)
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in kinds)
    query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv)").format(columns, place)
    copy = scratch / f"{table}.csv"
    with copy.open("wb") as out, database.cursor() as cursor, cursor.copy(query) as stream:
        for block in stream:
            out.write(block)
    texts = _texts(con, copy, list(kinds), header=False, nullstr=[""], allow_quoted_nulls=False)
    numerals = frozenset(column for column, kind in kinds.items() if kind == DIGITS)
    typed = {c: texts[c].cast(kind) for c, kind in kinds.items() if c not in numerals}
    rows = settled(con, table, texts.mutate(**typed), scratch)
    copy.unlink()
    return Given(table, (rows,), fingerprint_of_rows(con, rows), numerals=numerals)
