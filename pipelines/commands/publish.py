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

from renewals.models.explanation.reasons import REASONS, STRENGTHS
from renewals.pipelines.runtime.errors import Config, DataContract, InputMissing, OutputFailed, Unavailable
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.source_settings import IDENTIFIER
from renewals.pipelines.storage import addresses, data_files
from renewals.pipelines.storage.addresses import redacted, without_secrets
from renewals.pipelines.storage.artifacts import sha256
from renewals.pipelines.storage.engine.engine_errors import first_line
from renewals.pipelines.storage.published import list_archive
from renewals.pipelines.storage.published.hindsight import MARK, is_marked, same_version
from renewals.pipelines.storage.published.list_folder import harmed
from renewals.pipelines.storage.published.manifest import MANIFEST, read_manifest
from renewals.pipelines.storage.published.manifest import RISK_LIST as RISK_LIST_FILE

TRIES = 5
LISTS, RISK_LIST, REASON, FORECAST = "lists", "risk_list", "reasons", "forecast"
NEWEST, GONE = "newest_list", "no_longer_listed"
VERSION = ("as_of", "renewal_model")
"""By what a list is known: its day and the model that made it."""
KEYS = {
    LISTS: VERSION,
    RISK_LIST: (*VERSION, "account_id"),
    REASON: (*VERSION, "account_id", "kind", "place"),
}
"""What no two rows of a table have in common."""
MADE_OF = {LISTS: "list_key", FORECAST: "forecast_key"}
"""The column that says from what the rows of a version were made."""
SQL_TYPES = {
    pa.string(): "text",
    pa.int64(): "bigint",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.timestamp("us", tz="UTC"): "timestamp with time zone",
}
ALIASES = {"varchar": "text", "double": "double precision", "integer": "bigint", "character varying": "text"}
BATCH = 50_000
"""Rows sent at once."""
LOCK = 7_366_925_331
"""The advisory lock of PostgreSQL that writers wait for: any number, but always the same."""


