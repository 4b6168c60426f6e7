"""Terms from lists of who is there: a stretch of presence, cut at each anniversary or each first of a month."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from renewals.pipelines.history.column_types import RECORDED_AT, TIME_TYPE, VALID_FROM, Flags
from renewals.pipelines.history.copy_reader import KEY
from renewals.pipelines.history.periods import Days, Ints, boundary, last_boundary
from renewals.pipelines.history.row_versions import EVENT
from renewals.pipelines.runtime.history_settings import HistorySource

STRETCH, TERM, OPEN, EFFECTIVE = "_stretch", "_term", "_open", "_effective"
"""Columns of a held row: first day of its stretch, number of its newest term, if its start is unknown, and from when
its last version applies."""


class PresenceTerms:
    """Makes the terms of the stretches of presence; each method returns versions, with the methods of `RowVersions`."""

    bookkeeping: ClassVar[dict[str, Any]] = {STRETCH: TIME_TYPE, TERM: "int64", OPEN: "bool", EFFECTIVE: TIME_TYPE}

    def __init__(self, name: str, settings: HistorySource, lapse_days: int) -> None:
        assert settings.presence is not None
        self._name = name
        self._settings = settings
        self._period = settings.presence
        self._lapse_days = lapse_days

    def first(self, rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
        """Terms of the first copy, whose start is unknown: with yearly terms, so is their end."""
        start = self._settings.unknown_start
        self._begin(rows, day if start is None else pd.Timestamp(start))
        rows[OPEN] = self._period == "year"
        return self._terms(rows, rows[TERM], day, "first_copy")

    def new(self, rows: pd.DataFrame, day: pd.Timestamp, event: str = "new") -> pd.DataFrame:
        """First terms of the stretches that begin on a day."""
        self._begin(rows, day)
        return self._terms(rows, rows[TERM], day, event)

    def returned(self, rows: pd.DataFrame, day: pd.Timestamp, differs: Flags) -> pd.DataFrame:
        """First terms of the stretches of those who are there again."""
        return self.new(rows, day, "returned")

    def used_again(self, rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
        """First terms of those whose key now stands for somebody else."""
        return self.new(rows, day, "key_used_again")

    def changed(self, rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
        """Versions of the running terms with other values than before: from the day of the copy on."""
        rows[EFFECTIVE] = day
        return self._terms(rows, rows[TERM], day, "changed")

    def filled(self, rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
        """Versions of the running terms with a value of a column that appeared late."""
        return self._terms(rows, rows[TERM], day, "filled", rows[EFFECTIVE])

    def carried_on(self, rows: pd.DataFrame, day: pd.Timestamp, last: pd.DataFrame) -> pd.DataFrame:
        """Further terms, up to `day`, of stretches whose newest term has ended.

        `last` has the rows as last seen: the values of terms that no copy has seen.
        """
        stretch = _days(rows[STRETCH])
        reached = last_boundary(self._period, stretch, _day(day))
        is_due = (reached > rows[TERM].to_numpy()) & ~rows[OPEN].to_numpy(bool)
        if not is_due.any():
            return pd.DataFrame()
        versions = [self._between(rows, last, reached - 1, is_due, day)]
        rows[TERM] = np.where(is_due, reached, rows[TERM])
        rows[EFFECTIVE] = rows[EFFECTIVE].mask(is_due, pd.Series(boundary(self._period, stretch, reached), rows.index))
        return pd.concat([*versions, self._terms(rows[is_due], rows.loc[is_due, TERM], day, "term")], ignore_index=True)

    def vanished(self, rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
        """What ends the stretches of those who are missing on a day.

        A term that has just ended is not followed by another, and one that has just begun never ran: the end is the
        anniversary, if it passed within `lapse_days`. Otherwise the running term ends on the day.
        """
        stretch, today = _days(rows[STRETCH]), _day(day)
        reached = last_boundary(self._period, stretch, today)
        anniversary = boundary(self._period, stretch, reached)
        is_open, term = rows[OPEN].to_numpy(bool), rows[TERM].to_numpy()
        near = (today - anniversary).astype(np.int64) <= self._lapse_days
        has_lapsed = (reached >= 1) & near & ~is_open
        skipped = self._between(rows, rows, reached - 1, (reached > term) & ~is_open, day)
        is_cancelled = ~has_lapsed | (term == reached)
        number = pd.Series(np.where(is_open, term, reached), rows.index)[is_cancelled]
        ended = self._terms(rows[is_cancelled], number, day, "ended")
        end = np.where(has_lapsed, anniversary, today)[is_cancelled]
        ended["cancelled_at"] = pd.Series(end, index=ended.index).astype(TIME_TYPE)
        return pd.concat([skipped, ended], ignore_index=True)

    # --- terms ---------------------------------------------------------------------------------

    @staticmethod
    def _begin(rows: pd.DataFrame, day: pd.Timestamp) -> None:
        rows[STRETCH] = pd.Series(day, index=rows.index, dtype=TIME_TYPE)
        rows[TERM] = 0
        rows[OPEN] = False
        rows[EFFECTIVE] = rows[STRETCH]

    def _between(
        self, rows: pd.DataFrame, values: pd.DataFrame, last: Ints, is_due: Flags, day: pd.Timestamp
    ) -> pd.DataFrame:
        """Terms after the newest one of each due row, up to number `last`, with the values of `values`."""
        count = np.where(is_due, np.maximum(last - rows[TERM].to_numpy(), 0), 0)
        if not count.any():
            return pd.DataFrame()
        places = np.repeat(np.arange(len(rows)), count)
        steps = np.arange(len(places)) - np.repeat(np.cumsum(count) - count, count) + 1
        repeated = rows.iloc[places].reset_index(drop=True)
        for name in (column for column in values.columns if not column.startswith("_")):
            repeated[name] = values[name].iloc[places].reset_index(drop=True)
        return self._terms(repeated, repeated[TERM] + steps, day, "term")

    def _terms(
        self, rows: pd.DataFrame, number: pd.Series, day: pd.Timestamp, event: str, valid_from: Any = pd.NaT
    ) -> pd.DataFrame:
        """Versions of the terms with these numbers, known on a day: one row per row."""
        stretch = _days(rows[STRETCH])
        start = boundary(self._period, stretch, number.to_numpy())
        end = boundary(self._period, stretch, number.to_numpy() + 1)
        names = [name for name in rows.columns if name == KEY or not name.startswith("_")]
        versions = rows[names].copy()
        key = f"{self._name}:" + rows[KEY] + ":"
        versions["contract_id"] = key + pd.Series(np.datetime_as_string(start, "D"), rows.index, dtype="str")
        versions["subscription_id"] = key + pd.Series(np.datetime_as_string(stretch, "D"), rows.index, dtype="str")
        versions["start_date"] = pd.Series(start, rows.index).astype(TIME_TYPE)
        versions["end_date"] = pd.Series(end, rows.index).astype(TIME_TYPE).mask(rows[OPEN].astype(bool))
        versions["cancelled_at"] = pd.Series(pd.NaT, rows.index, dtype=TIME_TYPE)
        versions[RECORDED_AT] = pd.Series(day, rows.index, dtype=TIME_TYPE)
        versions[VALID_FROM] = valid_from
        versions[EVENT] = event
        return versions.astype({VALID_FROM: TIME_TYPE})


def _days(times: pd.Series) -> Days:
    return times.to_numpy().astype("datetime64[D]")


def _day(day: pd.Timestamp) -> np.datetime64:
    return np.datetime64(day, "D")
