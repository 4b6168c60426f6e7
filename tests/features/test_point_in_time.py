"""Cutoff of the future in one module: day numbers, rows of a table as known, and windows as sums of slices."""

from __future__ import annotations

import functools
from datetime import date, datetime, timedelta
from typing import Any

import ibis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ibis import _

from renewals.features.point_in_time import (
    MASK_BITS,
    Calendar,
    arrival_day,
    as_of_rows,
    day_masks,
    day_number,
    day_of,
    days_ago,
    days_until,
    hours_ago,
    hours_between,
    known_rows,
    popcount,
    window_sums,
)
from tests.oracle.drawn import drawn_rows
from tests.oracle.worlds import arrow, complete_row, schema

MIDNIGHT = datetime(2026, 3, 1)
TICK = timedelta(microseconds=1)


@functools.cache
def connection() -> Any:
    return ibis.duckdb.connect(threads=1)


def fetch(expression: Any) -> list[dict[str, Any]]:
    return connection().to_pyarrow(expression).to_pylist()


def table(name: str, text: str) -> ibis.Table:
    return ibis.memtable(arrow([complete_row(name, row) for row in drawn_rows(name, text)], schema(name)))


def observations_on(*days: date) -> ibis.Table:
    """Observations of acme on these days."""
    return ibis.memtable(
        [{"account_id": "acme", "as_of": d, "day": day_number(d)} for d in days],
        schema={"account_id": "string", "as_of": "date", "day": "int32"},
    )


# --- days and hours ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (MIDNIGHT, date(2026, 3, 1)),
        (MIDNIGHT - TICK, date(2026, 2, 28)),
        (MIDNIGHT + timedelta(hours=23, minutes=59), date(2026, 3, 1)),
        (datetime(1970, 1, 1), date(1970, 1, 1)),
        (datetime(1969, 12, 31, 12), date(1969, 12, 31)),
        (datetime(1900, 1, 1), date(1900, 1, 1)),
        (datetime(2099, 12, 31, 23, 59, 59, 999999), date(2099, 12, 31)),
    ],
)
def test_the_day_of_an_instant_is_exact_to_the_microsecond(instant, day):
    rows = ibis.memtable({"at": [instant]})
    assert fetch(rows.select(day=day_of(_.at))) == [{"day": day_number(day)}]


def test_days_and_hours_between_instants():
    tickets = table(
        "tickets",
        """
        ticket_id | account_id | kind | severity | opened_at           | first_response_at   | due_at
        1         | acme       | bug  | low      | 2026-02-27 18:00:00 | 2026-02-28 00:30:00 | 2026-03-04 06:00:00
        """,
    )
    known = as_of_rows("tickets", tickets, observations_on(date(2026, 3, 1)))
    ages = known.select(
        ago=days_ago(known, known.opened_at),
        ahead=days_until(known, known.due_at),
        waiting=hours_ago(known, known.opened_at),
        answered=hours_between(known.opened_at, known.first_response_at),
        never=hours_between(known.opened_at, known.resolved_at),
    )
    assert fetch(ages) == [{"ago": 2, "ahead": 3, "waiting": 30.0, "answered": 6.5, "never": None}]


def test_the_arrival_day_of_an_event():
    events = table(
        "usage_events",
        """
        account_id | user_id | feature | occurred_at         | recorded_at
        acme       | at-once | send    | 2026-02-10 10:00:00 |
        acme       | late    | send    | 2026-02-10 10:00:00 | 2026-02-12 09:00:00
        acme       | ahead   | send    | 2026-02-10 10:00:00 | 2026-02-08 09:00:00
        """,
    )
    days = {"at-once": date(2026, 2, 10), "late": date(2026, 2, 12), "ahead": date(2026, 2, 10)}
    rows = fetch(events.select("user_id", day=arrival_day(events)))
    assert {row["user_id"]: row["day"] for row in rows} == {user: day_number(day) for user, day in days.items()}


# --- rows of a table as known ------------------------------------------------------------------

TICKETS = """
    ticket_id | account_id | kind | severity | opened_at  | resolved_at | recorded_at
    old       | acme       | bug  | low      | 2026-01-10 | 2026-02-10  | 2026-01-10
    late      | acme       | bug  | low      | 2026-01-20 | 2026-01-25  | 2026-02-20
    early     | acme       | bug  | low      | 2026-02-20 |             | 2026-01-05
    quiet's   | quiet      | bug  | low      | 2026-01-01 |             |
"""


