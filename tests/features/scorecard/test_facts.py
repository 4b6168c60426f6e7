"""Facts of the scorecard by account and month, each from a few rows of the ledger's tables."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

import ibis
import pytest

from renewals.features.policy import Policy, Scorecard
from renewals.features.scorecard import totals as cards

AS_OF = date(2025, 9, 1)
"""July is the first month that is not final."""
POLICY, OPTIONS = Policy(), Scorecard()


def table(types: dict[str, str], *rows: tuple[Any, ...]) -> Any:
    return ibis.memtable([dict(zip(types, row, strict=True)) for row in rows], schema=types)


RENEWALS = {
    **{"account_id": "string", "start_date": "date", "end_date": "date", "due_at": "date", "booked_month": "date"},
    **{"renewed": "int8", "amount_due": "int64", "amount_renewed": "int64", "amount_kept": "int64", "plan": "string"},
}


@pytest.mark.parametrize(
    ("due", "booked", "expected"),
    [
        # Decided in time, or only when its month was final: where the ledger books it.
        (date(2025, 3, 10), date(2025, 3, 1), date(2025, 3, 1)),
        (date(2025, 3, 10), date(2025, 5, 1), date(2025, 5, 1)),
        # Pending: in its month, as long as that is open; a final month never changes.
        (date(2025, 8, 10), None, date(2025, 8, 1)),
        (date(2025, 3, 10), None, date(2025, 7, 1)),
    ],
)
def test_a_renewal_counts_where_it_is_booked(due: date, booked: date | None, expected: date) -> None:
    renewed, amount = (None, None) if booked is None else (1, 900)
    row = ("acme", date(2024, 3, 10), due, due, booked, renewed, 900, amount, amount, "pro")
    (fact,) = cards.renewal_facts(table(RENEWALS, row), AS_OF, POLICY).to_pyarrow().to_pylist()
    assert (fact["month"], fact["due"], fact["pending"]) == (expected, 1, int(booked is None))


@pytest.mark.parametrize(("end", "is_long"), [(date(2025, 1, 1), 0), (date(2025, 1, 2), 1)])
def test_a_leap_year_is_a_year(end: date, is_long: int) -> None:
    """2024 has 366 days."""
    row = ("acme", date(2024, 1, 1), end, end, date(2025, 1, 1), 1, 900, 900, 900, "pro")
    (fact,) = cards.renewal_facts(table(RENEWALS, row), AS_OF, POLICY).to_pyarrow().to_pylist()
    assert (fact["long_decided"], fact["long_renewed"]) == (is_long, is_long)
    assert (fact["long_decided_amount"], fact["long_renewed_amount"]) == (900 * is_long, 900 * is_long)


ROLL_FORWARD = {
    **{"month": "date", "account_id": "string", "opening": "int64", "closing": "int64"},
    **{"upsell": "int64", "cross_sell": "int64"},
}
EXPANSIONS = {"account_id": "string", "happened_at": "date", "known_at": "timestamp"}
CONTRACTS = {
    **{"account_id": "string", "arr": "float64", "kind": "string"},
    **{"signed_at": "timestamp", "start_date": "timestamp"},
}


@pytest.mark.parametrize(
    ("opening", "happened", "of_sales"),
    [
        # Small: until three months after the signature of January 15th.
        (10_000, date(2025, 4, 14), True),
        (10_000, date(2025, 4, 15), False),
        # Medium: six months; large: twelve.
        (20_000, date(2025, 7, 14), True),
        (20_000, date(2025, 7, 15), False),
        (200_000, date(2026, 1, 14), True),
        (200_000, date(2026, 1, 15), False),
    ],
)
def test_whose_expansion_it_is(opening: int, happened: date, of_sales: bool) -> None:
    """A trial before the first paid contract does not count, nor does a purchase known after its month was final."""
    month, signed = happened.replace(day=1), datetime(2025, 1, 15, 17)
    contracts = table(
        CONTRACTS,
        ("acme", 0.0, "trial", datetime(2024, 1, 1), datetime(2024, 1, 1)),
        ("acme", 100.0, None, signed, datetime(2025, 2, 1)),
        ("acme", 100.0, None, datetime(2025, 4, 1), datetime(2025, 4, 1)),
    )
    expansions = table(
        EXPANSIONS,
        ("acme", happened, datetime.combine(happened, time())),
        ("acme", month, datetime(2027, 1, 1)),
    )
    moved = table(ROLL_FORWARD, (month, "acme", 100 * opening, 100 * opening + 700, 500, 200))
    facts = cards.expansion_facts(moved, expansions, contracts, POLICY, OPTIONS).to_pyarrow().to_pylist()
    assert [(row["sales_expansion"], row["cs_expansion"]) for row in facts] == [(700, 0) if of_sales else (0, 700)]


LOSSES = {
    **{"account_id": "string", "booked_month": "date", "renewed": "int8"},
    **{"amount_due": "int64", "loss_reason": "string"},
}


@pytest.mark.parametrize(("reason", "unpreventable"), [("insolvent", 500), (" Merged ", 500), ("price", 0), (None, 0)])
def test_what_nobody_could_have_prevented(reason: str | None, unpreventable: int) -> None:
    entries = table(
        LOSSES,
        ("acme", date(2025, 3, 1), 0, 500, reason),
        ("acme", date(2025, 3, 1), 1, 900, None),
        ("acme", None, None, 100, None),
    )
    (fact,) = cards.loss_facts(entries, OPTIONS).to_pyarrow().to_pylist()
    assert (fact["lost_amount"], fact["unpreventable_amount"]) == (500, unpreventable)
