"""The only place where the future is cut off.

As of a day, only what was known strictly before it exists. Everything here works on whole days (`day`,
an integer counted from 1970-01-01), for an observation stands on midnight: a fact is before `as_of`
exactly when its day is. Two devices follow from that:

* `as_of_rows` brings a table to every observation with later rows left out and later facts masked;
* windows are made of rolled-up days, each day read once and each window put together by joins of equality on
  small calendars (design, "How the windows are computed fast"; ADR 6). `window_sums` adds up by *slices*, which no
  window's edge cuts through. `day_masks` counts days by *masks*: a stretch of days of one key is a number with one bit
  a day, and a window a number to hold it against. What arrived late carries the first observation date that knew it.

Nothing else in `features/` may compare anything with `as_of`; a test reads the code to see to it.
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

from renewals.features.tables import TABLES, TableSpec

EPOCH = date(1970, 1, 1)
DAYS_PER_YEAR = 365
"""The longest stretch looked back over, in days."""

FORWARD_DATED_TABLES = ("contracts",)
"""Tables whose rows may be known before they begin: a follow-on term is signed before it starts."""


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def day_of(instant: ir.Value) -> ir.IntegerValue:
    """The day an instant falls on, in days since 1970-01-01."""
    return instant.cast("timestamp").date().epoch_days().cast("int32")


def hours_between(earlier: ir.Value, later: ir.Value) -> ir.FloatingValue:
    """Hours from one instant to another; null where either is.

    Whole seconds and what is left of them apart: only some engines keep the fraction in epoch seconds.
    """
    whole = _epoch_seconds(later) - _epoch_seconds(earlier)
    return (whole + (_microseconds(later) - _microseconds(earlier)) / 1e6) / 3600.0


def _epoch_seconds(instant: ir.Value) -> ir.FloatingValue:
    return instant.cast("timestamp").epoch_seconds().cast("float64").floor().cast("float64")


def _microseconds(instant: ir.Value) -> ir.FloatingValue:
    return instant.cast("timestamp").strftime("%f").cast("float64")


def month_of(instant: ir.Value) -> ir.DateValue:
    """The first day of the month an instant falls in."""
    return instant.cast("timestamp").truncate("M").date()


def date_of(number: ir.Value) -> ir.DateValue:
    """The date of a day number."""
    return (ibis.literal(EPOCH) + number.as_interval("D")).cast("timestamp").date()


def first_non_null(table: ir.Table, columns: Sequence[str]) -> ir.Value:
    """The first of these columns that is not null."""
    return ibis.coalesce(*(table[name] for name in columns)) if len(columns) > 1 else table[columns[0]]


def known_day(table: ir.Table, spec: TableSpec) -> ir.Value:
    """The day on which a row reached the company; null where it has been known for ever."""
    return day_of(first_non_null(table, spec.known_time))


def known_rows(name: str, table: ir.Table, day: date) -> ir.Table:
    """What was known of a table before a day, later facts masked: one row per row known."""
    number = ibis.literal(day_number(day), "int32")
    return _hide_future(table.mutate(_cut=number), TABLES[name]).drop("_cut", "_event_day")


def as_of_rows_by_date(name: str, table: ir.Table, spine: ir.Table) -> ir.Table:
    """What each observation date knew of a table, whoever it is about: one row per (as_of, row known then)."""
    dates = spine.select("as_of", _cut="day").distinct()
    return _hide_future(table.cross_join(dates), TABLES[name]).drop("_cut", "_event_day")


def as_of_rows(name: str, table: ir.Table, spine: ir.Table) -> ir.Table:
    """What each observation knew of a table: one row per (account_id, as_of, row known then).

    Adds `days_ago`, whole days from the row's event to `as_of`: 1 is yesterday; null where the row
    has no event time.
    """
    at = spine.select("account_id", "as_of", _cut=_.day)
    known = _hide_future(table.join(at, "account_id"), TABLES[name])
    return known.mutate(days_ago=_._cut - _._event_day).drop("_event_day")


def join_known_rows(name: str, table: ir.Table, rows: ir.Table, instant_column: str) -> ir.Table:
    """Each of `rows` with the rows of a table about its account that were known before the day of its
    `instant_column`."""
    beside = table.mutate(_known_day=known_day(table, TABLES[name]))
    joined = rows.join(beside, "account_id", rname="{name}_beside")
    return joined.filter(_._known_day.isnull() | (_._known_day < day_of(_[instant_column]))).drop("_known_day")


def matured_outcomes(outcomes: ir.Table, spine: ir.Table) -> ir.Table:
    """What had become final before each date: one row per (as_of, outcome that had matured)."""
    dates = spine.select("as_of", _cut="day").distinct()
    return outcomes.cross_join(dates).filter(day_of(_.matured_at) < _._cut).drop("_cut")


def days_ago(rows: ir.Table, instant: ir.Value) -> ir.IntegerValue:
    """Whole days from an instant to `as_of`, for a table made by `as_of_rows`; 1 is yesterday."""
    return rows._cut - day_of(instant)


def days_until(rows: ir.Table, instant: ir.Value) -> ir.IntegerValue:
    """Whole days from `as_of` to an instant, for a table made by `as_of_rows`."""
    return day_of(instant) - rows._cut


def has_passed(rows: ir.Table, instant: ir.Value) -> ir.BooleanValue:
    """Whether an instant lies at or before `as_of`, for a table made by `as_of_rows`."""
    return instant.cast("timestamp") <= rows.as_of.cast("timestamp")


def hours_ago(rows: ir.Table, instant: ir.Value) -> ir.FloatingValue:
    """Hours from an instant to `as_of`, for a table made by `as_of_rows`."""
    return hours_between(instant, rows.as_of)


def _hide_future(rows: ir.Table, spec: TableSpec) -> ir.Table:
    """Drop the rows not known before `_cut` and blank the facts that came later."""
    known = known_day(rows, spec)
    event = day_of(first_non_null(rows, spec.event_time))
    rows = rows.mutate(_known_day=known, _event_day=event)
    rows = rows.filter(_._known_day.isnull() | (_._known_day < _._cut))
    if spec.name not in FORWARD_DATED_TABLES:
        rows = rows.filter(_._event_day.isnull() | (_._event_day < _._cut))
    visible = {
        column.name: (day_of(rows[_known_time_column(column)]) < rows._cut).ifelse(rows[column.name], ibis.null())
        for column in spec.columns.values()
        if column.known is not None
    }
    types = {name: rows[name].type() for name in visible}
    return rows.mutate(**{name: value.cast(types[name]) for name, value in visible.items()}).drop("_known_day")


def _known_time_column(column: Any) -> str:
    return column.name if column.known == "itself" else column.known


def arrival_day(events: ir.Table) -> ir.IntegerValue:
    """The first day at whose end an event both has happened and is known, whichever clock ran ahead."""
    happened = day_of(events.occurred_at)
    return ibis.greatest(happened, day_of(events.recorded_at.fill_null(events.occurred_at)))


# --- calendars -------------------------------------------------------------------------------------

MASK_BITS = 62
"""So many flags one whole number holds: a 64-bit number without its sign, and one to spare."""


class DayRange(NamedTuple):
    """The days from `far` to `near + 1` days ago; with `weekday`, every seventh of them (0 is a Thursday)."""

    near: int
    far: int
    weekday: int | None = None

    def mask(self, bucket: int, cutoff: int) -> int:
        """The days of a bucket that lie in the stretch before `cutoff`, one bit a day."""
        first, last = max(cutoff - self.far, bucket), min(cutoff - self.near, bucket + MASK_BITS) - 1
        days = (d for d in range(first, last + 1) if self.weekday is None or d % 7 == self.weekday)
        return sum(1 << (d - bucket) for d in days)


class Calendar:
    """The observation dates and the stretches looked back over, as small tables to join by equality."""

    def __init__(
        self, dates: Iterable[date], windows: Sequence[int], extra_ranges: Mapping[str, DayRange] | None = None
    ) -> None:
        """`extra_ranges` names stretches beside the windows themselves, the windows before them and the whole year."""
        self.dates = sorted(set(dates))
        self.windows = tuple(windows)
        self.ranges = {
            **{f"{w}d": DayRange(0, w) for w in self.windows},
            **{f"{w}d_before": DayRange(w, 2 * w) for w in self.windows if 2 * w <= DAYS_PER_YEAR},
            f"{DAYS_PER_YEAR}d": DayRange(0, DAYS_PER_YEAR),
            **(extra_ranges or {}),
        }
        self._cutoffs = [day_number(d) for d in self.dates]
        self._max_reach = max(stretch.far for stretch in self.ranges.values())

    @property
    def earliest(self) -> int:
        """The number of the first observation date."""
        return self._cutoffs[0]

    @property
    def latest(self) -> int:
        """The number of the last observation date."""
        return self._cutoffs[-1]

    def arrival_days(self) -> ir.Table:
        """One row per day of arrival from the farthest stretch of the first date on: the first date that knew it."""
        days = range(self.earliest - self._max_reach, self.latest)
        return _table_from_rows(
            [(d, self._cutoffs[bisect.bisect_right(self._cutoffs, d)]) for d in days],
            {"known_day": "int32", "known_from": "int32"},
        )

    def visible_dates(self) -> ir.Table:
        """One row per (known_from, as_of) at or after it."""
        pairs = [
            (known, cut, as_of) for as_of, cut in zip(self.dates, self._cutoffs, strict=True) for known in self._cutoffs
        ]
        rows = [(known, cut, as_of) for known, cut, as_of in pairs if known <= cut]
        return _table_from_rows(rows, {"known_from": "int32", "day": "int32", "as_of": "date"})

    def range_lengths(self, names: Iterable[str], without: Iterable[tuple[date, date]] = ()) -> ir.Table:
        """One row per as_of: `length_<stretch>`, the days of each stretch that lie in none of these periods."""
        stretches, out = {name: self.ranges[name] for name in names}, list(without)
        rows = [
            (as_of, *(_count_days_outside(cut - far, cut - near, out) for near, far, _ in stretches.values()))
            for as_of, cut in zip(self.dates, self._cutoffs, strict=True)
        ]
        return _table_from_rows(rows, {"as_of": "date", **{f"length_{name}": "int32" for name in stretches}})

    # Slices: from edge to edge of the stretches asked for.

    def slice_edges(self, names: Iterable[str]) -> list[int]:
        """Where a stretch begins or ends: no edge lies inside the slice between two of them."""
        depths = {0} | {edge for name in names for edge in self.ranges[name][:2]}
        return sorted({cut - depth for cut in self._cutoffs for depth in depths})

    def day_slices(self, edges: Sequence[int]) -> ir.Table:
        """One row per day that some window sees: the slice it lies in."""
        rows = [(d, edges[bisect.bisect_right(edges, d) - 1]) for d in range(edges[0], self.latest)]
        return _table_from_rows(rows, {"day": "int32", "slice": "int32"})

    def visible_slices(self, edges: Sequence[int], deepest: int) -> ir.Table:
        """One row per (slice, known_from, as_of) that is seen: `reach`, the days from its start to `as_of`."""
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

    # Buckets: from date to date, and no longer than the bits of a number.

    def _bucket_starts(self) -> list[int]:
        ends = [self.earliest - self._max_reach, *self._cutoffs]
        return [day for start, end in itertools.pairwise(ends) for day in range(start, end, MASK_BITS)]

    def day_buckets(self) -> ir.Table:
        """One row per day that some window sees: its bucket, its `bit` there, and the first date after it."""
        starts = self._bucket_starts()
        places = [(d, starts[bisect.bisect_right(starts, d) - 1]) for d in range(starts[0], self.latest)]
        rows = [
            (d, start, 1 << (d - start), self._cutoffs[bisect.bisect_right(self._cutoffs, d)]) for d, start in places
        ]
        return _table_from_rows(rows, {"day": "int32", "bucket": "int32", "bit": "int64", "at_once": "int32"})

    def range_masks(self, names: Iterable[str]) -> ir.Table:
        """One row per (bucket, known_from, as_of) that is seen: `in_<stretch>`, the days of the bucket in each."""
        stretches = {name: self.ranges[name] for name in names}
        deepest = max(stretch.far for stretch in stretches.values())
        rows = [
            (bucket, known, cut, as_of, *(stretch.mask(bucket, cut) for stretch in stretches.values()))
            for as_of, cut in zip(self.dates, self._cutoffs, strict=True)
            for bucket in self._bucket_starts()
            if cut - deepest - MASK_BITS < bucket < cut
            for known in self._cutoffs
            if bucket < known <= cut
        ]
        kinds = {"bucket": "int32", "known_from": "int32", "day": "int32", "as_of": "date"}
        return _table_from_rows(rows, {**kinds, **{f"in_{name}": "int64" for name in stretches}})


def _count_days_outside(first: int, end: int, excluded: Sequence[tuple[date, date]]) -> int:
    """How many days from `first` until before `end` lie in none of these periods."""
    taken = [(day_number(begin), day_number(last)) for begin, last in excluded]
    return sum(not any(begin <= day <= last for begin, last in taken) for day in range(first, end))


def exclude_periods(days: ir.Table, periods: Iterable[tuple[date, date]]) -> ir.Table:
    """The rolled-up days that lie in none of these periods, which their first and last day belong to."""
    for begin, last in periods:
        days = days.filter((_.day < day_number(begin)) | (_.day > day_number(last)))
    return days


def _table_from_rows(rows: list[tuple[Any, ...]], schema: Mapping[str, str]) -> ir.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    import pyarrow as pa

    types = {"int32": pa.int32(), "int64": pa.int64(), "date": pa.date32(), "boolean": pa.bool_()}
    arrays = [pa.array(list(c), types[t]) for c, t in zip(columns, schema.values(), strict=True)]
    return ibis.memtable(pa.table(arrays, names=list(schema)))


# --- windows by slices: what is added up ---------------------------------------------------------------


def window_sums(
    days: ir.Table,
    keys: Sequence[str],
    calendar: Calendar,
    sums: Mapping[str, Sequence[str]] | None = None,
    unions: Mapping[str, Sequence[str]] | None = None,
) -> ir.Table:
    """Rolled-up days as every observation date sees them: one row per (keys, as_of) that has any in the stretches.

    `days` holds keys, `day`, `known_day` (never before `day`), the measures to add and those (whole numbers) of
    which to join the bits. The result holds `<measure>_<stretch>` for each stretch asked for.
    """
    asked = {"sum": sums or {}, "bit_or": unions or {}}
    names = {name for measures in asked.values() for stretches in measures.values() for name in stretches}
    edges = calendar.slice_edges(names)
    deepest = max(calendar.ranges[name].far for name in names)
    sliced = (
        days.join(calendar.day_slices(edges), "day")
        .join(calendar.arrival_days(), "known_day")
        .group_by(*keys, "slice", "known_from")
        .agg(**{m: getattr(_[m], how)() for how, measures in asked.items() for m in measures})
    )
    columns = {
        f"{measure}_{name}": _range_aggregate(measure, how, calendar.ranges[name])
        for how, measures in asked.items()
        for measure, stretches in measures.items()
        for name in stretches
    }
    seen = sliced.join(calendar.visible_slices(edges, deepest), ["slice", "known_from"]).group_by(*keys, "as_of")
    return seen.agg(**columns).mutate(**{name: _[name].fill_null(0) for name in columns})


def _range_aggregate(measure: str, aggregation: str, day_range: DayRange) -> Any:
    return getattr(_[measure], aggregation)(where=(_.reach > day_range.near) & (_.reach <= day_range.far))


# --- windows by masks: on which days -------------------------------------------------------------------


def day_masks(
    days: ir.Table, keys: Sequence[str], calendar: Calendar, conditions: Mapping[str, ir.Deferred]
) -> ir.Table:
    """On which days something was so, each day counted from the first date that knew it.

    `days` holds keys, `day`, `known_day` and what `conditions` ask about. One row per (keys, bucket, known_from): a
    mask of days for each mark, and `any_day` for all; `last_day` is the last of them.
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
    """The rows that came late, without the days that an earlier one of the same key and bucket had told of."""
    same = [late[key].identical_to(rows[key]) for key in keys]  # an unnamed user is a user like any other
    pairs = late.left_join(
        rows, [*same, late.bucket == rows.bucket, late.known_from > rows.known_from], rname="{name}_told"
    )
    told = pairs.group_by(late.columns).agg(**{f"{mask}_told": _[f"{mask}_told"].bit_or() for mask in masks})
    new = told.mutate(**{mask: _[mask] - (_[mask] & _[f"{mask}_told"].fill_null(0)) for mask in masks})
    return new.filter(ibis.or_(*(_[mask] != 0 for mask in masks))).select(rows.columns)


