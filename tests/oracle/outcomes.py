"""Output of the ledger stage, the same for every drawn world: final renewals of all customers."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

DIMENSIONS = {
    "industry": ("retail", "banks"),
    "region": ("north", "south"),
    "channel": ("partner", "direct"),
    "size_band": ("small", "medium", "large"),
    "plan": ("basic", "gold"),
    "cohort": ("2022", "2023", "2024"),
}


def _outcomes() -> list[dict[str, Any]]:
    """Renewals of all accounts that the tests draw, and of many more, that become final over two years."""
    random, rows = Random(11), []
    for number in range(300):
        account = f"a{number}" if number < 60 else f"other{number}"
        matured = datetime(2023, 6, 1) + timedelta(days=random.randint(0, 700), hours=random.randint(0, 23))
        dimensions = {name: random.choice((None, *values)) for name, values in DIMENSIONS.items()}
        rows.append({"account_id": account, "matured_at": matured, "renewed": int(random.random() < 0.7), **dimensions})
    return rows


OUTCOMES = _outcomes()
