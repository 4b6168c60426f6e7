"""Numbers too wide for the query engine: ids are read as text of their digits, all others as floats (ADR 36).

DuckDB reads a Parquet decimal of more than 38 digits as a wrong float, and Ibis has no type for its widest integers.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import ibis.expr.types as ir

from renewals.features.tables import ID, TABLES

if TYPE_CHECKING:
    import pyarrow as pa

WIDE_INTEGER_TYPES = ("UINT128", "UHUGEINT", "BIGNUM", "VARINT")
"""Integer types of DuckDB that Ibis does not have."""


def id_columns(table: str) -> set[str]:
    """Names of the id columns of a table of the data contract."""
    return {column.name for column in TABLES[table].columns.values() if column.type == ID}


def wide_decimal_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns with decimals of more than 38 digits in a Parquet schema."""
    import pyarrow as pa

    return [field.name for field in schema if pa.types.is_decimal256(field.type)]


def write_narrow_copy(table: str, file: Path, columns: Collection[str], copy: Path) -> Path:
    """Copy a Parquet file to `copy` with its wide decimals as digits (ids) or floats (others), one row group at a
    time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pq.ParquetFile(file)
    ids = id_columns(table)
    kinds = {name: pa.string() if name in ids else pa.float64() for name in columns}
    schema = pa.schema([field.with_type(kinds.get(field.name, field.type)) for field in source.schema_arrow])
    copy.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(copy, schema) as writer:
        for group in range(source.num_row_groups):
            writer.write_table(source.read_row_group(group).cast(schema))
    return copy


def wide_integers_to_text(rows: ir.Table) -> tuple[ir.Table, frozenset[str]]:
    """Cast the widest integers of a DuckDB table to text; return the table and the names of these columns."""
    wide = [name for name, kind in rows.schema().items() if kind.is_unknown() and _is_wide_integer(kind)]
    return (rows.mutate(**{name: rows[name].cast("string") for name in wide}) if wide else rows), frozenset(wide)


def _is_wide_integer(dtype: object) -> bool:
    return any(name in str(dtype) for name in WIDE_INTEGER_TYPES)
