"""Contracts of an unknown amount, as before the first copy of dated extracts: neither free nor an expansion later."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import ibis
import pyarrow as pa
import pytest

from renewals.features.policy import Policy, Renewal
from renewals.features.revenue.ledger import RenewalLedger

COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("contract_id", "account_id")),
        *((name, pa.timestamp("us")) for name in ("start_date", "end_date", "signed_at", "recorded_at", "valid_from")),
        ("arr", pa.float64()),
    ]
)
AT = date(2026, 1, 1)


def ledger(*lines: str, at: date = AT) -> RenewalLedger:
    """Ledger of rows written as contract, start, end, amount, recorded_at and valid_from; a dash is a missing value."""
    return RenewalLedger(
        ibis.memtable(pa.Table.from_pylist([_row(line) for line in lines], COLUMNS)),
        at,
        Policy(renewal=Renewal(payment="ignored")),
    )


def _row(line: str) -> dict[str, Any]:
    contract, start, end, amount, recorded, valid_from = (None if cell == "-" else cell for cell in line.split())
    days = {"start_date": start, "end_date": end, "signed_at": start, "recorded_at": recorded, "valid_from": valid_from}
    times = {name: None if day is None else datetime.fromisoformat(day) for name, day in days.items()}
    return {"contract_id": contract, "account_id": "A", "arr": None if amount is None else float(amount), **times}


def entry(found: RenewalLedger, contract: str, *columns: str) -> list[Any]:
    rows = {row["contract_id"]: row for row in found.entries.to_pyarrow().to_pylist()}
    return [rows[contract][name] for name in columns]


def movements(found: RenewalLedger, month: date) -> dict[str, int]:
    """Movements of a month that are not zero."""
    row = next(iter(found.roll_forward([month]).to_pyarrow().to_pylist()))
    names = ("new", "upsell", "cross_sell", "price", "reactivation", "contraction", "churn", "correction")
    return {name: row[name] for name in names if row[name]}


KNOWN_LATER = ("old 2024-01-01 2025-01-01 - - -", "old 2024-01-01 2025-01-01 1200 2024-06-30 2024-01-01")
"""A contract whose amount is known from the first copy on, 2024-06-30."""


def test_the_amount_is_known_from_the_first_copy_on():
    assert entry(ledger(*KNOWN_LATER), "old", "outcome", "amount_due") == ["churned", 120000]


@pytest.mark.parametrize("order", [1, -1])
def test_an_amount_that_becomes_known_is_a_correction_and_nothing_was_bought(order):
    found = ledger(*KNOWN_LATER[::order], at=date(2024, 12, 1))
    assert found.expansions.count().to_pyarrow().as_py() == 0
    every = [movements(found, date(2024, month, 1)) for month in range(1, 12)]
    assert sum(month.get("correction", 0) + month.get("new", 0) for month in every) == 120000
    assert {name for month in every for name in month} <= {"correction", "new"}


def test_a_renewal_of_an_unknown_amount_is_flat_and_no_expansion():
    found = ledger("old 2024-01-01 2025-01-01 - - -", "new 2025-01-01 2026-06-01 1200 2025-01-01 -")
    assert entry(found, "old", "outcome", "renewed", "amount_due", "amount_kept", "upsell") == [
        "renewed_flat", 1, None, None, None,
    ]  # fmt: skip
    assert found.expansions.count().to_pyarrow().as_py() == 0
    assert movements(found, date(2025, 1, 1)) == {"correction": 120000}


def test_a_short_contract_of_an_unknown_amount_is_no_free_trial():
    found = ledger("old 2024-01-01 2024-03-01 - - -", "new 2024-03-01 2025-03-01 1200 2024-03-01 -")
    assert found.pairs.count().to_pyarrow().as_py() == 1


def test_an_end_that_moves_by_a_year_is_a_renewal_although_the_amount_is_unknown():
    found = ledger("old 2024-01-01 2025-01-01 - - -", "old 2024-01-01 2026-01-01 - 2024-12-01 -", at=date(2025, 6, 1))
    rows = found.entries.to_pyarrow().to_pylist()
    assert [(row["outcome"], row["rule"]) for row in rows] == [("renewed_flat", "in_place")]


def test_a_state_of_an_unknown_amount_has_none():
    amounts = ledger(*KNOWN_LATER, at=date(2024, 12, 1)).term_states.arr.to_pyarrow().to_pylist()
    assert None in amounts
    assert 1200.0 in amounts


def test_a_renewal_into_an_unknown_amount_is_no_contraction():
    found = ledger("old 2024-01-01 2025-01-01 1200 - -", "new 2025-01-01 2026-06-01 - 2025-01-01 -")
    assert entry(found, "old", "outcome", "amount_due", "amount_kept") == ["renewed_flat", 120000, None]
