"""The query engine and everything it opens: raw tables in, clean and made tables in and out.

Raw tables come from a folder (Parquet, CSV), a DuckDB file or a Postgres database, and are only ever
read. What is written appears whole or not at all.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.types as ir

from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import Config, DataContract, InputMissing, OutputFailed, Stop, Unavailable
from renewals.pipelines.runtime.source_settings import IDENTIFIER, Source
from renewals.pipelines.storage import addresses
from renewals.pipelines.storage.addresses import redacted, without_secrets
from renewals.pipelines.storage.engine import wide_numbers

if TYPE_CHECKING:
    import pyarrow as pa

    from renewals.pipelines.runtime.job import Job
    from renewals.pipelines.runtime.settings import Engine, Settings

CHUNK = 1 << 20


@dataclass(frozen=True)
class Given:
    """A raw table as it was given: one relation per schema met among its files."""

    name: str
    parts: tuple[ir.Table, ...]
    fingerprint: str
    text: bool = False
    """Whether every value is a text still to be read, as in CSV."""
    numerals: frozenset[str] = frozenset()
    """Columns of ids whose text is the digits of a number, of a type too wide for the engine."""


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


def heavy(settings: Settings) -> Any:
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
        raise InputMissing(f"no clean table {missing[0]} in {data / 'clean'}: run `renewals check` first")
    return {name: read(con, path) for name, path in paths.items() if path.is_file()}


def read(con: Any, path: Path) -> ir.Table:
    """A Parquet file, or all Parquet files under a folder as one table."""
    files = parquet_files(path)
    if not files:
        raise InputMissing(f"nothing to read at {path}: run the stage that writes it first")
    with faults(path.name):
        if con.name == "pyspark":
            from renewals.pipelines.storage.engine import spark

            return spark.read(con, files)
        return con.read_parquet([str(file) for file in files], hive_partitioning=False)


def parquet_files(path: Path) -> list[Path]:
    """The file itself, or every Parquet file under the folder in the order of their names; hidden ones are not data."""
    if path.is_file():
        return [path]
    files = (file for file in path.rglob("*.parquet") if file.is_file())
    return sorted(file for file in files if not _hidden(file.relative_to(path)))


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def write_parquet(rows: ir.Table, path: Path, order_by: Sequence[Any] = ()) -> int:
    """Write a table here, whole or not at all, and return its number of rows; `order_by` makes its order sure."""
    if ibis.get_backend(rows).name != "duckdb":
        with faults(path.name):
            rows = connect().create_table("brought_home", rows.to_pyarrow())
    ordered = rows.order_by(list(order_by)) if order_by else rows
    with beside(path) as unfinished, faults(f"writing {path.name}"):
        return _copy(ordered, unfinished)


def keep(rows: ir.Table, path: Path, order_by: Sequence[Any] = ()) -> int:
    """Write a table that stays with the warehouse, as `write_parquet` does; Spark writes a folder, in any order."""
    if ibis.get_backend(rows).name != "pyspark":
        return write_parquet(rows, path, order_by)
    import pyarrow.parquet as pq

    from renewals.pipelines.storage.engine import spark

    with faults(f"writing {path.name}"):
        spark.write(rows, path)
        return sum(pq.read_metadata(file).num_rows for file in parquet_files(path))


def for_now(con: Any, name: str, rows: ir.Table) -> ir.Table:
    """The same rows, computed once for this run where the engine keeps tables of a session; Spark does so again."""
    return con.create_table(name, rows, temp=True) if con.name == "duckdb" else rows


def _copy(rows: ir.Table, path: Path) -> int:
    """Ibis writes a path as Python would spell it, which a quote in the path breaks; so the view is copied here."""
    con = ibis.get_backend(rows)
    view = f"to_write_{next(_numbers)}"
    con.create_view(view, rows)
    try:
        options = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880"
        return int(con.raw_sql(f"COPY {view} TO {_quoted(path)} ({options})").fetchone()[0])
    finally:
        con.raw_sql(f"DROP VIEW IF EXISTS {view}")


_numbers = itertools.count()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with beside(path) as unfinished, faults(f"writing {path.name}"):
        unfinished.write_bytes(content)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to; it becomes `path` when all went well and vanishes otherwise."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        if path.is_dir():  # as Spark left it
            shutil.rmtree(path)
        unfinished.replace(path)
    except OSError as error:
        raise OutputFailed(f"{path} could not be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()


@contextmanager
def faults(what: str) -> Iterator[None]:
    """Turn the engine's complaints into ours."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise Config(f"{what}: more memory is needed than engine.memory allows ({first_line(error)})") from None
    except (duckdb.IOException, OSError) as error:
        if "No space left" in str(error) or "max_temp_directory_size" in str(error):
            raise OutputFailed(f"{what}: the disk is full ({first_line(error)})") from None
        if what.startswith("writing"):
            raise OutputFailed(f"{what}: {first_line(error)}") from None
        raise DataContract(f"{what}: {first_line(error)}") from None
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.SerializationException) as error:
        raise DataContract(f"{what}: {first_line(error)}") from None
    except Exception as error:
        from renewals.pipelines.storage.engine import spark

        stop = spark.stop_of(what, error)
        if stop is None:
            raise
        raise stop from None


