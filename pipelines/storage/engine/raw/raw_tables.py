"""The raw tables of a company, wherever they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import Config, InputMissing
from renewals.pipelines.runtime.source_settings import IDENTIFIER, Source
from renewals.pipelines.storage import addresses
from renewals.pipelines.storage.addresses import without_secrets
from renewals.pipelines.storage.engine.engine_errors import faults
from renewals.pipelines.storage.engine.parquet import parquet_files
from renewals.pipelines.storage.engine.raw.duckdb import _from_duckdb
from renewals.pipelines.storage.engine.raw.folder import ADVICE, _from_folder, _places
from renewals.pipelines.storage.engine.raw.postgres import _from_postgres
from renewals.pipelines.storage.engine.raw.raw_table import Given, _fingerprint_of_files

if TYPE_CHECKING:
    from renewals.pipelines.runtime.job import Job


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
