"""Command `renewals publish`: write the list of a date, its reasons and its forecast to tables of a database.

All tables are in one schema. A list is identified by its date and its renewal model. Writing the same list again
changes nothing; a list made again replaces the earlier rows; a list by another model is added. Everything happens in
one transaction: concurrent readers see the state before or after it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from pyarrow.csv import WriteOptions, write_csv

from renewals.models.explanation.reasons import REASON_COUNT, STRENGTH_COUNT
from renewals.pipelines.runtime.errors import (
    ConfigError,
    DataContractError,
    MissingInputError,
    OutputError,
    ServiceUnavailableError,
)
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.source_settings import IDENTIFIER_PATTERN
from renewals.pipelines.storage import addresses, data_files
from renewals.pipelines.storage.addresses import redact_secrets, redact_url
from renewals.pipelines.storage.artifacts import sha256
from renewals.pipelines.storage.engine.engine_errors import first_line
from renewals.pipelines.storage.published import list_archive
from renewals.pipelines.storage.published.hindsight import HINDSIGHT_KEY, is_hindsight_list, is_same_version
from renewals.pipelines.storage.published.list_folder import corrupted_files
from renewals.pipelines.storage.published.manifest import MANIFEST, read_manifest
from renewals.pipelines.storage.published.manifest import RISK_LIST as RISK_LIST_FILE

READ_ATTEMPTS = 5
LISTS, RISK_LIST, REASON, FORECAST = "lists", "risk_list", "reasons", "forecast"
NEWEST_LIST, NO_LONGER_LISTED = "newest_list", "no_longer_listed"
VERSION_COLUMNS = ("as_of", "renewal_model")
"""Columns that identify a list: its date and its renewal model."""
NO_MODEL = ""
"""Renewal model of a list without one, in a key column that may not be null."""
PRIMARY_KEYS = {
    LISTS: VERSION_COLUMNS,
    RISK_LIST: (*VERSION_COLUMNS, "renewal_id"),
    REASON: (*VERSION_COLUMNS, "renewal_id", "kind", "place"),
}
"""Columns that are unique together, by table."""
FINGERPRINT_COLUMNS = {LISTS: "list_key", FORECAST: "forecast_key"}
"""Column with the fingerprint of the source of a version's rows, by table."""
SQL_TYPES = {
    pa.string(): "text",
    pa.int64(): "bigint",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.timestamp("us", tz="UTC"): "timestamp with time zone",
}
TYPE_ALIASES = {"varchar": "text", "double": "double precision", "integer": "bigint", "character varying": "text"}
BATCH_ROWS = 50_000
"""Rows sent at once."""
ADVISORY_LOCK = 7_366_925_331
"""Key of the PostgreSQL advisory lock that writers wait for; an arbitrary constant."""


