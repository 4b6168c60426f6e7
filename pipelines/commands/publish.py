"""The list of a day, its reasons and its forecast in tables of the company's own database.

All tables lie in one schema. A list is known by its day and its renewal model: written again it changes nothing, made
anew it takes the place of what was there, and by another model it stands beside. Everything happens in one
transaction; whoever reads meanwhile sees the state before or the state after.
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

from renewals.models.explanation.reasons import REFUSAL_REASONS, STRENGTH_COUNT
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
"""By what a list is known: its day and the model that made it."""
PRIMARY_KEYS = {
    LISTS: VERSION_COLUMNS,
    RISK_LIST: (*VERSION_COLUMNS, "account_id"),
    REASON: (*VERSION_COLUMNS, "account_id", "kind", "place"),
}
"""What no two rows of a table have in common."""
FINGERPRINT_COLUMNS = {LISTS: "list_key", FORECAST: "forecast_key"}
"""The column that says from what the rows of a version were made."""
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
"""The advisory lock of PostgreSQL that writers wait for: any number, but always the same."""


class Database(Protocol):
    """What is asked of a database within a transaction."""

    def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query, none where it gives none; each `?` is a value."""

    def load(self, table: str, rows: pa.Table) -> None:
        """Add rows to a table that has all their columns."""

    def primary_key_clause(self, columns: Sequence[str]) -> str:
        """The clause of CREATE TABLE that keeps a key unique; empty where the database cannot."""

    def qualified_schema(self, schema: str) -> str:
        """The schema as SQL has to name it."""


def run_publish(job: Job, address: str, schema: str) -> dict[str, Any]:
    """Write the published list of the act date to `address`; says whether anything had to be written.

    Raises MissingInputError without a list, DataContractError where its files are not what they were, ConfigError for
    an address that is none or tables of another kind, Unavailable where the database does not answer, OutputError where
    it refuses.
    """
    if not re.match(IDENTIFIER_PATTERN, schema):
        raise ConfigError(f"--schema: {schema!r} is not a valid name; use letters, digits and _")
    manifest, listed = read_list(job.lists / job.day.isoformat())
    rows = database_tables(listed, manifest, _load_forecast(job, manifest))
    with _transaction(address) as database:
        state = _write_tables(database, schema, rows)
    counts = {name: table.num_rows for name, table in rows.items() if name != LISTS}
    place = _public_address(address)
    structlog.get_logger().info("list in the database", to=place, schema=schema, state=state)
    return {"as_of": manifest["as_of"], "to": place, "schema": schema, "state": state, "rows": counts}


def _public_address(address: str) -> str:
    """Where the rows went: a file by its absolute path, a server without its secrets."""
    if addresses.scheme_of(address) != "duckdb":
        return redact_url(address)
    return addresses.file_address("duckdb", addresses.writable_file(address, "--to"))


