"""What is asked of an account on a day, what the answer was, and when it was final.

Every customer below is looked at from a day (`as_of`); what came later is the answer, and what came too late is not.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import ibis
import pyarrow as pa
import pytest

from renewals.features.point_in_time import known_rows
from renewals.features.policy import Policy
from renewals.features.revenue.due_groups import renewals
from renewals.features.revenue.ledger import RenewalLedger
from renewals.models.target import Outcomes
from renewals.models.targets import load_targets

ALL = ("renewal", "upsell", "cross_sell", "expansion")

CONTRACTS = """
account   | product | start      | end        | seats | signed     | cancelled
loyal     | core    | 2023-01-01 | 2024-01-01 | 10    | 2023-01-01 |
loyal     | core    | 2024-01-01 | 2025-01-01 | 10    | 2023-12-20 |
lost      | core    | 2023-01-01 | 2024-01-01 | 10    | 2023-01-01 |
grown     | core    | 2023-01-01 | 2024-01-01 | 10    | 2023-01-01 |
grown     | core    | 2024-01-01 | 2025-01-01 | 15    | 2023-12-20 |
curious   | core    | 2023-01-01 | 2024-01-01 | 10    | 2023-01-01 |
curious   | addon   | 2023-10-01 | 2024-01-01 | 10    | 2023-09-20 |
late      | core    | 2023-01-01 | 2024-01-01 | 10    | 2023-01-01 |
late      | core    | 2023-12-27 | 2025-01-01 | 30    | 2024-01-20 |
amended   | core    | 2023-01-01 | 2024-01-01 | 10    | 2023-01-01 | 2023-09-01
amended   | core    | 2023-09-01 | 2024-01-01 | 10    | 2023-08-25 |
returned  | core    | 2023-01-01 | 2024-01-01 | 10    | 2023-01-01 | 2023-02-01
returned  | core    | 2023-06-01 | 2024-01-01 | 10    | 2023-05-20 |
returned  | core    | 2024-01-01 | 2025-01-01 | 10    | 2023-12-20 |
"""
SPINE = """
account   | as_of      | renewal_date
loyal     | 2023-07-01 | 2024-01-01
loyal     | 2024-07-01 | 2025-01-01
lost      | 2023-07-01 | 2024-01-01
grown     | 2023-07-01 | 2024-01-01
grown     | 2023-07-06 | 2024-01-01
curious   | 2023-07-01 | 2024-01-01
curious   | 2023-10-02 | 2024-01-01
late      | 2023-07-01 | 2024-01-01
late      | 2023-09-01 | 2024-01-01
amended   | 2023-07-01 | 2024-01-01
returned  | 2023-01-15 | 2024-01-01
returned  | 2023-07-01 | 2024-01-01
"""
Answers = dict[tuple[str, str], tuple[int | None, date | None]]


def told(text: str) -> list[dict[str, str]]:
    head, *lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines]


def moment(cell: str) -> datetime | None:
    return datetime.fromisoformat(cell) if cell else None


def contracts() -> ibis.Table:
    """The contracts above, each seat at 100 a year."""
    rows = told(CONTRACTS)
    columns = {
        "contract_id": [f"{row['account']} {row['product']} {row['start']}" for row in rows],
        "account_id": [row["account"] for row in rows],
        "product": [row["product"] for row in rows],
        "plan": ["basic" for _ in rows],
        "start_date": [moment(row["start"]) for row in rows],
        "end_date": [moment(row["end"]) for row in rows],
        "arr": [100.0 * int(row["seats"]) for row in rows],
        "currency": ["USD" for _ in rows],
        "seats": [int(row["seats"]) for row in rows],
        "signed_at": [moment(row["signed"]) for row in rows],
        "paid_at": pa.array([None for _ in rows], pa.timestamp("us")),
        "cancelled_at": pa.array([moment(row["cancelled"]) for row in rows], pa.timestamp("us")),
        "auto_renew": pa.array([None for _ in rows], pa.bool_()),
    }
    return ibis.memtable(pa.table(columns))


def spine() -> ibis.Table:
    days = ("as_of", "renewal_date")
    rows = [{"account_id": row["account"], **{d: date.fromisoformat(row[d]) for d in days}} for row in told(SPINE)]
    return ibis.memtable(pa.Table.from_pylist(rows))


@cache
def book(at: date) -> RenewalLedger:
    return RenewalLedger(
        known_rows("contracts", contracts(), at), at, Policy(), False, materialize=lambda kept: kept.cache()
    )


@cache
def outcomes(at: date, name: str) -> Outcomes:
    """What a target needs to know; the rest is left out, for it takes a second to compile."""
    if name == "renewal":
        return Outcomes(at, renewals(book(at).entries).cache(), book(LONG_AFTER).expansions)
    return Outcomes(at, outcomes(LONG_AFTER, "renewal").renewals, book(at).expansions)


@cache
def answers(name: str, at: date) -> Answers:
    rows = load_targets([name])[name].label(spine(), outcomes(at, name)).to_pyarrow().to_pylist()
    return {
        (row["account_id"], row["as_of"].isoformat()): (row["label"], row["matured_at"] and row["matured_at"].date())
        for row in rows
    }


HALF_YEAR_OVER, GRACE_OVER, LONG_AFTER = date(2023, 12, 28), date(2024, 3, 2), date(2025, 6, 1)
DAY = timedelta(days=1)


def test_one_answer_per_observation():
    for name in ALL:
        assert len(answers(name, LONG_AFTER)) == len(told(SPINE)), name


@pytest.mark.parametrize(
    ("account", "as_of", "renewed", "matured_on"),
    [
        ("loyal", "2023-07-01", 1, GRACE_OVER),
        ("loyal", "2024-07-01", 0, date(2025, 3, 3)),
        ("lost", "2023-07-01", 0, GRACE_OVER),
        ("grown", "2023-07-01", 1, GRACE_OVER),
        ("late", "2023-07-01", 1, GRACE_OVER),
    ],
)
def test_renewed_or_not(account, as_of, renewed, matured_on):
    assert answers("renewal", LONG_AFTER)[account, as_of] == (renewed, matured_on)


def test_an_amended_contract_is_judged_at_its_end():
    """Booked anew to the same end in September and lost in January: the renewal in January did not happen."""
    assert answers("renewal", LONG_AFTER)["amended", "2023-07-01"] == (0, GRACE_OVER)


def test_who_left_and_returned_has_two_answers():
    """Lost in February; the contract of June to the same end is another one, and was renewed."""
    assert answers("renewal", LONG_AFTER)["returned", "2023-01-15"] == (0, date(2023, 4, 3))
    assert answers("renewal", LONG_AFTER)["returned", "2023-07-01"] == (1, GRACE_OVER)


@pytest.mark.parametrize(
    ("account", "as_of", "upsold", "cross_sold"),
    [
        ("loyal", "2023-07-01", 0, 0),
        ("lost", "2023-07-01", 0, 0),
        ("grown", "2023-07-01", 0, 0),
        ("grown", "2023-07-06", 1, 0),
        ("curious", "2023-07-01", 0, 1),
        ("curious", "2023-10-02", 0, 0),
        ("late", "2023-07-01", 0, 0),
        ("late", "2023-09-01", 1, 0),
    ],
)
def test_expanded_within_half_a_year(account, as_of, upsold, cross_sold):
    """`grown` starts its larger term on day 184 or 179; `late` starts on day 179 and signs on day 203 or 141."""
    found = {name: answers(name, LONG_AFTER)[account, as_of][0] for name in ALL[1:]}
    assert found == {"upsell": upsold, "cross_sell": cross_sold, "expansion": max(upsold, cross_sold)}


@pytest.mark.parametrize("name", ALL[1:])
def test_an_expansion_is_open_until_its_days_have_passed(name):
    for account in ("loyal", "lost", "curious"):
        assert answers(name, HALF_YEAR_OVER - DAY)[account, "2023-07-01"] == (None, HALF_YEAR_OVER)
        assert answers(name, HALF_YEAR_OVER)[account, "2023-07-01"] == answers(name, LONG_AFTER)[account, "2023-07-01"]


def test_a_renewal_is_open_until_the_grace_has_passed():
    for account in ("loyal", "lost"):
        assert answers("renewal", HALF_YEAR_OVER)[account, "2023-07-01"] == (None, None)
        assert answers("renewal", GRACE_OVER - DAY)[account, "2023-07-01"] == (None, GRACE_OVER)
        assert answers("renewal", GRACE_OVER)[account, "2023-07-01"][0] == (1 if account == "loyal" else 0)


@pytest.mark.parametrize("name", ALL)
def test_an_answer_never_changes(name):
    """Asked again and again: once answered, the same for ever."""
    final: dict[tuple[str, str], Any] = {}
    days = {"renewal": (HALF_YEAR_OVER, GRACE_OVER - DAY, GRACE_OVER)}
    for at in (*days.get(name, (HALF_YEAR_OVER - DAY, HALF_YEAR_OVER)), LONG_AFTER):
        for key, (label, matured_on) in answers(name, at).items():
            assert (label is not None) == (matured_on is not None and matured_on <= at), (key, at)
            if label is not None:
                assert final.setdefault(key, (label, matured_on)) == (label, matured_on), (key, at)


def test_labels_are_small_integers_and_timestamps():
    schema = load_targets(["renewal"])["renewal"].label(spine(), outcomes(LONG_AFTER, "renewal")).schema()
    assert tuple(schema.names) == ("account_id", "as_of", "label", "matured_at")
    assert str(schema["label"]) == "int8"
    assert str(schema["as_of"]) == "date"
    assert schema["matured_at"].is_timestamp()


def test_every_target_has_words():
    for name, target in load_targets(ALL).items():
        assert target.name == name
        assert target.en.endswith("?")
        assert target.zh.endswith("？")
        assert target.maturity


def test_a_target_without_a_file_is_refused():
    with pytest.raises(ValueError, match=r"no target 'moods': models/targets/moods\.py"):
        load_targets(["moods"])
