"""Upcoming quarters of the scorecard's company, as known on 2025-06-01, and their agreement with the scorecard."""

from datetime import date

import ibis
import pytest

from renewals.features.revenue.ledger import RenewalLedger
from renewals.features.scorecard import upcoming
from tests.features.scorecard.test_totals import POLICY, figures, five, ledger_of, scorecard_of
from tests.oracle.worlds import arrow, schema

DAY = date(2025, 6, 1)


def ledger_at(known_at: date, at: date) -> RenewalLedger:
    con, tables = ibis.duckdb.connect(threads=1), five()
    names = ("contracts", "accounts", "rates")
    raw = {name: con.create_table(name, arrow(tables[name], schema(name))) for name in names}
    return ledger_of(raw, at, known_at)


def test_quarters_start_in_the_month_of_the_day():
    assert [upcoming.quarter_start(DAY, n) for n in (-3, 0, 1, 5)] == [
        date(2024, 6, 1),
        date(2025, 3, 1),
        date(2025, 6, 1),
        date(2026, 6, 1),
    ]
    assert upcoming.quarter_months(date(2025, 11, 1), 1) == [date(2025, 11, 1), date(2025, 12, 1), date(2026, 1, 1)]


def test_a_due_renewal_is_open_until_a_follow_on_is_signed():
    """On June 1st no follow-on is signed; on the 16th that of acme is, and its full amount is known to be renewed."""
    ahead = upcoming.horizon_end(DAY, POLICY)
    before, after = (
        {
            (row["account_id"], row["end_date"]): row
            for row in upcoming.renewal_sets(ledger_at(day, ahead)).to_pyarrow().to_pylist()
        }
        for day in (DAY, date(2025, 6, 16))
    )
    acme = "acme", date(2025, 6, 15)
    assert (before[acme]["renewed"], before[acme]["amount_due"]) == (0, 4_000_000)
    assert (after[acme]["renewed"], after[acme]["amount_kept"], after[acme]["growth"]) == (1, 4_000_000, 0)
    assert (after[acme]["moves_at"], after[acme]["lasts_until"]) == (date(2025, 6, 15), date(2026, 6, 15))
    assert after["beta", date(2025, 6, 20)]["renewed"] == 0
    assert {row["renewed"] for row in before.values()} == {0}


def test_growth_is_every_rise_of_price_or_size():
    rows = upcoming.renewal_sets(ledger_at(date(2025, 9, 1), date(2025, 9, 1))).to_pyarrow().to_pylist()
    amounts = {
        row["account_id"]: (row["amount_due"], row["amount_kept"], row["growth"]) for row in rows if row["renewed"]
    }
    assert amounts["beta"] == (1_250_000, 1_250_000, 250_000)
    assert amounts["coral"] == (3_780_000, 3_150_000, 0)


@pytest.mark.parametrize("period", ["2025-06", "2025-05"])
def test_a_quarter_equals_that_of_the_scorecard(period):
    """The three months that end with June, and with May, when both are final."""
    seen = date(2025, 9, 1)
    card = scorecard_of(five())
    first = date(2025, int(period[-2:]) - 2, 1)
    book = ledger_at(seen, seen)
    rows = upcoming.account_quarters(
        book.account_roll_forward(upcoming.quarter_months(first, 1)), first, [1], POLICY
    ).to_pyarrow().to_pylist()  # fmt: skip
    names = ("opening", "kept", "retained")
    opening, kept, retained = (sum(row[name] for row in rows if row["opening"]) / 100 for name in names)
    assert figures(card, "gross_retention", period, "quarter") == pytest.approx((kept / opening, kept, opening))
    assert figures(card, "net_retention", period, "quarter") == pytest.approx((retained / opening, retained, opening))


def test_the_size_band_is_that_of_the_opening():
    book = ledger_at(date(2025, 9, 1), date(2025, 9, 1))
    rows = (
        upcoming.account_quarters(book.account_roll_forward(upcoming.quarter_months(DAY, 1)), DAY, [1], POLICY)
        .to_pyarrow()
        .to_pylist()
    )
    assert {row["account_id"]: row["size_band"] for row in rows if row["account_id"] in ("beta", "coral")} == {
        "beta": "small",
        "coral": "medium",
    }
