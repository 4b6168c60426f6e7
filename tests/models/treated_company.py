"""Random companies with a known effect of their interventions."""

import numpy as np
import pandas as pd
from scipy.special import expit

CATALOGUE = [
    {"name": name, "kind": "number", "risk": "either", "family": "usage", "unit": "days", "actionable": True}
    for name in ("health", "size", "days_to_renewal")
]
DAY = pd.Timedelta(days=1)


def company(lift: float, accounts: int = 1500, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """Observations 200 and 150 days before one renewal each, the interventions, and their true effect.

    Unhealthy accounts are treated much more often, so treated accounts renew less although the treatment helps.
    """
    rng = np.random.default_rng(seed)
    health, size = rng.normal(size=(2, accounts))
    treated = rng.random(accounts) < expit(-1.5 - 1.2 * health)
    without = 0.8 + 1.2 * health + 0.4 * size
    renewed = rng.random(accounts) < expit(without + lift * treated)
    as_of = pd.Timestamp(2024, 1, 1) + pd.to_timedelta(rng.integers(0, 400, accounts), "D")
    end = as_of + 200 * DAY
    names = [f"a{number:04d}" for number in range(accounts)]
    rows = pd.DataFrame(
        {
            "account_id": names, "renewal_id": [f"{name}:{day:%Y-%m-%d}" for name, day in zip(names, end, strict=True)],
            "is_main": True, "as_of": as_of, "renewal_date": end, "days_to_renewal": 200.0,
            "renewal_signed": False, "notice_given": False, "term": np.arange(accounts),
            "label": renewed.astype(np.int8), "health": health + rng.normal(scale=0.05, size=accounts), "size": size,
        }
    )  # fmt: skip
    later = rows.assign(as_of=as_of + 50 * DAY, days_to_renewal=150.0)
    actions = pd.DataFrame({"account_id": rows["account_id"], "playbook": "rescue", "started_at": as_of + 5 * DAY})
    truth = float((expit(without + lift) - expit(without))[treated].mean())
    return pd.concat([rows, later], ignore_index=True), actions[treated], truth
