"""Reader of raw tables in a folder of Parquet or CSV files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewals.features.tables import TABLES
from renewals.pipelines.runtime.errors import DataContractError, MissingInputError
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage import addresses
from renewals.pipelines.storage.engine import wide_numbers
from renewals.pipelines.storage.engine.engine_errors import first_line, translate_engine_errors
from renewals.pipelines.storage.engine.parquet import parquet_files
from renewals.pipelines.storage.engine.raw.csv import read_csv_table
from renewals.pipelines.storage.engine.raw.raw_table import RawTable, fingerprint_files

if TYPE_CHECKING:
    import pyarrow as pa


TABLES_HINT = (
    "Put your tables there, or give their address: `tables` in params.yaml, or --tables. To try the example company: "
    "`renewals example --out demo/company`, then `tables: demo/company` in params.yaml"
)


def read_folder(con: Any, folder: Path, source: Source, scratch: Path) -> dict[str, RawTable]:
    """Open the tables of the data contract in a folder, by name; `scratch` is a folder for converted copies."""
    raw_tables = {}
    for table, path in table_paths(folder, source).items():
        read_table = read_csv_table if path.suffix == ".csv" else _read_parquet_table
        raw_tables[table] = read_table(con, table, path, source, scratch)
    return raw_tables


def table_paths(folder: Path, source: Source) -> dict[str, Path]:
    """Find the file or subfolder of each table of the data contract in a folder, by name of the table.

    Raises MissingInputError if there is no such folder, `DataContractError` if a table exists twice.
    """
    if not folder.is_dir():
        addresses.reject_malformed_address(str(folder), "--tables")
        raise MissingInputError(f"no folder of tables at {folder}. {TABLES_HINT}")
    paths_by_table = {}
    for table in TABLES:
        name = source.table_names.get(table, table)
        paths = [p for p in (folder / f"{name}.parquet", folder / name, folder / f"{name}.csv") if _has_data(p)]
        if len(paths) > 1:
            raise DataContractError(f"{table} exists twice: {paths[0].name} and {paths[1].name}; keep one of them")
        if paths:
            paths_by_table[table] = paths[0]
    return paths_by_table


def _has_data(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and bool(parquet_files(path)))


def _read_parquet_table(con: Any, table: str, path: Path, source: Source, scratch: Path) -> RawTable:
    """Open a Parquet file or folder as a raw table with one part per schema, because a month in which a column is empty
    may have another type."""
    files = parquet_files(path)
    files_by_schema: dict[str, list[str]] = {}
    wide_columns: set[str] = set()
    for file in files:
        schema = _read_schema(table, file)
        if wide := wide_numbers.wide_decimal_columns(schema):
            wide_columns.update(wide)
            copy = scratch / "narrowed" / file.relative_to(path.parent)
            file = wide_numbers.write_narrow_copy(table, file, wide, copy)
        files_by_schema.setdefault(str(schema), []).append(str(file))
    hive = any("=" in folder for file in files for folder in file.relative_to(path).parts[:-1])
    with translate_engine_errors(table):
        parts = tuple(
            con.read_parquet(group, hive_partitioning=hive, **({"hive_types_autocast": False} if hive else {}))
            for group in files_by_schema.values()
        )
    return RawTable(table, parts, fingerprint_files(files, path), numeric_text_columns=frozenset(wide_columns))


def _read_schema(table: str, file: Path) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(file).remove_metadata()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataContractError(f"{table}: {file.name} is not a readable Parquet file: {first_line(error)}") from None