def read_list(folder: Path) -> tuple[dict[str, Any], pa.Table]:
    """The manifest and the rows of a published list; read once more where another list took its place meanwhile."""
    spoilt: list[str] = []
    for _ in range(READ_ATTEMPTS):
        manifest = _read_manifest(folder)
        spoilt = corrupted_files(folder, manifest)
        content = (folder / RISK_LIST_FILE).read_bytes() if not spoilt else b""
        if sha256(content) == manifest["files"][RISK_LIST_FILE]["sha256"]:
            return manifest, pq.read_table(pa.BufferReader(content))
    raise DataContractError(
        f"{folder / (spoilt or [RISK_LIST_FILE])[0]} is not what its manifest says: make the list again"
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        return data_files.load(folder / MANIFEST, lambda: read_manifest(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise MissingInputError(f"no list at {folder}: run `renewals score --as-of {folder.name}` first") from None


def _load_forecast(job: Job, manifest: Mapping[str, Any]) -> pa.Table | None:
    """The forecast that was made with the list, where there is one."""
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
    said = data_files.load_json(folder / JSON)
    by = said["models"]["renewal"], manifest["models"]["renewal"]
    if said["as_of"] != manifest["as_of"] or not is_same_version(*by):
        return None
    content = (folder / PARQUET).read_bytes()
    rows = pq.read_table(pa.BufferReader(content))
    return rows.append_column(FINGERPRINT_COLUMNS[FORECAST], pa.repeat(sha256(content), rows.num_rows))


# --- what is written -----------------------------------------------------------------------------


def database_tables(listed: pa.Table, manifest: Mapping[str, Any], forecast: pa.Table | None) -> dict[str, pa.Table]:
    """The rows of every table, by its name; each row begins with the list's day and model."""
    model = "{name}/{version}".format(**manifest["models"]["renewal"])
    version = {"as_of": pa.scalar(datetime.fromisoformat(manifest["as_of"]).date()), "renewal_model": pa.scalar(model)}
    others = {name: f"{own['name']}/{own['version']}" for name, own in manifest["models"].items() if name != "renewal"}
    about = {
        FINGERPRINT_COLUMNS[LISTS]: manifest["list_key"],
        "other_models": json.dumps(others, sort_keys=True),
        "accounts": listed.num_rows,
        "language": manifest["language"],
        HINDSIGHT_KEY: is_hindsight_list(manifest),
        "code": manifest["code_revision"],
        "published_at": datetime.fromisoformat(manifest["ended_at"]),
        "written_at": datetime.now(UTC),
    }
    own = {
        LISTS: pa.table({name: [value] for name, value in about.items()}),
        RISK_LIST: listed,
        REASON: reason_table(listed),
    }
    if forecast is not None:
        own[FORECAST] = forecast
    return {name: _cast_portable(_add_version_columns(rows, version)) for name, rows in own.items()}


def _add_version_columns(rows: pa.Table, version: Mapping[str, pa.Scalar]) -> pa.Table:
    """The rows with their list's day and model as the first columns."""
    rows = rows.drop_columns([name for name in version if name in rows.column_names])
    for place, (name, value) in enumerate(version.items()):
        rows = rows.add_column(place, name, pa.repeat(value, rows.num_rows))
    return rows


def reason_table(listed: pa.Table) -> pa.Table:
    """What speaks for a loss and for a renewal; one row per account, kind and place."""
    parts = [_reason_rows(listed, "reason", k) for k in range(1, REFUSAL_REASONS + 1)]
    parts += [_reason_rows(listed, "strength", k) for k in range(1, STRENGTH_COUNT + 1)]
    return pa.concat_tables(parts)


def _reason_rows(listed: pa.Table, kind: str, place: int) -> pa.Table:
    name = f"{kind}_{place}"
    told = listed.filter(listed[name].is_valid())
    fixed = {"kind": pa.scalar(kind), "place": pa.scalar(place)}
    columns = {"account_id": told["account_id"], **{n: pa.repeat(v, told.num_rows) for n, v in fixed.items()}}
    columns["words"] = told[name]
    for part, type_ in REASON_PARTS.items():
        there = f"{name}_{part}" in told.column_names
        columns[part] = told[f"{name}_{part}"] if there else pa.nulls(told.num_rows, type_)
    return pa.table(columns)


REASON_PARTS = {
    "feature": pa.string(),
    "contribution": pa.float64(),
    "family": pa.string(),
    "theme": pa.string(),
    "actionable": pa.bool_(),
}


def _cast_portable(rows: pa.Table) -> pa.Table:
    """The rows in the few types that every database has; PostgreSQL's text cannot hold the character nought."""
    import pyarrow.compute as pc

    columns = {}
    for field, column in zip(rows.schema, rows.columns, strict=True):
        kind = _portable_type(field.type)
        own = column.cast(kind)
        columns[field.name] = pc.replace_substring(own, "\x00", "\u2400") if kind == pa.string() else own
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
    """Write what is not there yet, and say what was done: `written`, `replaced` or `unchanged`."""
    place = database.qualified_schema(schema)
    database.run(f"CREATE SCHEMA IF NOT EXISTS {place}")
    for name, own in rows.items():
        _prepare_table(database, schema, name, own.schema)
    version = [rows[LISTS][name][0].as_py() for name in VERSION_COLUMNS]
    _create_views(database, place)
    if _is_complete(database, place, rows, version):
        return "unchanged"
    found = database.run(
        f"SELECT coalesce({HINDSIGHT_KEY}, FALSE) FROM {place}.{LISTS} WHERE {VERSION_CONDITION}", *version
    )
    if (False,) in found and rows[LISTS][HINDSIGHT_KEY][0].as_py():
        raise ConfigError(
            f"{schema}.{LISTS} holds the list of {version[0]} by {version[1]} as it was made in its time, and one made "
            "with hindsight does not take its place: name another --schema"
        )
    for name, own in rows.items():
        database.run(f"DELETE FROM {place}.{name} WHERE {VERSION_CONDITION}", *version)
        database.load(f"{place}.{name}", own)
    if not _is_complete(database, place, rows, version):
        raise OutputError(f"{schema}: rows read back differ from the rows written; the transaction was rolled back")
    return "replaced" if found else "written"


VERSION_CONDITION = " AND ".join(f"{name} = ?" for name in VERSION_COLUMNS)


def _is_complete(database: Database, schema: str, rows: Mapping[str, pa.Table], version: Sequence[Any]) -> bool:
    """Whether each table holds as many rows of the version as were made, and made from the same."""
    for name, own in rows.items():
        counted = f"SELECT count(*) FROM {schema}.{name} WHERE {VERSION_CONDITION}"
        if database.run(counted, *version) != [(own.num_rows,)]:
            return False
        if name in FINGERPRINT_COLUMNS and own.num_rows:
            same = f"{counted} AND {FINGERPRINT_COLUMNS[name]} = ?"
            if database.run(same, *version, own[FINGERPRINT_COLUMNS[name]][0].as_py()) != [(own.num_rows,)]:
                return False
    return True


def _prepare_table(database: Database, schema: str, name: str, required: pa.Schema) -> None:
    """The table with all wanted columns: made, or given what an earlier release did not know yet.

    Raises ConfigError where a column is of another type there, as where the lists of two companies would meet.
    """
    query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = ? AND table_name = ?"
    there = {str(column): str(kind).lower() for column, kind in database.run(query, schema, name)}
    kinds = {field.name: SQL_TYPES[field.type] for field in required}
    place = database.qualified_schema(schema)
    if not there:
        columns = ", ".join(f"{column} {kind}" for column, kind in kinds.items())
        database.run(
            f"CREATE TABLE {place}.{name} "
            f"({columns}{database.primary_key_clause(PRIMARY_KEYS[name]) if name in PRIMARY_KEYS else ''})"
        )
        return
    for column, kind in kinds.items():
        if column not in there:
            database.run(f"ALTER TABLE {place}.{name} ADD COLUMN {column} {kind}")
        elif TYPE_ALIASES.get(there[column], there[column]) != kind:
            raise ConfigError(
                f"{schema}.{name}.{column} is {there[column]} in the database and {kind} here: these are the tables of "
                f"something else; name another --schema"
            )


def _create_views(database: Database, schema: str) -> None:
    """Make the views: the rows of the newest list alone, and every account that is not on it as the last list had it.

    Lists made with hindsight are in neither. Columns that come later come last, for a view that is there can be given
    more of them but not others.
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
            SELECT as_of, renewal_model, account_id, row_number() OVER (
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
    """A transaction that is kept whole at its end, or not at all."""
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
        """As CSV, in which Arrow quotes every text and leaves nulls bare, as PostgreSQL reads them."""
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
    place = redact_url(url)
    try:
        with psycopg.connect(url, connect_timeout=10, client_encoding="utf8") as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
            yield _Postgres(cursor)
    except psycopg.errors.InsufficientPrivilege as error:
        raise OutputError(f"{place}: {first_line(error)}; nothing was written") from None
    except psycopg.OperationalError as error:
        raise ServiceUnavailableError(
            f"{place}: {redact_secrets(first_line(error), url)}; nothing was written"
        ) from None
    except psycopg.Error as error:
        raise OutputError(f"{place}: {redact_secrets(first_line(error), url)}; nothing was written") from None


@dataclass
class _DuckDB:
    connection: Any

    def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        done = self.connection.execute(query, list(values))
        return list(done.fetchall()) if done.description else []

    def load(self, table: str, rows: pa.Table) -> None:
        self.connection.register("incoming", rows)
        self.connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        self.connection.unregister("incoming")

    def primary_key_clause(self, columns: Sequence[str]) -> str:
        """None: DuckDB takes a key that was deleted and comes again in one transaction for a second one."""
        return ""

    def qualified_schema(self, schema: str) -> str:
        """With its catalogue only where both have one name, as in `renewals.duckdb`: a view would keep it."""
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
