"""Read a file of a dated extract and map it to the columns of the data contract; rows that cannot be read are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from renewals.features.tables import TABLES
from renewals.pipelines.history.column_types import Flags, convert_column
from renewals.pipelines.history.copy_files import CopyFile
from renewals.pipelines.runtime.errors import ConfigError, DataContractError
from renewals.pipelines.runtime.history_settings import HistorySource
from renewals.pipelines.runtime.source_settings import Source
from renewals.pipelines.storage.engine.engine_errors import first_line

KEY = "_key"
"""Column with the key of a row as one text."""
KEY_SEPARATOR = "/"
REPEATED_REASON = "the row repeats another one"
UNMAPPED = ("recorded_at", "valid_from", "deleted_at")
"""Columns that are read only if the settings name them: versions and deletions follow from the extracts."""


@dataclass(frozen=True)
class SetAside:
    """A row of a file that became no version, with the reason."""

    file: str
    row: int
    """Number of the row in its file, from 1; 0 stands for the whole file."""
    reason: str


@dataclass
class Copy:
    """The rows of one day of a table."""

    day: date
    rows: pd.DataFrame
    """Columns of the contract and `_key`, one row per key."""
    delivered: frozenset[str]
    """Columns of the contract with a value in at least one row."""
    seen_keys: pd.Index
    """Keys of all rows that were there, also of those set aside: such a row has not vanished."""
    read: int = 0
    """Number of rows of the file."""
    set_aside: list[SetAside] = field(default_factory=list)
    further_set_aside: Counter[str] = field(default_factory=Counter)
    """Number of rows of files that are set aside as a whole, by reason."""


class CopyReader:
    """Reads the files of one source."""

    def __init__(self, name: str, settings: HistorySource, source: Source) -> None:
        self._name = name
        self._settings = settings
        self._source = source
        self._columns = TABLES[settings.table].columns
        unknown = [c for c in self._mapped_columns() if c not in self._columns]
        if unknown:
            raise ConfigError(f"history.sources.{name}: {settings.table} has no column {unknown[0]!r}")

    def _mapped_columns(self) -> Iterable[str]:
        settings = self._settings
        mappings = (settings.columns, settings.constants, settings.value_maps, settings.multiply)
        return (*(c for mapping in mappings for c in mapping), *settings.changeable_columns, *(settings.identity or ()))

    def read_raw(self, file: CopyFile) -> pd.DataFrame:
        """All columns of a file; those of CSV as text. Raises `DataContractError` with the cause."""
        rows = self._read_file(file)
        if not isinstance(rows.index, pd.RangeIndex):
            raise DataContractError(f"{file.path}: the rows have more cells than the header")
        return rows

    def _read_file(self, file: CopyFile) -> pd.DataFrame:
        source, table = self._source, self._settings.table
        try:
            if file.path.suffix.lower() == ".parquet":
                return _to_pandas(pq.read_table(file.path))
            return pd.read_csv(
                file.path,
                dtype="str",
                keep_default_na=False,
                na_values=list(source.null_values),
                encoding=source.encodings.get(table, source.encoding),
                sep=source.delimiter,
                encoding_errors="strict",
            )
        except UnicodeDecodeError as error:
            raise DataContractError(
                f"{file.path} is not {source.encoding}: byte {error.start} cannot be decoded. Set source.encoding"
            ) from None
        except pd.errors.EmptyDataError:
            raise DataContractError(f"{file.path} has no header line") from None
        except (pd.errors.ParserError, pa.ArrowInvalid, OSError) as error:
            raise DataContractError(f"{file.path} cannot be read: {first_line(error)}") from None

    def read_copy(self, parts: Sequence[CopyFile]) -> Copy:
        """The rows of a copy, which is one file or a folder of files."""
        day = parts[0].day
        assert day is not None
        name = parts[0].name if len(parts) == 1 else parts[0].copy_name
        return self.map_rows(pd.concat([self.read_raw(part) for part in parts], ignore_index=True), day, name)

    def map_rows(self, raw: pd.DataFrame, day: date, file: str) -> Copy:
        """Map received rows to the contract; rows without a key, repeated or unreadable ones are set aside."""
        raw = raw.reset_index(drop=True)
        self._require_columns(raw, file)
        key = self.map_key(raw)
        rows, unreadable = self._convert(raw, day)
        reasons = _first_reasons({"the key is missing": key.isna().to_numpy(bool), **unreadable}, len(raw))
        rows.insert(0, KEY, key)
        duplicated = self._repeated(rows, reasons)
        reasons = np.where(reasons == "", duplicated, reasons)
        is_kept = reasons == ""
        places = np.flatnonzero(~is_kept)
        return Copy(
            day,
            rows[is_kept].reset_index(drop=True),
            frozenset(name for name in rows.columns if name != KEY and rows[name].notna().any()),
            pd.Index(key.dropna().unique()),
            len(raw),
            [SetAside(file, int(place) + 1, str(reasons[place])) for place in places],
        )

    def _require_columns(self, raw: pd.DataFrame, file: str) -> None:
        missing = [name for name in self._settings.key if name not in raw.columns]
        if missing:
            present = ", ".join(map(str, raw.columns))
            raise DataContractError(f"{self._name}: {file} has no column {missing[0]!r}; found {present}")

    def map_key(self, raw: pd.DataFrame) -> pd.Series:
        """Key of each received row as one text; missing where a part of it is."""
        parts = [raw[name].astype("str").where(raw[name].notna()) for name in self._settings.key]
        key = parts[0]
        for part in parts[1:]:
            key = key + KEY_SEPARATOR + part
        return key

    def _convert(self, raw: pd.DataFrame, day: date) -> tuple[pd.DataFrame, dict[str, Flags]]:
        """Rows with the columns of the contract that the source has, and flags of the unreadable ones by reason."""
        settings = self._settings
        columns, unreadable = {}, {}
        for name, column in self._columns.items():
            values = self._received(raw, name, day)
            if values is None:
                continue
            converted, is_bad = convert_column(values, column, settings.table, self._source)
            columns[name] = converted * settings.multiply[name] if name in settings.multiply else converted
            if is_bad.any():
                unreadable[f"{name} cannot be read"] = is_bad
        return pd.DataFrame(columns, index=raw.index), unreadable

    def _received(self, raw: pd.DataFrame, name: str, day: date) -> pd.Series | None:
        """Received values of a column of the contract; None if the source does not have it on that day."""
        settings = self._settings
        if name in settings.constants:
            return pd.Series([settings.constants[name]] * len(raw), index=raw.index)
        value_map = settings.value_maps.get(name)
        column = value_map.column if value_map else settings.columns.get(name, "" if name in UNMAPPED else name)
        if column not in raw.columns or day < settings.columns_from.get(column, date.min):
            return None
        if value_map is None:
            return raw[column]
        return raw[column].astype("str").map(dict(value_map.values)).where(raw[column].notna())

    @staticmethod
    def _repeated(rows: pd.DataFrame, reasons: Any) -> Any:
        """Reason of each row whose key occurred before in the copy; empty text for all other rows."""
        valid = rows[reasons == ""]
        repeated = valid.duplicated(KEY)
        found = np.full(len(rows), "", dtype=object)
        if repeated.any():
            exact = valid.duplicated()
            found[valid.index[repeated & exact]] = REPEATED_REASON
            found[valid.index[repeated & ~exact]] = "the key occurs again with other values; the first row is kept"
        return found


def _first_reasons(flags: dict[str, Flags], rows: int) -> Any:
    """For each row the first reason whose flag is set; empty text if none is."""
    reasons = np.full(rows, "", dtype=object)
    for reason, is_set in flags.items():
        reasons[is_set & (reasons == "")] = reason
    return reasons


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    """Arrow columns as pandas ones; whole numbers stay whole beside missing values."""
    integers = {kind: pd.Int64Dtype() for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())}
    decimals = [n for n, field in enumerate(table.schema) if pa.types.is_decimal(field.type)]
    dates = [n for n, field in enumerate(table.schema) if pa.types.is_date(field.type)]
    for place, kind in (*((n, pa.float64()) for n in decimals), *((n, pa.timestamp("us")) for n in dates)):
        table = table.set_column(place, table.schema.names[place], table.column(place).cast(kind))
    return table.to_pandas(types_mapper=integers.get)
