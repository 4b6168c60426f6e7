"""The warehouses that the features are tried on: each takes tables in and keeps what is worked out from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from renewals.pipelines.storage.engine import spark


class Warehouse(Protocol):
    """What a plan asks of a warehouse."""

    def load(self, name: str, rows: pa.Table) -> ir.Table:
        """Take a table in."""

    def keep(self, name: str, made: ir.Table) -> ir.Table:
        """Work a table out and keep it."""


class InSpark:
    """Spark reads and writes Parquet files in a folder, as the stages have it do."""

    def __init__(self, con: Any, folder: Path) -> None:
        self.con, self.folder = con, folder

    def load(self, name: str, rows: pa.Table) -> ir.Table:
        pq.write_table(rows, self.folder / f"{name}.parquet")
        return spark.read_parquet_files(self.con, [self.folder / f"{name}.parquet"])

    def keep(self, name: str, made: ir.Table) -> ir.Table:
        path = self.folder / f"made_{name}"
        spark.write_parquet_folder(made, path)
        return spark.read_parquet_files(self.con, sorted(path.glob("*.parquet")))


class InPostgres:
    """PostgreSQL holds everything in tables of one session."""

    def __init__(self, url: str) -> None:
        self.con = ibis.connect(url)

    def load(self, name: str, rows: pa.Table) -> ir.Table:
        self.con.create_table(name, schema=ibis.Schema.from_pyarrow(rows.schema), temp=True)
        with self.con.con.cursor() as cursor, cursor.copy(f'COPY "{name}" FROM STDIN') as copy:
            for row in rows.to_pylist():
                copy.write_row(list(row.values()))
        return self.con.table(name)

    def keep(self, name: str, made: ir.Table) -> ir.Table:
        return self.con.create_table(f"made_{name}", made, temp=True)
