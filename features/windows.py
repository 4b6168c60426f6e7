"""The only place where the future is cut off.

As of a day, only what was known strictly before it exists. Everything here works on whole days (`day`,
an integer counted from 1970-01-01), for an observation stands on midnight: a fact is before `as_of`
exactly when its day is. Two devices follow from that:

* `as_known` brings a table to every observation with later rows left out and later facts masked;
* `windowed` sums rolled-up days into windows by *slices*: no window's edge cuts through a slice, so
  each day is summed once and each window is a handful of slices, joined by equality (design, "How the
  windows are computed fast"). A day that arrived late carries the first observation date that knew it.

Nothing else in `features/` may compare anything with `as_of`; a test reads the code to see to it.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from features.tables import TABLES, Table

EPOCH = date(1970, 1, 1)
YEAR = 365
"""The longest stretch looked back over, in days."""

RUNNING_AHEAD = ("contracts",)
"""Tables whose rows may be known before they begin: a follow-on term is signed before it starts."""


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def day_of(instant: ir.Value) -> ir.IntegerValue:
    """The day an instant falls on, in days since 1970-01-01."""
    return (instant.cast("timestamp").epoch_seconds().cast("float64") / 86_400.0).floor().cast("int32")


def hours_between(earlier: ir.Value, later: ir.Value) -> ir.FloatingValue:
    """Hours from one instant to another; null where either is."""
    seconds = later.cast("timestamp").epoch_seconds() - earlier.cast("timestamp").epoch_seconds()
    return seconds.cast("float64") / 3600.0


def first_given(table: ir.Table, columns: Sequence[str]) -> ir.Value:
    """The first of these columns that is not null."""
    return ibis.coalesce(*(table[name] for name in columns)) if len(columns) > 1 else table[columns[0]]


def known_day(table: ir.Table, contract: Table) -> ir.Value:
    """The day on which a row reached the company; null where it has been known for ever."""
    return day_of(first_given(table, contract.known_time))


def known_on(name: str, table: ir.Table, day: date) -> ir.Table:
    """What was known of a table before a day, later facts masked: one row per row known."""
    number = ibis.literal(day_number(day), "int32")
    return _mask(table.mutate(_cut=number), TABLES[name]).drop("_cut", "_event_day")


def as_known(name: str, table: ir.Table, spine: ir.Table) -> ir.Table:
    """What each observation knew of a table: one row per (account_id, as_of, row known then).

    Adds `days_ago`, whole days from the row's event to `as_of`: 1 is yesterday; null where the row
    has no event time.
    """
    at = spine.select("account_id", "as_of", _cut=_.day)
    known = _mask(table.join(at, "account_id"), TABLES[name])
    return known.mutate(days_ago=_._cut - _._event_day).drop("_event_day")


def known_when(name: str, table: ir.Table, rows: ir.Table, instant: str) -> ir.Table:
    """Each of `rows` with the rows of a table about its account that were known before the day of its `instant`."""
    beside = table.mutate(_known_day=known_day(table, TABLES[name]))
    joined = rows.join(beside, "account_id", rname="{name}_beside")
    return joined.filter(_._known_day.isnull() | (_._known_day < day_of(_[instant]))).drop("_known_day")


def final_before(outcomes: ir.Table, spine: ir.Table) -> ir.Table:
    """What had become final before each date: one row per (as_of, outcome that had matured)."""
    dates = spine.select("as_of", _cut="day").distinct()
    return outcomes.cross_join(dates).filter(day_of(_.matured_at) < _._cut).drop("_cut")


def since(known: ir.Table, instant: ir.Value) -> ir.IntegerValue:
    """Whole days from an instant to `as_of`, for a table made by `as_known`; 1 is yesterday."""
    return known._cut - day_of(instant)


def until(known: ir.Table, instant: ir.Value) -> ir.IntegerValue:
    """Whole days from `as_of` to an instant, for a table made by `as_known`."""
    return day_of(instant) - known._cut


def hours_waiting(known: ir.Table, instant: ir.Value) -> ir.FloatingValue:
    """Hours from an instant to `as_of`, for a table made by `as_known`."""
    seconds = known._cut.cast("float64") * 86_400.0 - instant.cast("timestamp").epoch_seconds()
    return seconds / 3600.0


def _mask(rows: ir.Table, contract: Table) -> ir.Table:
    """Drop the rows not known before `_cut` and blank the facts that came later."""
    known = known_day(rows, contract)
    event = day_of(first_given(rows, contract.event_time))
    rows = rows.mutate(_known_day=known, _event_day=event)
    rows = rows.filter(_._known_day.isnull() | (_._known_day < _._cut))
    if contract.name not in RUNNING_AHEAD:
        rows = rows.filter(_._event_day.isnull() | (_._event_day < _._cut))
    visible = {
        column.name: (day_of(rows[_own_time(column)]) < rows._cut).ifelse(rows[column.name], ibis.null())
        for column in contract.columns.values()
        if column.known is not None
    }
    types = {name: rows[name].type() for name in visible}
    return rows.mutate(**{name: value.cast(types[name]) for name, value in visible.items()}).drop("_known_day")


def _own_time(column: Any) -> str:
    return column.name if column.known == "itself" else column.known


def arrival_day(events: ir.Table) -> ir.IntegerValue:
    """The first day at whose end an event both has happened and is known, whichever clock ran ahead."""
    happened = day_of(events.occurred_at)
    return ibis.greatest(happened, day_of(events.recorded_at.fill_null(events.occurred_at)))


def counting_days(days: ir.Table, keys: Sequence[str], marks: Mapping[str, str]) -> ir.Table:
    """Rolled-up days with each day marked once, when it first became known: several rows per (keys, day).

    `marks` names a new measure for each measure it marks: `{"active_days": "events"}` adds rows that
    are 1 at the first arrival of a day with events, however many arrivals that day has. Stacked, not
    joined, so that a missing user is a user like any other.
    """
    measures = {c: days[c].type() for c in days.columns if c not in (*keys, "day", "known_day")}
    order = [*keys, "day", "known_day", *measures, *marks]
    none = {mark: ibis.literal(0, "int64") for mark in marks}
    stacked = days.mutate(**none).select(order)
    for mark, measure in marks.items():
        first = days.filter(_[measure] > 0).group_by(*keys, "day").agg(known_day=_.known_day.min())
        zero = {name: ibis.literal(0).cast(kind) for name, kind in measures.items()}
        stacked = stacked.union(first.mutate(**zero, **(none | {mark: ibis.literal(1, "int64")})).select(order))
    return stacked


# --- windows by slices -------------------------------------------------------------------------


class Calendar:
    """The observation dates and the stretches looked back over, as small tables to join by equality.

    A stretch `(near, far)` holds the days from `far` to `near + 1` days ago.
    """

    def __init__(
        self, dates: Iterable[date], windows: Sequence[int], more: Mapping[str, tuple[int, int]] | None = None
    ) -> None:
        """`more` names stretches beside the windows themselves, the windows before them and the whole year."""
        self.dates = sorted(set(dates))
        self.windows = tuple(windows)
        self.stretches = {
            **{f"{w}d": (0, w) for w in self.windows},
            **{f"{w}d_before": (w, 2 * w) for w in self.windows if 2 * w <= YEAR},
            f"{YEAR}d": (0, YEAR),
            **(more or {}),
        }
        self._cuts = [day_number(d) for d in self.dates]
        depths = {0} | {edge for stretch in self.stretches.values() for edge in stretch}
        self._edges = sorted({cut - depth for cut in self._cuts for depth in depths})

    def days(self) -> ir.Table:
        """One row per day that some window sees: the slice it lies in."""
        first, last = self._edges[0], self._cuts[-1]
        rows = [(d, self._edges[bisect.bisect_right(self._edges, d) - 1]) for d in range(first, last)]
        return _small(rows, {"day": "int32", "slice": "int32"})

    def arrivals(self) -> ir.Table:
        """One row per day of arrival: the first observation date that knew of it."""
        first, last = self._edges[0], self._cuts[-1]
        rows = [(d, self._cuts[bisect.bisect_right(self._cuts, d)]) for d in range(first, last)]
        return _small(rows, {"known_day": "int32", "known_from": "int32"})

    def views(self) -> ir.Table:
        """One row per (slice, known_from, as_of) that is seen: `reach`, the days from its start to `as_of`."""
        rows = [
            (edge, known, cut, as_of, cut - edge)
            for as_of, cut in zip(self.dates, self._cuts, strict=True)
            for edge in self._edges
            if 0 < cut - edge <= YEAR
            for known in self._cuts
            if edge < known <= cut
        ]
        names = {"slice": "int32", "known_from": "int32", "day": "int32", "as_of": "date", "reach": "int32"}
        return _small(rows, names)

    @property
    def earliest(self) -> int:
        """The number of the first observation date."""
        return self._cuts[0]

    @property
    def latest(self) -> int:
        """The number of the last observation date."""
        return self._cuts[-1]

    def after(self) -> ir.Table:
        """One row per (known_from, as_of) at or after it."""
        pairs = [(known, cut, as_of) for as_of, cut in zip(self.dates, self._cuts, strict=True) for known in self._cuts]
        rows = [(known, cut, as_of) for known, cut, as_of in pairs if known <= cut]
        return _small(rows, {"known_from": "int32", "day": "int32", "as_of": "date"})


def _small(rows: list[tuple[Any, ...]], schema: Mapping[str, str]) -> ir.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    import pyarrow as pa

    types = {"int32": pa.int32(), "date": pa.date32()}
    arrays = [pa.array(list(c), types[t]) for c, t in zip(columns, schema.values(), strict=True)]
    return ibis.memtable(pa.table(arrays, names=list(schema)))


def windowed(
    days: ir.Table,
    keys: Sequence[str],
    calendar: Calendar,
    sums: Mapping[str, Sequence[str]],
    maxima: Mapping[str, Sequence[str]] | None = None,
) -> ir.Table:
    """Rolled-up days as every observation date sees them: one row per (keys, as_of).

    `days` holds keys, `day`, `known_day` (never before `day`), the measures to add and those to take
    the largest of. The result holds `<measure>_<stretch>` for each stretch asked for, and
    `last_day_ago`, the days since the last day with anything to count.
    """
    asked = {"sum": sums, "max": maxima or {}}
    sliced = (
        days.join(calendar.days(), "day")
        .join(calendar.arrivals(), "known_day")
        .group_by(*keys, "slice", "known_from")
        .agg(_last=_.day.max(), **{m: getattr(_[m], how)() for how, measures in asked.items() for m in measures})
    )
    columns = {
        f"{measure}_{stretch}": _over(measure, how, *calendar.stretches[stretch])
        for how, measures in asked.items()
        for measure, stretches in measures.items()
        for stretch in stretches
    }
    seen = sliced.join(calendar.views(), ["slice", "known_from"]).group_by(*keys, "as_of")
    result = seen.agg(last_day_ago=(_.day - _._last).min(), **columns)
    return result.mutate(**{name: _[name].fill_null(0) for name in columns})


def _over(measure: str, how: str, near: int, far: int) -> Any:
    return getattr(_[measure], how)(where=(_.reach > near) & (_.reach <= far))


def known_rates(rates: ir.Table, spine: ir.Table) -> ir.Table:
    """The exchange rates each date knew: one row per (currency, as_of), the newest dated before it."""
    dates = spine.select("as_of", _cut="day").distinct()
    quoted = rates.cross_join(dates).filter(day_of(_.date) < _._cut)
    newest = quoted.group_by("currency", "as_of").agg(date=_.date.max())
    return quoted.join(newest, ["currency", "as_of", "date"]).select("currency", "as_of", "rate").distinct()


def first_known(days: ir.Table, keys: Sequence[str], calendar: Calendar) -> ir.Table:
    """The first day of each key as every observation date knew it: one row per (keys, as_of).

    `first_day_ago` counts from that day. A day that arrives late may be earlier than what was known
    before; only the dates after its arrival see it. Days before the calendar begins are taken as known.
    """
    arrived = days.filter(_.known_day < calendar.latest).left_join(calendar.arrivals(), "known_day")
    arrived = arrived.mutate(known_from=_.known_from.fill_null(calendar.earliest))
    firsts = arrived.group_by(*keys, "known_from").agg(_first=_.day.min())
    seen = firsts.join(calendar.after(), "known_from").filter(_._first < _.day)
    return seen.group_by(*keys, "as_of").agg(first_day_ago=(_.day - _._first).max())
