"""What a forecast is held against: two naive ones made on the same day, and what came of it.

Both use the scorecard's definitions, as the forecast does: `TOTALS` are summed over accounts, then measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models.forecast.renewal_schedule import ALL, YEAR, Standing, past_sets

Floats = npt.NDArray[np.float64]

TOTALS = ("opening", "closing", "kept", "due", "decided", "renewed")
"""What every measure is made of, in money."""
AHEAD = tuple(range(1, YEAR + 1))


def measured(totals: Mapping[str, Floats]) -> dict[str, Floats]:
    """Every measure of these totals, by the scorecard's definitions; NaN where there is nothing to divide by."""

    def share(part: Floats, whole: Floats) -> Floats:
        return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)

    return {
        "opening_arr": totals["opening"],
        "arr_due": totals["due"],
        "arr_decided": totals["decided"],
        "arr_renewed": totals["renewed"],
        "arr_at_risk": totals["due"] - totals["renewed"],
        "revenue_renewal_rate": share(totals["renewed"], totals["due"]),
        "gross_retention": share(totals["kept"], totals["opening"]),
        "net_retention": share(totals["closing"], totals["opening"]),
    }


def naive(
    standing: Standing, due: pd.DataFrame, accounts: pd.DataFrame, member: Any, by: str | None
) -> dict[str, Floats]:
    """`TOTALS` if everything goes on as in the newest final year: periods × segments.

    With the company's rates, or those of the account's size band. Of what falls due all is foretold alike, decided or
    not.
    """
    known = past_rates(standing)
    bands = accounts["size_band"] if by else pd.Series(ALL, index=accounts.index)
    own = known.reindex(bands.where(bands.isin(known.index), ALL))
    by_quarter = due.query("generation == 0").pivot_table("amount_due", "account_id", "quarter", "sum", fill_value=0.0)
    ends = by_quarter.reindex(index=accounts["account_id"], columns=AHEAD, fill_value=0.0).to_numpy(np.float64).T
    opening = np.tile(accounts["opening"].to_numpy(np.float64), (YEAR, 1))
    totals = {
        "opening": opening,
        "closing": opening * own["net"].to_numpy(),
        "kept": opening * own["gross"].to_numpy(),
        "due": ends,
        "decided": np.zeros_like(ends),
        "renewed": ends * own["renewed"].to_numpy(),
    }
    year = {"opening": opening[0], "closing": opening[0] * own["net_year"], "kept": opening[0] * own["gross_year"]}
    whole = {n: np.vstack([of, year[n] if n in year else of.sum(axis=0)]) for n, of in totals.items()}
    return {name: np.asarray(of @ member) for name, of in whole.items()}


def past_rates(standing: Standing) -> pd.DataFrame:
    """What the newest final year came to, one row per size band and one for all: shares of what was due or opened."""
    numbers = standing.last_year
    sets = past_sets(standing, numbers)
    quarters = standing.quarters.query("quarter in @numbers and opening > 0")
    years = year_of(standing.quarters.query("quarter in @numbers"))
    found = {}
    for band in (ALL, *sorted({*quarters["size_band"].dropna()})):
        some, opened, whole = (t if band == ALL else t[t["size_band"] == band] for t in (sets, quarters, years))
        found[band] = {
            "renewed": _over(some["amount_renewed"], some["amount_due"]),
            "gross": _over(opened["kept"], opened["opening"]),
            "net": _over(opened["closing"], opened["opening"]),
            "gross_year": _over(whole["kept"], whole["opening"]),
            "net_year": _over(whole["closing"], whole["opening"]),
        }
    return pd.DataFrame(found).T


def _over(part: pd.Series, whole: pd.Series) -> float:
    return float(part.sum() / whole.sum()) if whole.sum() else np.nan


def year_of(quarters: pd.DataFrame) -> pd.DataFrame:
    """Four quarters as one period; one row per account_id that paid at the opening of the first."""
    if quarters["quarter"].nunique() < YEAR:
        return quarters.head(0)
    ordered = quarters.sort_values("quarter", kind="stable")
    first = ordered[ordered["quarter"] == ordered["quarter"].min()].set_index("account_id")
    last = ordered[ordered["quarter"] == ordered["quarter"].max()].set_index("account_id")
    year = first.query("opening > 0")[["opening", "size_band"]].copy()
    year["lost"] = ordered.groupby("account_id")["lost"].sum()
    year["kept"] = (year["opening"] - year["lost"]).clip(lower=0.0)
    year["closing"] = last["closing"].reindex(year.index).fillna(0.0)
    return year.reset_index()


def came(later: Standing, accounts: pd.DataFrame, member: Any) -> dict[str, Floats]:
    """What became of the quarters foretold, by measure: periods × segments, NaN where a quarter is not final yet.

    `later` has the quarters numbered from the day of the forecast, and what was known of them since. Who came after
    that day is left out: a quarter's opening is that of its customers of then.
    """
    cohort = later.opening["account_id"]
    mine = later.quarters[later.quarters["account_id"].isin(cohort) & later.quarters["quarter"].isin(AHEAD)]
    sets = later.sets.assign(quarter=later.quarter_of(later.sets["due_at"]))
    sets = sets[sets["account_id"].isin(cohort)]
    periods = [(number, [number], mine[(mine["quarter"] == number) & (mine["opening"] > 0)]) for number in AHEAD]
    found = [
        _totals_of(accounts, held, sets[sets["quarter"].isin(within)], later.over(last))
        for last, within, held in [*periods, (YEAR, list(AHEAD), year_of(mine))]
    ]
    return measured({name: np.stack([one[name] @ member for one in found]) for name in TOTALS})


def _totals_of(accounts: pd.DataFrame, held: pd.DataFrame, ended: pd.DataFrame, over: bool) -> dict[str, Floats]:
    """`TOTALS` of one period by account; NaN where it is not over."""
    due = ended.groupby("account_id")[["amount_due", "amount_renewed"]].sum()
    columns = held.set_index("account_id")[["opening", "closing", "kept"]].join(due, how="outer")
    values = columns.reindex(accounts["account_id"]).fillna(0.0).astype(np.float64) + (0.0 if over else np.nan)
    named = values.rename(columns={"amount_due": "due", "amount_renewed": "renewed"}).assign(decided=np.nan)
    return {name: named[name].to_numpy() for name in TOTALS}
