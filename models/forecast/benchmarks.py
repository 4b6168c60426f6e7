"""What a forecast is held against: two naive ones made on the same day, and what came of it.

Both use the scorecard's definitions, as the forecast does: `TOTALS` are summed over accounts, then measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models.forecast.renewal_schedule import ALL_BANDS, QUARTERS_PER_YEAR, ForecastInputs, matured_renewals

Floats = npt.NDArray[np.float64]

TOTALS = ("opening", "closing", "kept", "due", "decided", "renewed")
"""What every measure is made of, in money."""
QUARTERS_AHEAD = tuple(range(1, QUARTERS_PER_YEAR + 1))


def derive_measures(totals: Mapping[str, Floats]) -> dict[str, Floats]:
    """Every measure of these totals, by the scorecard's definitions; NaN where there is nothing to divide by."""

    def share(part: Floats, total: Floats) -> Floats:
        return np.divide(part, total, out=np.full(part.shape, np.nan), where=total > 0)

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


def naive_forecast(
    inputs: ForecastInputs, schedule: pd.DataFrame, accounts: pd.DataFrame, membership: Any, rates_by: str | None
) -> dict[str, Floats]:
    """`TOTALS` if everything goes on as in the newest final year: periods × segments.

    With the company's rates, or those of the account's size band. Of what falls due all is foretold alike, decided or
    not.
    """
    known = last_year_rates(inputs)
    bands = accounts["size_band"] if rates_by else pd.Series(ALL_BANDS, index=accounts.index)
    own = known.reindex(bands.where(bands.isin(known.index), ALL_BANDS))
    by_quarter = schedule.query("generation == 0").pivot_table(
        "amount_due", "account_id", "quarter", "sum", fill_value=0.0
    )
    ends = (
        by_quarter.reindex(index=accounts["account_id"], columns=QUARTERS_AHEAD, fill_value=0.0).to_numpy(np.float64).T
    )
    opening = np.tile(accounts["opening"].to_numpy(np.float64), (QUARTERS_PER_YEAR, 1))
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
    return {name: np.asarray(of @ membership) for name, of in whole.items()}


def last_year_rates(inputs: ForecastInputs) -> pd.DataFrame:
    """What the newest final year came to, one row per size band and one for all: shares of what was due or opened."""
    numbers = inputs.last_year_quarters
    sets = matured_renewals(inputs, numbers)
    quarters = inputs.quarters.query("quarter in @numbers and opening > 0")
    years = combine_quarters(inputs.quarters.query("quarter in @numbers"))
    found = {}
    for band in (ALL_BANDS, *sorted({*quarters["size_band"].dropna()})):
        some, opened, whole = (t if band == ALL_BANDS else t[t["size_band"] == band] for t in (sets, quarters, years))
        found[band] = {
            "renewed": _ratio(some["amount_renewed"], some["amount_due"]),
            "gross": _ratio(opened["kept"], opened["opening"]),
            "net": _ratio(opened["closing"], opened["opening"]),
            "gross_year": _ratio(whole["kept"], whole["opening"]),
            "net_year": _ratio(whole["closing"], whole["opening"]),
        }
    return pd.DataFrame(found).T


def _ratio(part: pd.Series, total: pd.Series) -> float:
    return float(part.sum() / total.sum()) if total.sum() else np.nan


def combine_quarters(quarters: pd.DataFrame) -> pd.DataFrame:
    """Four quarters as one period; one row per account_id that paid at the opening of the first."""
    if quarters["quarter"].nunique() < QUARTERS_PER_YEAR:
        return quarters.head(0)
    ordered = quarters.sort_values("quarter", kind="stable")
    first = ordered[ordered["quarter"] == ordered["quarter"].min()].set_index("account_id")
    last = ordered[ordered["quarter"] == ordered["quarter"].max()].set_index("account_id")
    year = first.query("opening > 0")[["opening", "size_band"]].copy()
    year["lost"] = ordered.groupby("account_id")["lost"].sum()
    year["kept"] = (year["opening"] - year["lost"]).clip(lower=0.0)
    year["closing"] = last["closing"].reindex(year.index).fillna(0.0)
    return year.reset_index()


def actual_measures(later_inputs: ForecastInputs, accounts: pd.DataFrame, membership: Any) -> dict[str, Floats]:
    """What became of the quarters foretold, by measure: periods × segments, NaN where a quarter is not final yet.

    `later_inputs` has the quarters numbered from the day of the forecast, and what was known of them since. Who came
    after that day is left out: a quarter's opening is that of its customers of then.
    """
    cohort = later_inputs.opening_accounts["account_id"]
    mine = later_inputs.quarters[
        later_inputs.quarters["account_id"].isin(cohort) & later_inputs.quarters["quarter"].isin(QUARTERS_AHEAD)
    ]
    sets = later_inputs.renewals.assign(quarter=later_inputs.quarter_of(later_inputs.renewals["due_at"]))
    sets = sets[sets["account_id"].isin(cohort)]
    periods = [
        (number, [number], mine[(mine["quarter"] == number) & (mine["opening"] > 0)]) for number in QUARTERS_AHEAD
    ]
    found = [
        _account_totals(accounts, held, sets[sets["quarter"].isin(within)], later_inputs.is_final(last))
        for last, within, held in [*periods, (QUARTERS_PER_YEAR, list(QUARTERS_AHEAD), combine_quarters(mine))]
    ]
    return derive_measures({name: np.stack([one[name] @ membership for one in found]) for name in TOTALS})


def _account_totals(
    accounts: pd.DataFrame, account_quarters: pd.DataFrame, ended_renewals: pd.DataFrame, is_final: bool
) -> dict[str, Floats]:
    """`TOTALS` of one period by account; NaN where it is not over."""
    due = ended_renewals.groupby("account_id")[["amount_due", "amount_renewed"]].sum()
    columns = account_quarters.set_index("account_id")[["opening", "closing", "kept"]].join(due, how="outer")
    values = columns.reindex(accounts["account_id"]).fillna(0.0).astype(np.float64) + (0.0 if is_final else np.nan)
    named = values.rename(columns={"amount_due": "due", "amount_renewed": "renewed"}).assign(decided=np.nan)
    return {name: named[name].to_numpy() for name in TOTALS}