class Database(Protocol):
    """Operations on a database within a transaction."""

    def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a query and return its rows, none if it returns none; each `?` is replaced by a value."""

    def load(self, table: str, rows: pa.Table) -> None:
        """Append rows to a table that has all their columns."""

    def primary_key_clause(self, columns: Sequence[str]) -> str:
        """Clause of CREATE TABLE for a primary key; empty if the database does not support it here."""

    def qualified_schema(self, schema: str) -> str:
        """The schema as it must be written in SQL."""


def run_publish(job: Job, address: str, schema: str) -> dict[str, Any]:
    """Write the published list of the as-of date to the database at `address`.

    Returns the row counts and `state`: `written`, `replaced` or `unchanged`.

    Raises MissingInputError without a list, DataContractError if its files were changed, ConfigError for an invalid
    address or for tables of another kind, ServiceUnavailableError if the database does not answer, OutputError if it
    rejects the write.
    """
    if not re.match(IDENTIFIER_PATTERN, schema):
        raise ConfigError(f"--schema: {schema!r} is not a valid name; use letters, digits and _")
    manifest, listed = read_list(job.lists / job.day.isoformat())
    rows = database_tables(listed, manifest, _load_forecast(job, manifest))
    with _transaction(address) as database:
        state = _write_tables(database, schema, rows)
    counts = {name: table.num_rows for name, table in rows.items() if name != LISTS}
    public_address = _public_address(address)
    structlog.get_logger().info("list in the database", to=public_address, schema=schema, state=state)
    return {"as_of": manifest["as_of"], "to": public_address, "schema": schema, "state": state, "rows": counts}


def _public_address(address: str) -> str:
    """The address for logs and results: the absolute path of a file, or a server URL without secrets."""
    if addresses.scheme_of(address) != "duckdb":
        return redact_url(address)
    return addresses.file_address("duckdb", addresses.writable_file(address, "--to"))


def read_list(folder: Path) -> tuple[dict[str, Any], pa.Table]:
    """The manifest and the rows of a published list; reads again if another list replaced it meanwhile."""
    corrupted: list[str] = []
    for _ in range(READ_ATTEMPTS):
        manifest = _read_manifest(folder)
        corrupted = corrupted_files(folder, manifest)
        content = (folder / RISK_LIST_FILE).read_bytes() if not corrupted else b""
        if sha256(content) == manifest["files"][RISK_LIST_FILE]["sha256"]:
            return manifest, pq.read_table(pa.BufferReader(content))
    raise DataContractError(
        f"{folder / (corrupted or [RISK_LIST_FILE])[0]} differs from its manifest: run `renewals score` again"
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        return data_files.load(folder / MANIFEST, lambda: read_manifest(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise MissingInputError(f"no list at {folder}: run `renewals score --as-of {folder.name}` first") from None


def _load_forecast(job: Job, manifest: Mapping[str, Any]) -> pa.Table | None:
    """The forecast made with the list, or None."""
    try:
        return list_archive.read_archived_list(job, partial(_read_forecast, manifest=manifest))
    except MissingInputError:
        return None


def _read_forecast(day: Job, manifest: Mapping[str, Any]) -> pa.Table | None:
    from renewals.pipelines.storage.artifacts import FORECAST as PARQUET
    from renewals.pipelines.storage.artifacts import FORECAST_FOLDER
    from renewals.pipelines.storage.artifacts import FORECAST_SUMMARY as JSON

    folder = day.folder / FORECAST_FOLDER
    if not (folder / JSON).is_file():
        return None
    summary = data_files.load_json(folder / JSON)
    model = manifest["models"].get("renewal")
    is_of_list = summary["as_of"] == manifest["as_of"] and model is not None
    if not is_of_list or not is_same_version(summary["models"]["renewal"], model):
        return None
    content = (folder / PARQUET).read_bytes()
    rows = pq.read_table(pa.BufferReader(content))
    return rows.append_column(FINGERPRINT_COLUMNS[FORECAST], pa.repeat(sha256(content), rows.num_rows))


# --- rows of the tables ----------------------------------------------------------------------------


def database_tables(listed: pa.Table, manifest: Mapping[str, Any], forecast: pa.Table | None) -> dict[str, pa.Table]:
    """The rows of each table, by table name; as-of date and renewal model are the first columns."""
    model = manifest["models"].get("renewal")
    renewal_model = NO_MODEL if model is None else f"{model['name']}/{model['version']}"
    version = {
        "as_of": pa.scalar(datetime.fromisoformat(manifest["as_of"]).date()),
        "renewal_model": pa.scalar(renewal_model),
    }
    other_models = {
        target: f"{model['name']}/{model['version']}"
        for target, model in manifest["models"].items()
        if target != "renewal"
    }
    list_values = {
        FINGERPRINT_COLUMNS[LISTS]: manifest["list_key"],
        "other_models": json.dumps(other_models, sort_keys=True),
        "accounts": listed.num_rows,
        "language": manifest["language"],
        HINDSIGHT_KEY: is_hindsight_list(manifest),
        "code": manifest["code_revision"],
        "published_at": datetime.fromisoformat(manifest["ended_at"]),
        "written_at": datetime.now(UTC),
    }
    tables = {
        LISTS: pa.table({name: [value] for name, value in list_values.items()}),
        RISK_LIST: listed,
        REASON: reason_table(listed),
    }
    if forecast is not None:
        tables[FORECAST] = forecast
    return {name: _cast_portable(_add_version_columns(rows, version)) for name, rows in tables.items()}


def _add_version_columns(rows: pa.Table, version: Mapping[str, pa.Scalar]) -> pa.Table:
    """The rows with the as-of date and the renewal model of their list as the first columns."""
    rows = rows.drop_columns([name for name in version if name in rows.column_names])
    for place, (name, value) in enumerate(version.items()):
        rows = rows.add_column(place, name, pa.repeat(value, rows.num_rows))
    return rows


def reason_table(listed: pa.Table) -> pa.Table:
    """Reasons (risk factors) and strengths: one row per renewal, kind and place."""
    parts = [_reason_rows(listed, "reason", k) for k in range(1, REASON_COUNT + 1)]
    parts += [_reason_rows(listed, "strength", k) for k in range(1, STRENGTH_COUNT + 1)]
    return pa.concat_tables(parts)


def _reason_rows(listed: pa.Table, kind: str, place: int) -> pa.Table:
    name = f"{kind}_{place}"
    filled = listed.filter(listed[name].is_valid())
    constants = {"kind": pa.scalar(kind), "place": pa.scalar(place)}
    keys = {name: filled[name] for name in ("account_id", "renewal_id")}
    columns = {**keys, **{n: pa.repeat(v, filled.num_rows) for n, v in constants.items()}}
    columns["words"] = filled[name]
    for part, type_ in REASON_PARTS.items():
        exists = f"{name}_{part}" in filled.column_names
        columns[part] = filled[f"{name}_{part}"] if exists else pa.nulls(filled.num_rows, type_)
    return pa.table(columns)


REASON_PARTS = {
    "feature": pa.string(),
    "contribution": pa.float64(),
    "family": pa.string(),
    "theme": pa.string(),
    "actionable": pa.bool_(),
}


def _cast_portable(rows: pa.Table) -> pa.Table:
    """The rows in types that every database has; NUL characters, which PostgreSQL text cannot hold, become U+2400."""
    import pyarrow.compute as pc

    columns = {}
    for field, column in zip(rows.schema, rows.columns, strict=True):
        kind = _portable_type(field.type)
        portable = column.cast(kind)
        columns[field.name] = pc.replace_substring(portable, "\x00", "\u2400") if kind == pa.string() else portable
    return pa.table(columns)


def _portable_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC")
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_dictionary(kind) else kind


# --- writing -------------------------------------------------------------------------------------


def _write_tables(database: Database, schema: str, rows: Mapping[str, pa.Table]) -> str:
    """Write the rows unless the database has them already; return `written`, `replaced` or `unchanged`."""
    qualified = database.qualified_schema(schema)
    database.run(f"CREATE SCHEMA IF NOT EXISTS {qualified}")
    for name, table in rows.items():
        _prepare_table(database, schema, name, table.schema)
    version = [rows[LISTS][name][0].as_py() for name in VERSION_COLUMNS]
    _create_views(database, qualified)
    if _is_complete(database, qualified, rows, version):
        return "unchanged"
    existing = database.run(
        f"SELECT coalesce({HINDSIGHT_KEY}, FALSE) FROM {qualified}.{LISTS} WHERE {VERSION_CONDITION}", *version
    )
    if (False,) in existing and rows[LISTS][HINDSIGHT_KEY][0].as_py():
        raise ConfigError(
            f"{schema}.{LISTS} holds the list of {version[0]} by {version[1]} made without hindsight; a list made with "
            "hindsight cannot replace it: choose another --schema"
        )
    for name, table in rows.items():
        database.run(f"DELETE FROM {qualified}.{name} WHERE {VERSION_CONDITION}", *version)
        database.load(f"{qualified}.{name}", table)
    if not _is_complete(database, qualified, rows, version):
        raise OutputError(f"{schema}: rows read back differ from the rows written; the transaction was rolled back")
    return "replaced" if existing else "written"


VERSION_CONDITION = " AND ".join(f"{name} = ?" for name in VERSION_COLUMNS)


def _is_complete(database: Database, schema: str, rows: Mapping[str, pa.Table], version: Sequence[Any]) -> bool:
    """True if each table holds the expected number of rows of this version, with the same fingerprint."""
    for name, table in rows.items():
        count_query = f"SELECT count(*) FROM {schema}.{name} WHERE {VERSION_CONDITION}"
        if database.run(count_query, *version) != [(table.num_rows,)]:
            return False
        if name in FINGERPRINT_COLUMNS and table.num_rows:
            same_query = f"{count_query} AND {FINGERPRINT_COLUMNS[name]} = ?"
            if database.run(same_query, *version, table[FINGERPRINT_COLUMNS[name]][0].as_py()) != [(table.num_rows,)]:
                return False
    return True


def _prepare_table(database: Database, schema: str, name: str, required: pa.Schema) -> None:
    """Create the table, or add columns that an earlier release did not have.

    Raises ConfigError if a column has another type in the database, for example in a table of another program, or if a
    column of the key is missing: a key cannot be changed.
    """
    query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = ? AND table_name = ?"
    existing = {str(column): str(kind).lower() for column, kind in database.run(query, schema, name)}
    kinds = {field.name: SQL_TYPES[field.type] for field in required}
    qualified = database.qualified_schema(schema)
    if not existing:
        columns = ", ".join(f"{column} {kind}" for column, kind in kinds.items())
        database.run(
            f"CREATE TABLE {qualified}.{name} "
            f"({columns}{database.primary_key_clause(PRIMARY_KEYS[name]) if name in PRIMARY_KEYS else ''})"
        )
        return
    if missing_keys := set(PRIMARY_KEYS.get(name, ())) - set(existing):
        raise ConfigError(
            f"{schema}.{name} has no {', '.join(sorted(missing_keys))}: an earlier release wrote it, with one "
            "row per account; choose another --schema, or drop its tables"
        )
    for column, kind in kinds.items():
        if column not in existing:
            database.run(f"ALTER TABLE {qualified}.{name} ADD COLUMN {column} {kind}")
        elif TYPE_ALIASES.get(existing[column], existing[column]) != kind:
            raise ConfigError(
                f"{schema}.{name}.{column} is {existing[column]} in the database and {kind} here: the table belongs to "
                f"something else; choose another --schema"
            )


def _create_views(database: Database, schema: str) -> None:
    """Create the views: rows of the newest list, and the last rows of each account that is not on it.

    Lists made with hindsight are in neither view. New columns are appended at the end: a view can be extended only
    there.
    """
    rows = f"""
        SELECT lists.written_at, listed.*
        FROM {schema}.{RISK_LIST} AS listed
        JOIN {schema}.{LISTS} AS lists ON lists.as_of = listed.as_of AND lists.renewal_model = listed.renewal_model
    """
    in_time, newest_first = (
        f"NOT coalesce(lists.{HINDSIGHT_KEY}, FALSE)",
        "as_of DESC, written_at DESC, renewal_model DESC",
    )
    database.run(f"""
        CREATE OR REPLACE VIEW {schema}.{NEWEST_LIST} AS {rows}
        JOIN (
            SELECT as_of, renewal_model FROM {schema}.{LISTS} AS lists WHERE {in_time} ORDER BY {newest_first} LIMIT 1
        ) AS newest ON newest.as_of = listed.as_of AND newest.renewal_model = listed.renewal_model
    """)
    database.run(f"""
        CREATE OR REPLACE VIEW {schema}.{NO_LONGER_LISTED} AS {rows}
        JOIN (
            SELECT DISTINCT as_of, renewal_model, account_id, dense_rank() OVER (
                PARTITION BY account_id ORDER BY {newest_first}
            ) AS age
            FROM {schema}.{RISK_LIST} JOIN {schema}.{LISTS} AS lists USING (as_of, renewal_model) WHERE {in_time}
        ) AS last ON last.as_of = listed.as_of AND last.renewal_model = listed.renewal_model
            AND last.account_id = listed.account_id
        WHERE last.age = 1
            AND NOT EXISTS (SELECT 1 FROM {schema}.{NEWEST_LIST} AS newest WHERE newest.account_id = listed.account_id)
    """)


# --- databases -----------------------------------------------------------------------------------


@contextmanager
def _transaction(address: str) -> Iterator[Database]:
    """A transaction, committed at its end or rolled back on an error."""
    scheme = addresses.scheme_of(address)
    if scheme == addresses.POSTGRES:
        with _postgres_transaction(address) as database:
            yield database
    elif scheme == "duckdb":
        with _duckdb_transaction(addresses.writable_file(address, "--to")) as database:
            yield database
    else:
        raise ConfigError(
            f"--to: {redact_url(address)} is not a supported database; use postgresql://… or duckdb:///FILE"
        )


@dataclass
class _Postgres:
    cursor: Any

    def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        self.cursor.execute(query.replace("%", "%%").replace("?", "%s"), values)
        return list(self.cursor.fetchall()) if self.cursor.description else []

    def load(self, table: str, rows: pa.Table) -> None:
        """Load as CSV: Arrow quotes every text and leaves nulls empty, as PostgreSQL expects."""
        with self.cursor.copy(f"COPY {table} ({', '.join(rows.column_names)}) FROM STDIN (FORMAT csv)") as copy:
            for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
                sink = io.BytesIO()
                write_csv(batch, sink, WriteOptions(include_header=False))
                copy.write(sink.getvalue())

    def primary_key_clause(self, columns: Sequence[str]) -> str:
        return f", PRIMARY KEY ({', '.join(columns)})"

    def qualified_schema(self, schema: str) -> str:
        return schema


@contextmanager
def _postgres_transaction(url: str) -> Iterator[Database]:
    try:
        import psycopg
    except ImportError:
        raise ConfigError("postgresql:// needs the package psycopg: install the extra `postgres`") from None
    public_url = redact_url(url)
    try:
        with psycopg.connect(url, connect_timeout=10, client_encoding="utf8") as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
            yield _Postgres(cursor)
    except psycopg.errors.InsufficientPrivilege as error:
        raise OutputError(f"{public_url}: {first_line(error)}; nothing was written") from None
    except psycopg.OperationalError as error:
        raise ServiceUnavailableError(
            f"{public_url}: {redact_secrets(first_line(error), url)}; nothing was written"
        ) from None
    except psycopg.Error as error:
        raise OutputError(f"{public_url}: {redact_secrets(first_line(error), url)}; nothing was written") from None


@dataclass
class _DuckDB:
    connection: Any

    def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        result = self.connection.execute(query, list(values))
        return list(result.fetchall()) if result.description else []

    def load(self, table: str, rows: pa.Table) -> None:
        self.connection.register("incoming", rows)
        self.connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        self.connection.unregister("incoming")

    def primary_key_clause(self, columns: Sequence[str]) -> str:
        """Empty: DuckDB rejects a key that is deleted and inserted again in one transaction."""
        return ""

    def qualified_schema(self, schema: str) -> str:
        """With its catalog only if both have one name, as in `renewals.duckdb`: a view would store the catalog."""
        ((catalog,),) = self.run("SELECT current_database()")
        return f'"{catalog}".{schema}' if str(catalog).lower() == schema.lower() else schema


@contextmanager
def _duckdb_transaction(path: Path) -> Iterator[Database]:
    import duckdb

    try:
        connection = duckdb.connect(str(path))
    except duckdb.Error as error:
        if "Could not set lock" in str(error):
            raise ServiceUnavailableError(f"{path} is in use by another process; try again later") from None
        raise OutputError(f"{path} is not a DuckDB file that can be written: {first_line(error)}") from None
    try:
        connection.execute("BEGIN")
        yield _DuckDB(connection)
        connection.execute("COMMIT")
    except duckdb.Error as error:
        raise OutputError(f"{path}: {first_line(error)}; nothing was written") from None
    finally:
        connection.close()