class Database(Protocol):
    """What is asked of a database within a transaction."""

    def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query, none where it gives none; each `?` is a value."""

    def load(self, table: str, rows: pa.Table) -> None:
        """Add rows to a table that has all their columns."""

    def key(self, columns: Sequence[str]) -> str:
        """The clause of CREATE TABLE that keeps a key unique; empty where the database cannot."""

    def qualified(self, schema: str) -> str:
        """The schema as SQL has to name it."""


def write_back(job: Job, to: str, schema: str) -> dict[str, Any]:
    """Write the published list of the act date to `to`; says whether anything had to be written.

    Raises InputMissing without a list, DataContract where its files are not what they were, Config for an address that
    is none or tables of another kind, Unavailable where the database does not answer, OutputFailed where it refuses.
    """
    if not re.match(IDENTIFIER, schema):
        raise Config(f"--schema: {schema!r} is no plain name (letters, digits and _)")
    manifest, listed = read_list(job.lists / job.day.isoformat())
    rows = tables(listed, manifest, _forecast(job, manifest))
    with _transaction(to) as database:
        state = _written(database, schema, rows)
    counts = {name: table.num_rows for name, table in rows.items() if name != LISTS}
    place = _shown(to)
    structlog.get_logger().info("list in the database", to=place, schema=schema, state=state)
    return {"as_of": manifest["as_of"], "to": place, "schema": schema, "state": state, "rows": counts}


def _shown(to: str) -> str:
    """Where the rows went: a file by its absolute path, a server without its secrets."""
    if addresses.scheme_of(to) != "duckdb":
        return without_secrets(to)
    return addresses.file_address("duckdb", addresses.writable_file(to, "--to"))


def read_list(folder: Path) -> tuple[dict[str, Any], pa.Table]:
    """The manifest and the rows of a published list; read once more where another list took its place meanwhile."""
    spoilt: list[str] = []
    for _ in range(TRIES):
        manifest = _manifest(folder)
        spoilt = harmed(folder, manifest)
        content = (folder / RISK_LIST_FILE).read_bytes() if not spoilt else b""
        if sha256(content) == manifest["files"][RISK_LIST_FILE]["sha256"]:
            return manifest, pq.read_table(pa.BufferReader(content))
    raise DataContract(f"{folder / (spoilt or [RISK_LIST_FILE])[0]} is not what its manifest says: make the list again")


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return data_files.load(folder / MANIFEST, lambda: read_manifest(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise InputMissing(f"no list at {folder}: run `renewals score --as-of {folder.name}` first") from None


def _forecast(job: Job, manifest: Mapping[str, Any]) -> pa.Table | None:
    """The forecast that was made with the list, where there is one."""
    try:
        return list_archive.read_day(job, partial(_read_forecast, manifest=manifest))
    except InputMissing:
        return None


def _read_forecast(day: Job, manifest: Mapping[str, Any]) -> pa.Table | None:
    from renewals.pipelines.storage.artifacts import FORECAST as PARQUET
    from renewals.pipelines.storage.artifacts import FORECAST_FOLDER
    from renewals.pipelines.storage.artifacts import FORECAST_SUMMARY as JSON

    folder = day.side / FORECAST_FOLDER
    if not (folder / JSON).is_file():
        return None
    said = data_files.load_json(folder / JSON)
    by = said["models"]["renewal"], manifest["models"]["renewal"]
    if said["as_of"] != manifest["as_of"] or not same_version(*by):
        return None
    content = (folder / PARQUET).read_bytes()
    rows = pq.read_table(pa.BufferReader(content))
    return rows.append_column(MADE_OF[FORECAST], pa.repeat(sha256(content), rows.num_rows))


# --- what is written -----------------------------------------------------------------------------


def tables(listed: pa.Table, manifest: Mapping[str, Any], forecast: pa.Table | None) -> dict[str, pa.Table]:
    """The rows of every table, by its name; each row begins with the list's day and model."""
    model = "{name}/{version}".format(**manifest["models"]["renewal"])
    version = {"as_of": pa.scalar(datetime.fromisoformat(manifest["as_of"]).date()), "renewal_model": pa.scalar(model)}
    others = {name: f"{own['name']}/{own['version']}" for name, own in manifest["models"].items() if name != "renewal"}
    about = {
        MADE_OF[LISTS]: manifest["key"],
        "other_models": json.dumps(others, sort_keys=True),
        "accounts": listed.num_rows,
        "language": manifest["language"],
        MARK: is_marked(manifest),
        "code": manifest["code"],
        "published_at": datetime.fromisoformat(manifest["ended_at"]),
        "written_at": datetime.now(UTC),
    }
    own = {
        LISTS: pa.table({name: [value] for name, value in about.items()}),
        RISK_LIST: listed,
        REASON: reasons(listed),
    }
    if forecast is not None:
        own[FORECAST] = forecast
    return {name: _plain(_versioned(rows, version)) for name, rows in own.items()}


def _versioned(rows: pa.Table, version: Mapping[str, pa.Scalar]) -> pa.Table:
    """The rows with their list's day and model as the first columns."""
    rows = rows.drop_columns([name for name in version if name in rows.column_names])
    for place, (name, value) in enumerate(version.items()):
        rows = rows.add_column(place, name, pa.repeat(value, rows.num_rows))
    return rows


def reasons(listed: pa.Table) -> pa.Table:
    """What speaks for a loss and for a renewal; one row per account, kind and place."""
    parts = [_spoken(listed, "reason", k) for k in range(1, REASONS + 1)]
    parts += [_spoken(listed, "strength", k) for k in range(1, STRENGTHS + 1)]
    return pa.concat_tables(parts)


def _spoken(listed: pa.Table, kind: str, place: int) -> pa.Table:
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


def _plain(rows: pa.Table) -> pa.Table:
    """The rows in the few types that every database has; PostgreSQL's text cannot hold the character nought."""
    import pyarrow.compute as pc

    columns = {}
    for field, column in zip(rows.schema, rows.columns, strict=True):
        kind = _plain_type(field.type)
        own = column.cast(kind)
        columns[field.name] = pc.replace_substring(own, "\x00", "\u2400") if kind == pa.string() else own
    return pa.table(columns)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC")
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_dictionary(kind) else kind


# --- writing -------------------------------------------------------------------------------------


