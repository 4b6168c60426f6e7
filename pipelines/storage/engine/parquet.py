"""Parquet files of the query engine: writing with COPY, and finding them in a folder."""

from __future__ import annotations

import itertools
from pathlib import Path

import ibis
import ibis.expr.types as ir

from renewals.pipelines.storage.engine.quoting import sql_literal

_view_numbers = itertools.count()


def copy_to_parquet(rows: ir.Table, path: Path) -> int:
    """Write a DuckDB table to a Parquet file and return the number of rows.

    Ibis does not escape a quote in a path, so the COPY statement is written here.
    """
    con = ibis.get_backend(rows)
    view = f"to_write_{next(_view_numbers)}"
    con.create_view(view, rows)
    try:
        options = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880"
        return int(con.raw_sql(f"COPY {view} TO {sql_literal(path)} ({options})").fetchone()[0])
    finally:
        con.raw_sql(f"DROP VIEW IF EXISTS {view}")


def parquet_files(path: Path) -> list[Path]:
    """The file itself, or all Parquet files below the folder, sorted by name; hidden files and folders are skipped."""
    if path.is_file():
        return [path]
    files = (file for file in path.rglob("*.parquet") if file.is_file())
    return sorted(file for file in files if not _is_hidden(file.relative_to(path)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)
