"""Point-in-time views of the tables: the only module that cuts off the future.

As of a day, only facts known strictly before it are visible. Everything here works on whole days (`day`, an integer
counted from 1970-01-01): an observation is made at midnight, so a fact is before `as_of` exactly when its day is. Two
methods follow from that:

* `as_of_rows` joins a table to every observation, without later rows and with later facts masked;
* windows are computed from rolled-up days: each day is read once, and each window is put together by equality joins
  with small calendars (design, "How the windows are computed fast"; ADR 6). `window_sums` adds up *slices*, day ranges
  that no window's edge cuts through. `day_masks` counts days with *masks*: the days of one key are the bits of a
  number, and a window is a mask to intersect it with. Late arrivals carry the first observation date that knew them.

Nothing else in `features/` may compare anything with `as_of`; a test checks the code for this.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.tables import TABLES, ColumnSpec, TableSpec

EPOCH = date(1970, 1, 1)
DAYS_PER_YEAR = 365
"""Longest day range of a window, in days."""

FORWARD_DATED_TABLES = ("contracts",)
"""Tables whose rows may be known before their event time: a follow-on term is signed before it starts."""


def day_number(day: date) -> int:
    """Days from 1970-01-01 to `day`."""
    return (day - EPOCH).days


def day_of(instant: ir.Value) -> ir.IntegerValue:
    """Day of an instant, in days since 1970-01-01."""
    return instant.cast("timestamp").date().epoch_days().cast("int32")


def hours_between(earlier: ir.Value, later: ir.Value) -> ir.FloatingValue:
    """Hours from one instant to another; null where either is null.

    Whole seconds and microseconds are subtracted separately: only some engines keep the fraction in epoch seconds.
    """
    seconds = _epoch_seconds(later) - _epoch_seconds(earlier)
    return (seconds + (_microseconds(later) - _microseconds(earlier)) / 1e6) / 3600.0


def _epoch_seconds(instant: ir.Value) -> ir.FloatingValue:
    return instant.cast("timestamp").epoch_seconds().cast("float64").floor().cast("float64")


def _microseconds(instant: ir.Value) -> ir.FloatingValue:
    return instant.cast("timestamp").strftime("%f").cast("float64")


def month_of(instant: ir.Value) -> ir.DateValue:
    """First day of the month of an instant."""
    return instant.cast("timestamp").truncate("M").date()


def date_of(number: ir.Value) -> ir.DateValue:
    """Date of a day number."""
    return (ibis.literal(EPOCH) + number.as_interval("D")).cast("timestamp").date()


def first_non_null(table: ir.Table, columns: Sequence[str]) -> ir.Value:
    """The first of these columns that is not null."""
    return ibis.coalesce(*(table[name] for name in columns)) if len(columns) > 1 else table[columns[0]]


def known_day(table: ir.Table, spec: TableSpec) -> ir.Value:
    """Day on which each row of a whole table became known to the company; null if it was always known."""
    return day_of(spec.known_at(table))


def known_rows(name: str, table: ir.Table, day: date) -> ir.Table:
    """Rows of a table that were known before `day`, with later facts masked; one row per row known."""
    number = ibis.literal(day_number(day), "int32")
    dated = _add_known_day(table, TABLES[name])
    return _hide_future(dated.mutate(_cut=number), TABLES[name]).drop("_cut", "_event_day")


def as_of_rows_by_date(name: str, table: ir.Table, spine: ir.Table) -> ir.Table:
    """Rows of a table known at each observation date, for all accounts: one row per (as_of, row known then)."""
    dates = spine.select("as_of", _cut="day").distinct()
    dated = _add_known_day(table, TABLES[name])
    return _hide_future(dated.cross_join(dates), TABLES[name]).drop("_cut", "_event_day")


def as_of_rows(name: str, table: ir.Table, spine: ir.Table) -> ir.Table:
    """Rows of a table known at each observation: one row per (account_id, as_of, row known then).

    Adds `days_ago`, whole days from the row's event to `as_of`: 1 is yesterday; null where the row has no event time.
    """
    at = spine.select("account_id", "as_of", _cut=_.day)
    known = _hide_future(_add_known_day(table, TABLES[name]).join(at, "account_id"), TABLES[name])
    return known.mutate(days_ago=_._cut - _._event_day).drop("_event_day")


def states_as_of(states: ir.Table, spine: ir.Table) -> ir.Table:
    """States that held at each observation: one row per (account_id, as_of, thing with a state then).

    `states` has `seen_from` and `seen_until`, day numbers: a row rests on what was known before each day between them.
    """
    at = spine.select("account_id", "as_of", _cut=_.day)
    return states.join(at, "account_id").filter(_.seen_from <= _._cut, _.seen_until > _._cut)


def matured_outcomes(outcomes: ir.Table, spine: ir.Table) -> ir.Table:
    """Outcomes that matured before each observation date: one row per (as_of, outcome that had matured)."""
    dates = spine.select("as_of", _cut="day").distinct()
    return outcomes.cross_join(dates).filter(day_of(_.matured_at) < _._cut).drop("_cut")


def days_ago(rows: ir.Table, instant: ir.Value) -> ir.IntegerValue:
    """Whole days from an instant to `as_of`, for a table made by `as_of_rows`; 1 is yesterday."""
    return rows._cut - day_of(instant)


def days_until(rows: ir.Table, instant: ir.Value) -> ir.IntegerValue:
    """Whole days from `as_of` to an instant, for a table made by `as_of_rows`."""
    return day_of(instant) - rows._cut


def has_passed(rows: ir.Table, instant: ir.Value) -> ir.BooleanValue:
    """True if an instant is at or before `as_of`, for a table made by `as_of_rows`."""
    return instant.cast("timestamp") <= rows.as_of.cast("timestamp")


def hours_ago(rows: ir.Table, instant: ir.Value) -> ir.FloatingValue:
    """Hours from an instant to `as_of`, for a table made by `as_of_rows`."""
    return hours_between(instant, rows.as_of)


def _add_known_day(table: ir.Table, spec: TableSpec) -> ir.Table:
    return table.mutate(_known_day=known_day(table, spec))


def _hide_future(rows: ir.Table, spec: TableSpec) -> ir.Table:
    """Drop the rows not known before `_cut` and mask (set to null) the facts that came later."""
    rows = rows.mutate(_event_day=day_of(first_non_null(rows, spec.event_time)))
    rows = rows.filter(_._known_day.isnull() | (_._known_day < _._cut))
    if spec.name not in FORWARD_DATED_TABLES:
        rows = rows.filter(_._event_day.isnull() | (_._event_day < _._cut))
    later = [column for column in spec.columns.values() if column.known is not None and column.name in rows.columns]
    visible = {column.name: _is_visible(rows, column).ifelse(rows[column.name], ibis.null()) for column in later}
    types = {name: rows[name].type() for name in visible}
    return rows.mutate(**{name: value.cast(types[name]) for name, value in visible.items()}).drop("_known_day")


def _is_visible(rows: ir.Table, column: ColumnSpec) -> ir.BooleanValue:
    """True where a later fact was known before `_cut`."""
    known = day_of(rows[column.name if column.known == "itself" else column.known]) < rows._cut
    return known.fill_null(column.else_with_row)


def arrival_day(events: ir.Table) -> ir.IntegerValue:
    """The later of the day on which an event happened and the day on which it became known; clocks may run ahead."""
    happened = day_of(events.occurred_at)
    return ibis.greatest(happened, day_of(events.recorded_at.fill_null(events.occurred_at)))


# --- calendars -------------------------------------------------------------------------------------

MASK_BITS = 62
"""Number of day flags in one mask: a 64-bit number without its sign bit, and one bit to spare."""


class DayRange(NamedTuple):
    """The days from `far` to `near + 1` days ago; with `weekday`, every seventh of them (0 is a Thursday)."""

    near: int
    far: int
    weekday: int | None = None

    def mask(self, bucket: int, cutoff: int) -> int:
        """Mask of the days of a bucket that are in the range before `cutoff`, one bit per day."""
        first, last = max(cutoff - self.far, bucket), min(cutoff - self.near, bucket + MASK_BITS) - 1
        days = (d for d in range(first, last + 1) if self.weekday is None or d % 7 == self.weekday)
        return sum(1 << (d - bucket) for d in days)


class Calendar:
    """Observation dates and day ranges, as small tables for equality joins."""

    def __init__(
        self, dates: Iterable[date], windows: Sequence[int], extra_ranges: Mapping[str, DayRange] | None = None
    ) -> None:
        """`extra_ranges` adds named ranges to the windows themselves, the windows before them and the whole year."""
        self.dates = sorted(set(dates))
        self.windows = tuple(windows)
        self.ranges = {
            **{f"{w}d": DayRange(0, w) for w in self.windows},
            **{f"{w}d_before": DayRange(w, 2 * w) for w in self.windows if 2 * w <= DAYS_PER_YEAR},
            f"{DAYS_PER_YEAR}d": DayRange(0, DAYS_PER_YEAR),
            **(extra_ranges or {}),
        }
        self._cutoffs = [day_number(d) for d in self.dates]
        self._max_reach = max(day_range.far for day_range in self.ranges.values())

    @property
    def earliest(self) -> int:
        """Day number of the first observation date."""
        return self._cutoffs[0]

    @property
    def latest(self) -> int:
        """Day number of the last observation date."""
        return self._cutoffs[-1]

    def arrival_days(self) -> ir.Table:
        """First observation date (`known_from`) that knows a fact, by its day of arrival: one row per `known_day`.

        The days start at the farthest day of any range of the first date.
        """
        days = range(self.earliest - self._max_reach, self.latest)
        return _table_from_rows(
            [(d, self._cutoffs[bisect.bisect_right(self._cutoffs, d)]) for d in days],
            {"known_day": "int32", "known_from": "int32"},
        )

    def visible_dates(self) -> ir.Table:
        """Observation dates at or after each date of arrival: one row per (known_from, as_of)."""
        pairs = [
            (known, cut, as_of) for as_of, cut in zip(self.dates, self._cutoffs, strict=True) for known in self._cutoffs
        ]
        rows = [(known, cut, as_of) for known, cut, as_of in pairs if known <= cut]
        return _table_from_rows(rows, {"known_from": "int32", "day": "int32", "as_of": "date"})

    def range_lengths(self, names: Iterable[str], excluded: Iterable[tuple[date, date]] = ()) -> ir.Table:
        """Days of each range outside the periods `excluded`, as columns `length_<range>`: one row per as_of."""
        ranges, periods = {name: self.ranges[name] for name in names}, list(excluded)
        rows = [
            (as_of, *(_count_days_outside(cut - far, cut - near, periods) for near, far, _ in ranges.values()))
            for as_of, cut in zip(self.dates, self._cutoffs, strict=True)
        ]
        return _table_from_rows(rows, {"as_of": "date", **{f"length_{name}": "int32" for name in ranges}})

    # Slices reach from edge to edge of the requested ranges.

    def slice_edges(self, names: Iterable[str]) -> list[int]:
        """Sorted day numbers at which a range starts or ends for any date; a slice reaches from one to the next."""
        depths = {0} | {edge for name in names for edge in self.ranges[name][:2]}
        return sorted({cut - depth for cut in self._cutoffs for depth in depths})

    def day_slices(self, edges: Sequence[int]) -> ir.Table:
        """Slice of each day that is in any window: one row per day."""
        rows = [(d, edges[bisect.bisect_right(edges, d) - 1]) for d in range(edges[0], self.latest)]
        return _table_from_rows(rows, {"day": "int32", "slice": "int32"})

    def visible_slices(self, edges: Sequence[int], deepest: int) -> ir.Table:
        """Slices visible at each date: one row per (slice, known_from, as_of).

        `reach` is the number of days from the start of the slice to `as_of`.
        """
        rows = [
            (edge, known, cut, as_of, cut - edge)
            for as_of, cut in zip(self.dates, self._cutoffs, strict=True)
            for edge in edges
            if 0 < cut - edge <= deepest
            for known in self._cutoffs
            if edge < known <= cut
        ]
        names = {"slice": "int32", "known_from": "int32", "day": "int32", "as_of": "date", "reach": "int32"}
        return _table_from_rows(rows, names)

    # Buckets reach from date to date, with at most `MASK_BITS` days each.

    def _bucket_starts(self) -> list[int]:
        ends = [self.earliest - self._max_reach, *self._cutoffs]
        return [day for start, end in itertools.pairwise(ends) for day in range(start, end, MASK_BITS)]

    def day_buckets(self) -> ir.Table:
        """Bucket of each day that is in any window, its `bit` there and the first date after it: one row per day."""
        starts = self._bucket_starts()
        buckets = [(d, starts[bisect.bisect_right(starts, d) - 1]) for d in range(starts[0], self.latest)]
        rows = [
            (d, start, 1 << (d - start), self._cutoffs[bisect.bisect_right(self._cutoffs, d)]) for d, start in buckets
        ]
        return _table_from_rows(rows, {"day": "int32", "bucket": "int32", "bit": "int64", "at_once": "int32"})

    def range_masks(self, names: Iterable[str]) -> ir.Table:
        """Masks `in_<range>` of the days of a bucket in each range: one row per (bucket, known_from, as_of)."""
        ranges = {name: self.ranges[name] for name in names}
        deepest = max(day_range.far for day_range in ranges.values())
        rows = [
            (bucket, known, cut, as_of, *(day_range.mask(bucket, cut) for day_range in ranges.values()))
            for as_of, cut in zip(self.dates, self._cutoffs, strict=True)
            for bucket in self._bucket_starts()
            if cut - deepest - MASK_BITS < bucket < cut
            for known in self._cutoffs
            if bucket < known <= cut
        ]
        types = {"bucket": "int32", "known_from": "int32", "day": "int32", "as_of": "date"}
        return _table_from_rows(rows, {**types, **{f"in_{name}": "int64" for name in ranges}})


def _count_days_outside(first: int, end: int, excluded: Sequence[tuple[date, date]]) -> int:
    """Number of days from `first` until before `end` that are in none of the excluded periods."""
    periods = [(day_number(begin), day_number(last)) for begin, last in excluded]
    return sum(not any(begin <= day <= last for begin, last in periods) for day in range(first, end))


def exclude_periods(days: ir.Table, periods: Iterable[tuple[date, date]]) -> ir.Table:
    """Drop the rolled-up days within the periods, each including its first and last day."""
    for begin, last in periods:
        days = days.filter((_.day < day_number(begin)) | (_.day > day_number(last)))
    return days


def _table_from_rows(rows: list[tuple[Any, ...]], schema: Mapping[str, str]) -> ir.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    import pyarrow as pa

    types = {"int32": pa.int32(), "int64": pa.int64(), "date": pa.date32(), "boolean": pa.bool_()}
    arrays = [pa.array(list(c), types[t]) for c, t in zip(columns, schema.values(), strict=True)]
    return ibis.memtable(pa.table(arrays, names=list(schema)))


# --- windows by slices: sums -------------------------------------------------------------------


def window_sums(
    days: ir.Table,
    keys: Sequence[str],
    calendar: Calendar,
    sums: Mapping[str, Sequence[str]] | None = None,
    unions: Mapping[str, Sequence[str]] | None = None,
) -> ir.Table:
    """Sums of rolled-up days over day ranges, as known at each observation date: one row per (keys, as_of) with data.

    `days` contains keys, `day`, `known_day` (never before `day`), the measures to add (`sums`) and the integer measures
    to combine by bitwise or (`unions`); both name the ranges of each measure. The result contains `<measure>_<range>`
    for each requested range.
    """
    requested = {"sum": sums or {}, "bit_or": unions or {}}
    names = {name for measures in requested.values() for range_names in measures.values() for name in range_names}
    edges = calendar.slice_edges(names)
    deepest = max(calendar.ranges[name].far for name in names)
    sliced = (
        days.join(calendar.day_slices(edges), "day")
        .join(calendar.arrival_days(), "known_day")
        .group_by(*keys, "slice", "known_from")
        .agg(**{m: getattr(_[m], aggregation)() for aggregation, measures in requested.items() for m in measures})
    )
    columns = {
        f"{measure}_{name}": _range_aggregate(measure, aggregation, calendar.ranges[name])
        for aggregation, measures in requested.items()
        for measure, range_names in measures.items()
        for name in range_names
    }
    seen = sliced.join(calendar.visible_slices(edges, deepest), ["slice", "known_from"]).group_by(*keys, "as_of")
    return seen.agg(**columns).mutate(**{name: _[name].fill_null(0) for name in columns})


def _range_aggregate(measure: str, aggregation: str, day_range: DayRange) -> Any:
    return getattr(_[measure], aggregation)(where=(_.reach > day_range.near) & (_.reach <= day_range.far))


# --- windows by masks: days --------------------------------------------------------------------


def day_masks(
    days: ir.Table, keys: Sequence[str], calendar: Calendar, conditions: Mapping[str, ir.Deferred]
) -> ir.Table:
    """Masks of the days on which conditions were true, by the date that first knew them.

    `days` contains keys, `day`, `known_day` and the columns that `conditions` read. One row per (keys, bucket,
    known_from): a mask of days for each condition, `any_day` for all days, and `last_day`, the last of them.
    """
    known = days.join(calendar.day_buckets(), "day").join(calendar.arrival_days(), "known_day")
    bits = {name: mark.ifelse(_.bit, 0).bit_or() for name, mark in conditions.items()}
    rows = known.group_by(*keys, "bucket", "at_once", "known_from").agg(
        last_day=_.day.max(), any_day=_.bit.bit_or(), **bits
    )
    at_once = rows.filter(_.known_from == _.at_once)
    late = rows.filter(_.known_from > _.at_once)
    return at_once.union(_drop_known_days(late, rows, keys, ("any_day", *conditions))).drop("at_once")


def _drop_known_days(late: ir.Table, rows: ir.Table, keys: Sequence[str], masks: Sequence[str]) -> ir.Table:
    """The late rows without the days that an earlier row of the same key and bucket already contains."""
    same = [late[key].identical_to(rows[key]) for key in keys]  # null matches null: the unnamed user is one user
    pairs = late.left_join(
        rows, [*same, late.bucket == rows.bucket, late.known_from > rows.known_from], rname="{name}_earlier"
    )
    compared = pairs.group_by(late.columns).agg(**{f"{mask}_earlier": _[f"{mask}_earlier"].bit_or() for mask in masks})
    new = compared.mutate(**{mask: _[mask] - (_[mask] & _[f"{mask}_earlier"].fill_null(0)) for mask in masks})
    return new.filter(ibis.or_(*(_[mask] != 0 for mask in masks))).select(rows.columns)


def popcount(mask: ir.Value) -> ir.Value:
    """Number of bits set among the first 62, summed by pairs, fours and eights; modulo 255 adds up the eights."""
    for shift, pattern in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)):
        mask = (mask & pattern) + ((mask >> shift) & pattern)
    return mask % 255


def known_rates(rates: ir.Table, spine: ir.Table) -> ir.Table:
    """Newest exchange rates known at each date: one row per (currency, as_of), the newest dated before it."""
    dates = spine.select("as_of", _cut="day").distinct()
    quoted = rates.cross_join(dates).filter(day_of(_.date) < _._cut)
    newest = quoted.group_by("currency", "as_of").agg(date=_.date.max())
    return quoted.join(newest, ["currency", "as_of", "date"]).select("currency", "as_of", "rate").distinct()


def first_known_days(days: ir.Table, keys: Sequence[str], calendar: Calendar) -> ir.Table:
    """Days since the first day of each key, as known at each observation date: one row per (keys, as_of).

    `first_day_ago` counts from that day. A day that arrives late may be earlier than what was known before; only the
    dates after its arrival see it. Days before the start of the calendar are taken as known.
    """
    arrived = days.filter(_.known_day < calendar.latest).left_join(calendar.arrival_days(), "known_day")
    arrived = arrived.mutate(known_from=_.known_from.fill_null(calendar.earliest))
    firsts = arrived.group_by(*keys, "known_from").agg(_first=_.day.min())
    seen = firsts.join(calendar.visible_dates(), "known_from").filter(_._first < _.day)
    return seen.group_by(*keys, "as_of").agg(first_day_ago=(_.day - _._first).max())


# --- whole months ------------------------------------------------------------------------------


def next_month(month: date) -> date:
    """First day of the next month."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def completed_months(first: date, as_of: date) -> list[date]:
    """First days of the calendar months from that of `first` on that ended by `as_of`."""
    months, month = [], first.replace(day=1)
    while next_month(month) <= as_of:
        months.append(month)
        month = next_month(month)
    return months


def month_days(months: Iterable[date]) -> ir.Table:
    """Days of these months: one row per day; `recent` is true for the last 28 days of its month."""
    numbered = [(month, day_number(month), day_number(next_month(month))) for month in months]
    rows = [(month, day, end - day <= 28) for month, begin, end in numbered for day in range(begin, end)]
    return _table_from_rows(rows, {"month": "date", "day": "int32", "recent": "boolean"})


def known_person_days(days: ir.Table, as_of: date) -> ir.Table:
    """Rolled-up days that were known before `as_of`."""
    return days.filter(_.known_day < ibis.literal(day_number(as_of), "int32"))
