"""What a small company knows of its quarters on 2026-01-01, drawn as tables."""

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
    """A table drawn with bars: numbers as numbers, days as days, nothing as nothing."""
    head, *lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    table = pd.DataFrame(lines, columns=head).replace("", None)
    for name in table:
        if name in ("due_at", "end_date", "began", "followed_at", "moves_at", "lasts_until"):
            table[name] = pd.to_datetime(table[name])
        elif name not in ("account_id", "size_band", "industry", "csm"):
            table[name] = table[name].astype(float)
    return table


def sets(text: str) -> pd.DataFrame:
    """Renewals: what was due, and of what was renewed how much was kept and bought on top; flat unless said."""
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
    told = {name: rows[name].fillna(0.0 if name == "growth" else usual) if name in rows else usual
            for name, usual in flat.items()}  # fmt: skip
    return rows.assign(**told, matured_at=rows["due_at"] + pd.Timedelta(days=GRACE + 1))


def quarters(text: str) -> pd.DataFrame:
    """Accounts in quarters: nothing lost and nothing bought unless said."""
    rows = read(text)
    lost = rows["lost"].fillna(0.0) if "lost" in rows else 0.0
    closing = rows["closing"].fillna(rows["opening"]) if "closing" in rows else rows["opening"]
    band = rows.get("size_band", "small")
    kept = np.maximum(rows["opening"] - lost, 0.0)
    return rows.assign(closing=closing, lost=lost, kept=kept, size_band=band, quarter=rows["quarter"].astype(int))


def standing(known_sets: pd.DataFrame, known_quarters: pd.DataFrame, known_at: date = DAY) -> ForecastInputs:
    """All of it; who manages whom is in the account's name: `acme/ann`."""
    who = pd.concat([known_sets["account_id"], known_quarters["account_id"]]).drop_duplicates()
    accounts = pd.DataFrame({"account_id": who, "csm": who.str.partition("/")[2].replace("", None), "industry": None})
    edges = {number: pd.Timestamp(quarter_start(DAY, number)) for number in range(-7, 6)}
    return ForecastInputs(pd.Timestamp(known_at), edges, GRACE, known_quarters, known_sets, accounts)


def scores(**chances: float) -> pd.DataFrame:
    """What the model says of each account."""
    return pd.DataFrame({"account_id": list(chances), "probability": list(chances.values())})


def shock(spread: float = 0.0) -> QuarterEffectPosterior:
    """A shock whose spread is known."""
    return QuarterEffectPosterior((np.abs(SD_GRID - spread) < 1e-9).astype(float), 0)
