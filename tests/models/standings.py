"""Inputs of a forecast on 2026-01-01 for a small company, written as text tables."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from renewals.features.scorecard.upcoming import quarter_start
from renewals.models.forecast.quarter_effect import SD_GRID, QuarterEffectPosterior
from renewals.models.forecast.renewal_schedule import ForecastInputs
from renewals.models.settings import ForecastSettings

DAY = date(2026, 1, 1)
GRACE = 60
OPTIONS = ForecastSettings(draws=2000)


def read(text: str) -> pd.DataFrame:
    """Parse a table written with bars: numbers, dates, and None for empty cells."""
    head, *lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    table = pd.DataFrame(lines, columns=head).replace("", None)
    for name in table:
        if name in ("due_at", "end_date", "began", "followed_at", "moves_at", "lasts_until"):
            table[name] = pd.to_datetime(table[name])
        elif name not in ("account_id", "size_band", "industry", "csm"):
            table[name] = table[name].astype(float)
    return table


def sets(text: str) -> pd.DataFrame:
    """Past renewals: the ARR due, and the ARR kept and bought on top; unchanged ARR where a column is missing.

    Each is booked in the month in which it was due.
    """
    rows = read(text)
    due, renewed = rows["amount_due"], rows["renewed"]
    flat: dict[str, Any] = {
        "end_date": rows["due_at"],
        "began": rows["due_at"] - pd.Timedelta(days=365),
        "followed_at": rows["due_at"].where(renewed == 1) - pd.Timedelta(days=30),
        "moves_at": rows["due_at"].where(renewed == 1),
        "lasts_until": rows["due_at"].where(renewed == 1) + pd.Timedelta(days=365),
        "amount_renewed": due * renewed,
        "amount_kept": due * renewed,
        "growth": 0.0,
    }
    columns = {name: rows[name].fillna(0.0 if name == "growth" else default) if name in rows else default
            for name, default in flat.items()}  # fmt: skip
    booked = rows["due_at"].dt.to_period("M").dt.to_timestamp()
    return rows.assign(**columns, booked_month=booked, matured_at=rows["due_at"] + pd.Timedelta(days=GRACE + 1))


def quarters(text: str) -> pd.DataFrame:
    """Accounts by quarter: nothing lost and nothing bought where a column is missing.

    What an account closes with beyond its opening less its loss was gained.
    """
    rows = read(text)
    lost = rows["lost"].fillna(0.0) if "lost" in rows else 0.0
    closing = rows["closing"].fillna(rows["opening"]) if "closing" in rows else rows["opening"]
    band = rows.get("size_band", "small")
    kept = np.maximum(rows["opening"] - lost, 0.0)
    gained = closing - rows["opening"] + lost
    columns = {"gained": gained, "lost": lost, "kept": kept, "retained": closing, "size_band": band}
    return rows.drop(columns="closing", errors="ignore").assign(**columns, quarter=rows["quarter"].astype(int))


def standing(known_sets: pd.DataFrame, known_quarters: pd.DataFrame, known_at: date = DAY) -> ForecastInputs:
    """Inputs of a forecast; the account id contains its manager: `acme/ann`."""
    account_ids = pd.concat([known_sets["account_id"], known_quarters["account_id"]]).drop_duplicates()
    accounts = pd.DataFrame(
        {"account_id": account_ids, "csm": account_ids.str.partition("/")[2].replace("", None), "industry": None}
    )
    edges = {number: pd.Timestamp(quarter_start(DAY, number)) for number in range(-7, 6)}
    return ForecastInputs(pd.Timestamp(known_at), edges, GRACE, known_quarters, known_sets, accounts)


def scores(renewal_date: str = "2026-02-10", **probabilities: float) -> pd.DataFrame:
    """One row per account with the predicted probability of its renewal on this date."""
    return pd.DataFrame(
        {
            "account_id": list(probabilities),
            "renewal_date": pd.Timestamp(renewal_date),
            "probability": list(probabilities.values()),
        }
    )


def shock(sd: float = 0.0) -> QuarterEffectPosterior:
    """Posterior of the quarter effect with a known standard deviation."""
    return QuarterEffectPosterior((np.abs(SD_GRID - sd) < 1e-9).astype(float), 0)