def popcount(mask: ir.Value) -> ir.Value:
    """How many of the first 62 bits are set: by pairs, fours and eights; the remainder of 255 adds up the eights."""
    for shift, pattern in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)):
        mask = (mask & pattern) + ((mask >> shift) & pattern)
    return mask % 255


def known_rates(rates: ir.Table, spine: ir.Table) -> ir.Table:
    """The exchange rates each date knew: one row per (currency, as_of), the newest dated before it."""
    dates = spine.select("as_of", _cut="day").distinct()
    quoted = rates.cross_join(dates).filter(day_of(_.date) < _._cut)
    newest = quoted.group_by("currency", "as_of").agg(date=_.date.max())
    return quoted.join(newest, ["currency", "as_of", "date"]).select("currency", "as_of", "rate").distinct()


def first_known_days(days: ir.Table, keys: Sequence[str], calendar: Calendar) -> ir.Table:
    """The first day of each key as every observation date knew it: one row per (keys, as_of).

    `first_day_ago` counts from that day. A day that arrives late may be earlier than what was known
    before; only the dates after its arrival see it. Days before the calendar begins are taken as known.
    """
    arrived = days.filter(_.known_day < calendar.latest).left_join(calendar.arrival_days(), "known_day")
    arrived = arrived.mutate(known_from=_.known_from.fill_null(calendar.earliest))
    firsts = arrived.group_by(*keys, "known_from").agg(_first=_.day.min())
    seen = firsts.join(calendar.visible_dates(), "known_from").filter(_._first < _.day)
    return seen.group_by(*keys, "as_of").agg(first_day_ago=(_.day - _._first).max())


# --- whole months ------------------------------------------------------------------------------


def next_month(month: date) -> date:
    """The first day of the month after."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def completed_months(first: date, as_of: date) -> list[date]:
    """The calendar months from that of `first` on which were over on a day, by their first days."""
    months, month = [], first.replace(day=1)
    while next_month(month) <= as_of:
        months.append(month)
        month = next_month(month)
    return months


def month_days(months: Iterable[date]) -> ir.Table:
    """One row per day of these months: `recent` where it is one of the last 28 of its month."""
    numbered = [(month, day_number(month), day_number(next_month(month))) for month in months]
    rows = [(month, day, end - day <= 28) for month, begin, end in numbered for day in range(begin, end)]
    return _table_from_rows(rows, {"month": "date", "day": "int32", "recent": "boolean"})


def known_person_days(days: ir.Table, as_of: date) -> ir.Table:
    """The rolled-up days that were known before a day."""
    return days.filter(_.known_day < ibis.literal(day_number(as_of), "int32"))