def test_each_date_has_the_rows_and_facts_known_before_it():
    """Ticket `late` appears in March, already resolved; ticket `early` does not appear before it was opened."""
    known = as_of_rows("tickets", table("tickets", TICKETS), observations_on(date(2026, 2, 1), date(2026, 3, 1)))
    selected = known.select("ticket_id", "as_of", "days_ago", resolved=_.resolved_at.notnull())
    rows = {(row["as_of"].month, row["ticket_id"]): (row["days_ago"], row["resolved"]) for row in fetch(selected)}
    assert rows == {(2, "old"): (22, False), (3, "old"): (50, True), (3, "late"): (40, True), (3, "early"): (9, False)}


def test_known_rows_of_a_day_equal_those_of_an_observation():
    tickets = table("tickets", TICKETS)
    for day in (date(2026, 2, 1), date(2026, 3, 1)):
        known = known_rows("tickets", tickets, day).filter(_.account_id == "acme")
        observed = as_of_rows("tickets", tickets, observations_on(day))
        assert known.columns == tickets.columns
        assert fetch(known.order_by("ticket_id")) == fetch(observed.select(tickets.columns).order_by("ticket_id"))


def test_a_due_date_is_known_with_its_row():
    goals = table(
        "value_goals",
        """
        account_id | goal | set_at     | due_at     | achieved_at
        acme       | save | 2026-02-01 | 2026-06-01 | 2026-03-15
        """,
    )
    (goal,) = fetch(known_rows("value_goals", goals, date(2026, 3, 1)))
    assert (goal["due_at"], goal["achieved_at"]) == (datetime(2026, 6, 1), None)


# --- windows by slices -------------------------------------------------------------------------

DAYS = {"account_id": "string", "user_id": "string", "day": "int32", "known_day": "int32", "actions": "float64"}


def person_days(*rows: tuple[str | None, date, date, float]) -> ibis.Table:
    """Days of use by people of acme: (user, day, day known, amount)."""
    lines = [("acme", user, day_number(day), day_number(known), count) for user, day, known, count in rows]
    return ibis.memtable([dict(zip(DAYS, line, strict=True)) for line in lines], schema=DAYS)


def in_windows(days: ibis.Table, dates: list[date], windows: tuple[int, ...] = (7, 28)) -> dict[Any, Any]:
    """Sums by slices and counts by masks over every range of a calendar, by (user_id, as_of)."""
    keys = ("account_id", "user_id")
    calendar = Calendar(dates, windows)
    added = window_sums(days, keys, calendar, {"actions": list(calendar.ranges)})
    bits = day_masks(days, keys, calendar, {"great": _.actions >= GREAT})
    seen = bits.join(calendar.range_masks(calendar.ranges), ["bucket", "known_from"]).group_by(*keys, "as_of")
    counted = seen.agg(
        last_day_ago=(_.day - _.last_day).min(),
        **{f"days_{s}": popcount(_.any_day & _[f"in_{s}"]).sum() for s in calendar.ranges},
        **{f"great_days_{s}": popcount(_.great & _[f"in_{s}"]).sum() for s in calendar.ranges},
    )
    result: dict[Any, Any] = {}
    for row in (*fetch(added), *fetch(counted)):
        result.setdefault((row["user_id"], row["as_of"]), {}).update(row)
    return result


GREAT = 4


def test_no_window_cuts_a_slice():
    calendar = Calendar([date(2026, 3, 1), date(2026, 2, 1)], (7, 28))
    slices = {row["day"]: row["slice"] for row in fetch(calendar.day_slices(calendar.slice_edges(calendar.ranges)))}
    for day in calendar.dates:
        for near, far, _weekday in calendar.ranges.values():
            for edge in (day_number(day) - near, day_number(day) - far):
                assert slices.get(edge, edge) == edge, "a slice begins on every edge"
    assert min(slices) == day_number(date(2026, 2, 1)) - 365
    assert max(slices) == day_number(date(2026, 3, 1)) - 1


def test_the_ranges_are_windows_previous_windows_and_the_year():
    assert Calendar([date(2026, 3, 1)], (7, 180, 200)).ranges == {
        "7d": (0, 7, None),
        "180d": (0, 180, None),
        "200d": (0, 200, None),
        "7d_before": (7, 14, None),
        "180d_before": (180, 360, None),
        "365d": (0, 365, None),
    }


