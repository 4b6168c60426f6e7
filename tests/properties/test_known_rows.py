"""`as_of_rows` and `known_rows` return what was known, for every table of the contract, row by row."""

from __future__ import annotations

import functools
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

import ibis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.features.point_in_time import as_of_rows, known_rates, known_rows
from renewals.features.spine import candidate_observations, dates_table
from renewals.features.tables import NUMBER, TABLES
from tests.oracle.known import EVENT, KNOWN, LATER, WITHOUT_A_TIME, AccountView, calendar_days, first, midnight, seen
from tests.oracle.worlds import Row, arrow, complete_row, schema
from tests.properties.accounts import DATES, POLICY, TICK, settle
from tests.properties.laws import SEEDS

ACCOUNT_TABLES = [name for name in TABLES if name != "rates"]
"""Tables with an account id."""

EARLY = datetime(2023, 1, 1)
AS_OF = date(2024, 3, 31)


def fetch(expression: ibis.Table) -> list[Row]:
    return connection().to_pyarrow(expression).to_pylist()


@functools.cache
def connection() -> Any:
    return ibis.duckdb.connect(threads=1)


def table(name: str, rows: list[Row]) -> ibis.Table:
    return ibis.memtable(arrow(rows, schema(name)))


def as_counted(rows: list[Row]) -> Counter:
    return Counter(tuple(sorted(row.items())) for row in rows)


@given(seeds=SEEDS)
def test_as_of_rows_equal_the_oracle(seeds):
    world = settle(seeds)
    at = ibis.memtable(connection().to_pyarrow(candidate_observations(table("contracts", world["contracts"]), DATES)))
    for name in ACCOUNT_TABLES:
        expected = [
            known | {"as_of": day, "days_ago": _days_ago(name, known, day)}
            for row in world[name]
            for day in DATES
            if (known := seen(name, row, midnight(day))) is not None
        ]
        result = fetch(as_of_rows(name, table(name, world[name]), at).drop("_cut"))
        assert expected
        assert as_counted(result) == as_counted(expected), name


def _days_ago(name: str, row: Row, day: date) -> int | None:
    event = first(row, EVENT[name])
    return None if event is None else calendar_days(event, midnight(day))


@given(seeds=SEEDS)
def test_known_rows_equal_the_oracle(seeds):
    world = settle(seeds)
    for name in TABLES:
        for day in DATES[1::3]:
            expected = [known for row in world[name] if (known := seen(name, row, midnight(day))) is not None]
            assert as_counted(fetch(known_rows(name, table(name, world[name]), day))) == as_counted(expected), name


@given(seeds=SEEDS)
def test_known_rates_equal_the_oracle(seeds):
    world = settle(seeds)
    spine = dates_table(DATES)
    result = {(r["currency"], r["as_of"]): r["rate"] for r in fetch(known_rates(table("rates", world["rates"]), spine))}
    expected = {(c, day): AccountView(world, "", day, POLICY).rate(c) for c in ("EUR", "CNY") for day in DATES}
    assert result == {key: rate for key, rate in expected.items() if rate is not None}


# --- the boundary, table by table --------------------------------------------------------------


def minimal_row(name: str, **columns: Any) -> Row:
    """A row of a table with only the account id and these values."""
    return complete_row(name, {"account_id": "acme"} | columns if name != "rates" else columns)


def visible_rows(name: str, row: Row) -> list[Row]:
    return fetch(known_rows(name, table(name, [row]), AS_OF))


@pytest.mark.parametrize("name", TABLES)
def test_a_row_known_at_as_of_is_hidden_and_just_before_it_is_visible(name):
    events = dict.fromkeys(EVENT[name], EARLY)
    arrives = KNOWN[name][0]
    assert not visible_rows(name, minimal_row(name, **events | {arrives: midnight(AS_OF)}))
    assert visible_rows(name, minimal_row(name, **events | {arrives: midnight(AS_OF) - TICK}))


@pytest.mark.parametrize("name", [name for name in TABLES if name not in ("contracts", "rates")])
def test_a_row_known_before_but_dated_at_as_of_is_hidden(name):
    event = EVENT[name][0]
    assert not visible_rows(name, minimal_row(name, **{"recorded_at": EARLY, event: midnight(AS_OF)}))
    assert visible_rows(name, minimal_row(name, **{"recorded_at": EARLY, event: midnight(AS_OF) - TICK}))


def test_a_contract_signed_before_it_starts_is_known():
    future_term = {"start_date": datetime(2025, 1, 1), "end_date": datetime(2026, 1, 1), "arr": 1.0}
    assert visible_rows("contracts", minimal_row("contracts", **future_term, signed_at=midnight(AS_OF) - TICK))
    assert not visible_rows("contracts", minimal_row("contracts", **future_term, signed_at=midnight(AS_OF)))


