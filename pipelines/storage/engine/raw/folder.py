"""Raw tables in a folder of Parquet or CSV files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import DataContract, InputMissing
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage import addresses
from renewals.pipelines.storage.engine import wide_numbers
from renewals.pipelines.storage.engine.engine_errors import faults, first_line
from renewals.pipelines.storage.engine.parquet import parquet_files
from renewals.pipelines.storage.engine.raw.csv import _csv
from renewals.pipelines.storage.engine.raw.raw_table import Given, _fingerprint_of_files

if TYPE_CHECKING:
    import pyarrow as pa


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