def _written(database: Database, schema: str, rows: Mapping[str, pa.Table]) -> str:
    """Write what is not there yet, and say what was done: `written`, `replaced` or `already there`."""
    place = database.qualified(schema)
    database.run(f"CREATE SCHEMA IF NOT EXISTS {place}")
    for name, own in rows.items():
        _prepared(database, schema, name, own.schema)
    version = [rows[LISTS][name][0].as_py() for name in VERSION]
    _create_views(database, place)
    if _all_there(database, place, rows, version):
        return "already there"
    found = database.run(f"SELECT coalesce({MARK}, FALSE) FROM {place}.{LISTS} WHERE {IS_VERSION}", *version)
    if (False,) in found and rows[LISTS][MARK][0].as_py():
        raise Config(
            f"{schema}.{LISTS} holds the list of {version[0]} by {version[1]} as it was made in its time, and one made "
            "with hindsight does not take its place: name another --schema"
        )
    for name, own in rows.items():
        database.run(f"DELETE FROM {place}.{name} WHERE {IS_VERSION}", *version)
        database.load(f"{place}.{name}", own)
    if not _all_there(database, place, rows, version):
        raise OutputFailed(f"{schema}: other rows came to stand there than were written; nothing was kept")
    return "replaced" if found else "written"


IS_VERSION = " AND ".join(f"{name} = ?" for name in VERSION)


def _all_there(database: Database, place: str, rows: Mapping[str, pa.Table], version: Sequence[Any]) -> bool:
    """Whether each table holds as many rows of the version as were made, and made from the same."""
    for name, own in rows.items():
        counted = f"SELECT count(*) FROM {place}.{name} WHERE {IS_VERSION}"
        if database.run(counted, *version) != [(own.num_rows,)]:
            return False
        if name in MADE_OF and own.num_rows:
            same = f"{counted} AND {MADE_OF[name]} = ?"
            if database.run(same, *version, own[MADE_OF[name]][0].as_py()) != [(own.num_rows,)]:
                return False
    return True


def _prepared(database: Database, schema: str, name: str, wanted: pa.Schema) -> None:
    """The table with all wanted columns: made, or given what an earlier release did not know yet.

    Raises Config where a column is of another type there, as where the lists of two companies would meet.
    """
    query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = ? AND table_name = ?"
    there = {str(column): str(kind).lower() for column, kind in database.run(query, schema, name)}
    kinds = {field.name: SQL_TYPES[field.type] for field in wanted}
    place = database.qualified(schema)
    if not there:
        columns = ", ".join(f"{column} {kind}" for column, kind in kinds.items())
        database.run(f"CREATE TABLE {place}.{name} ({columns}{database.key(KEYS[name]) if name in KEYS else ''})")
        return
    for column, kind in kinds.items():
        if column not in there:
            database.run(f"ALTER TABLE {place}.{name} ADD COLUMN {column} {kind}")
        elif ALIASES.get(there[column], there[column]) != kind:
            raise Config(
                f"{schema}.{name}.{column} is {there[column]} in the database and {kind} here: these are the tables of "
                f"something else; name another --schema"
            )


def _create_views(database: Database, place: str) -> None:
    """Make the views: the rows of the newest list alone, and every account that is not on it as the last list had it.

    Lists made with hindsight are in neither. Columns that come later come last, for a view that is there can be given
    more of them but not others.
    """
    rows = f"""
        SELECT lists.written_at, listed.*
        FROM {place}.{RISK_LIST} AS listed
        JOIN {place}.{LISTS} AS lists ON lists.as_of = listed.as_of AND lists.renewal_model = listed.renewal_model
    """
    in_time, newest_first = f"NOT coalesce(lists.{MARK}, FALSE)", "as_of DESC, written_at DESC, renewal_model DESC"
    database.run(f"""
        CREATE OR REPLACE VIEW {place}.{NEWEST} AS {rows}
        JOIN (
            SELECT as_of, renewal_model FROM {place}.{LISTS} AS lists WHERE {in_time} ORDER BY {newest_first} LIMIT 1
        ) AS newest ON newest.as_of = listed.as_of AND newest.renewal_model = listed.renewal_model
    """)
    database.run(f"""
        CREATE OR REPLACE VIEW {place}.{GONE} AS {rows}
        JOIN (
            SELECT as_of, renewal_model, account_id, row_number() OVER (
                PARTITION BY account_id ORDER BY {newest_first}
            ) AS age
            FROM {place}.{RISK_LIST} JOIN {place}.{LISTS} AS lists USING (as_of, renewal_model) WHERE {in_time}
        ) AS last ON last.as_of = listed.as_of AND last.renewal_model = listed.renewal_model
            AND last.account_id = listed.account_id
        WHERE last.age = 1
            AND NOT EXISTS (SELECT 1 FROM {place}.{NEWEST} AS newest WHERE newest.account_id = listed.account_id)
    """)


