"""A random training table with a signal that a model can learn: accounts, yearly terms, monthly observations."""

import numpy as np
import pandas as pd

CATALOGUE = [
    {"name": "use", "kind": "number", "risk": "low", "family": "usage", "unit": "days", "actionable": True},
    {"name": "tickets", "kind": "number", "risk": "high", "family": "tickets", "unit": "tickets", "actionable": True},
    {"name": "noise", "kind": "number", "risk": "either", "family": "usage", "unit": "days", "actionable": True},
    {"name": "plan", "kind": "category", "risk": "either", "family": "commitment", "unit": "plan", "actionable": False},
    {
        "name": "days_to_renewal",
        "kind": "number",
        "risk": "either",
        "family": "commitment",
        "unit": "days",
        "actionable": False,
    },
]


def training_table(accounts: int = 150, years: int = 4, seed: int = 0) -> pd.DataFrame:
    """One row per observation, every third month of every term: one renewal an account and day."""
    rng = np.random.default_rng(seed)
    begins = pd.Timestamp(2020, 1, 1) + pd.to_timedelta(rng.integers(0, 365, accounts), "D")
    rows = []
    for number, begin in enumerate(begins):
        for year in range(years):
            start = begin + pd.DateOffset(years=year)
            end = begin + pd.DateOffset(years=year + 1)
            health = rng.normal()
            renewed = int(rng.random() < 1 / (1 + np.exp(-(1.0 + 1.5 * health))))
            for as_of in pd.date_range(start + pd.offsets.MonthBegin(), end - pd.Timedelta(days=1), freq="3MS"):
                rows.append(
                    {
                        "account_id": f"a{number:03d}",
                        "renewal_id": f"a{number:03d}:{end:%Y-%m-%d}",
                        "as_of": as_of,
                        "renewal_date": end,
                        "term_start": start,
                        "days_to_renewal": float((end - as_of).days),
                        "renewal_state": "due",
                        "is_main": True,
                        "renewal_signed": False,
                        "notice_given": False,
                        "use": health + rng.normal(scale=0.5),
                        "tickets": float(rng.poisson(np.exp(-0.4 * health))),
                        "noise": rng.normal() if rng.random() < 0.9 else np.nan,
                        "plan": rng.choice(["basic", "pro"]),
                        "renewal": renewed,
                        "renewal_matured_at": end + pd.Timedelta(days=61),
                    }
                )
    return pd.DataFrame(rows)
