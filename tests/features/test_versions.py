"""Versions of accounts: the newest known before a day that applies on it, compared with plain loops."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import ibis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewals.features.point_in_time import day_of
from renewals.features.versions import accounts_as_of, accounts_by_date, accounts_known
from tests.oracle.known import midnight, seen, seen_from
from tests.oracle.worlds import Row, arrow, complete_row, schema

DATES = (date(2024, 2, 1), date(2024, 3, 1), date(2024, 6, 1))
INSTANTS = tuple(
    midnight(day) + step for day in DATES for step in (timedelta(days=-40), timedelta(microseconds=-1), timedelta(0))
)


def table(rows: list[Row]) -> ibis.Table:
    return ibis.memtable(arrow([complete_row("accounts", row) for row in rows], schema("accounts")))


def observations(*dates: date) -> ibis.Table:
    rows = [{"account_id": a, "as_of": d} for a in ("a", "b") for d in dates]
    spine = ibis.memtable(rows, schema={"account_id": "string", "as_of": "date"})
    return spine.mutate(day=day_of(spine.as_of))


def answers(rows: list[Row], *dates: date) -> dict[tuple[str, date], str]:
    """Manager of each account on each date."""
    found = accounts_as_of(table(rows), observations(*dates)).to_pyarrow().to_pylist()
    answer = {(row["account_id"], row["as_of"]): row["csm"] for row in found}
    assert len(answer) == len(found)
    return answer


def expected(rows: list[Row], *dates: date) -> dict[tuple[str, date], str]:
    """The same by plain loops over the rows, from the data contract."""
    answer = {}
    for account in ("a", "b"):
        for day in dates:
            t = midnight(day)
            own = (complete_row("accounts", row) for row in rows if row["account_id"] == account)
            known = [row for row in (seen("accounts", row, t) for row in own) if row is not None]
            known.sort(
                key=lambda row: [_nulls_first(i) for i in (_known_at(row), row["valid_from"], row["recorded_at"])]
            )
            applies = [r for n, r in enumerate(known) if n == 0 or r["valid_from"] is None or r["valid_from"] <= t]
            if applies and applies[-1]["deleted_at"] is None:
                answer[account, day] = applies[-1]["csm"]
    return answer


def _known_at(row: Row) -> datetime | None:
    return row["recorded_at"] or row["created_at"]


def _nulls_first(instant: datetime | None) -> datetime:
    return instant or datetime.min


@st.composite
def versions(draw: Any) -> list[Row]:
    """Versions of two accounts; no two of one account have the same `recorded_at` and `valid_from`."""
    maybe = st.none() | st.sampled_from(INSTANTS)
    row = st.fixed_dictionaries(
        {
            "account_id": st.sampled_from("ab"),
            "recorded_at": maybe,
            "valid_from": maybe,
            "created_at": st.sampled_from((None, *INSTANTS[:3])),
            "deleted_at": st.none() | maybe,
        }
    )
    told_apart = ("account_id", "recorded_at", "valid_from")
    drawn = draw(st.lists(row, max_size=7, unique_by=lambda row: tuple(row[column] for column in told_apart)))
    return [row | {"csm": f"manager {number}"} for number, row in enumerate(drawn)]


@given(rows=versions())
def test_the_newest_version_known_that_applies_holds(rows):
    assert answers(rows, *DATES) == expected(rows, *DATES)


@given(rows=versions(), day=st.sampled_from(DATES))
def test_all_rows_and_those_known_before_a_day_give_the_same_answer(rows, day):
    """A later row changes no earlier answer, and a later deletion neither."""
    known = [row for row in rows if (since := seen_from("accounts", complete_row("accounts", row))) is None
             or since < midnight(day)]  # fmt: skip
    blank = [
        row | {"deleted_at": None} if (row["deleted_at"] or datetime.min) >= midnight(day) else row for row in known
    ]
    assert answers(rows, day) == answers(blank, day)


@given(rows=versions(), day=st.sampled_from(DATES))
def test_a_day_an_observation_and_a_date_give_the_same_answer(rows, day):
    observed = answers(rows, day)
    on_day = accounts_known(table(rows), day).to_pyarrow().to_pylist()
    by_date = accounts_by_date(table(rows), observations(day)).to_pyarrow().to_pylist()
    assert {(row["account_id"], day): row["csm"] for row in on_day} == observed
    assert {(row["account_id"], row["as_of"]): row["csm"] for row in by_date} == observed
    assert len(on_day) == len(by_date) == len(observed)


FIRST = {"account_id": "a", "csm": "Ann", "recorded_at": datetime(2024, 1, 10), "valid_from": datetime(2024, 4, 1)}


@pytest.mark.parametrize(
    ("later", "managers"),
    [
        ({"recorded_at": datetime(2024, 2, 10)}, ["Ann", "Zoe", "Zoe"]),
        ({"recorded_at": datetime(2024, 1, 20), "valid_from": datetime(2024, 3, 1)}, ["Ann", "Zoe", "Zoe"]),
        ({"recorded_at": datetime(2024, 1, 20), "valid_from": datetime(2024, 3, 1, 0, 0, 1)}, ["Ann", "Ann", "Zoe"]),
        ({"recorded_at": datetime(2024, 3, 1), "valid_from": datetime(2024, 1, 1)}, ["Ann", "Ann", "Zoe"]),
        ({"recorded_at": datetime(2024, 2, 10), "deleted_at": datetime(2024, 5, 1)}, ["Ann", "Zoe", None]),
        ({"recorded_at": datetime(2024, 2, 10), "deleted_at": datetime(2024, 1, 1)}, ["Ann", None, None]),
    ],
    ids=["correction", "amendment", "a second later", "known late", "deleted later", "deleted before it is known"],
)
def test_manager_on_three_dates(later, managers):
    found = answers([FIRST, {"account_id": "a", "csm": "Zoe"} | later], *DATES)
    assert [found.get(("a", day)) for day in DATES] == managers
