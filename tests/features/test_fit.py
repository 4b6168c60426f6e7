"""What kind of customer it is, as its row was known on 2026-03-01 (C1)."""

from __future__ import annotations


def test_what_was_known_of_the_customer(company):
    """The row about quiet arrived on the date itself."""
    accounts = """
        account | industry | region | channel | employee_count | recorded_at
        acme    | retail   | north  | partner | 250            | 2025-05-01
        quiet   | banks    | south  | direct  | 9000           | 2026-03-01
    """
    columns = ["industry", "region", "channel", "employees"]
    found = company(accounts=accounts)("fit", *columns)
    assert found == {"acme": ["retail", "north", "partner", 250], "quiet": [None] * 4}
