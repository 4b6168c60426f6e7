"""Versions of rows that a source has as rows: accounts, contracts with their terms, people."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from renewals.pipelines.history.column_types import RECORDED_AT, TIME_TYPE, VALID_FROM, Flags
from renewals.pipelines.history.copy_reader import KEY
from renewals.pipelines.runtime.history_settings import HistorySource

EVENT = "history_event"
"""Column of a version that says what made it."""
EFFECTIVE, CLOSED, START, REUSED = "_effective", "_closed", "_start", "_reused"
"""Columns of a held row: from when its last version applies, how it was closed when it vanished, its start if that is
not the one of the source, and how often its key was used again."""
END_COLUMN = {"contracts": "cancelled_at", "people": "valid_to"}
"""Column that says when a row of a table ended; the rows of the other tables stay as last seen."""
FACT_TIMES = {"contracts": {"loss_reason": "loss_recorded_at", "lost_to": "loss_recorded_at"},
              "accounts": {"merged_into_account_id": "merged_at"}}  # fmt: skip
"""Facts written into a row later, with the column that says when: without it they are unknown before the first copy."""


class RowVersions:
    """Makes the versions of held rows; each method returns one version per row that has one."""

    bookkeeping: ClassVar[dict[str, Any]] = {EFFECTIVE: TIME_TYPE, CLOSED: "str", START: TIME_TYPE, REUSED: "int64"}
    """Columns of a held row beside its values, with their types."""

    def __init__(self, settings: HistorySource) -> None:
        self._settings = settings
        self._table = settings.table

    def first(self, rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
        """Versions of the rows of the first copy: what was always known, then what was seen on its day.

        A row keeps its own known time, without the columns that can change; where it has a value in any of them, a
        second version known on the day of the copy has them.
        """
        rows[EFFECTIVE] = self._applies_from(rows, day)
        always = self._output(rows, "before_first_copy")
        is_cut = np.zeros(len(rows), bool)
        for name in self._settings.changeable_columns:
            if name in rows:
                is_cut |= rows[name].notna().to_numpy(bool)
                always[name] = always[name].mask(np.ones(len(rows), bool))
        for name, time in FACT_TIMES.get(self._table, {}).items():
            if name in rows:
                has_no_time = rows[time].isna() if time in rows else rows[name].notna()
                is_cut |= (has_no_time & rows[name].notna()).to_numpy(bool)
                always[name] = always[name].where(~has_no_time)
        if RECORDED_AT not in rows:
            always[RECORDED_AT] = pd.Series(pd.NaT, index=always.index, dtype=TIME_TYPE)
        seen = rows[is_cut]
        valid_from = seen.get("start_date")
        return pd.concat([always, self._version(seen, day, "first_copy", valid_from)], ignore_index=True)

    def new(self, rows: pd.DataFrame, day: pd.Timestamp, event: str = "new") -> pd.DataFrame:
        """Versions of rows that were not there before."""
        rows[EFFECTIVE] = self._applies_from(rows, day)
        return self._version(rows, day, event)

    def changed(self, rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
        """Versions of rows with other values than before: from the day of the copy on."""
        rows[EFFECTIVE] = day
        return self._version(rows, day, "changed")

    def filled(self, rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
        """Versions of rows whose values come from a column that appeared late: nothing changed on that day.

        They apply from when the version before them did.
        """
        valid_from = None if self._table == "accounts" else rows[EFFECTIVE]
        return self._version(rows, day, "filled", valid_from)

    def returned(self, rows: pd.DataFrame, day: pd.Timestamp, differs: Flags) -> pd.DataFrame:
        """Versions of rows that had vanished and are there again; those that were never closed only if they differ.

        A contract that had ended starts anew on that day.
        """
        was_closed = (rows[CLOSED] != "").to_numpy(bool)
        if self._table == "contracts":
            starts_anew = (rows[CLOSED] == "ended") & (rows["start_date"] <= day)
            if "end_date" in rows:
                starts_anew &= rows["end_date"].isna() | (rows["end_date"] > day)
            rows[START] = rows[START].mask(starts_anew, day)
        rows[CLOSED] = ""
        rows[EFFECTIVE] = day
        return self._version(rows[was_closed | differs], day, "returned")

    def carried_on(self, rows: pd.DataFrame, day: pd.Timestamp, last: pd.DataFrame) -> pd.DataFrame:
        """Versions that time alone makes: none, since these rows have their own terms."""
        return pd.DataFrame()

    def vanished(self, rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
        """Versions of rows that are no longer there: deleted, or ended unless they had ended by themselves before."""
        meaning = self._settings.vanished
        column = "deleted_at" if meaning == "deleted" else END_COLUMN.get(self._table)
        if column is None:
            return pd.DataFrame()
        is_open = np.ones(len(rows), bool)
        for name in (column, "end_date") if meaning == "ended" else (column,):
            if name in rows:
                is_open &= (rows[name].isna() | (rows[name] > day)).to_numpy(bool)
        rows[CLOSED] = np.where(is_open, meaning, "")
        versions = self._version(rows[is_open], day, meaning, rows[EFFECTIVE] if self._table == "people" else None)
        versions[column] = pd.Series(day, index=versions.index, dtype=TIME_TYPE)
        return versions

    def used_again(self, rows: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
        """Versions of rows whose key now stands for something else."""
        rows[REUSED] += 1
        rows[START] = pd.NaT
        rows[CLOSED] = ""
        return self.new(rows, day, "key_used_again")

    # --- the form of a version ---------------------------------------------------------------------

    def _applies_from(self, rows: pd.DataFrame, day: pd.Timestamp) -> Any:
        """Day from which the first version of each row applies."""
        if self._table == "contracts":
            return rows["start_date"]
        return rows[VALID_FROM].fillna(day) if VALID_FROM in rows else day

    def _version(self, rows: pd.DataFrame, day: pd.Timestamp, event: str, valid_from: Any = None) -> pd.DataFrame:
        versions = self._output(rows, event)
        versions[RECORDED_AT] = pd.Series(day, index=versions.index, dtype=TIME_TYPE)
        if self._table == "people" and valid_from is None:
            valid_from = rows[EFFECTIVE]
        if VALID_FROM in versions and valid_from is not None:
            versions[VALID_FROM] = versions[VALID_FROM].fillna(valid_from)
        elif VALID_FROM not in versions:
            versions[VALID_FROM] = pd.NaT if valid_from is None else valid_from
        return versions.astype({VALID_FROM: TIME_TYPE})

    def _output(self, rows: pd.DataFrame, event: str) -> pd.DataFrame:
        """Values of held rows in the columns of the contract, with the key and what made the version."""
        versions = rows[[name for name in rows.columns if name == KEY or not name.startswith("_")]].copy()
        if self._table == "contracts":
            is_moved = rows[START].notna() & (rows["start_date"] <= rows[START])
            versions["start_date"] = versions["start_date"].mask(is_moved, rows[START])
            is_reused = rows[REUSED] > 0
            suffixed = versions["contract_id"] + "~" + (rows[REUSED] + 1).astype("str")
            versions["contract_id"] = versions["contract_id"].mask(is_reused, suffixed)
        versions[EVENT] = event
        return versions
