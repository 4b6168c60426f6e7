"""Types of the rebuilt tables in pandas, conversion of received columns to them, and comparison of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from renewals.features.tables import FLAG, ID, INTEGER, TABLES, TEXT, ColumnSpec
from renewals.pipelines.runtime.source_settings import Source

Flags = NDArray[np.bool_]

TIME_TYPE: Any = "datetime64[us]"
OFFSET_PATTERN = r":\d\d(?:\.\d+)?\s*(?:Z|UTC|[+-]\d\d(?::?\d\d)?)$"
"""End of a text that is a time with an offset."""
DAY_LENGTH = len("2026-01-31")
TRUE_TEXTS, FALSE_TEXTS = ("true", "t", "1", "yes", "y"), ("false", "f", "0", "no", "n")
TEXT_IDS = {"contracts": ("contract_id", "replaces_contract_id")}
"""Ids that are text in the output, because terms by presence and keys used again get ids of their own."""
RECORDED_AT, VALID_FROM = "recorded_at", "valid_from"


def convert_column(values: pd.Series, column: ColumnSpec, table: str, source: Source) -> tuple[pd.Series, Flags]:
    """A received column in the type of the contract, and a flag for each value that cannot be read."""
    given = values.notna().to_numpy(bool)
    if column.is_time:
        converted = _to_time(values, column, source)
    elif column.type == ID:
        converted = _to_text(values) if column.name in TEXT_IDS.get(table, ()) else _to_id(values)
    elif column.type == TEXT:
        converted = _to_text(values)
    elif column.type == FLAG:
        converted = _to_flag(values)
    else:
        converted = _to_number(values, source.decimal)
        if column.type == INTEGER:
            converted = converted.where(converted == np.floor(converted)).astype("Int64")
    return converted, given & converted.isna().to_numpy(bool)


def empty_column(column: ColumnSpec, rows: int) -> pd.Series:
    """A column of missing values in the type of the contract; ids are text."""
    return missing_values(_pandas_type(column), rows)


def missing_values(kind: Any, rows: int) -> pd.Series:
    """A column of missing values of a pandas type."""
    return pd.Series(None, index=range(rows), dtype=kind)


def _pandas_type(column: ColumnSpec) -> Any:
    if column.is_time:
        return TIME_TYPE
    by_type = {FLAG: "boolean", INTEGER: "Int64"}
    return "str" if column.type in (ID, TEXT) else by_type.get(column.type, "float64")


def _to_text(values: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(values.dtype) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return values.astype("str").where(values.notna())


def _to_id(values: pd.Series) -> pd.Series:
    if pd.api.types.is_integer_dtype(values.dtype):
        return values.astype("Int64")
    if pd.api.types.is_float_dtype(values.dtype):
        return values.where(values % 1 == 0).astype("Int64")
    return _to_text(values)


def _to_number(values: pd.Series, decimal: str) -> pd.Series:
    if pd.api.types.is_bool_dtype(values.dtype):
        return pd.Series(np.nan, index=values.index)
    if pd.api.types.is_string_dtype(values.dtype) and decimal == ",":
        values = values.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return pd.to_numeric(values, errors="coerce").astype("float64")


def _to_flag(values: pd.Series) -> pd.Series:
    if pd.api.types.is_bool_dtype(values.dtype):
        return values.astype("boolean")
    words = _to_text(values).str.strip().str.lower()
    known = words.isin((*TRUE_TEXTS, *FALSE_TEXTS)).to_numpy(bool)
    return words.isin(TRUE_TEXTS).astype("boolean").where(known)


def _to_time(values: pd.Series, column: ColumnSpec, source: Source) -> pd.Series:
    """Instants as UTC, calendar days as their midnight; a time without an offset is one of the zone of the source."""
    zone = source.time_zone or "UTC"
    if pd.api.types.is_numeric_dtype(values.dtype):
        return pd.Series(pd.NaT, index=values.index, dtype=TIME_TYPE)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        instants, has_offset = values.dt.tz_convert("UTC").dt.tz_localize(None), True
    elif pd.api.types.is_datetime64_any_dtype(values.dtype):
        instants, has_offset = values, False
    else:
        return _parse_times(_to_text(values), column, zone)
    instants = instants.astype(TIME_TYPE)
    if column.calendar_day:
        return (_to_zone(instants, zone) if has_offset else instants).dt.normalize()
    return instants if has_offset else _from_zone(instants, zone)


def _parse_times(texts: pd.Series, column: ColumnSpec, zone: str) -> pd.Series:
    has_offset = np.zeros(len(texts), bool)
    if texts.str.len().max() > DAY_LENGTH:
        has_offset = texts.str.contains(OFFSET_PATTERN, na=False).to_numpy(bool)
    local = pd.to_datetime(texts.where(~has_offset), format="ISO8601", errors="coerce").astype(TIME_TYPE)
    if not has_offset.any():
        return local.dt.normalize() if column.calendar_day else _from_zone(local, zone)
    zoned = texts.where(has_offset).str.replace(r"\s+(?=[+-]\d\d|Z$|UTC$)", "", regex=True)
    zoned = zoned.str.replace("UTC", "Z", regex=False)
    instants = pd.to_datetime(zoned, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None).astype(TIME_TYPE)
    if column.calendar_day:
        return _to_zone(instants, zone).where(has_offset, local).dt.normalize()
    return instants.where(has_offset, _from_zone(local, zone))


def _from_zone(local: pd.Series, zone: str) -> pd.Series:
    """Instants in UTC of local times; an hour that occurs twice is its second, one that never occurs moves on."""
    if zone == "UTC":
        return local
    zoned = local.dt.tz_localize(zone, ambiguous=np.zeros(len(local), bool), nonexistent="shift_forward")
    return zoned.dt.tz_convert("UTC").dt.tz_localize(None).astype(TIME_TYPE)


def _to_zone(instants: pd.Series, zone: str) -> pd.Series:
    return instants.dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None).astype(TIME_TYPE)


def differs(left: pd.Series, right: pd.Series) -> Flags:
    """True where two columns of equal length differ; two missing values are equal."""
    left, right = left.reset_index(drop=True), right.reset_index(drop=True)
    missing = left.isna().to_numpy(bool), right.isna().to_numpy(bool)
    if left.dtype != right.dtype:
        left, right = left.astype("object"), right.astype("object")
    unequal = (left != right).fillna(False).to_numpy(bool)
    return np.asarray((missing[0] != missing[1]) | (unequal & ~missing[0] & ~missing[1]))


def is_among(keys: pd.Series, others: pd.Series | pd.Index) -> Flags:
    """True for keys that occur among the others; much faster than `isin` for text."""
    return np.asarray(pd.Index(others.unique()).get_indexer(pd.Index(keys)) >= 0)


def to_arrow(rows: pd.DataFrame, table: str) -> pa.Table:
    """Versions as an Arrow table in the types of the contract: instants in UTC, calendar days without a zone."""
    arrays, names = [], []
    for name in rows.columns:
        column = TABLES[table].columns.get(name)
        kind = None
        if column is not None and column.is_time:
            kind = pa.timestamp("us") if column.calendar_day else pa.timestamp("us", tz="UTC")
        elif column is None or column.type in (ID, TEXT):
            kind = None if pd.api.types.is_integer_dtype(rows[name].dtype) else pa.string()
        arrays.append(pa.Array.from_pandas(rows[name], type=kind))
        names.append(name)
    return pa.table(dict(zip(names, arrays, strict=True)))