def test_a_bucket_contains_its_days_once():
    """Each bit of a mask is the day that its bucket gives, for any dates, and no day occurs twice."""
    calendar = Calendar([date(2026, 3, 1), date(2026, 3, 2), date(2025, 12, 7)], (7, 90))
    places = fetch(calendar.day_buckets())
    assert len({row["day"] for row in places}) == len(places)
    assert {row["bit"] for row in places} <= {1 << k for k in range(MASK_BITS)}
    bucket_of = {row["day"]: (row["bucket"], row["bit"]) for row in places}
    masks = {(row["bucket"], row["as_of"]): row for row in fetch(calendar.range_masks(calendar.ranges))}
    for as_of in calendar.dates:
        cut = day_number(as_of)
        for name, (near, far, _weekday) in calendar.ranges.items():
            held = {
                day
                for day, (bucket, bit) in bucket_of.items()
                if (bucket, as_of) in masks and masks[bucket, as_of][f"in_{name}"] & bit
            }
            assert held == set(range(cut - far, cut - near)), (as_of, name)


@given(st.lists(st.integers(0, 2**MASK_BITS - 1), min_size=1, max_size=20))
def test_popcount_equals_that_of_python(numbers):
    masks = ibis.memtable({"mask": [*numbers, 2**MASK_BITS - 1, 0]}, schema={"mask": "int64"})
    assert [row["n"] for row in fetch(masks.select(n=popcount(_.mask)))] == [
        n.bit_count() for n in (*numbers, 2**MASK_BITS - 1, 0)
    ]


def test_an_arrival_is_known_from_the_first_date_after_it():
    calendar = Calendar([date(2026, 2, 1), date(2026, 3, 1)], (7,))
    known_from = {row["known_day"]: row["known_from"] for row in fetch(calendar.arrival_days())}
    expected = {
        date(2026, 1, 31): date(2026, 2, 1),
        date(2026, 2, 1): date(2026, 3, 1),
        date(2026, 2, 28): date(2026, 3, 1),
    }
    assert {d: known_from[day_number(d)] for d in expected} == {d: day_number(k) for d, k in expected.items()}
    assert day_number(date(2026, 3, 1)) not in known_from


def test_a_window_is_half_open():
    """[2026-02-22, 2026-03-01): its first day counts and the as-of date does not."""
    first, before, last, after = (date(2026, 2, 22), date(2026, 2, 21), date(2026, 2, 28), date(2026, 3, 1))
    days = person_days(
        *[("ann", day, day, amount) for day, amount in ((first, 1), (before, 10), (last, 100), (after, 1000))]
    )
    row = in_windows(days, [date(2026, 3, 1)])["ann", date(2026, 3, 1)]
    assert [row[c] for c in ("actions_7d", "actions_7d_before", "actions_28d", "actions_365d")] == [101, 10, 111, 111]
    assert row["last_day_ago"] == 1


def test_a_day_recorded_late_counts_for_later_dates_only():
    days = person_days(
        ("ann", date(2026, 1, 30), date(2026, 2, 10), 1), ("ann", date(2026, 1, 20), date(2026, 1, 20), 1)
    )
    seen = in_windows(days, [date(2026, 2, 1), date(2026, 3, 1)], (7, 90))
    assert [seen["ann", d]["actions_90d"] for d in (date(2026, 2, 1), date(2026, 3, 1))] == [1, 2]
    assert [seen["ann", d]["last_day_ago"] for d in (date(2026, 2, 1), date(2026, 3, 1))] == [12, 30]


def test_a_day_of_several_arrivals_counts_once_with_all_its_actions():
    day = date(2026, 2, 10)
    days = person_days(("ann", day, day, 1), ("ann", day, date(2026, 2, 12), 2), ("ann", day, date(2026, 3, 5), 4))
    seen = in_windows(days, [date(2026, 3, 1), date(2026, 4, 1)], (28, 90))
    columns = ("actions_90d", "days_90d", "great_days_90d")
    rows = [[seen["ann", d][c] for c in columns] for d in (date(2026, 3, 1), date(2026, 4, 1))]
    assert rows == [[3, 1, 0], [7, 1, 1]]


def test_an_unnamed_user_is_a_user():
    day = date(2026, 2, 27)
    seen = in_windows(person_days((None, day, day, 2), ("ann", day, day, 1)), [date(2026, 3, 1)])
    assert {user: seen[user, date(2026, 3, 1)]["days_7d"] for user in (None, "ann")} == {None: 1, "ann": 1}


def test_days_older_than_a_year_do_not_count():
    """This holds also if a nearer date still uses the same bucket of days."""
    old, dates = date(2026, 3, 1) - timedelta(days=366), [date(2026, 2, 15), date(2026, 3, 1)]
    seen = in_windows(person_days(("ann", old, old, 1)), dates)
    assert [(seen["ann", d]["days_365d"], seen["ann", d].get("actions_365d", 0)) for d in dates] == [(1, 1), (0, 0)]
