"""Tests of the labels of the targets and of the time at which each label is final.

The observations below are labelled by later contracts; contracts after the horizon of the target do not count.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import ibis
import pyarrow as pa
import pytest

from renewals.features.policy import Policy
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
double    | core    | 2023-01-01 | 2024-01-01 | 10    | 2023-01-01 |
double    | core    | 2024-01-01 | 2025-01-01 | 15    | 2023-12-20 |
double    | addon   | 2023-03-01 | 2024-03-01 | 5     | 2023-02-20 |
distant   | core    | 2022-10-01 | 2024-10-01 | 10    | 2022-10-01 |
distant   | addon   | 2023-10-01 | 2024-10-01 | 10    | 2023-09-20 |
ended     | core    | 2022-06-15 | 2023-06-15 | 10    | 2022-06-15 |
ended     | addon   | 2023-07-20 | 2024-07-20 | 10    | 2023-07-10 |
partly    | core    | 2022-06-15 | 2023-06-15 | 10    | 2022-06-15 |
partly    | addon   | 2022-06-15 | 2026-06-15 | 10    | 2022-06-15 |
partly    | addon   | 2023-10-01 | 2026-06-15 | 10    | 2023-09-20 |
"""
SPINE = """
account   | as_of      | renewal_date | state   | main | runs
loyal     | 2023-07-01 | 2024-01-01   | due     | yes  | yes
loyal     | 2024-07-01 | 2025-01-01   | due     | yes  | yes
lost      | 2023-07-01 | 2024-01-01   | due     | yes  | yes
grown     | 2023-07-01 | 2024-01-01   | due     | yes  | yes
grown     | 2023-07-06 | 2024-01-01   | due     | yes  | yes
curious   | 2023-07-01 | 2024-01-01   | due     | yes  | yes
curious   | 2023-10-02 | 2024-01-01   | due     | yes  | yes
late      | 2023-07-01 | 2024-01-01   | due     | yes  | yes
late      | 2023-09-01 | 2024-01-01   | due     | yes  | yes
amended   | 2023-07-01 | 2024-01-01   | due     | yes  | yes
returned  | 2023-01-15 | 2024-01-01   | due     | yes  | yes
returned  | 2023-07-01 | 2024-01-01   | due     | yes  | yes
double    | 2023-07-06 | 2024-01-01   | due     | yes  | yes
double    | 2023-07-06 | 2024-03-01   | due     | no   | yes
distant   | 2023-07-01 | 2024-10-01   | not_due | yes  | yes
ended     | 2023-07-01 | 2023-06-15   | overdue | yes  | no
partly    | 2023-07-01 | 2023-06-15   | overdue | yes  | yes
"""
"""Main rows, and the second renewal of `double`. Of `ended` nothing runs on the day, of `partly` one contract does."""
Labels = dict[tuple[str, str], tuple[int | None, date | None]]


def read_rows(text: str) -> list[dict[str, str]]:
    head, *lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines]


def parse_time(cell: str) -> datetime | None:
    return datetime.fromisoformat(cell) if cell else None


def contracts() -> ibis.Table:
    """Table of the contracts above; a seat costs 100 a year."""
    rows = read_rows(CONTRACTS)
    columns = {
        "contract_id": [f"{row['account']} {row['product']} {row['start']}" for row in rows],
        "account_id": [row["account"] for row in rows],
        "product": [row["product"] for row in rows],
        "plan": ["basic" for _ in rows],
        "start_date": [parse_time(row["start"]) for row in rows],
        "end_date": [parse_time(row["end"]) for row in rows],
        "arr": [100.0 * int(row["seats"]) for row in rows],
        "currency": ["USD" for _ in rows],
        "seats": [int(row["seats"]) for row in rows],
        "signed_at": [parse_time(row["signed"]) for row in rows],
        "paid_at": pa.array([None for _ in rows], pa.timestamp("us")),
        "cancelled_at": pa.array([parse_time(row["cancelled"]) for row in rows], pa.timestamp("us")),
        "auto_renew": pa.array([None for _ in rows], pa.bool_()),
    }
    return ibis.memtable(pa.table(columns))


def spine() -> ibis.Table:
    days = ("as_of", "renewal_date")
    rows = [
        {
            "account_id": row["account"],
            "renewal_id": f"{row['account']}:{row['renewal_date']}",
            **{name: date.fromisoformat(row[name]) for name in days},
            "renewal_state": row["state"],
            "is_main": row["main"] == "yes",
            "runs": row["runs"] == "yes",
        }
        for row in read_rows(SPINE)
    ]
    return ibis.memtable(pa.Table.from_pylist(rows))


@cache
def outcomes(at: date) -> Outcomes:
    """Inputs of the targets on a day."""
    story = RenewalLedger(contracts(), at, Policy())
    return Outcomes(at, story.term_states, story.term_outcomes, story.expansions)


@cache
def labels_of_renewals(name: str, at: date) -> Labels:
    """Label and maturity of every observation, by its renewal and day."""
    rows = load_targets([name])[name].label(spine(), outcomes(at)).to_pyarrow().to_pylist()
    labelled = {
        (row["renewal_id"], row["as_of"].isoformat()): (row["label"], row["matured_at"] and row["matured_at"].date())
        for row in rows
    }
    assert len(labelled) == len(rows)
    return labelled


def labels(name: str, at: date) -> Labels:
    """Label and maturity of every main row, by its account and day."""
    by_renewal = labels_of_renewals(name, at)
    return {
        (row["account"], row["as_of"]): by_renewal[f"{row['account']}:{row['renewal_date']}", row["as_of"]]
        for row in read_rows(SPINE)
        if row["main"] == "yes"
    }