SIGNED, UNSIGNED = datetime(2023, 12, 1), None


@pytest.mark.parametrize(
    ("signed", "recorded", "starts", "others_signed", "known"),
    [
        (datetime(2023, 2, 1), datetime(2023, 5, 1), datetime(2023, 1, 1), SIGNED, datetime(2023, 5, 1)),
        (datetime(2023, 5, 1), datetime(2023, 2, 1), datetime(2023, 1, 1), SIGNED, datetime(2023, 5, 1)),
        (datetime(2023, 5, 1), None, datetime(2023, 9, 1), SIGNED, datetime(2023, 5, 1)),
        (None, datetime(2024, 2, 1), datetime(2024, 9, 1), SIGNED, datetime(2024, 9, 1)),
        (None, datetime(2024, 2, 1), datetime(2023, 9, 1), SIGNED, datetime(2024, 2, 1)),
        (None, datetime(2024, 2, 1), datetime(2024, 9, 1), UNSIGNED, datetime(2024, 2, 1)),
        (None, datetime(2023, 11, 1), datetime(2024, 9, 1), SIGNED, datetime(2023, 11, 1)),
        (None, None, datetime(2024, 9, 1), SIGNED, datetime(2024, 9, 1)),
    ],
    ids=[
        *("recorded after its signature", "signed after its record", "signed, not recorded"),
        *("a draft of the future", "an unsigned term that runs", "nothing is ever signed"),
        *("recorded before anything was signed", "neither signed nor recorded"),
    ],
)
def test_a_contract_is_known_from_its_record_and_its_signature(signed, recorded, starts, others_signed, known):
    term = minimal_row("contracts", contract_id="c", signed_at=signed, recorded_at=recorded, start_date=starts)
    other = minimal_row("contracts", contract_id="other", signed_at=others_signed, start_date=datetime(2023, 12, 15))
    contracts = table("contracts", [term, other])
    known_at = {row["contract_id"]: row["at"] for row in fetch(contracts.mutate(at=TABLES["contracts"].known_at))}
    assert known_at["c"] == known


NEAR = tuple(midnight(AS_OF) + timedelta(days=days) for days in (-300, -90, -30, -1, 0, 1, 60))
TERMS = st.lists(
    st.tuples(st.none() | st.sampled_from(NEAR), st.none() | st.sampled_from(NEAR), st.sampled_from(NEAR)), max_size=6
)


@settings(max_examples=60)
@given(terms=TERMS)
def test_a_contract_known_later_changes_nothing_before(terms):
    """Whether an unsigned contract is a draft depends only on contracts signed by the time it was recorded."""
    contracts = [
        minimal_row("contracts", contract_id=f"c{n}", signed_at=signed, recorded_at=recorded, start_date=start)
        for n, (signed, recorded, start) in enumerate(terms)
    ]
    known = fetch(known_rows("contracts", table("contracts", contracts), AS_OF))
    ids = {row["contract_id"] for row in known}
    again = [row for row in contracts if row["contract_id"] in ids]
    assert as_counted(fetch(known_rows("contracts", table("contracts", again), AS_OF))) == as_counted(known)
    for row in known:
        assert all(row[column] is None or row[column] < midnight(AS_OF) for column in ("signed_at", "recorded_at"))


@pytest.mark.parametrize("name", [name for name in TABLES if name not in ("accounts", "contracts", "rates")])
def test_without_recorded_at_a_row_is_known_from_its_event_on(name):
    event = EVENT[name][0]
    assert not visible_rows(name, minimal_row(name, **{event: midnight(AS_OF)}))
    assert visible_rows(name, minimal_row(name, **{event: midnight(AS_OF) - TICK}))


@pytest.mark.parametrize("name", ["accounts", "people"])
def test_a_row_without_any_time_is_always_known(name):
    assert visible_rows(name, minimal_row(name))


@pytest.mark.parametrize(("name", "column"), [(name, column) for name in LATER for column in LATER[name]])
def test_a_fact_of_as_of_is_null_and_just_before_it_is_not(name, column):
    """Includes values known with another fact, such as a score with its answer."""
    when = LATER[name][column]
    times = dict.fromkeys((*EVENT[name], KNOWN[name][0]), EARLY)
    value = 7.0 if TABLES[name].columns[column].type == NUMBER else "seven"

    def visible_value(instant: datetime | None) -> Any:
        fact = {when: instant} | ({column: value} if column != when else {})
        (row,) = visible_rows(name, minimal_row(name, **times | fact))
        return row[column]

    assert visible_value(midnight(AS_OF)) is None
    assert visible_value(midnight(AS_OF) + TICK) is None
    assert visible_value(midnight(AS_OF) - TICK) == (value if column != when else midnight(AS_OF) - TICK)
    assert visible_value(None) == (value if column in WITHOUT_A_TIME else None)
