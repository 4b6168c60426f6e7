"""What kind of customer it is, as its row was known on 2026-03-01 (C1)."""

from __future__ import annotations

from datetime import datetime

import ibis
import pytest

from renewals.features.families.fit import outcomes
from renewals.features.policy import Policy
from tests.oracle.drawn import drawn
from tests.oracle.worlds import arrow, schema, world


def test_what_was_known_of_the_customer(company):
    """The row about quiet arrived on the date itself."""
    accounts = """
        account | industry | region | channel | employee_count | recorded_at
        acme    | retail   | north  | partner | 250            | 2025-05-01
        quiet   | banks    | south  | direct  | 9000           | 2026-03-01
    """
    columns = ["industry", "region", "channel", "employee_count"]
    found = company(accounts=accounts)("fit", *columns)
    assert found == {"acme": ["retail", "north", "partner", 250], "quiet": [None] * 4}


def renewals(account: str, industry: str | None, *ends: tuple[str, int]) -> list[dict]:
    """The final renewals of one account: when each was final, and whether it came about."""
    how = {"region": None, "channel": None, "size_band": None, "plan": None, "cohort": None, "industry": industry}
    return [{"account_id": account, "matured_at": datetime.fromisoformat(day), "renewed": r, **how} for day, r in ends]


def test_how_others_sold_alike_have_fared(company):
    """Of three retail renewals of others two were lost; acme's own win and what is final on the day do not count (C2).

    Shrunk by 30 renewals of all others: 2 of 5 came about.
    """
    accounts = """
        account | industry | recorded_at
        acme    | retail   | 2025-05-01
        quiet   |          | 2025-05-01
    """
    ends = [
        *renewals("acme", "retail", ("2025-06-01", 1)),
        *renewals("b", "retail", ("2025-06-01", 0), ("2026-02-28", 0), ("2026-03-01", 1)),
        *renewals("c", "retail", ("2025-12-01", 1)),
        *renewals("d", "banks", ("2025-12-01", 1), ("2025-12-02", 0)),
    ]
    found = company(accounts=accounts, outcomes=ends)(
        "fit",
        "similar_customers_renewal_rate_industry",
        "similar_customers_renewal_rate_region",
        "similar_customers_lift",
    )
    base, alike = 2 / 5, (1 + 30 * 2 / 5) / (3 + 30)
    assert found["acme"] == [pytest.approx(alike), pytest.approx(base), pytest.approx((alike - base) / 6)]
    assert found["quiet"] == [pytest.approx(3 / 6), pytest.approx(3 / 6), pytest.approx(0, abs=1e-12)]


def test_how_parent_and_sisters_have_fared(company):
    """Acme's parent and its sister b lost one of three; c's tie was told on the day itself, and stranger is none.

    Quiet is the parent of d, which renewed; its own loss does not count.
    """
    accounts = """
        account | parent_account_id | recorded_at
        acme    | holding           | 2025-05-01
        holding |                   | 2025-05-01
        b       | holding           | 2025-05-01
        c       | holding           | 2026-03-01
        quiet   |                   | 2025-05-01
        d       | quiet             | 2025-05-01
        strange |                   | 2025-05-01
    """
    ends = [
        *renewals("acme", None, ("2025-06-01", 0)),
        *renewals("holding", None, ("2025-06-01", 1)),
        *renewals("b", None, ("2025-06-01", 0), ("2025-12-01", 1), ("2026-03-01", 0)),
        *renewals("c", None, ("2025-06-01", 0)),
        *renewals("quiet", None, ("2025-06-01", 0)),
        *renewals("d", None, ("2025-06-01", 1)),
        *renewals("strange", None, ("2025-06-01", 0)),
    ]
    found = company(accounts=accounts, outcomes=ends)(
        "fit", "related_accounts_lost_renewals", "related_accounts_renewal_rate"
    )
    assert found == {"acme": [1, pytest.approx(2 / 3)], "quiet": [0, 1.0]}


def test_without_any_history_nothing_is_said(company):
    found = company(outcomes=[])("fit", "similar_customers_renewal_rate_industry", "similar_customers_lift")
    assert found == {"acme": [None, None], "quiet": [None, None]}


def test_how_a_customer_was_sold_is_what_was_known_when_its_renewal_was_final():
    """Acme's row was there in time; quiet's arrived on the very day, and the earlier contract of quiet later still."""
    final = ibis.memtable(
        [
            {"account_id": name, "end_date": datetime(2025, 6, 1), "known_at": datetime(2024, 5, 1), "plan": "pro",
             "matured_at": datetime(2025, 7, 31), "renewed": renewed, "amount_due": 1_999_999}
            for name, renewed in (("acme", 1), ("quiet", 0), ("pending", None))
        ],
        schema={"account_id": "string", "end_date": "timestamp", "known_at": "timestamp", "plan": "string",
                "matured_at": "timestamp", "renewed": "int8", "amount_due": "int64"},
    )  # fmt: skip
    tables = {
        "accounts": """
            account | industry | recorded_at
            acme    | retail   | 2025-07-30
            quiet   | banks    | 2025-07-31
        """,
        "contracts": """
            account | contract | start_date | end_date   | signed_at  | arr
            acme    | 1        | 2024-06-01 | 2025-06-01 | 2024-05-01 | 1
            acme    | 0        | 2022-06-01 | 2023-06-01 | 2022-05-01 | 1
            quiet   | 2        | 2024-06-01 | 2025-06-01 | 2024-05-01 | 1
            quiet   | 3        | 2021-06-01 | 2022-06-01 | 2025-08-01 | 1
        """,
    }
    rows = world(**{name: drawn(name, text) for name, text in tables.items()})
    known = {name: ibis.memtable(arrow(rows[name], schema(name))) for name in tables}
    found = (
        outcomes(final, known["accounts"], known["contracts"], Policy()).order_by("account_id").to_pyarrow().to_pylist()
    )
    told = [
        [row[name] for name in ("account_id", "renewed", "industry", "cohort", "plan", "size_band")] for row in found
    ]
    assert told == [["acme", 1, "retail", "2022", "pro", "small"], ["quiet", 0, None, "2024", "pro", "small"]]
