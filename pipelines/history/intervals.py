"""Histories that a tool has kept: dbt snapshots, Fivetran history mode and dlt SCD2, as changes day by day.

Each row says from when and until when it was so. The changes of a day are those that hold at its end; a row that was
replaced on the day on which it began is set aside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from renewals.features.tables import TABLES
from renewals.pipelines.history.column_types import Flags, convert_column
from renewals.pipelines.history.copy_reader import KEY, Copy, CopyReader, SetAside
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.runtime.history_settings import HistorySource
from renewals.pipelines.runtime.source_settings import Source

LAST_YEAR = 9000
"""A row that is valid until this year or later is valid still."""
REPLACED_REASON = "replaced by the end of the day from which it held"
DELETION_REASON = "the record of a deletion"
DELETION_COLUMN = "dbt_is_deleted"
"""Column of dbt that marks a row as the record of a deletion."""


@dataclass(frozen=True)
class IntervalFormat:
    """Columns of a tool that keeps a history."""

    valid_from: str
    valid_to: str
    active: str | None = None
    """Column that is false in rows that no longer hold."""


FORMATS: Mapping[str, IntervalFormat] = {
    "dbt": IntervalFormat("dbt_valid_from", "dbt_valid_to"),
    "fivetran": IntervalFormat("_fivetran_start", "_fivetran_end", "_fivetran_active"),
    "dlt": IntervalFormat("_dlt_valid_from", "_dlt_valid_to"),
}


@dataclass(frozen=True)
class Changes:
    """The changes of one day: rows that began to hold, and keys of which no row holds any more."""

    copy: Copy
    gone: pd.Index | None
    """None where the copy has all rows: those that are not in it are gone."""


def daily_changes(
    raw: pd.DataFrame, file: str, settings: HistorySource, reader: CopyReader, source: Source
) -> Iterator[Changes]:
    """Yield the changes of each day on which a row began or ceased to hold, the earliest first.

    Raises `DataContractError` if a column of the format is missing.
    """
    columns = FORMATS[settings.format]
    for name in (columns.valid_from, columns.valid_to):
        if name not in raw.columns:
            raise DataContractError(f"{file} has no column {name!r}, which {settings.format} writes")
    raw = raw.reset_index(drop=True)
    first, last = (_days(raw[name], source) for name in (columns.valid_from, columns.valid_to))
    if columns.active in raw.columns:
        is_active = raw[columns.active].astype("str").str.lower().isin(("true", "t", "1")).to_numpy(bool)
        last = last.mask(is_active)
    last = last.mask(last.dt.year >= LAST_YEAR)
    if settings.first_day is not None:
        first = first.mask(first < pd.Timestamp(settings.first_day), pd.Timestamp(settings.first_day))
    is_record = _is_deletion_record(raw)
    key = reader.map_key(raw)
    yield from _by_day(raw, file, reader, _Intervals(key, first, last, is_record))


@dataclass(frozen=True)
class _Intervals:
    """Key, first day, day of the end and kind of each row of a history."""

    key: pd.Series
    first: pd.Series
    last: pd.Series
    is_deletion_record: pd.Series


def _by_day(raw: pd.DataFrame, file: str, reader: CopyReader, rows: _Intervals) -> Iterator[Changes]:
    undated = rows.first.isna().to_numpy(bool)
    replaced = (rows.last <= rows.first).to_numpy(bool)
    holds = ~undated & ~replaced & ~rows.is_deletion_record.to_numpy(bool)
    order = rows.first.to_numpy()
    ends = pd.DataFrame({"key": rows.key, "day": rows.last})[holds & rows.last.notna().to_numpy(bool)]
    deletions = pd.DataFrame({"key": rows.key, "day": rows.first})[rows.is_deletion_record & ~undated]
    gone_by_day = {day: pd.Index(part["key"].unique()) for day, part in pd.concat([ends, deletions]).groupby("day")}
    groups = pd.Series(np.arange(len(raw))).groupby(order).indices
    no_day = [
        SetAside(file, int(place) + 1, "the day from which it holds is missing") for place in np.flatnonzero(undated)
    ]
    for day in sorted({*groups, *gone_by_day} - {pd.NaT}):
        copy = _copy_of_day(raw, file, reader, np.asarray(groups.get(day, ()), np.intp), holds, rows, day.date())
        copy.set_aside += no_day
        copy.read += len(no_day)
        no_day = []
        yield Changes(copy, gone_by_day.get(day, pd.Index([], dtype="str")).difference(copy.rows[KEY]))


def _copy_of_day(
    raw: pd.DataFrame,
    file: str,
    reader: CopyReader,
    places: NDArray[np.intp],
    holds: Flags,
    rows: _Intervals,
    day: date,
) -> Copy:
    """The rows that began to hold on a day; the others of the day are set aside or records of a deletion."""
    kept = places[holds[places]]
    copy = reader.map_rows(raw.iloc[kept], day, file)
    copy.set_aside = [SetAside(file, int(kept[row.row - 1]) + 1, row.reason) for row in copy.set_aside]
    for place in places[~holds[places]]:
        is_record = bool(rows.is_deletion_record.iloc[place])
        copy.set_aside.append(SetAside(file, int(place) + 1, DELETION_REASON if is_record else REPLACED_REASON))
    copy.read = len(places)
    return copy


def _days(values: pd.Series, source: Source) -> pd.Series:
    """Days in UTC of the times of a history."""
    times, _unreadable = convert_column(values, TABLES["accounts"].columns["recorded_at"], "accounts", source)
    return times.dt.normalize()


def _is_deletion_record(raw: pd.DataFrame) -> pd.Series:
    if DELETION_COLUMN not in raw.columns:
        return pd.Series(False, index=raw.index)
    return raw[DELETION_COLUMN].astype("str").str.lower().isin(("true", "t", "1"))