def first_line(error: BaseException) -> str:
    """What an error says first; its name where it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# --- raw tables ----------------------------------------------------------------------------------


def raw_tables(con: Any, job: Job, scratch: Path) -> dict[str, Given]:
    """Every table of the data contract that is there, by name; `scratch` may hold copies meanwhile.

    Raises `InputMissing` for a required table that is not there, `Config` for a source that is none.
    """
    source: Source = job.settings.source
    _known_names(source)
    scheme = _scheme(job)
    if not scheme:
        given = _from_folder(con, Path(job.tables), source, scratch)
    elif scheme == "duckdb":
        given = _from_duckdb(con, addresses.existing_file(job.tables, "--tables"), source)
    else:
        given = _from_postgres(con, job.tables, source, scratch)
    _need_required(given, job)
    return {name: given[name] for name in TABLES if name in given}


def _scheme(job: Job) -> str:
    scheme = addresses.scheme_of(job.tables)
    if scheme not in ("", "duckdb", addresses.POSTGRES):
        raise Config(f"tables: {scheme}:// cannot be read; give a folder, duckdb:///FILE or postgresql://…")
    return scheme


def require_tables(job: Job) -> None:
    """Raise what `raw_tables` would for an address that is none, or a folder without the required tables; reads none.

    A database is asked by `raw_tables` itself, which a run begins with.
    """
    _known_names(job.settings.source)
    scheme = _scheme(job)
    if scheme == "duckdb":
        addresses.existing_file(job.tables, "--tables")
    if not scheme:
        _need_required(_places(Path(job.tables), job.settings.source), job)


def fingerprints(con: Any, job: Job, scratch: Path) -> dict[str, str]:
    """The fingerprint of every raw table, by name: those of `raw_tables`, and for a folder without parsing a file.

    Raises as `raw_tables` does.
    """
    source = job.settings.source
    if _scheme(job):
        return {name: given.fingerprint for name, given in raw_tables(con, job, scratch).items()}
    _known_names(source)
    found = _places(Path(job.tables), source)
    _need_required(found, job)
    with faults(job.tables):
        return {name: _fingerprint_of_files(parquet_files(path), path) for name, path in found.items()}


def _need_required(found: Iterable[str], job: Job) -> None:
    missing = [name for name, table in TABLES.items() if table.required and name not in found]
    if missing:
        raise InputMissing(_missing(missing, found, job.tables, job.settings.source))


def _known_names(source: Source) -> None:
    for key, names in (("names", source.names), ("encodings", source.encodings)):
        unknown = [name for name in names if name not in TABLES]
        if unknown:
            raise Config(f"source.{key}: there is no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    for table, name in source.names.items():
        if not re.match(IDENTIFIER, name):
            raise Config(f"source.names.{table}: {name!r} is no plain name (letters, digits and _)")


def _missing(missing: Sequence[str], given: Iterable[str], place: str, source: Source) -> str:
    wanted = ", ".join(source.names.get(name, name) for name in missing)
    found = ", ".join(given)
    advice = "" if found else f". {ADVICE}"
    return (
        f"{without_secrets(place)}: required table {wanted} is missing; found "
        f"{found or 'no table of the data contract'}{advice}"
    )


ADVICE = (
    "Put your tables there, or say where they are: `tables` in params.yaml, or --tables. To try the example company: "
    "`renewals example --out demo/company`, then `tables: demo/company` in params.yaml"
)


def _from_folder(con: Any, folder: Path, source: Source, scratch: Path) -> dict[str, Given]:
    found = {}
    for table, path in _places(folder, source).items():
        read_one = _csv if path.suffix == ".csv" else _parquet
        found[table] = read_one(con, table, path, source, scratch)
    return found


def _places(folder: Path, source: Source) -> dict[str, Path]:
    """The file or folder of each table that a folder of tables holds."""
    if not folder.is_dir():
        addresses.must_be_folder(str(folder), "--tables")
        raise InputMissing(f"no folder of tables at {folder}. {ADVICE}")
    found = {}
    for table in TABLES:
        name = source.names.get(table, table)
        places = [p for p in (folder / f"{name}.parquet", folder / name, folder / f"{name}.csv") if _holds_data(p)]
        if len(places) > 1:
            raise DataContract(f"{table} is there twice: {places[0].name} and {places[1].name}; keep one of them")
        if places:
            found[table] = places[0]
    return found


def _holds_data(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and bool(parquet_files(path)))


def _parquet(con: Any, table: str, path: Path, source: Source, scratch: Path) -> Given:
    """Files of one schema are read together; where schemas differ each kind is a part, so that a month in
    which a column is empty (and has lost its type) is no fault."""
    files = parquet_files(path)
    kinds: dict[str, list[str]] = {}
    numerals: set[str] = set()
    for file in files:
        schema = _schema_of(table, file)
        if wide := wide_numbers.wide_decimals(schema):
            numerals.update(wide)
            copy = scratch / "narrowed" / file.relative_to(path.parent)
            file = wide_numbers.narrowed_copy(table, file, wide, copy)
        kinds.setdefault(str(schema), []).append(str(file))
    hive = any("=" in folder for file in files for folder in file.relative_to(path).parts[:-1])
    with faults(table):
        parts = tuple(
            con.read_parquet(kind, hive_partitioning=hive, **({"hive_types_autocast": False} if hive else {}))
            for kind in kinds.values()
        )
    return Given(table, parts, _fingerprint_of_files(files, path), numerals=frozenset(numerals))


def _schema_of(table: str, file: Path) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(file).remove_metadata()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataContract(f"{table}: {file.name} is not a readable Parquet file: {first_line(error)}") from None


def _fingerprint_of_files(files: Sequence[Path], root: Path) -> str:
    whole = hashlib.sha256()
    for file in files:
        name = file.relative_to(root).as_posix() if file != root else ""
        whole.update(f"{name}\x00{_sha256(file)}\n".encode())
    return f"sha256:{whole.hexdigest() if len(files) > 1 else _sha256(files[0])}"


def digest(file: Path) -> str | None:
    """The SHA-256 of a file; None where there is none."""
    return _sha256(file) if file.is_file() else None


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def fingerprint_of_rows(con: Any, rows: ir.Table) -> str:
    """A digest of the rows in any order: a database has neither a file nor an order."""
    query = f"SELECT count(*), sum(hash(r)::HUGEINT) FROM ({con.compile(rows)}) AS r"
    count, total = con.raw_sql(query).fetchone()
    return f"rows:{count}:{total or 0:x}"


# --- CSV -----------------------------------------------------------------------------------------


def _csv(con: Any, table: str, path: Path, source: Source, scratch: Path) -> Given:
    """A CSV file as one relation of texts."""
    encoding = source.encodings.get(table, source.encoding)
    decoded = as_utf8(table, path, encoding, scratch / f"{table}.csv")
    names = _header(table, decoded, source.delimiter)
    rows = _texts(con, decoded, names, delim=source.delimiter, header=True, nullstr=list(source.nulls))
    return Given(table, (rows,), f"sha256:{_sha256(path)}", text=True)


def as_utf8(table: str, path: Path, encoding: str, copy: Path) -> Path:
    """The file if it is valid UTF-8, or a decoded copy of it; the encoding is declared, never guessed.

    Raises `DataContract` naming the file, the byte at which it cannot be decoded, and what to try.
    """
    name = codecs.lookup(encoding).name
    if name in ("utf-8", "utf-8-sig"):
        for _text in _decoded(table, path, "utf-8"):
            pass
        return path
    with copy.open("w", encoding="utf-8", newline="") as out:
        out.writelines(_decoded(table, path, encoding))
    return copy


def _decoded(table: str, path: Path, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    done = 0
    with path.open("rb") as content:
        while True:
            chunk = content.read(CHUNK)
            waiting = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise DataContract(_undecodable(table, path, encoding, done - waiting + error.start)) from None
            if text:
                yield text
            if not chunk:
                return
            done += len(chunk)


def _undecodable(table: str, path: Path, encoding: str, offset: int) -> str:
    return (
        f"{table}: {path.name} is not {encoding}: byte {offset} cannot be decoded. Say which encoding it has, "
        f"for example --set source.encodings.{table}=gb18030"
    )


def _header(table: str, path: Path, delimiter: str) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        first = next(csv.reader(text, delimiter=delimiter), [])
    if not any(first):
        raise DataContract(f"{table}: {path.name} has no header line")
    names = [name or f"unnamed_{place}" for place, name in enumerate(first, start=1)]
    lowered = [name.lower() for name in names]
    twice = [name for name, low in zip(names, lowered, strict=True) if lowered.count(low) > 1]
    if twice:
        raise DataContract(f"{table}: {path.name} has two columns named {twice[0]!r}")
    return names


def _texts(con: Any, path: Path, names: Sequence[str], **options: Any) -> ir.Table:
    places = {f"c{place}": "VARCHAR" for place in range(len(names))}
    rows = con.read_csv(str(path), columns=places, quote='"', escape='"', **options)
    return rows.rename(dict(zip(names, places, strict=True)))


def settled(con: Any, table: str, rows: ir.Table, scratch: Path) -> ir.Table:
    """The same rows from a Parquet copy, so that a file of text is parsed once. Raises `DataContract` saying where."""
    import duckdb

    copy = scratch / f"{table}.parquet"
    with faults(f"writing {copy}"):
        try:
            _copy(rows, copy)
        except duckdb.InvalidInputException as error:
            raise DataContract(f"{table}: {_csv_fault(str(error))}") from None
    return con.read_parquet(str(copy))


def _csv_fault(complaint: str) -> str:
    """The engine's words without the row itself, which may hold what nobody should find in a log."""
    line = re.search(r"CSV Error on Line: (\d+)", complaint)
    cells = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", complaint)
    where = f"line {line[1]} of the CSV file" if line else "the CSV file"
    if cells:
        return f"{where} has {cells[2]} cells where the header has {cells[1]}"
    return f"{where} cannot be read: a quote is not closed, or the delimiter is not the declared one"


# --- databases -----------------------------------------------------------------------------------


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
