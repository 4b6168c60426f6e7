"""Final months stay as they were, and late papers are booked in the first month that is open: figures by hand.

Twenty accounts, one kind of paper each; a contract costs 12 000 dollars, is signed the day before it starts and follows
no other where nothing else is said. A month is final 60 days after its last day: 31 January 2024 on 31 March, 29
February on 29 April, 30 April on 29 June, 31 May on 30 July, 31 July on 29 September, 31 August on 30 October.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from renewals.features.revenue.roll_forward import GAIN_COLUMNS, LOSS_COLUMNS
from tests.properties.contract_companies import ACCOUNT_COLUMNS, CONTRACT_COLUMNS, Company
from tests.properties.contract_laws import is_final, next_month
from tests.properties.settled_companies import Row, SettledCompany, settle

RATES = {
    "EUR": {"2023-01-01": 1.10, "2024-07-01": 1.12, "2025-02-01": 1.09},
    "CNY": {"2023-01-01": 0.14, "2024-10-01": 0.15},
}
LAST_LEDGER_DAY = date(2026, 6, 1)
LEDGER_DAY = [
    date(year, month, 1) for year in (2024, 2025, 2026) for month in range(1, 13) if (year, month) < (2026, 7)
]
LONG = "2027-06-01"
"""An end after all days on which the company is settled."""
NAMES = ("upsell", "cross_sell", "price", *(name for name in (*GAIN_COLUMNS, *LOSS_COLUMNS) if name != "expansion"))


def instant(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) and value[:2] == "20" else value


def term(account: str, number: int, start: str, end: str, **more: Any) -> Row:
    """A row of the contract of an account with this number; days are written as text."""
    signed = {"signed_at": datetime.fromisoformat(start) - timedelta(days=1)}
    row = {
        "account_id": account,
        "contract_id": f"{account}{number}",
        "start_date": start,
        "end_date": end,
        "arr": 12000.0,
    }
    return dict.fromkeys(CONTRACT_COLUMNS) | signed | {name: instant(value) for name, value in (row | more).items()}


CONTRACTS = [
    # Renewed on time, twice.
    term("plain", 1, "2024-01-15", "2025-01-15"),
    term("plain", 2, "2025-01-15", "2026-01-15"),
    term("plain", 3, "2026-01-15", "2027-01-15"),
    # First contracts that become known late: in the grace of their month, on its last day, a day and months later.
    term("in_time", 1, "2024-02-01", LONG, recorded_at="2024-04-15"),
    term("last_day", 1, "2024-02-01", LONG, recorded_at="2024-04-29"),
    term("day_late", 1, "2024-02-01", LONG, recorded_at="2024-04-30"),
    term("late", 1, "2024-02-01", LONG, signed_at="2024-01-20", recorded_at="2024-09-10"),
    term("back_dated", 1, "2024-03-01", LONG, signed_at="2024-07-15"),
    # Follow-ons signed on the last day of the grace, and a day later.
    term("grace", 1, "2023-06-01", "2024-06-01"),
    term("grace", 2, "2024-06-01", LONG, signed_at="2024-07-31"),
    term("too_late", 1, "2023-06-01", "2024-06-01"),
    term("too_late", 2, "2024-06-01", LONG, signed_at="2024-08-01"),
    # Cancellations that become known when the month is open, and when it is closed.
    term("cancelled", 1, "2024-01-01", LONG),
    term("cancelled", 1, "2024-01-01", LONG, cancelled_at="2024-04-10", recorded_at="2024-06-20"),
    term("cancelled_late", 1, "2024-01-01", LONG),
    term("cancelled_late", 1, "2024-01-01", LONG, cancelled_at="2024-04-10", recorded_at="2024-10-20"),
    # A merger that becomes known a year later.
    term("alpha", 1, "2024-01-01", LONG, arr=6000.0),
    term("beta", 1, "2024-01-01", LONG),
    # Amendments: for the time to come, and for closed months too.
    term("raised", 1, "2024-01-01", LONG, seats=10),
    term("raised", 1, "2024-01-01", LONG, seats=12, arr=14400.0, recorded_at="2024-06-20", valid_from="2024-07-01"),
    term("lowered", 1, "2024-01-01", LONG),
    term("lowered", 1, "2024-01-01", LONG, arr=9000.0, recorded_at="2024-09-10", valid_from="2024-03-01"),
    # The same in other currencies.
    term("euro", 1, "2024-01-01", LONG, arr=10000.0, currency="EUR"),
    term("euro_late", 1, "2024-02-01", LONG, arr=10000.0, currency="EUR", recorded_at="2024-09-10"),
    term("euro_back", 1, "2023-03-01", "2024-03-01", arr=10000.0, currency="EUR"),
    term("euro_back", 2, "2024-03-01", LONG, arr=10000.0, currency="EUR", signed_at="2024-07-08"),
    term("euro_cancelled", 1, "2024-01-01", LONG, arr=10000.0, currency="EUR"),
    term(
        "euro_cancelled", 1, "2024-01-01", LONG, arr=10000.0, currency="EUR",
        cancelled_at="2024-06-10", recorded_at="2024-12-05",
    ),
    term("yuan_lost", 1, "2023-10-15", "2024-10-15", arr=100000.0, currency="CNY"),
    term("yuan_raised", 1, "2024-01-01", LONG, arr=100000.0, currency="CNY"),
    term(
        "yuan_raised", 1, "2024-01-01", LONG, arr=120000.0, currency="CNY",
        recorded_at="2025-04-20", valid_from="2024-11-01",
    ),
]  # fmt: skip
MERGER = {"merged_into_account_id": "beta", "merged_at": "2024-05-10", "recorded_at": "2025-05-12"}

EXPECTED: dict[str, dict[str, dict[str, int]]] = {
    "plain": {"2024-01": {"new": 12000}},
    "in_time": {"2024-02": {"new": 12000}},
    "last_day": {"2024-02": {"new": 12000}},
    "day_late": {"2024-03": {"correction": 12000}},
    "late": {"2024-07": {"correction": 12000}},
    "back_dated": {"2024-05": {"correction": 12000}},
    "grace": {"2023-06": {"new": 12000}},
    "too_late": {"2023-06": {"new": 12000}, "2024-06": {"churn": 12000}, "2024-08": {"reactivation": 12000}},
    "cancelled": {"2024-01": {"new": 12000}, "2024-04": {"churn": 12000}},
    "cancelled_late": {"2024-01": {"new": 12000}, "2024-08": {"correction": -12000}},
    "alpha": {"2024-01": {"new": 6000}, "2025-03": {"correction": -6000}},
    "beta": {"2024-01": {"new": 12000}, "2025-03": {"correction": 6000}},
    "raised": {"2024-01": {"new": 12000}, "2024-07": {"upsell": 2400}},
    "lowered": {"2024-01": {"new": 12000}, "2024-07": {"correction": -3000}},
    "euro": {"2024-01": {"new": 11000}, "2024-07": {"fx": 200}, "2025-02": {"fx": -300}},
    # Counted from July 2024 on, at the rate of 30 June; the rate of July then moves it.
    "euro_late": {"2024-07": {"correction": 11000, "fx": 200}, "2025-02": {"fx": -300}},
    # Lost in March 2024 at the rate of 29 February, won back in July at that of 31 July.
    "euro_back": {
        "2023-03": {"new": 11000},
        "2024-03": {"churn": 11000},
        "2024-07": {"reactivation": 11200},
        "2025-02": {"fx": -300},
    },
    # It ended in June 2024; the rate of July moved it, because nobody knew, and October takes out what July left.
    "euro_cancelled": {"2024-01": {"new": 11000}, "2024-07": {"fx": 200}, "2024-10": {"correction": -11200}},
    # Lost at the rate of the last day before the month in which the rate moves.
    "yuan_lost": {"2023-10": {"new": 14000}, "2024-10": {"churn": 14000}},
    # The rate moves 100 000 yuan in October, the 20 000 more from November on are known in April: February is open.
    "yuan_raised": {"2024-01": {"new": 14000}, "2024-10": {"fx": 1000}, "2025-02": {"correction": 3000}},
}
"""Everything that moves, in dollars, by account and month."""


def company(*more: Row) -> Company:
    contracts = [*CONTRACTS, *more]
    known = dict.fromkeys(ACCOUNT_COLUMNS) | {"created_at": datetime(2023, 1, 1)}
    accounts = [known | {"account_id": account} for account in sorted({row["account_id"] for row in contracts})]
    accounts.append(known | {"account_id": "alpha"} | {name: instant(value) for name, value in MERGER.items()})
    rates = [
        {"currency": currency, "date": datetime.fromisoformat(day), "rate": rate}
        for currency, quotes in RATES.items()
        for day, rate in quotes.items()
    ]
    return Company({"contracts": contracts, "accounts": accounts, "rates": rates}, frozenset())


@cache
def company_on(ledger_day: date = LAST_LEDGER_DAY) -> SettledCompany:
    """The company as known before a day."""
    return settle(company(), ledger_day)


def moved(settled: SettledCompany) -> dict[str, dict[str, dict[str, float]]]:
    """What moves, in dollars, by account and month."""
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for row in settled.months:
        movements = {name: row[name] / 100 for name in NAMES if row[name]}
        if movements:
            found[row["account_id"]][f"{row['month']:%Y-%m}"] = movements
    return dict(found)


def test_every_paper_is_booked_where_it_belongs() -> None:
    assert len(EXPECTED) == 20
    assert moved(company_on()) == EXPECTED


def test_the_company_by_month() -> None:
    """`fx` and `correction` of the whole company."""
    totals: dict[str, dict[str, float]] = {"fx": defaultdict(float), "correction": defaultdict(float)}
    for months in moved(company_on()).values():
        for month, movements in months.items():
            for name in totals.keys() & movements.keys():
                totals[name][month] += movements[name]
    assert totals["fx"] == {"2024-07": 600, "2024-10": 1000, "2025-02": -900}
    assert totals["correction"] == {
        "2024-03": 12000,
        "2024-05": 12000,
        "2024-07": 12000 - 3000 + 11000,
        "2024-08": -12000,
        "2024-10": -11200,
        "2025-02": 3000,
        "2025-03": 0,
    }


def final_rows(ledger_day: date) -> dict[tuple[date, Any], Row]:
    return {
        (row["month"], row["account_id"]): row
        for row in company_on(ledger_day).months
        if is_final(row["month"], ledger_day)
    }


def test_final_months_stay_on_later_days() -> None:
    """Each final month is the same on every later day, on those of the papers too: for most on twelve and more."""
    papers = {row["recorded_at"].date() for row in CONTRACTS if row["recorded_at"]}
    days = sorted({*LEDGER_DAY, *papers, *(day + timedelta(days=1) for day in papers)})
    first: dict[tuple[date, Any], Row] = {}
    times: dict[date, int] = defaultdict(int)
    for ledger_day in days:
        rows = final_rows(ledger_day)
        for month in {month for month, _account in rows}:
            times[month] += 1
        assert {key: row for key, row in rows.items() if key[0] in {month for month, _account in first}} == first
        first = rows
    assert sum(count > 12 for count in times.values()) >= 24


def test_a_month_is_final_on_the_day_after_its_grace() -> None:
    """February 2024 is the same from 30 April on: with the paper of 29 April, without that of the 30th."""
    open_still, final = (
        {row["account_id"] for row in company_on(day).months if row["month"] == date(2024, 2, 1) and row["closing"]}
        for day in (date(2024, 4, 29), date(2024, 4, 30))
    )
    assert final - open_still == {"last_day"}
    assert {account for month, account in final_rows(LAST_LEDGER_DAY) if month == date(2024, 2, 1)} == final


def test_no_cent_is_unexplained() -> None:
    """Opening and movements add up to the closing, and the next month opens with it."""
    rows = {(row["month"], row["account_id"]): row for row in company_on().months}
    for (month, account), row in rows.items():
        gained = sum(row[name] for name in GAIN_COLUMNS) - sum(row[name] for name in LOSS_COLUMNS)
        assert row["opening"] + gained == row["closing"]
        if next_month(month) <= LAST_LEDGER_DAY:
            assert rows.get((next_month(month), account), {"opening": 0})["opening"] == row["closing"]


def test_an_amendment_without_valid_from_is_no_exchange_rate() -> None:
    """It holds from the day on which it was recorded, and is up-sell of that month, in any currency."""
    rows = [
        term("amended", 1, "2024-01-01", LONG, seats=10),
        term("amended", 1, "2024-01-01", LONG, seats=12, arr=14400.0, recorded_at="2024-10-05"),
    ]
    found = moved(settle(company(*rows), LAST_LEDGER_DAY))["amended"]
    assert found == {"2024-01": {"new": 12000}, "2024-10": {"upsell": 2400}}
