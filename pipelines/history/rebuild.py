"""Rebuild the versions of a table from its copies, one after the other, as each becomes known.

What a copy adds depends on nothing later, and no version is ever written again: the versions of the copies up to a day
are those of all copies that were recorded by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from renewals.features.tables import TABLES
from renewals.pipelines.history.column_types import Flags, differs, is_among, missing_values
from renewals.pipelines.history.copy_reader import KEY, Copy
from renewals.pipelines.history.presence_terms import TERM, PresenceTerms
from renewals.pipelines.history.row_versions import EVENT, RowVersions
from renewals.pipelines.history.source_watch import SourceWatch
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.runtime.history_settings import History, HistorySource

Make = Callable[[pd.DataFrame], pd.DataFrame]
"""Makes versions of held rows, and books in the rows what later copies need."""

PRESENT, ABSENT = "_present", "_absent"
"""Columns of a held row: if it is there, and if it is there only as last seen, because its source stopped."""
GAP_IDENTITY = {"contracts": ("account_id", "product")}
"""Columns that tell a row that returned from another one with its key, where the settings name none."""
MOVING_IDENTITY = {"people": ("account_id",)}
"""Columns of the output's key that may change under a key of the source."""


@dataclass
class RowCounts:
    """What became of the rows of a copy: `read` = `made_versions` + `unchanged` + all of `set_aside`."""

    read: int = 0
    made_versions: int = 0
    unchanged: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)
    further_versions: int = 0
    """Versions beyond one a row: of rows that vanished, of rows of the first copy, of terms by presence."""
    events: Counter[str] = field(default_factory=Counter)
    """Versions by what made them."""

    def add(self, other: RowCounts) -> None:
        """Add the counts of another copy."""
        for name in ("read", "made_versions", "unchanged", "further_versions"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.set_aside += other.set_aside
        self.events += other.events

    @property
    def versions(self) -> int:
        """Number of versions written."""
        return self.made_versions + self.further_versions


@dataclass
class HeldRows:
    """What is known of a source after its last copy."""

    rows: pd.DataFrame
    """Values of every row ever seen, as last seen, with the columns that the rebuilding needs."""
    columns: list[str] = field(default_factory=list)
    """Columns that were delivered so far."""
    watch: SourceWatch = field(default_factory=SourceWatch)


class TableRebuild:
    """Versions of one source, copy by copy."""

    def __init__(self, name: str, settings: HistorySource, rules: History, held: HeldRows | None = None) -> None:
        self._name = name
        self._settings = settings
        self._rules = rules
        self._maker: RowVersions | PresenceTerms = (
            PresenceTerms(name, settings, rules.lapse_days) if settings.presence else RowVersions(settings)
        )
        self._types = {PRESENT: "bool", ABSENT: "bool"} | self._maker.bookkeeping
        if held is None:
            empty = {KEY: pd.Series(dtype="str")} | {n: pd.Series(dtype=kind) for n, kind in self._types.items()}
            held = HeldRows(pd.DataFrame(empty))
        self.held = held

    def add(self, copy: Copy, gone: pd.Index | None = None) -> tuple[pd.DataFrame, RowCounts]:
        """Versions that a copy adds, and what became of its rows.

        A copy has all rows that are there; with `gone` it has only those that changed, and `gone` those that vanished.
        """
        day = pd.Timestamp(copy.day)
        is_first = self.held.watch.first_day is None
        if is_first:
            self._require_columns(copy)
        old = self._align(copy)
        position = pd.Index(old[KEY]).get_indexer(copy.rows[KEY])
        known = position >= 0
        parts = [*self._end_missing(copy, old, day, gone, int((~known).sum()))]
        parts += self._book_known(copy, old, position[known], known, day)
        new = self._as_held(copy.rows[~known].reset_index(drop=True))
        if len(new):
            parts.append((self._maker.first if is_first else self._maker.new)(new, day))
            new = new.astype({name: kind for name, kind in self._types.items() if name in new})
            parts_of_rows = [self.held.rows, new] if len(self.held.rows) else [new]
            self.held.rows = pd.concat(parts_of_rows, ignore_index=True)
        self._note_columns(copy, is_first)
        self.held.watch.finish(copy.day)
        return self._count(copy, [part for part in parts if len(part)])

    # --- rows that are missing ---------------------------------------------------------------------

    def _end_missing(
        self, copy: Copy, rows: pd.DataFrame, day: pd.Timestamp, gone: pd.Index | None, new: int
    ) -> list[pd.DataFrame]:
        """Versions of the rows that vanished, and of those that are held although they are missing."""
        present = rows[PRESENT].to_numpy(bool)
        seen = is_among(rows[KEY], copy.seen_keys)
        if gone is None:
            missing = present & ~seen
            delivered = len(copy.seen_keys)
        else:
            missing = present & ~seen & (rows[ABSENT].to_numpy(bool) | is_among(rows[KEY], gone))
            delivered = int(present.sum() - missing.sum()) + new
        if self.held.watch.first_day is None:
            return []
        counts = (int(present.sum()), int(missing.sum()), delivered)
        have_vanished = self.held.watch.judge(copy.day, *counts, self._rules)
        rows[ABSENT] = missing & (not have_vanished)
        if have_vanished:
            versions = [self._apply(rows, missing, lambda part: self._maker.vanished(part, day))]
            rows[PRESENT] = present & ~missing
        else:
            versions = []
        stays = rows[PRESENT].to_numpy(bool) & ~is_among(rows[KEY], copy.rows[KEY])
        return [*versions, self._apply(rows, stays, lambda part: self._maker.carried_on(part, day, part))]

    # --- rows that were seen before ------------------------------------------------------------------

    def _book_known(
        self, copy: Copy, rows: pd.DataFrame, position: NDArray[np.intp], known: Flags, day: pd.Timestamp
    ) -> list[pd.DataFrame]:
        """Versions of the rows of a copy that were there before, at these positions of the held rows."""
        if not len(position):
            return []
        received = copy.rows[known].reset_index(drop=True)
        last = rows.iloc[position].reset_index(drop=True)
        late, present = self._late_columns(copy), last[PRESENT].to_numpy(bool)
        by_column = {name: differs(last[name], received[name]) for name in sorted(copy.delivered)}
        changed = _any([flags for name, flags in by_column.items() if name not in late], len(last))
        filled = _any([flags for name, flags in by_column.items() if name in late], len(last)) & ~changed
        reused = self._key_used_again(by_column, last, received, present)
        now = last.copy()
        for name in sorted(copy.delivered):
            now[name] = received[name]
        versions = [self._maker.vanished(last[reused & present].copy(), day)] if (reused & present).any() else []
        goes_on = present & ~reused
        before = now[TERM].to_numpy(copy=True) if TERM in now else None
        versions.append(self._apply(now, goes_on, lambda part: self._maker.carried_on(part, day, last.loc[part.index])))
        if before is not None:  # the new term has the new values
            is_same_term = now[TERM].to_numpy() == before
            changed, filled = changed & is_same_term, filled & is_same_term
        versions += [
            self._apply(now, goes_on & changed, lambda part: self._maker.changed(part, day)),
            self._apply(now, goes_on & filled, lambda part: self._maker.filled(part, day)),
            self._apply(now, reused, lambda part: self._maker.used_again(part, day)),
            self._apply(
                now,
                ~present & ~reused,
                lambda part: self._maker.returned(part, day, (changed | filled)[part.index.to_numpy()]),
            ),
        ]
        self._note_returns(copy, ~present & ~reused, reused)
        now[PRESENT], now[ABSENT] = True, False
        self._write_back(rows, now, position)
        return versions

    def _key_used_again(
        self, by_column: dict[str, Flags], last: pd.DataFrame, received: pd.DataFrame, present: Flags
    ) -> Flags:
        """True for rows whose key stands for something else than before."""
        settings = self._settings
        if settings.table == "accounts":
            return np.zeros(len(last), bool)
        identity = settings.identity or ()

        def other(names: tuple[str, ...]) -> Flags:
            both = [n for n in names if n in by_column]
            return _any(
                [by_column[n] & (last[n].notna() & received[n].notna()).to_numpy(bool) for n in both], len(last)
            )

        if settings.identity is None:
            return other(MOVING_IDENTITY.get(settings.table, ())) | (
                ~present & other(GAP_IDENTITY.get(settings.table, ()))
            )
        return other(identity)

    # --- held rows -----------------------------------------------------------------------------------

    def _align(self, copy: Copy) -> pd.DataFrame:
        """The held rows with all columns of a copy, and the copy with all columns of the held rows."""
        rows = self.held.rows
        columns = TABLES[self._settings.table].columns
        for name in copy.rows.columns:
            if name not in rows:
                kind = copy.rows[name].dtype
                rows[name] = missing_values(kind, len(rows))
        for name in (n for n in rows.columns if n not in copy.rows and n in columns):
            copy.rows[name] = missing_values(rows[name].dtype, len(copy.rows))
        for name in (n for n in rows.columns if n in columns and rows[n].dtype != copy.rows[n].dtype):
            if rows[name].notna().any() and copy.rows[name].notna().any():
                raise DataContractError(
                    f"{self._name}: {name} has another type in the copy of {copy.day} than before "
                    f"({copy.rows[name].dtype}, before {rows[name].dtype})"
                )
            if rows[name].notna().any():
                copy.rows[name] = copy.rows[name].astype(rows[name].dtype)
            else:
                rows[name] = rows[name].astype(copy.rows[name].dtype)
        return rows

    def _as_held(self, received: pd.DataFrame) -> pd.DataFrame:
        """Received rows as held rows that are there."""
        rows = received.copy()
        for name, kind in self._types.items():
            default = {"bool": False, "int64": 0, "str": ""}.get(kind, pd.NaT)
            rows[name] = pd.Series(default, index=rows.index).astype(kind)
        rows[PRESENT] = True
        return rows[[*self.held.rows.columns]]

    def _apply(self, rows: pd.DataFrame, chosen: Flags, make: Make) -> pd.DataFrame:
        """Versions that `make` makes of the chosen rows; what it books in them is taken over."""
        if not chosen.any():
            return pd.DataFrame()
        part = rows[chosen].copy()
        versions = make(part)
        for name in self._maker.bookkeeping:
            rows.loc[chosen, name] = part[name].astype(rows[name].dtype)
        return versions

    @staticmethod
    def _write_back(rows: pd.DataFrame, now: pd.DataFrame, position: NDArray[np.intp]) -> None:
        for name in rows.columns:
            values = rows[name].array.copy()
            values[position] = now[name].array
            rows[name] = values

    # --- columns, findings and counts ------------------------------------------------------------------

    def _late_columns(self, copy: Copy) -> set[str]:
        """Columns that no earlier copy delivered."""
        return set(copy.delivered) - set(self.held.columns)

    def _note_columns(self, copy: Copy, is_first: bool) -> None:
        watch, seen = self.held.watch, set(self.held.columns)
        late = sorted(self._late_columns(copy))
        if late and not is_first:
            watch.note("columns_appeared", copy.day, columns=late)
        self.held.columns = sorted(seen | set(copy.delivered))

    def _note_returns(self, copy: Copy, returned: Flags, reused: Flags) -> None:
        for what, flags in (("returned", returned), ("keys_used_again", reused)):
            if flags.any():
                self.held.watch.note(what, copy.day, rows=int(flags.sum()))

    def _require_columns(self, copy: Copy) -> None:
        table = TABLES[self._settings.table]
        made = {"contract_id", "start_date", "end_date"} if self._settings.presence else set()
        present = {*copy.rows.columns, *made, *self._settings.changeable_columns}
        missing = [c.name for c in table.columns.values() if c.required and c.name not in present]
        if missing:
            raise DataContractError(
                f"{self._name}: {table.name} needs {', '.join(missing)}: name the column of the source in "
                f"history.sources.{self._name}.columns, or a value in constants"
            )

    def _count(self, copy: Copy, parts: list[pd.DataFrame]) -> tuple[pd.DataFrame, RowCounts]:
        versions = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({KEY: [], EVENT: []}, dtype="str")
        of_rows = versions.loc[~versions[EVENT].isin(("ended", "deleted")), KEY]
        made = int(is_among(copy.rows[KEY], of_rows).sum())
        set_aside = Counter(row.reason for row in copy.set_aside if row.row) + copy.further_set_aside
        read = copy.read + sum(copy.further_set_aside.values())
        counts = RowCounts(read, made, len(copy.rows) - made, set_aside, len(versions) - made)
        counts.events = Counter(versions[EVENT].tolist())
        return versions, counts


def _any(flags: Sequence[Flags], rows: int) -> Flags:
    """True for rows for which any of the flags is set."""
    return np.logical_or.reduce([np.zeros(rows, bool), *flags])