# --- databases -----------------------------------------------------------------------------------


@contextmanager
def _transaction(to: str) -> Iterator[Database]:
    """A transaction that is kept whole at its end, or not at all."""
    scheme = addresses.scheme_of(to)
    if scheme == addresses.POSTGRES:
        with _postgres(to) as database:
            yield database
    elif scheme == "duckdb":
        with _duckdb(addresses.writable_file(to, "--to")) as database:
            yield database
    else:
        raise Config(f"--to: {without_secrets(to)} is no database; give postgresql://… or duckdb:///FILE")


@dataclass
class _Postgres:
    cursor: Any

    def run(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        self.cursor.execute(query.replace("%", "%%").replace("?", "%s"), values)
        return list(self.cursor.fetchall()) if self.cursor.description else []

    def load(self, table: str, rows: pa.Table) -> None:
        """As CSV, in which Arrow quotes every text and leaves nulls bare, as PostgreSQL reads them."""
        with self.cursor.copy(f"COPY {table} ({', '.join(rows.column_names)}) FROM STDIN (FORMAT csv)") as copy:
            for batch in rows.to_batches(max_chunksize=BATCH):
                sink = io.BytesIO()
                write_csv(batch, sink, WriteOptions(include_header=False))
                copy.write(sink.getvalue())

    def key(self, columns: Sequence[str]) -> str:
        return f", PRIMARY KEY ({', '.join(columns)})"

    def qualified(self, schema: str) -> str:
        return schema


@contextmanager
def _postgres(url: str) -> Iterator[Database]:
    try:
        import psycopg
    except ImportError:
        raise Config("postgresql:// needs the package psycopg: install the extra `postgres`") from None
    place = without_secrets(url)
    try:
        with psycopg.connect(url, connect_timeout=10, client_encoding="utf8") as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            yield _Postgres(cursor)
    except psycopg.errors.InsufficientPrivilege as error:
        raise OutputFailed(f"{place}: {first_line(error)}; nothing was written") from None
    except psycopg.OperationalError as error:
        raise Unavailable(f"{place}: {redacted(first_line(error), url)}; nothing was written") from None
    except psycopg.Error as error:
        raise OutputFailed(f"{place}: {redacted(first_line(error), url)}; nothing was written") from None


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

    def key(self, columns: Sequence[str]) -> str:
        """None: DuckDB takes a key that was deleted and comes again in one transaction for a second one."""
        return ""

    def qualified(self, schema: str) -> str:
        """With its catalogue only where both have one name, as in `renewals.duckdb`: a view would keep it."""
        ((catalog,),) = self.run("SELECT current_database()")
        return f'"{catalog}".{schema}' if str(catalog).lower() == schema.lower() else schema


@contextmanager
def _duckdb(path: Path) -> Iterator[Database]:
    import duckdb

    try:
        connection = duckdb.connect(str(path))
    except duckdb.Error as error:
        if "Could not set lock" in str(error):
            raise Unavailable(f"{path} is in use by another process; try again later") from None
        raise OutputFailed(f"{path} is not a DuckDB file that can be written: {first_line(error)}") from None
    try:
        connection.execute("BEGIN")
        yield _DuckDB(connection)
        connection.execute("COMMIT")
    except duckdb.Error as error:
        raise OutputFailed(f"{path}: {first_line(error)}; nothing was written") from None
    finally:
        connection.close()
