"""Sums do not depend on the order of rows: engines add in the order in which their threads finish."""

from tests.oracle.drawn import drawn_features

CONTRACTS = """
    account_id | contract_id | product | start_date | end_date   | arr    | paid_at
    acme       | a1          | x       | 2025-06-01 | 2026-06-01 | 0.1    | 2025-06-01T02:24:07
    acme       | a2          | y       | 2025-06-01 | 2026-06-01 | 0.2    | 2025-06-03T07:12:11
    acme       | a3          | z       | 2025-06-01 | 2026-06-01 | 0.3    | 2025-06-05T04:48:13
"""
USAGE = """
    account | user | occurred_at      | feature | quantity | duration_s
    acme    | ann  | 2026-02-01T09:00 | send    | 0.1      | 0.1
    acme    | ann  | 2026-02-01T10:00 | send    | 0.2      | 0.2
    acme    | ann  | 2026-02-01T11:00 | send    | 0.3      | 0.3
"""


def reverse_rows(text: str) -> str:
    head, *rows = text.strip().splitlines()
    return "\n".join([head, *reversed(rows)])


def test_sums_do_not_depend_on_the_order_of_rows():
    features = [("commitment", "arr", "payment_delay"), ("usage", "key_actions_28d", "session_minutes_28d")]
    forward, backward = (
        [
            drawn_features(contracts=order(CONTRACTS), usage_events=order(USAGE))(*columns)["acme"]
            for columns in features
        ]
        for order in (str, reverse_rows)
    )
    assert forward == backward
    assert (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3), "plain floats would differ"


def test_very_large_numbers_are_unchanged():
    contracts = """
        account_id | contract_id | start_date | end_date   | arr
        acme       | a1          | 2025-06-01 | 2026-06-01 | 1e300
    """
    arr = drawn_features(contracts=contracts)("commitment", "arr")["acme"]
    assert isinstance(arr, float)
    assert arr == 1e300
