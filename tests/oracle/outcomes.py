"""What the ledger stage hands over, the same in every drawn world: how the renewals of all customers came out."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

HOW = {
    "industry": ("retail", "banks"),
    "region": ("north", "south"),
    "channel": ("partner", "direct"),
    "size_band": ("small", "medium", "large"),
    "plan": ("basic", "gold"),
    "cohort": ("2022", "2023", "2024"),
}


def _outcomes() -> list[dict[str, Any]]:
    """Renewals of every account that the tests draw, and of many that they do not, final one by one over two years."""
    random, rows = Random(11), []
    for number in range(300):
        account = f"a{number}" if number < 60 else f"other{number}"
        matured = datetime(2023, 6, 1) + timedelta(days=random.randint(0, 700), hours=random.randint(0, 23))
        told = {name: random.choice((None, *values)) for name, values in HOW.items()}
        rows.append({"account_id": account, "matured_at": matured, "renewed": int(random.random() < 0.7), **told})
    return rows


OUTCOMES = _outcomes()
