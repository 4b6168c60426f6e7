"""Warehouses that the features are tested on: each loads tables and stores tables that are computed from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from renewals.pipelines.storage.engine import spark


class Warehouse(Protocol):
    """Operations that the plan of the features needs."""

    def load(self, name: str, rows: pa.Table) -> ir.Table:
        """Write rows to a table of the warehouse and return it."""

    def store(self, name: str, expression: ir.Table) -> ir.Table:
        """Compute a table, store it and return the stored one."""


class InSpark:
    """Spark, with Parquet files in a folder, as in the stages."""

    def __init__(self, con: Any, folder: Path) -> None:
        self.con, self.folder = con, folder

    def load(self, name: str, rows: pa.Table) -> ir.Table:
        pq.write_table(rows, self.folder / f"{name}.parquet")
        return spark.read_parquet_files(self.con, [self.folder / f"{name}.parquet"])

    def store(self, name: str, expression: ir.Table) -> ir.Table:
        path = self.folder / f"made_{name}"
        spark.write_parquet_folder(expression, path)
        return spark.read_parquet_files(self.con, sorted(path.glob("*.parquet")))


class InPostgres:
    """PostgreSQL, with temporary tables of one session."""

    def __init__(self, url: str) -> None:
        self.con = ibis.connect(url)

    def load(self, name: str, rows: pa.Table) -> ir.Table:
        self.con.create_table(name, schema=ibis.Schema.from_pyarrow(rows.schema), temp=True)
        with self.con.con.cursor() as cursor, cursor.copy(f'COPY "{name}" FROM STDIN') as copy:
            for row in rows.to_pylist():
                copy.write_row(list(row.values()))
        return self.con.table(name)

    def store(self, name: str, expression: ir.Table) -> ir.Table:
        return self.con.create_table(f"made_{name}", expression, temp=True)
