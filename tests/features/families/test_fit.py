"""Features of the customer's kind and of similar customers, as known on 2026-03-01 (C1)."""

from __future__ import annotations

from datetime import datetime

import ibis
import pytest

from renewals.features.families.fit import outcomes
from renewals.features.policy import Policy
from tests.oracle.drawn import drawn_rows
from tests.oracle.worlds import arrow, schema, world


def test_account_attributes_as_known(company):
    """The row about quiet was recorded on the as-of date, so it is not known."""
    accounts = """
        account | industry | region | channel | employee_count | recorded_at
        acme    | retail   | north  | partner | 250            | 2025-05-01
        quiet   | banks    | south  | direct  | 9000           | 2026-03-01
    """
    columns = ["industry", "region", "channel", "employee_count"]
    features = company(accounts=accounts)("fit", *columns)
    assert features == {"acme": ["retail", "north", "partner", 250], "quiet": [None] * 4}


def renewals(account: str, industry: str | None, *ends: tuple[str, int]) -> list[dict]:
    """Final renewals of one account: for each, the day it was final and its outcome."""
    how = {"region": None, "channel": None, "size_band": None, "plan": None, "cohort": None, "industry": industry}
    return [{"account_id": account, "matured_at": datetime.fromisoformat(day), "renewed": r, **how} for day, r in ends]


def test_renewal_rate_of_similar_customers(company):
    """Two of three retail renewals were lost; the renewal of acme itself and one final on the day are excluded (C2).

    The rate is shrunk by 30 renewals towards the rate of all accounts: 2 of 5 renewed.
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
    features = company(accounts=accounts, outcomes=ends)(
        "fit",
        "similar_customers_renewal_rate_industry",
        "similar_customers_renewal_rate_region",
        "similar_customers_lift",
    )
    base, similar = 2 / 5, (1 + 30 * 2 / 5) / (3 + 30)
    assert features["acme"] == [pytest.approx(similar), pytest.approx(base), pytest.approx((similar - base) / 6)]
    assert features["quiet"] == [pytest.approx(3 / 6), pytest.approx(3 / 6), pytest.approx(0, abs=1e-12)]


def test_renewals_of_related_accounts(company):
    """The parent of acme and its sister b lost one of three renewals; c is too late, and `strange` is not related.

    The relation of c was recorded on the as-of date. Quiet is the parent of d, which renewed; the loss of quiet itself
    is excluded.
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
    features = company(accounts=accounts, outcomes=ends)(
        "fit", "related_accounts_lost_renewals", "related_accounts_renewal_rate"
    )
    assert features == {"acme": [1, pytest.approx(2 / 3)], "quiet": [0, 1.0]}


def test_without_outcomes_rates_are_null(company):
    features = company(outcomes=[])("fit", "similar_customers_renewal_rate_industry", "similar_customers_lift")
    assert features == {"acme": [None, None], "quiet": [None, None]}


def test_dimensions_of_an_outcome_are_those_known_when_it_was_final():
    """The row of acme was recorded in time; that of quiet on the day itself, and its contract 3 signed later."""
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
    rows = world(**{name: drawn_rows(name, text) for name, text in tables.items()})
    known = {name: ibis.memtable(arrow(rows[name], schema(name))) for name in tables}
    rows_with_dimensions = (
        outcomes(final, known["accounts"], known["contracts"], Policy()).order_by("account_id").to_pyarrow().to_pylist()
    )
    dimensions = [
        [row[name] for name in ("account_id", "renewed", "industry", "cohort", "plan", "size_band")]
        for row in rows_with_dimensions
    ]
    assert dimensions == [["acme", 1, "retail", "2022", "pro", "small"], ["quiet", 0, None, "2024", "pro", "small"]]
