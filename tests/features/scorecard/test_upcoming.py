"""The quarters to come of the scorecard's company, as known on 2025-06-01, and that both speak of the same thing."""

from datetime import date

import ibis
import pytest

from renewals.features.point_in_time import known_rows
from renewals.features.revenue.ledger import RenewalLedger
from renewals.features.scorecard import upcoming
from tests.features.scorecard.test_totals import POLICY, five, of, told
from tests.oracle.worlds import arrow, schema

DAY = date(2025, 6, 1)


def opened(known_at: date, at: date) -> RenewalLedger:
    con, tables = ibis.duckdb.connect(threads=1), five()
    raw = {
        name: con.create_table(name, arrow(tables[name], schema(name))) for name in ("contracts", "accounts", "rates")
    }
    known = {name: known_rows(name, table, known_at) for name, table in raw.items()}
    return RenewalLedger(known["contracts"], at, POLICY, False, known["rates"], known["accounts"])


def test_quarters_are_counted_from_the_day_s_month():
    assert [upcoming.quarter_start(DAY, n) for n in (-3, 0, 1, 5)] == [
        date(2024, 6, 1),
        date(2025, 3, 1),
        date(2025, 6, 1),
        date(2026, 6, 1),
    ]
    assert upcoming.quarter_months(date(2025, 11, 1), 1) == [date(2025, 11, 1), date(2025, 12, 1), date(2026, 1, 1)]


def test_what_falls_due_is_open_until_a_follow_on_is_signed():
    """On June 1st nothing is signed; on the 16th acme's follow-on is, and it is known to be kept whole."""
    ahead = upcoming.horizon_end(DAY, POLICY)
    before, after = (
        {
            (row["account_id"], row["end_date"]): row
            for row in upcoming.renewal_sets(opened(day, ahead)).to_pyarrow().to_pylist()
        }
        for day in (DAY, date(2025, 6, 16))
    )
    acme = "acme", date(2025, 6, 15)
    assert (before[acme]["renewed"], before[acme]["amount_due"]) == (0, 4_000_000)
    assert (after[acme]["renewed"], after[acme]["amount_kept"], after[acme]["growth"]) == (1, 4_000_000, 0)
    assert (after[acme]["moves_at"], after[acme]["lasts_until"]) == (date(2025, 6, 15), date(2026, 6, 15))
    assert after["beta", date(2025, 6, 20)]["renewed"] == 0
    assert {row["renewed"] for row in before.values()} == {0}


def test_every_rise_of_price_or_size_is_growth_and_nothing_else():
    rows = upcoming.renewal_sets(opened(date(2025, 9, 1), date(2025, 9, 1))).to_pyarrow().to_pylist()
    found = {
        row["account_id"]: (row["amount_due"], row["amount_kept"], row["growth"]) for row in rows if row["renewed"]
    }
    assert found["beta"] == (1_250_000, 1_250_000, 250_000)
    assert found["coral"] == (3_780_000, 3_150_000, 0)


@pytest.mark.parametrize("period", ["2025-06", "2025-05"])
def test_a_quarter_is_the_scorecard_s(period):
    """The three months that end with June, and with May, as seen when both are final."""
    seen = date(2025, 9, 1)
    card = told(five())
    first = date(2025, int(period[-2:]) - 2, 1)
    book = opened(seen, seen)
    rows = upcoming.account_quarters(
        book.account_roll_forward(upcoming.quarter_months(first, 1)), first, [1], POLICY
    ).to_pyarrow().to_pylist()  # fmt: skip
    opening, kept, closing = (sum(r[n] for r in rows if r["opening"]) / 100 for n in ("opening", "kept", "closing"))
    assert of(card, "gross_retention", period, "quarter") == pytest.approx((kept / opening, kept, opening))
    assert of(card, "net_retention", period, "quarter") == pytest.approx((closing / opening, closing, opening))


def test_the_size_is_that_of_the_opening():
    book = opened(date(2025, 9, 1), date(2025, 9, 1))
    rows = (
        upcoming.account_quarters(book.account_roll_forward(upcoming.quarter_months(DAY, 1)), DAY, [1], POLICY)
        .to_pyarrow()
        .to_pylist()
    )
    assert {row["account_id"]: row["size_band"] for row in rows if row["account_id"] in ("beta", "coral")} == {
        "beta": "small",
        "coral": "medium",
    }
