"""Every table of the contract, row by row: what `as_known` and `known_on` let through is what was known."""

from __future__ import annotations

import functools
from collections import Counter
from datetime import date, datetime
from typing import Any

import ibis
import pytest
from hypothesis import given

from renewals.features.point_in_time import as_of_rows, known_rates, known_rows
from renewals.features.spine import candidate_observations, dates_table
from renewals.features.tables import TABLES
from tests.oracle.known import EVENT, KNOWN, LATER, Then, first, midnight, seen, whole_days
from tests.oracle.worlds import Row, arrow, schema, whole
from tests.properties.accounts import DATES, POLICY, TICK, settle
from tests.properties.laws import SEEDS

PLACED = [name for name in TABLES if name != "rates"]
"""The tables whose rows belong to an account."""

EARLY = datetime(2023, 1, 1)
AS_OF = date(2024, 3, 31)


def ask(expression: ibis.Table) -> list[Row]:
    return connection().to_pyarrow(expression).to_pylist()


@functools.cache
def connection() -> Any:
    return ibis.duckdb.connect(threads=1)


def table(name: str, rows: list[Row]) -> ibis.Table:
    return ibis.memtable(arrow(rows, schema(name)))


def as_counted(rows: list[Row]) -> Counter:
    return Counter(tuple(sorted(row.items())) for row in rows)


@given(seeds=SEEDS)
def test_what_every_observation_knew_of_every_table(seeds):
    world = settle(seeds)
    at = ibis.memtable(connection().to_pyarrow(candidate_observations(table("contracts", world["contracts"]), DATES)))
    for name in PLACED:
        expected = [
            known | {"as_of": day, "days_ago": _days_ago(name, known, day)}
            for row in world[name]
            for day in DATES
            if (known := seen(name, row, midnight(day))) is not None
        ]
        found = ask(as_of_rows(name, table(name, world[name]), at).drop("_cut"))
        assert expected
        assert as_counted(found) == as_counted(expected), name


def _days_ago(name: str, row: Row, day: date) -> int | None:
    event = first(row, EVENT[name])
    return None if event is None else whole_days(event, midnight(day))


@given(seeds=SEEDS)
def test_what_was_known_on_a_day_of_every_table(seeds):
    world = settle(seeds)
    for name in TABLES:
        for day in DATES[1::3]:
            expected = [known for row in world[name] if (known := seen(name, row, midnight(day))) is not None]
            assert as_counted(ask(known_rows(name, table(name, world[name]), day))) == as_counted(expected), name


@given(seeds=SEEDS)
def test_the_rates_that_every_date_knew(seeds):
    world = settle(seeds)
    spine = dates_table(DATES)
    found = {(r["currency"], r["as_of"]): r["rate"] for r in ask(known_rates(table("rates", world["rates"]), spine))}
    expected = {(c, day): Then(world, "", day, POLICY).rate(c) for c in ("EUR", "CNY") for day in DATES}
    assert found == {key: rate for key, rate in expected.items() if rate is not None}


# --- the boundary, table by table --------------------------------------------------------------


def a_row(name: str, **given: Any) -> Row:
    """A row of a table with nothing in it but its account, and these."""
    return whole(name, {"account_id": "acme"} | given if name != "rates" else given)


def visible(name: str, row: Row) -> list[Row]:
    return ask(known_rows(name, table(name, [row]), AS_OF))


@pytest.mark.parametrize("name", TABLES)
def test_a_row_known_at_as_of_is_not_seen_and_one_known_a_moment_before_is(name):
    noon_before = dict.fromkeys(EVENT[name], EARLY)
    arrives = KNOWN[name][0]
    assert not visible(name, a_row(name, **noon_before | {arrives: midnight(AS_OF)}))
    assert visible(name, a_row(name, **noon_before | {arrives: midnight(AS_OF) - TICK}))


@pytest.mark.parametrize("name", [name for name in TABLES if name not in ("contracts", "rates")])
def test_a_row_known_before_but_dated_at_as_of_has_not_happened(name):
    event = EVENT[name][0]
    assert not visible(name, a_row(name, **{"recorded_at": EARLY, event: midnight(AS_OF)}))
    assert visible(name, a_row(name, **{"recorded_at": EARLY, event: midnight(AS_OF) - TICK}))


def test_a_contract_signed_before_it_starts_is_known():
    ahead = {"start_date": datetime(2025, 1, 1), "end_date": datetime(2026, 1, 1), "arr": 1.0}
    assert visible("contracts", a_row("contracts", **ahead, signed_at=midnight(AS_OF) - TICK))
    assert not visible("contracts", a_row("contracts", **ahead, signed_at=midnight(AS_OF)))


@pytest.mark.parametrize("name", [name for name in TABLES if name not in ("accounts", "contracts", "rates")])
def test_without_an_arrival_a_row_is_known_as_soon_as_it_has_happened(name):
    event = EVENT[name][0]
    assert not visible(name, a_row(name, **{event: midnight(AS_OF)}))
    assert visible(name, a_row(name, **{event: midnight(AS_OF) - TICK}))


@pytest.mark.parametrize("name", ["accounts", "people"])
def test_without_any_time_a_row_has_always_been_known(name):
    assert visible(name, a_row(name))


@pytest.mark.parametrize(("name", "column"), [(name, column) for name in LATER for column in LATER[name]])
def test_a_fact_of_as_of_is_blank_and_one_of_a_moment_before_is_not(name, column):
    """Beside a fact of its own time, a value that came with it, such as a score with its answer."""
    when = LATER[name][column]
    made = dict.fromkeys((*EVENT[name], KNOWN[name][0]), EARLY)

    def shown(instant: datetime | None) -> Any:
        fact = {when: instant} | ({column: 7.0} if column != when else {})
        (row,) = visible(name, a_row(name, **made | fact))
        return row[column]

    assert shown(midnight(AS_OF)) is None
    assert shown(midnight(AS_OF) + TICK) is None
    assert shown(midnight(AS_OF) - TICK) == (7.0 if column != when else midnight(AS_OF) - TICK)
    assert shown(None) is None
