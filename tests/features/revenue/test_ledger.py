"""The renewal ledger, case by case: some contracts, and their expected outcomes.

Every case is a separate customer; all cases with the same date and payment setting share one ledger. Unless a case
gives another value, a contract is signed the day before it starts, paid on the day it starts, and is in USD; payment is
required; `at` is 2026-01-01, when everything of 2023 and 2024 is decided. Amounts of a case are in currency units,
those of the ledger in cents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Literal

import ibis
import pyarrow as pa
import pytest

from renewals.features.policy import Money, Policy, Renewal
from renewals.features.revenue.ledger import RenewalLedger, renewals
from renewals.features.revenue.valuation import MAX_CENTS

AT = "2026-01-01"
FLAT, MORE, LESS = "renewed_flat", "renewed_with_expansion", "renewed_with_contraction"
CHURNED, PENDING = "churned", "pending"

RATES = [
    ("EUR", "2022-01-01", 1.10),
    ("EUR", "2024-01-01", 1.20),
    ("EUR", "2024-01-02", 2.40),
    ("CNY", "2022-01-01", 0.14),
]


@dataclass(frozen=True)
class Case:
    name: str
    contracts: str
    expect: dict[str, dict[str, Any]]
    """Columns of the ledger by contract; {} if the contract must not be in the ledger."""
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Columns of the renewal by nominal end date."""
    expansions: list[tuple[str, str, str, float]] | None = None
    """Expansions: kind, contract, day, amount."""
    at: str = AT
    payment: Literal["auto", "required", "ignored"] = "required"
    mergers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Heir and day of the merger, by account."""


CASES = [
    # -- when a follow-on counts (R1, R2) -----------------------------------------------------------------
    Case(
        "bought again on the day it ended",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1200
        new      | 2024-01-01 | 2025-01-01 | 1200
        """,
        {
            "old": {"outcome": FLAT, "renewed": 1, "amount_due": 1200, "amount_kept": 1200, "follow_on_id": "new"},
            "new": {"outcome": CHURNED, "renewed": 0, "amount_due": 1200, "amount_kept": 0, "follow_on_id": None},
        },
        {"2024-01-01": {"renewed": 1, "contracts": 1}, "2025-01-01": {"renewed": 0}},
        expansions=[],
    ),
    Case(
        "early renewal counts when the old term ends",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1200
        new      | 2023-11-15 | 2025-01-01 | 1200
        """,
        {"old": {"outcome": FLAT, "due_at": date(2024, 1, 1), "follow_on_start": date(2023, 11, 15)}},
    ),
    Case(
        "earliest day of the grace",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1200
        new      | 2023-10-03 | 2025-01-01 | 1200
        """,
        {"old": {"outcome": FLAT}},
    ),
    Case(
        "one day earlier it replaces the old one at once",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1200
        new      | 2023-10-02 | 2025-01-01 | 1200
        """,
        {"old": {"outcome": FLAT, "rule": "overlap", "due_at": date(2023, 10, 2)}},
        expansions=[],
    ),
    Case(
        "one day too early and smaller it is another contract",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1200
        new      | 2023-10-02 | 2025-01-01 | 1100
        """,
        {"old": {"outcome": CHURNED}},
        expansions=[("upsell", "new", "2023-10-02", 1100)],
    ),
    Case(
        "late renewal",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1200
        new      | 2024-02-10 | 2025-02-10 | 1200
        """,
        {"old": {"outcome": FLAT, "renewed": 1}},
    ),
    Case(
        "last day of the grace",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1200
        new      | 2024-03-01 | 2025-03-01 | 1200
        """,
        {"old": {"outcome": FLAT, "matured_at": datetime(2024, 3, 2)}},
    ),
    Case(
        "one day too late: lost, and won back",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1200
        new      | 2024-03-02 | 2025-03-02 | 1500
        """,
        {"old": {"outcome": CHURNED, "amount_kept": 0, "follow_on_id": None}},
        expansions=[],
    ),
    Case(
        "started inside the grace but signed after it",
        """
        contract | start      | end        | arr  | signed
        old      | 2023-01-01 | 2024-01-01 | 1200 |
        new      | 2024-02-20 | 2025-02-20 | 1200 | 2024-03-02
        """,
        {"old": {"outcome": CHURNED}},
    ),
    Case(
        "signed on the last day of the grace",
        """
        contract | start      | end        | arr  | signed
        old      | 2023-01-01 | 2024-01-01 | 1200 |
        new      | 2024-02-20 | 2025-02-20 | 1200 | 2024-03-01
        """,
        {"old": {"outcome": FLAT, "follow_on_known_at": datetime(2024, 3, 1)}},
    ),
    Case(
        "second year of three is not due",
        """
        contract | start      | end        | arr
        long     | 2024-06-01 | 2027-06-01 | 1200
        """,
        {"long": {}},
    ),
    Case(
        "three years are due once, at their end",
        """
        contract | start      | end        | arr
        long     | 2021-01-01 | 2024-01-01 | 1200
        new      | 2024-01-01 | 2027-01-01 | 1200
        """,
        {"long": {"outcome": FLAT, "due_at": date(2024, 1, 1)}, "new": {}},
    ),
    Case(
        "never bought again",
        """
        contract | start      | end        | arr
        only     | 2023-01-01 | 2024-01-01 | 1200
        """,
        {"only": {"outcome": CHURNED, "amount_due": 1200, "amount_kept": 0, "contraction": 0, "price_change": 0}},
    ),
    Case(
        "what ends before the due end follows nothing",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1200
        bridge   | 2023-11-01 | 2023-12-15 | 1200
        """,
        {"old": {"outcome": CHURNED}},
    ),
    Case(
        "another product does not renew this one",
        """
        contract | start      | end        | arr  | product
        old      | 2023-01-01 | 2024-01-01 | 1200 | core
        new      | 2024-01-01 | 2025-01-01 | 1200 | addon
        """,
        {"old": {"outcome": CHURNED, "cross_sell": 0}},
    ),
    Case(
        "leap day",
        """
        contract | start      | end        | arr
        old      | 2023-02-28 | 2024-02-29 | 1200
        new      | 2024-04-29 | 2025-02-28 | 1200
        """,
        {"old": {"outcome": FLAT, "due_at": date(2024, 2, 29), "matured_at": datetime(2024, 4, 30)}},
    ),
    # -- short terms ----------------------------------------------------------------------------------------
    Case(
        "half-year terms",
        """
        contract | start      | end        | arr
        h1       | 2023-01-01 | 2023-07-01 | 1200
        h2       | 2023-07-01 | 2024-01-01 | 1200
        h3       | 2024-01-01 | 2024-07-01 | 1200
        """,
        {"h1": {"outcome": FLAT}, "h2": {"outcome": FLAT}, "h3": {"outcome": CHURNED}},
        expansions=[],
    ),
    Case(
        "monthly terms, each followed by the next",
        """
        contract | start      | end        | arr
        jan      | 2023-01-01 | 2023-02-01 | 1200
        feb      | 2023-02-01 | 2023-03-01 | 1200
        mar      | 2023-03-01 | 2023-04-01 | 2400
        apr      | 2023-04-01 | 2023-05-01 | 2400
        """,
        {
            "jan": {"outcome": FLAT, "follow_on_id": "feb"},
            "feb": {
                "outcome": MORE,
                "follow_on_id": "mar",
                "amount_kept": 1200,
                "price_change": 9.2,
                "upsell": 1190.8,
            },
            "mar": {"outcome": FLAT, "follow_on_id": "apr"},
            "apr": {"outcome": CHURNED},
        },
        expansions=[("upsell", "mar", "2023-03-01", 1190.8)],
    ),
    Case(
        "a month left out is inside the grace",
        """
        contract | start      | end        | arr
        jan      | 2023-01-01 | 2023-02-01 | 1200
        mar      | 2023-03-01 | 2023-04-01 | 1200
        """,
        {"jan": {"outcome": FLAT, "follow_on_id": "mar"}, "mar": {"outcome": CHURNED}},
        expansions=[],
    ),
    Case(
        "a parallel year's contract is not the follow-on of a month's",
        """
        contract | start      | end        | arr
        month    | 2023-01-01 | 2023-02-01 | 1200
        year     | 2023-01-01 | 2024-01-01 | 1200
        """,
        {"month": {"outcome": CHURNED}, "year": {"outcome": CHURNED}},
    ),
    # -- paid or not ----------------------------------------------------------------------------------------
    Case(
        "an unpaid follow-on is not a renewal",
        """
        contract | start      | end        | arr  | paid
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-01-01
        new      | 2024-01-01 | 2025-01-01 | 1200 | never
        """,
        {"old": {"outcome": CHURNED}},
        expansions=[],
    ),
    Case(
        "paid late, on the last day of the grace",
        """
        contract | start      | end        | arr  | paid
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-01-01
        new      | 2024-01-01 | 2025-01-01 | 1200 | 2024-03-01 23:59
        """,
        {"old": {"outcome": FLAT}},
    ),
    Case(
        "paid after the grace, within ninety days",
        """
        contract | start      | end        | arr  | paid
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-01-01
        new      | 2024-01-01 | 2025-01-01 | 1200 | 2024-03-02 00:00
        """,
        {"old": {"outcome": FLAT, "matured_at": datetime(2024, 3, 3)}},
    ),
    Case(
        "paid on the last of the ninety days",
        """
        contract | start      | end        | arr  | paid
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-01-01
        new      | 2024-01-01 | 2025-01-01 | 1200 | 2024-03-31 23:59
        """,
        {"old": {"outcome": FLAT, "matured_at": datetime(2024, 4, 1), "booked_month": date(2024, 1, 1)}},
    ),
    Case(
        "paid after the ninety days",
        """
        contract | start      | end        | arr  | paid
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-01-01
        new      | 2024-01-01 | 2025-01-01 | 1200 | 2024-04-01 00:00
        """,
        {"old": {"outcome": CHURNED, "matured_at": datetime(2024, 4, 1)}},
        expansions=[],
    ),
    Case(
        "pending while it may still be paid",
        """
        contract | start      | end        | arr  | paid
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-01-01
        new      | 2024-01-01 | 2025-01-01 | 1200 | never
        """,
        {"old": {"outcome": PENDING, "renewed": None, "follow_on_id": "new"}},
        at="2024-03-31",
    ),
    Case(
        "unpaid, where the company does not ask",
        """
        contract | start      | end        | arr  | paid
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-01-01
        new      | 2024-01-01 | 2025-01-01 | 1200 | never
        """,
        {"old": {"outcome": FLAT}},
        payment="ignored",
    ),
    Case(
        "no payment dates are given at all",
        """
        contract | start      | end        | arr  | paid
        old      | 2023-01-01 | 2024-01-01 | 1200 | never
        new      | 2024-01-01 | 2025-01-01 | 1200 | never
        """,
        {"old": {"outcome": FLAT}},
        payment="auto",
    ),
    Case(
        "no payment dates are given, yet payment is required",
        """
        contract | start      | end        | arr  | paid
        old      | 2023-01-01 | 2024-01-01 | 1200 | never
        new      | 2024-01-01 | 2025-01-01 | 1200 | never
        """,
        {"old": {"outcome": CHURNED}},
    ),
    # -- several contracts at once --------------------------------------------------------------------------
    Case(
        "co-terminous contracts become one contract",
        """
        contract | start      | end        | arr  | seats
        first    | 2023-01-01 | 2024-01-01 | 1000 | 10
        second   | 2023-05-01 | 2024-01-01 |  500 |  5
        third    | 2023-09-01 | 2024-01-01 |  500 |  5
        whole    | 2024-01-01 | 2025-01-01 | 2200 | 22
        """,
        {
            "first": {"outcome": MORE, "follow_on_id": "whole", "amount_kept": 1000, "upsell": 100},
            "second": {"outcome": MORE, "follow_on_id": "whole", "amount_kept": 500, "upsell": 50},
            "third": {"outcome": MORE, "follow_on_id": "whole", "amount_kept": 500, "upsell": 50},
        },
        {"2024-01-01": {"contracts": 3, "amount_due": 2000, "amount_kept": 2000, "upsell": 200, "outcome": MORE}},
        expansions=[
            ("upsell", "second", "2023-05-01", 500),
            ("upsell", "third", "2023-09-01", 500),
            ("upsell", "whole", "2024-01-01", 200),
        ],
    ),
    Case(
        "shares of what was kept add up to the cent",
        """
        contract | start      | end        | arr
        a        | 2023-01-01 | 2024-01-01 | 100.01
        b        | 2023-01-01 | 2024-01-01 | 100.01
        c        | 2023-01-01 | 2024-01-01 | 100.01
        whole    | 2024-01-01 | 2025-01-01 | 200.00
        """,
        {"a": {"amount_kept": 66.67}, "b": {"amount_kept": 66.66}, "c": {"amount_kept": 66.67}},
        {"2024-01-01": {"amount_due": 300.03, "amount_kept": 200, "contraction": 100.03, "outcome": LESS}},
    ),
    Case(
        "one contract becomes two",
        """
        contract | start      | end        | arr  | seats
        whole    | 2023-01-01 | 2024-01-01 | 2000 | 20
        half     | 2023-12-20 | 2025-01-01 | 1200 | 12
        rest     | 2024-01-01 | 2025-01-01 |  800 |  8
        """,
        {"whole": {"outcome": FLAT, "follow_on_id": "half", "amount_kept": 2000, "contraction": 0, "upsell": 0}},
        expansions=[],
    ),
    Case(
        "contracts of different ends become one contract",
        """
        contract | start      | end        | arr
        autumn   | 2022-11-15 | 2023-11-15 | 1000
        winter   | 2023-01-01 | 2024-01-01 | 1000
        whole    | 2024-01-01 | 2025-01-01 | 2500
        """,
        {
            "autumn": {"outcome": FLAT, "rule": "overlap", "due_at": date(2023, 1, 1), "upsell": 0},
            "winter": {"outcome": MORE, "amount_kept": 1000, "price_change": 100, "upsell": 1400},
        },
        expansions=[("upsell", "whole", "2024-01-01", 1400)],
    ),
    Case(
        "of two contracts beside each other the one with the nearest end is renewed",
        """
        contract | start      | end        | arr  | seats
        autumn   | 2022-11-15 | 2023-11-15 | 1000 | 10
        winter   | 2023-01-01 | 2024-01-01 |  900 |  9
        whole    | 2024-01-01 | 2025-01-01 | 2500 | 25
        """,
        {
            "autumn": {"outcome": CHURNED, "follow_on_id": None},
            "winter": {"outcome": MORE, "rule": "adjacent", "amount_kept": 900, "upsell": 1600},
        },
        expansions=[("upsell", "winter", "2023-01-01", 900), ("upsell", "whole", "2024-01-01", 1600)],
    ),
    Case(
        "contracts whose ends are three days apart become one contract",
        """
        contract | start      | end        | arr  | seats
        first    | 2023-01-01 | 2023-12-29 | 1000 | 10
        second   | 2023-02-01 | 2024-01-01 |  500 |  5
        whole    | 2024-01-01 | 2025-01-01 | 1500 | 15
        """,
        {
            "first": {"outcome": FLAT, "follow_on_id": "whole", "amount_kept": 1000},
            "second": {"outcome": FLAT, "follow_on_id": "whole", "amount_kept": 500},
        },
        expansions=[("upsell", "second", "2023-02-01", 500)],
    ),
    Case(
        "contracts of different ends become less",
        """
        contract | start      | end        | arr
        autumn   | 2022-11-15 | 2023-11-15 | 1000
        winter   | 2023-01-01 | 2024-01-01 | 1000
        whole    | 2024-01-01 | 2025-01-01 | 1400
        """,
        {
            "autumn": {"outcome": FLAT, "rule": "overlap", "amount_kept": 1000},
            "winter": {"outcome": MORE, "amount_kept": 1000, "price_change": 100, "upsell": 300, "contraction": 0},
        },
    ),
    Case(
        "a further contract that ends with the due one is not its follow-on",
        """
        contract | start      | end        | arr  | seats
        main     | 2023-01-01 | 2024-01-01 | 1000 | 10
        further  | 2023-11-01 | 2024-01-01 |  200 |  2
        """,
        {"main": {"outcome": CHURNED}, "further": {"outcome": CHURNED}},
        expansions=[("upsell", "further", "2023-11-01", 200)],
    ),
    Case(
        "contracts of the same dates",
        """
        contract | start      | end        | arr
        a        | 2023-01-01 | 2024-01-01 | 1000
        b        | 2023-01-01 | 2024-01-01 | 1000
        a2       | 2024-01-01 | 2025-01-01 | 1000
        b2       | 2024-01-01 | 2025-01-01 | 1000
        """,
        {"a": {"outcome": FLAT, "amount_kept": 1000}, "b": {"outcome": FLAT, "amount_kept": 1000}},
        {"2024-01-01": {"contracts": 2, "amount_due": 2000, "amount_kept": 2000}},
        expansions=[],
    ),
    Case(
        "of two products one is lost",
        """
        contract | start      | end        | arr  | product
        core     | 2023-01-01 | 2024-01-01 | 1000 | core
        addon    | 2023-01-01 | 2024-01-01 |  300 | addon
        core2    | 2024-01-01 | 2025-01-01 | 1000 | core
        """,
        {"core": {"outcome": FLAT}, "addon": {"outcome": CHURNED}},
        {"2024-01-01": {"renewed": 1, "outcome": LESS, "amount_due": 1300, "amount_kept": 1000}},
    ),
    Case(
        "a new product at the renewal",
        """
        contract | start      | end        | arr  | product
        core     | 2023-01-01 | 2024-01-01 | 1000 | core
        core2    | 2024-01-01 | 2025-01-01 | 1000 | core
        addon    | 2024-01-15 | 2025-01-01 |  300 | addon
        """,
        {"core": {"outcome": MORE, "cross_sell": 300, "upsell": 0, "amount_kept": 1000}},
        {"2024-01-01": {"outcome": MORE, "cross_sell": 300}},
        expansions=[("cross_sell", "addon", "2024-01-15", 300)],
    ),
    Case(
        "a new product goes to the main contract of the set",
        """
        contract | start      | end        | arr  | product
        small    | 2023-01-01 | 2024-01-01 |  500 | mail
        core     | 2023-01-01 | 2024-01-01 | 1000 | core
        small2   | 2024-01-01 | 2025-01-01 |  500 | mail
        core2    | 2024-01-01 | 2025-01-01 | 1000 | core
        addon    | 2024-01-01 | 2025-01-01 |  300 | addon
        """,
        {"core": {"cross_sell": 300, "outcome": MORE}, "small": {"cross_sell": 0, "outcome": FLAT}},
    ),
    Case(
        "a new product in the middle of the term",
        """
        contract | start      | end        | arr  | product
        core     | 2023-01-01 | 2024-01-01 | 1000 | core
        addon    | 2023-06-01 | 2024-01-01 |  300 | addon
        core2    | 2024-01-01 | 2025-01-01 | 1000 | core
        addon2   | 2024-01-01 | 2025-01-01 |  300 | addon
        """,
        {"core": {"outcome": FLAT, "cross_sell": 0}, "addon": {"outcome": FLAT, "cross_sell": 0}},
        expansions=[("cross_sell", "addon", "2023-06-01", 300)],
    ),
    Case(
        "a product that comes back is not new",
        """
        contract | start      | end        | arr  | product
        core     | 2022-01-01 | 2023-01-01 | 1000 | core
        addon    | 2022-01-01 | 2023-01-01 |  300 | addon
        core2    | 2023-01-01 | 2024-01-01 | 1000 | core
        core3    | 2024-01-01 | 2025-01-01 | 1000 | core
        addon2   | 2024-01-01 | 2025-01-01 |  300 | addon
        """,
        {"addon": {"outcome": CHURNED}, "core2": {"outcome": FLAT, "cross_sell": 0}},
        expansions=[],
    ),
    # -- more, less, dearer (R5, R6) --------------------------------------------------------------------------
    Case(
        "a dearer seat is price, not expansion",
        """
        contract | start      | end        | arr  | seats
        old      | 2023-01-01 | 2024-01-01 | 1000 | 10
        new      | 2024-01-01 | 2025-01-01 | 1250 | 10
        """,
        {"old": {"outcome": FLAT, "amount_kept": 1000, "price_change": 250, "upsell": 0}},
        expansions=[],
    ),
    Case(
        "routine uplift where seats are not known",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1000
        new      | 2024-01-01 | 2025-01-01 | 1070
        """,
        {"old": {"outcome": FLAT, "amount_kept": 1000, "price_change": 70, "upsell": 0}},
        expansions=[],
    ),
    Case(
        "beyond the routine uplift it is more",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1000
        new      | 2024-01-01 | 2025-01-01 | 1300
        """,
        {"old": {"outcome": MORE, "amount_kept": 1000, "price_change": 100, "upsell": 200}},
        expansions=[("upsell", "new", "2024-01-01", 200)],
    ),
    Case(
        "routine uplift of two years",
        """
        contract | start      | end        | arr
        old      | 2021-01-01 | 2023-01-01 | 1000
        new      | 2023-01-01 | 2024-01-01 | 1200
        """,
        {"old": {"outcome": FLAT, "price_change": 200, "upsell": 0}},
    ),
    Case(
        "more seats",
        """
        contract | start      | end        | arr  | seats
        old      | 2023-01-01 | 2024-01-01 | 1000 | 10
        new      | 2024-01-01 | 2025-01-01 | 1650 | 15
        """,
        {"old": {"outcome": MORE, "amount_kept": 1000, "upsell": 550, "price_change": 100, "contraction": 0}},
        expansions=[("upsell", "new", "2024-01-01", 550)],
    ),
    Case(
        "fewer seats",
        """
        contract | start      | end        | arr  | seats
        old      | 2023-01-01 | 2024-01-01 | 1000 | 10
        new      | 2024-01-01 | 2025-01-01 |  600 |  6
        """,
        {"old": {"outcome": LESS, "amount_kept": 600, "contraction": 400, "price_change": 0}},
    ),
    Case(
        "fewer but dearer seats",
        """
        contract | start      | end        | arr  | seats
        old      | 2023-01-01 | 2024-01-01 | 1000 | 10
        new      | 2024-01-01 | 2025-01-01 | 1000 |  5
        """,
        {"old": {"outcome": LESS, "amount_kept": 500, "contraction": 500, "price_change": 500, "upsell": 0}},
    ),
    Case(
        "less where seats are not known",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1000
        new      | 2024-01-01 | 2025-01-01 |  600
        """,
        {"old": {"outcome": LESS, "amount_kept": 600, "contraction": 400, "price_change": 0}},
    ),
    Case(
        "a discount",
        """
        contract | start      | end        | arr  | seats
        old      | 2023-01-01 | 2024-01-01 | 1000 | 10
        new      | 2024-01-01 | 2025-01-01 |  900 | 10
        """,
        {"old": {"outcome": LESS, "amount_kept": 900, "contraction": 0, "price_change": -100}},
    ),
    Case(
        "a higher plan",
        """
        contract | start      | end        | arr  | seats | plan
        old      | 2023-01-01 | 2024-01-01 | 1000 | 10    | basic
        new      | 2024-01-01 | 2025-01-01 | 1500 | 10    | pro
        """,
        {"old": {"outcome": MORE, "amount_kept": 1000, "upsell": 500, "price_change": 0}},
        expansions=[("upsell", "new", "2024-01-01", 500)],
    ),
    Case(
        "a higher plan where seats are not known",
        """
        contract | start      | end        | arr  | plan
        old      | 2023-01-01 | 2024-01-01 | 1000 | basic
        new      | 2024-01-01 | 2025-01-01 | 1050 | pro
        """,
        {"old": {"outcome": MORE, "upsell": 50, "price_change": 0}},
    ),
    Case(
        "a lower plan",
        """
        contract | start      | end        | arr  | seats | plan
        old      | 2023-01-01 | 2024-01-01 | 1000 | 10    | pro
        new      | 2024-01-01 | 2025-01-01 |  600 | 10    | basic
        """,
        {"old": {"outcome": LESS, "amount_kept": 600, "contraction": 400, "price_change": 0}},
        expansions=[],
    ),
    Case(
        "half the seats on a plan twice as dear",
        """
        contract | start      | end        | arr  | seats | plan
        old      | 2023-01-01 | 2024-01-01 | 1000 | 10    | basic
        new      | 2024-01-01 | 2025-01-01 | 1000 |  5    | pro
        """,
        {"old": {"outcome": FLAT, "amount_kept": 500, "contraction": 500, "upsell": 500}},
    ),
    Case(
        "a free contract",
        """
        contract | start      | end        | arr  | seats
        old      | 2023-01-01 | 2024-01-01 |    0 | 10
        new      | 2024-01-01 | 2025-01-01 |    0 | 10
        """,
        {"old": {"outcome": FLAT, "amount_due": 0, "amount_kept": 0}, "new": {"outcome": CHURNED, "amount_due": 0}},
    ),
    # -- currencies -------------------------------------------------------------------------------------------
    Case(
        "a currency that moved is not expansion",
        """
        contract | start      | end        | arr  | currency
        old      | 2023-01-01 | 2024-01-01 | 1000 | EUR
        new      | 2024-01-02 | 2025-01-02 | 1000 | EUR
        """,
        {"old": {"outcome": FLAT, "amount_due": 1200, "amount_kept": 1200, "upsell": 0, "price_change": 0}},
        expansions=[],
    ),
    Case(
        "another currency at the renewal",
        """
        contract | start      | end        | arr  | currency | seats
        old      | 2023-01-01 | 2024-01-01 | 1000 | EUR      | 10
        new      | 2024-01-02 | 2025-01-02 | 1200 | USD      | 10
        """,
        {"old": {"outcome": FLAT, "amount_due": 1200, "amount_kept": 1200, "price_change": 0}},
        expansions=[],
    ),
    Case(
        "due before the first rate takes the first",
        """
        contract | start      | end        | arr  | currency
        old      | 2020-06-01 | 2021-06-01 | 1000 | EUR
        """,
        {"old": {"amount_due": 1100, "currency": "EUR"}},
    ),
    # -- cancelled ----------------------------------------------------------------------------------------------
    Case(
        "a cancellation ends the term",
        """
        contract | start      | end        | arr  | cancelled
        only     | 2023-01-01 | 2024-01-01 | 1200 | 2023-05-10 14:00
        """,
        {"only": {"outcome": CHURNED, "due_at": date(2023, 5, 10), "end_date": date(2024, 1, 1)}},
        {"2024-01-01": {"renewed": 0, "matured_at": datetime(2023, 7, 10)}},
    ),
    Case(
        "cancelled before it was signed it was another contract that was cancelled",
        """
        contract | start      | end        | arr  | cancelled
        old      | 2023-01-01 | 2024-01-01 | 1200 |
        new      | 2024-01-01 | 2025-01-01 | 1200 | 2023-12-20
        """,
        {"old": {"outcome": FLAT}, "new": {"outcome": CHURNED, "due_at": date(2025, 1, 1)}},
    ),
    Case(
        "cancelled before it began it never ran",
        """
        contract | start      | end        | arr  | signed     | cancelled
        old      | 2023-01-01 | 2024-01-01 | 1200 |            |
        new      | 2024-01-01 | 2025-01-01 | 1200 | 2023-12-01 | 2023-12-20
        """,
        {"old": {"outcome": CHURNED}, "new": {}},
    ),
    Case(
        "cancelled after it began it was a renewal",
        """
        contract | start      | end        | arr  | cancelled
        old      | 2023-01-01 | 2024-01-01 | 1200 |
        new      | 2024-01-01 | 2025-01-01 | 1200 | 2024-01-20
        """,
        {"old": {"outcome": FLAT}, "new": {"outcome": CHURNED, "due_at": date(2024, 1, 20)}},
    ),
    Case(
        "cancelled and booked anew within the grace",
        """
        contract | start      | end        | arr  | cancelled
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-06-01
        new      | 2023-06-15 | 2024-06-15 | 1200 |
        """,
        {"old": {"outcome": FLAT, "due_at": date(2023, 6, 1), "follow_on_id": "new"}},
        expansions=[],
    ),
    Case(
        "booked anew a few days before the cancellation",
        """
        contract | start      | end        | arr  | cancelled
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-06-05
        new      | 2023-06-01 | 2024-06-01 | 1200 |
        """,
        {"old": {"outcome": FLAT, "amount_kept": 1200, "follow_on_id": "new"}},
        expansions=[],
    ),
    Case(
        "booked anew and smaller a few days before the cancellation",
        """
        contract | start      | end        | arr  | cancelled
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-06-05
        new      | 2023-06-01 | 2024-06-01 | 1000 |
        """,
        {"old": {"outcome": LESS, "rule": "grace", "due_at": date(2023, 6, 5), "amount_kept": 1000}},
    ),
    Case(
        "amended to the same end, then lost",
        """
        contract | start      | end        | arr  | cancelled
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-06-01
        new      | 2023-06-01 | 2024-01-01 | 1200 |
        """,
        {"old": {}, "new": {"outcome": CHURNED}},
        {"2024-01-01": {"renewed": 0, "contracts": 1, "amount_due": 1200, "outcome": CHURNED}},
    ),
    Case(
        "cancelled and booked anew too late",
        """
        contract | start      | end        | arr  | cancelled
        old      | 2023-01-01 | 2024-01-01 | 1200 | 2023-06-01
        new      | 2023-08-01 | 2024-08-01 | 1200 |
        """,
        {"old": {"outcome": CHURNED}},
        expansions=[],
    ),
    # -- mergers ------------------------------------------------------------------------------------------------
    Case(
        "the account that it was merged into takes the contract over",
        """
        contract | account | start      | end        | arr
        child    | child   | 2023-01-01 | 2024-01-01 | 1000
        parent   | parent  | 2024-01-01 | 2025-01-01 | 1400
        """,
        {"child": {"outcome": MORE, "follow_on_id": "parent", "amount_kept": 1000, "price_change": 100, "upsell": 300}},
        expansions=[("upsell", "parent", "2024-01-01", 300)],
        mergers={"child": ("parent", "2023-12-01")},
    ),
    Case(
        "the contracts of merged accounts that end on one day are renewed together",
        """
        contract | account | start      | end        | arr
        child    | child   | 2023-01-01 | 2024-01-01 | 1000
        parent   | parent  | 2023-01-01 | 2024-01-01 | 5000
        parent2  | parent  | 2024-01-01 | 2025-01-01 | 5000
        """,
        {
            "child": {"outcome": LESS, "follow_on_id": "parent2", "amount_kept": 833.33, "contraction": 166.67},
            "parent": {"outcome": LESS, "follow_on_id": "parent2", "amount_kept": 4166.67, "contraction": 833.33},
        },
        mergers={"child": ("parent", "2023-12-01")},
    ),
    Case(
        "merged after the outcome is final it takes nothing over",
        """
        contract | account | start      | end        | arr
        child    | child   | 2023-01-01 | 2024-01-01 | 1000
        parent   | parent  | 2024-01-01 | 2025-01-01 | 1000
        """,
        {"child": {"outcome": CHURNED}},
        mergers={"child": ("parent", "2024-03-02")},
    ),
    Case(
        "another account takes nothing over",
        """
        contract | account | start      | end        | arr
        child    | child   | 2023-01-01 | 2024-01-01 | 1000
        other    | other   | 2024-01-01 | 2025-01-01 | 1000
        """,
        {"child": {"outcome": CHURNED}},
    ),
    Case(
        "two accounts merge into one contract of the parent",
        """
        contract | account | start      | end        | arr
        north    | north   | 2023-01-01 | 2024-01-01 | 1000
        south    | south   | 2023-01-01 | 2024-01-01 | 1000
        whole    | parent  | 2024-01-01 | 2025-01-01 | 1800
        """,
        {name: {"renewed": 1, "amount_kept": 900, "contraction": 100} for name in ("north", "south")},
        mergers=dict.fromkeys(("north", "south"), ("parent", "2023-12-01")),
    ),
    # -- pending --------------------------------------------------------------------------------------------------
    Case(
        "pending on the last day of the grace",
        """
        contract | start      | end        | arr
        only     | 2023-01-01 | 2024-01-01 | 1200
        """,
        {"only": {"outcome": PENDING, "renewed": None, "amount_due": 1200, "amount_kept": None, "upsell": None}},
        {"2024-01-01": {"renewed": None, "outcome": PENDING, "amount_due": 1200, "amount_kept": None}},
        at="2024-03-01",
    ),
    Case(
        "decided the day after",
        """
        contract | start      | end        | arr
        only     | 2023-01-01 | 2024-01-01 | 1200
        """,
        {"only": {"outcome": CHURNED, "renewed": 0}},
        {"2024-01-01": {"renewed": 0, "outcome": CHURNED, "amount_kept": 0}},
        at="2024-03-02",
    ),
    Case(
        "pending although the follow-on runs",
        """
        contract | start      | end        | arr
        old      | 2023-01-01 | 2024-01-01 | 1200
        new      | 2024-01-01 | 2025-01-01 | 1200
        """,
        {"old": {"outcome": PENDING, "renewed": None, "follow_on_id": "new"}},
        at="2024-03-01",
    ),
    Case(
        "not due on the day itself",
        """
        contract | account | start      | end        | arr
        today    | one     | 2023-03-01 | 2024-03-01 | 1200
        before   | other   | 2023-02-28 | 2024-02-29 | 1200
        """,
        {"today": {}, "before": {"outcome": PENDING}},
        at="2024-03-01",
    ),
    Case(
        "a set waits for the contract that still runs",
        """
        contract | start      | end        | arr  | product | cancelled
        core     | 2023-01-01 | 2024-06-01 | 1200 | core    |
        addon    | 2023-01-01 | 2024-06-01 |  300 | addon   | 2023-06-01
        """,
        {"core": {}, "addon": {"outcome": CHURNED, "renewed": 0}},
        {"2024-06-01": {"renewed": None, "outcome": PENDING}},
        at="2024-03-01",
    ),
]


# -- tables of the contracts of a case --------------------------------------------------------------------------


def rows_of(case: Case) -> list[dict[str, Any]]:
    """Contracts of a case in the columns of the data contract; ids and accounts start with the name of the case."""
    head, *lines = [[cell.strip() for cell in line.split("|")] for line in case.contracts.strip().splitlines()]
    return [contract(case.name, dict(zip(head, line, strict=True))) for line in lines]


def contract(name: str, cells: dict[str, str]) -> dict[str, Any]:
    start = datetime.fromisoformat(cells["start"])
    paid = {"": start, "never": None}.get(cells.get("paid", ""), "at")
    return {
        "contract_id": f"{name}: {cells['contract']}",
        "account_id": f"{name}: {cells.get('account', 'acme')}",
        "product": cells.get("product"),
        "plan": cells.get("plan"),
        "start_date": start,
        "end_date": datetime.fromisoformat(cells["end"]),
        "arr": float(cells["arr"]),
        "currency": cells.get("currency"),
        "seats": int(cells["seats"]) if cells.get("seats") else None,
        "signed_at": moment(cells.get("signed")) or start - timedelta(days=1),
        "paid_at": moment(cells["paid"]) if paid == "at" else paid,
        "cancelled_at": moment(cells.get("cancelled")),
        "auto_renew": None,
    }


def moment(cell: str | None) -> datetime | None:
    return datetime.fromisoformat(cell) if cell else None


CONTRACTS = pa.schema(
    [
        *((name, pa.string()) for name in ("contract_id", "account_id", "product", "plan")),
        *((name, pa.timestamp("us")) for name in ("start_date", "end_date")),
        ("arr", pa.float64()),
        ("currency", pa.string()),
        ("seats", pa.int64()),
        *((name, pa.timestamp("us")) for name in ("signed_at", "paid_at", "cancelled_at")),
        ("auto_renew", pa.bool_()),
    ]
)
ACCOUNTS = pa.schema(
    [
        *((name, pa.string()) for name in ("account_id", "parent_account_id", "merged_into_account_id")),
        *((name, pa.timestamp("us")) for name in ("merged_at", "created_at")),
    ]
)


LedgerKey = tuple[str, str]


def ledger_key(case: Case) -> LedgerKey:
    """Day of the case, and when payment is asked."""
    return case.at, case.payment


@cache
def build_ledger(key: LedgerKey) -> RenewalLedger:
    """Ledger of all cases with the same day and payment rule."""
    cases = [case for case in CASES if ledger_key(case) == key]
    contracts = table([row for case in cases for row in rows_of(case)], CONTRACTS)
    rates = table([{"currency": c, "date": datetime.fromisoformat(d), "rate": r} for c, d, r in RATES])
    accounts = [
        {
            "account_id": f"{case.name}: {account}",
            "merged_into_account_id": f"{case.name}: {heir}",
            "merged_at": datetime.fromisoformat(merged_at),
            "created_at": datetime(2020, 1, 1),
        }
        for case in cases
        for account, (heir, merged_at) in case.mergers.items()
    ]
    policy = Policy(renewal=Renewal(payment=key[1]))
    return RenewalLedger(contracts, date.fromisoformat(key[0]), policy, rates, table(accounts, ACCOUNTS))


@pytest.mark.parametrize(("reporting", "amounts"), [("USD", [None, 1200_00]), ("EUR", [1000_00, None])])
def test_without_rates_an_amount_in_another_currency_is_null(reporting, amounts):
    drawn = Case(
        "one currency",
        """
        contract | start      | end        | arr  | currency
        euro     | 2023-01-01 | 2024-01-01 | 1000 | EUR
        dollar   | 2023-01-01 | 2024-01-01 | 1200 | USD
        """,
        {},
    )
    policy = Policy(money=Money(reporting_currency=reporting))
    ledger = RenewalLedger(table(rows_of(drawn), CONTRACTS), date(2025, 1, 1), policy)
    due = {row["contract_id"]: row["amount_due"] for row in rows(ledger.entries)}
    assert [due["one currency: euro"], due["one currency: dollar"]] == amounts


def test_wrong_rate_or_amount_overflows_no_sum():
    """An amount beyond all reason costs no other customer its rows."""
    drawn = Case(
        "wrong amounts",
        """
        contract  | account | start      | end        | arr   | currency
        huge      | a       | 2023-01-01 | 2026-01-01 | 1e300 | USD
        misquoted | b       | 2023-01-01 | 2026-01-01 | 9e14  | YEN
        plain     | c       | 2023-01-01 | 2026-01-01 | 1200  | USD
        """,
        {},
    )
    rates = table([{"currency": "YEN", "date": datetime(2022, 1, 1), "rate": 1e9}])
    ledger = RenewalLedger(table(rows_of(drawn), CONTRACTS), date(2025, 1, 1), Policy(), rates)
    closing = {row["account_id"][-1]: row["closing"] for row in rows(ledger.account_months)}
    assert closing == {"a": MAX_CENTS, "b": MAX_CENTS, "c": 1200_00}
    assert rows(ledger.roll_forward([date(2024, 12, 1)]))[0]["closing"] == 2 * MAX_CENTS + 1200_00


@cache
def ledger_of(key: LedgerKey) -> dict[str, dict[str, Any]]:
    return {row["contract_id"]: row for row in rows(build_ledger(key).entries)}


@cache
def renewals_of(key: LedgerKey) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["account_id"], row["end_date"].isoformat()): row for row in rows(renewals(build_ledger(key).entries))}


@cache
def expansions_of(key: LedgerKey) -> list[dict[str, Any]]:
    return rows(build_ledger(key).expansions)


def table(rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> Any:
    return ibis.memtable(pa.Table.from_pylist(rows, schema=schema))


def rows(expression: Any) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = expression.to_pyarrow().to_pylist()
    return result


MONEY = ("amount_due", "amount_kept", "upsell", "cross_sell", "price_change", "contraction")


def readable(row: dict[str, Any], expected: dict[str, Any], case: Case) -> dict[str, Any]:
    """Expected columns of a row as a case writes them: amounts in units, ids without the name of the case."""
    result = {}
    for column in expected:
        value = row[column]
        if column in MONEY and value is not None:
            value = value / 100
        if column == "follow_on_id" and value is not None:
            value = value.removeprefix(f"{case.name}: ")
        result[column] = value
    return result


# -- expected ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outcome_of_each_contract(case):
    result = ledger_of(ledger_key(case))
    for contract_id, expected in case.expect.items():
        row = result.get(f"{case.name}: {contract_id}")
        assert (row is not None) == bool(expected), f"{contract_id} in the ledger"
        if row is not None:
            assert readable(row, expected, case) == expected, contract_id


@pytest.mark.parametrize("case", [case for case in CASES if case.sets], ids=lambda case: case.name)
def test_outcome_of_each_renewal(case):
    result = renewals_of(ledger_key(case))
    for end, expected in case.sets.items():
        assert readable(result[f"{case.name}: acme", end], expected, case) == expected, end


@pytest.mark.parametrize("case", [case for case in CASES if case.expansions is not None], ids=lambda case: case.name)
def test_expansions(case):
    result = [
        (
            event["kind"],
            event["contract_id"].removeprefix(f"{case.name}: "),
            event["happened_at"].isoformat(),
            event["amount"] / 100,
        )
        for event in expansions_of(ledger_key(case))
        if event["account_id"].startswith(f"{case.name}: ")
    ]
    assert sorted(result, key=lambda event: event[2]) == case.expansions


def test_the_cases_cover_every_outcome():
    assert len(CASES) == len({case.name for case in CASES}) >= 35
    assert {outcome["outcome"] for case in CASES for outcome in case.expect.values() if "outcome" in outcome} == {
        FLAT, MORE, LESS, CHURNED, PENDING,
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_amounts_of_every_row_add_up(case):
    """The amount kept is at most the amount due; old and new differ exactly by the reported changes."""
    of_case = [r for r in ledger_of(ledger_key(case)).values() if r["account_id"].startswith(f"{case.name}: ")]
    for row in of_case:
        if row["renewed"] is None:
            assert row["outcome"] == PENDING
            assert all(row[name] is None for name in MONEY[1:])
            continue
        lost = row["contraction"] - min(0, row["price_change"])
        assert 0 <= row["amount_kept"] <= row["amount_due"]
        assert row["amount_kept"] == (row["amount_due"] - lost if row["renewed"] else 0)
        assert row["outcome"].startswith("renewed") == (row["renewed"] == 1)


def test_a_rebooking_before_the_cancellation_is_an_upsell_until_then():
    """On 3 June nobody could know that the second contract, smaller than the first, would replace it."""
    events = expansions_of((AT, "required"))
    event = next(e for e in events if e["account_id"].startswith("booked anew and smaller"))
    assert (event["kind"], event["amount"], event["voided_at"]) == ("upsell", 100_000, datetime(2023, 6, 5))


def test_a_parent_inherits_nothing():
    """Only a merger moves contracts to another account; what the records call a parent does not."""
    case = Case(
        "parent",
        """
        contract | account | start      | end        | arr
        child    | child   | 2023-01-01 | 2024-01-01 | 1000
        parent   | parent  | 2024-01-01 | 2025-01-01 | 1000
        """,
        {},
    )
    accounts = table([{"account_id": "parent: child", "parent_account_id": "parent: parent"}], ACCOUNTS)
    ledger = RenewalLedger(table(rows_of(case), CONTRACTS), date(2024, 6, 1), Policy(), accounts=accounts)
    assert [(row["contract_id"], row["outcome"]) for row in rows(ledger.entries)] == [("parent: child", CHURNED)]


@pytest.mark.parametrize(("paid", "outcome"), [(16, CHURNED), (15, FLAT)])
def test_payment_is_asked_where_four_of_five_terms_of_the_year_were_paid(paid, outcome):
    """Of the twenty terms that started in the year before the month of the new term, sixteen must carry a payment."""
    terms = [
        {"contract": "old", "account": "acme", "start": "2023-01-01", "end": "2024-01-01", "paid": "2023-01-01"},
        {"contract": "new", "account": "acme", "start": "2024-01-01", "end": "2025-01-01", "paid": "never"},
    ]
    terms += [
        {
            "contract": f"c{n}",
            "account": f"a{n}",
            "start": f"2023-{n % 12 + 1:02}-10",
            "end": "2025-01-01",
            "paid": "" if n < paid - 1 else "never",
        }
        for n in range(19)
    ]
    contracts = table([contract("asked", term | {"arr": "1200"}) for term in terms], CONTRACTS)
    entries = rows(RenewalLedger(contracts, date(2024, 6, 1), Policy()).entries)
    assert {row["contract_id"]: row["outcome"] for row in entries} == {"asked: old": outcome}


def test_follow_on_of_a_running_contract_is_known_when_it_is_signed():
    """The term is not due yet, but its renewal is already decided."""
    case = Case(
        "signed ahead",
        """
        contract | start      | end        | arr  | signed
        old      | 2023-01-01 | 2024-01-01 | 1200 |
        new      | 2024-01-01 | 2025-01-01 | 1200 | 2023-10-01
        """,
        {},
    )
    contracts = table(rows_of(case), CONTRACTS)
    for day, expected in ((date(2023, 10, 1), []), (date(2023, 10, 2), ["signed ahead: old"])):
        assert [row["old_id"] for row in rows(RenewalLedger(contracts, day, Policy()).pairs)] == expected


def test_ids_may_be_numbers_and_columns_may_be_empty():
    """Ids keep their type, and tables without plans, seats, currencies or payments are accepted."""
    contracts = ibis.memtable(
        pa.table(
            {
                "contract_id": [1, 2],
                "account_id": [7, 7],
                "product": pa.nulls(2),
                "plan": pa.nulls(2, pa.int32()),
                "start_date": [date(2023, 1, 1), date(2024, 1, 1)],
                "end_date": [date(2024, 1, 1), date(2025, 1, 1)],
                "arr": [1000, 1000],
                **{name: pa.nulls(2) for name in ("currency", "seats", "signed_at", "paid_at", "cancelled_at")},
            }
        )
    )
    accounts = ibis.memtable(pa.table({"account_id": [7], "merged_into_account_id": pa.nulls(1, pa.int64())}))
    result = rows(RenewalLedger(contracts, date(2024, 6, 1), Policy(), accounts=accounts).entries)
    assert [(r["contract_id"], r["account_id"], r["product"], r["outcome"]) for r in result] == [(1, 7, "core", FLAT)]


# -- recurring revenue, month by month ----------------------------------------------------------------------------

MONTHS = """
contract | account  | start      | end        | arr  | seats | product | paid
a1       | early    | 2023-01-01 | 2024-01-01 | 1200 | 10    | core    |
a2       | early    | 2023-11-15 | 2025-12-01 | 1500 | 12    | core    |
b1       | late     | 2023-01-01 | 2024-01-01 | 1200 |       | core    |
b2       | late     | 2024-02-10 | 2025-12-01 | 1200 |       | core    |
c1       | lost     | 2023-01-01 | 2024-01-01 | 1200 |       | core    |
d1       | back     | 2023-01-01 | 2024-01-01 | 1200 |       | core    |
d2       | back     | 2024-06-01 | 2025-12-01 |  900 |       | core    |
e1       | smaller  | 2023-01-01 | 2024-01-01 | 1200 | 10    | core    |
e2       | smaller  | 2024-01-01 | 2025-12-01 |  960 |  8    | core    |
f1       | wider    | 2023-01-01 | 2024-12-01 | 1200 |       | core    |
f2       | wider    | 2023-06-20 | 2024-01-01 |  300 |       | addon   |
f3       | wider    | 2024-12-01 | 2026-12-01 | 1200 |       | core    |
g1       | unpaid   | 2023-01-01 | 2024-01-01 | 1200 |       | core    |
g2       | unpaid   | 2024-01-01 | 2025-12-01 | 1200 |       | core    | never
h1       | slow     | 2023-01-01 | 2024-01-01 | 1200 |       | core    |
h2       | slow     | 2024-01-01 | 2025-12-01 | 1200 |       | core    | 2024-04-10
"""
MOVEMENTS = """
account | month      | movement     | amount | why
early   | 2023-01-01 | new          | 1200   | starts on the first
early   | 2023-11-01 | upsell       | 250    | two seats, counted at the new price from the day they start
early   | 2023-11-01 | price        | 50     | and the contract they replace ends there
late    | 2023-01-01 | new          | 1200   | the gap of January is bridged, nothing moves
lost    | 2023-01-01 | new          | 1200   |
lost    | 2024-01-01 | churn        | 1200   | leaves in the month its term ends
back    | 2023-01-01 | new          | 1200   |
back    | 2024-01-01 | churn        | 1200   |
back    | 2024-06-01 | reactivation | 900    | after the grace it is a customer won back
smaller | 2023-01-01 | new          | 1200   |
smaller | 2024-01-01 | contraction  | 240    |
wider   | 2023-01-01 | new          | 1200   |
wider   | 2023-06-01 | cross_sell   | 300    |
wider   | 2024-01-01 | churn        | 300    | the product is lost, the customer is not
unpaid  | 2023-01-01 | new          | 1200   |
unpaid  | 2024-01-01 | churn        | 1200   |
slow    | 2023-01-01 | new          | 1200   |
slow    | 2024-01-01 | churn        | 1200   | nobody paid in time
slow    | 2024-04-01 | reactivation | 1200   | revenue from the day it was paid
"""


def test_revenue_movements_by_month():
    """Contracts that ended in December 2025 are pending on 1 January 2026, and still count until decided."""
    case = Case("months", MONTHS, {})
    months = [date(2022 + n // 12, n % 12 + 1, 1) for n in range(48)]
    policy = Policy(renewal=Renewal(payment="required"))
    ledger = RenewalLedger(table(rows_of(case), CONTRACTS), date(2026, 1, 1), policy)
    moves = ledger.account_roll_forward(months)
    result = {
        (row["account_id"].removeprefix("months: "), row["month"].isoformat(), movement, row[movement] / 100)
        for row in rows(moves)
        for movement in ("new", "upsell", "cross_sell", "price", "reactivation", "contraction", "churn")
        if row[movement]
    }
    _head, *lines = [[cell.strip() for cell in line.split("|")] for line in MOVEMENTS.strip().splitlines()]
    assert result == {(account, month, movement, float(amount)) for account, month, movement, amount, _why in lines}
