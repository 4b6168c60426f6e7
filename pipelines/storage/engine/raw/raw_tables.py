"""Open the raw tables of a company from a folder, a DuckDB file or a PostgreSQL database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import ConfigError, MissingInputError
from renewals.pipelines.runtime.source_settings import IDENTIFIER_PATTERN, Source
from renewals.pipelines.storage import addresses
from renewals.pipelines.storage.addresses import redact_url
from renewals.pipelines.storage.engine.engine_errors import translate_engine_errors
from renewals.pipelines.storage.engine.parquet import parquet_files
from renewals.pipelines.storage.engine.raw.duckdb import read_duckdb
from renewals.pipelines.storage.engine.raw.folder import TABLES_HINT, read_folder, table_paths
from renewals.pipelines.storage.engine.raw.postgres import read_postgres
from renewals.pipelines.storage.engine.raw.raw_table import RawTable, fingerprint_files

if TYPE_CHECKING:
    from renewals.pipelines.runtime.job import Job


def raw_tables(con: Any, job: Job, scratch: Path) -> dict[str, RawTable]:
    """Open all existing tables of the data contract at the job's address, by name; `scratch` is for temporary copies.

    Raises `MissingInputError` if a required table is missing, `ConfigError` for an address that cannot be read.
    """
    source: Source = job.settings.source
    _validate_table_names(source)
    scheme = _source_scheme(job)
    if not scheme:
        tables = read_folder(con, Path(job.tables), source, scratch)
    elif scheme == "duckdb":
        tables = read_duckdb(con, addresses.existing_file(job.tables, "--tables"), source)
    else:
        tables = read_postgres(con, job.tables, source, scratch)
    _check_required_tables(tables, job)
    return {name: tables[name] for name in TABLES if name in tables}


def _source_scheme(job: Job) -> str:
    scheme = addresses.scheme_of(job.tables)
    if scheme not in ("", "duckdb", addresses.POSTGRES):
        raise ConfigError(f"tables: {scheme}:// cannot be read; give a folder, duckdb:///FILE or postgresql://…")
    return scheme


def require_tables(job: Job) -> None:
    """Check the address of the raw tables, and for a folder that the required tables exist, without reading them.

    Raises the errors of `raw_tables`. The tables of a database are checked by `raw_tables`, at the start of a run.
    """
    _validate_table_names(job.settings.source)
    scheme = _source_scheme(job)
    if scheme == "duckdb":
        addresses.existing_file(job.tables, "--tables")
    if not scheme:
        _check_required_tables(table_paths(Path(job.tables), job.settings.source), job)


def table_fingerprints(con: Any, job: Job, scratch: Path) -> dict[str, str]:
    """Fingerprint of every raw table, by name, the same as from `raw_tables`; files in a folder are not parsed.

    Raises the errors of `raw_tables`.
    """
    source = job.settings.source
    if _source_scheme(job):
        return {name: table.fingerprint for name, table in raw_tables(con, job, scratch).items()}
    _validate_table_names(source)
    paths = table_paths(Path(job.tables), source)
    _check_required_tables(paths, job)
    with translate_engine_errors(job.tables):
        return {name: fingerprint_files(parquet_files(path), path) for name, path in paths.items()}


def _check_required_tables(available: Iterable[str], job: Job) -> None:
    missing = [name for name, table in TABLES.items() if table.required and name not in available]
    if missing:
        raise MissingInputError(_missing_tables_message(missing, available, job.tables, job.settings.source))


def _validate_table_names(source: Source) -> None:
    for key, names in (("table_names", source.table_names), ("encodings", source.encodings)):
        unknown = [name for name in names if name not in TABLES]
        if unknown:
            raise ConfigError(f"source.{key}: there is no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    for table, name in source.table_names.items():
        if not re.match(IDENTIFIER_PATTERN, name):
            raise ConfigError(f"source.table_names.{table}: {name!r} is not a valid name; use letters, digits and _")


def _missing_tables_message(missing: Sequence[str], available: Iterable[str], address: str, source: Source) -> str:
    missing_names = ", ".join(source.table_names.get(name, name) for name in missing)
    available_names = ", ".join(available)
    advice = "" if available_names else f". {TABLES_HINT}"
    return (
        f"{redact_url(address)}: required table {missing_names} is missing; found "
        f"{available_names or 'no table of the data contract'}{advice}"
    )