HALF_YEAR_OVER, GRACE_OVER, LONG_AFTER = date(2023, 12, 28), date(2024, 3, 2), date(2025, 6, 1)
DAY = timedelta(days=1)


def test_one_label_per_observation():
    for name in ALL:
        assert len(labels_of_renewals(name, LONG_AFTER)) == len(read_rows(SPINE)), name


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
def test_renewal_label_and_maturity(account, as_of, renewed, matured_on):
    assert labels("renewal", LONG_AFTER)[account, as_of] == (renewed, matured_on)


def test_outcome_of_an_amended_contract_is_decided_at_its_end():
    """Replaced in September by a contract with the same end and not renewed in January: the label is 0."""
    assert labels("renewal", LONG_AFTER)["amended", "2023-07-01"] == (0, GRACE_OVER)


def test_account_that_left_and_returned_has_two_labels():
    """The first contract is lost in February; the one from June with the same end is separate, and was renewed."""
    assert labels("renewal", LONG_AFTER)["returned", "2023-01-15"] == (0, date(2023, 4, 3))
    assert labels("renewal", LONG_AFTER)["returned", "2023-07-01"] == (1, GRACE_OVER)


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
def test_expansion_labels_within_half_a_year(account, as_of, upsold, cross_sold):
    """`grown` starts its larger term on day 184 or 179; `late` starts on day 179 and signs on day 203 or 141."""
    by_target = {name: labels(name, LONG_AFTER)[account, as_of][0] for name in ALL[1:]}
    assert by_target == {"upsell": upsold, "cross_sell": cross_sold, "expansion": max(upsold, cross_sold)}


UNLABELLED = (None, None)


def test_each_renewal_of_an_account_has_its_own_outcome():
    renewal = labels_of_renewals("renewal", LONG_AFTER)
    assert renewal["double:2024-01-01", "2023-07-06"] == (1, GRACE_OVER)
    assert renewal["double:2024-03-01", "2023-07-06"] == (0, date(2024, 5, 1))


def test_renewal_that_is_not_due_or_overdue_has_no_label():
    """`distant` is lost after the horizon; `ended` and `partly` saw a contract that had ended two weeks before."""
    assert {labels("renewal", LONG_AFTER)[account, "2023-07-01"] for account in ("distant", "ended", "partly")} == {
        UNLABELLED
    }


@pytest.mark.parametrize("name", ALL[1:])
def test_expansion_label_stands_on_the_main_row_of_a_running_account_only(name):
    """`double` grows its seats; `distant`, of whom nothing is due, and `partly`, overdue, buy; `ended` comes back."""
    by_renewal = labels_of_renewals(name, LONG_AFTER)
    assert by_renewal["double:2024-01-01", "2023-07-06"] == (int(name != "cross_sell"), HALF_YEAR_OVER + 5 * DAY)
    assert by_renewal["double:2024-03-01", "2023-07-06"] == UNLABELLED
    assert by_renewal["distant:2024-10-01", "2023-07-01"] == (int(name != "upsell"), HALF_YEAR_OVER)
    assert by_renewal["partly:2023-06-15", "2023-07-01"] == (int(name != "cross_sell"), HALF_YEAR_OVER)
    assert by_renewal["ended:2023-06-15", "2023-07-01"] == UNLABELLED


@pytest.mark.parametrize("name", ALL[1:])
def test_expansion_label_is_missing_until_its_days_have_passed(name):
    for account in ("loyal", "lost", "curious"):
        assert labels(name, HALF_YEAR_OVER - DAY)[account, "2023-07-01"] == (None, HALF_YEAR_OVER)
        assert labels(name, HALF_YEAR_OVER)[account, "2023-07-01"] == labels(name, LONG_AFTER)[account, "2023-07-01"]


def test_renewal_label_is_missing_until_the_grace_has_passed():
    for account in ("loyal", "lost"):
        assert labels("renewal", HALF_YEAR_OVER)[account, "2023-07-01"] == (None, None)
        assert labels("renewal", GRACE_OVER - DAY)[account, "2023-07-01"] == (None, GRACE_OVER)
        assert labels("renewal", GRACE_OVER)[account, "2023-07-01"][0] == (1 if account == "loyal" else 0)


@pytest.mark.parametrize("name", ALL)
def test_final_label_never_changes(name):
    """Computed on several days, a label is the same on all days from which it is final."""
    final: dict[tuple[str, str], Any] = {}
    days = {"renewal": (HALF_YEAR_OVER, GRACE_OVER - DAY, GRACE_OVER)}
    for at in (*days.get(name, (HALF_YEAR_OVER - DAY, HALF_YEAR_OVER)), LONG_AFTER):
        for key, (label, matured_on) in labels_of_renewals(name, at).items():
            assert (label is not None) == (matured_on is not None and matured_on <= at), (key, at)
            if label is not None:
                assert final.setdefault(key, (label, matured_on)) == (label, matured_on), (key, at)


def test_labels_are_small_integers_and_timestamps():
    schema = load_targets(["renewal"])["renewal"].label(spine(), outcomes(LONG_AFTER)).schema()
    assert tuple(schema.names) == ("account_id", "renewal_id", "as_of", "label", "matured_at")
    assert str(schema["label"]) == "int8"
    assert str(schema["as_of"]) == "date"
    assert schema["matured_at"].is_timestamp()


def test_every_target_has_a_question_in_both_languages():
    for name, target in load_targets(ALL).items():
        assert target.name == name
        assert target.en.endswith("?")
        assert target.zh.endswith("？")
        assert target.maturity


def test_target_without_a_file_is_refused():
    with pytest.raises(ValueError, match=r"no target 'moods': models/targets/moods\.py"):
        load_targets(["moods"])
