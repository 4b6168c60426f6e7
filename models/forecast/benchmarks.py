"""Benchmarks of a forecast: two naive forecasts made on the same day, and the actual measures.

They use the scorecard's definitions, as the forecast does: `TOTALS` are summed over accounts, then the measures are
derived.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models.forecast.renewal_schedule import (
    ALL_BANDS,
    QUARTERS_PER_YEAR,
    ForecastInputs,
    booked_renewals,
    matured_renewals,
)

Floats = npt.NDArray[np.float64]

TOTALS = ("opening", "retained", "kept", "due", "decided", "renewed")
"""Amounts of money that all measures are derived from; `kept` and `retained` are the numerators of GRR and NRR."""
QUARTERS_AHEAD = tuple(range(1, QUARTERS_PER_YEAR + 1))


def derive_measures(totals: Mapping[str, Floats]) -> dict[str, Floats]:
    """Derive all measures from these totals by the scorecard's definitions; NaN where the denominator is zero."""

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
        "net_retention": share(totals["retained"], totals["opening"]),
    }


def naive_forecast(
    inputs: ForecastInputs, schedule: pd.DataFrame, accounts: pd.DataFrame, membership: Any, rates_by: str | None
) -> dict[str, Floats]:
    """Naive forecast of `TOTALS`: the rates of the newest final year continue; periods × segments.

    Uses the company's rates, or those of the account's size band if `rates_by` is given. Decided renewals are forecast
    with the same rate as open ones.
    """
    rates_by_band = last_year_rates(inputs)
    bands = accounts["size_band"] if rates_by else pd.Series(ALL_BANDS, index=accounts.index)
    rates = rates_by_band.reindex(bands.where(bands.isin(rates_by_band.index), ALL_BANDS))
    by_quarter = schedule.query("generation == 0").pivot_table(
        "amount_due", "account_id", "quarter", "sum", fill_value=0.0
    )
    due = (
        by_quarter.reindex(index=accounts["account_id"], columns=QUARTERS_AHEAD, fill_value=0.0).to_numpy(np.float64).T
    )
    opening = np.tile(accounts["opening"].to_numpy(np.float64), (QUARTERS_PER_YEAR, 1))
    totals = {
        "opening": opening,
        "retained": opening * rates["net"].to_numpy(),
        "kept": opening * rates["gross"].to_numpy(),
        "due": due,
        "decided": np.zeros_like(due),
        "renewed": due * rates["renewed"].to_numpy(),
    }
    year = {"opening": opening[0], "retained": opening[0] * rates["net_year"], "kept": opening[0] * rates["gross_year"]}
    periods = {
        name: np.vstack([values, year[name] if name in year else values.sum(axis=0)]) for name, values in totals.items()
    }
    return {name: np.asarray(values @ membership) for name, values in periods.items()}


def last_year_rates(inputs: ForecastInputs) -> pd.DataFrame:
    """Rates of the newest final year, as shares of the ARR due or opening; one row per size band and one for all."""
    numbers = inputs.last_year_quarters
    renewals = matured_renewals(inputs, numbers)
    quarters = inputs.quarters.query("quarter in @numbers and opening > 0")
    years = combine_quarters(inputs.quarters.query("quarter in @numbers"))
    rates = {}
    for band in (ALL_BANDS, *sorted({*quarters["size_band"].dropna()})):
        band_renewals, band_quarters, band_years = (
            table if band == ALL_BANDS else table[table["size_band"] == band] for table in (renewals, quarters, years)
        )
        rates[band] = {
            "renewed": _ratio(band_renewals["amount_renewed"], band_renewals["amount_due"]),
            "gross": _ratio(band_quarters["kept"], band_quarters["opening"]),
            "net": _ratio(band_quarters["retained"], band_quarters["opening"]),
            "gross_year": _ratio(band_years["kept"], band_years["opening"]),
            "net_year": _ratio(band_years["retained"], band_years["opening"]),
        }
    return pd.DataFrame(rates).T


def _ratio(part: pd.Series, total: pd.Series) -> float:
    return float(part.sum() / total.sum()) if total.sum() else np.nan


def combine_quarters(quarters: pd.DataFrame) -> pd.DataFrame:
    """Combine four quarters into one year; one row per account_id that paid at the opening of the first quarter."""
    if quarters["quarter"].nunique() < QUARTERS_PER_YEAR:
        return quarters.head(0)
    ordered = quarters.sort_values("quarter", kind="stable")
    first = ordered[ordered["quarter"] == ordered["quarter"].min()].set_index("account_id")
    year = first.query("opening > 0")[["opening", "size_band"]].copy()
    year[["gained", "lost"]] = ordered.groupby("account_id")[["gained", "lost"]].sum()
    year["kept"] = (year["opening"] - year["lost"]).clip(lower=0.0)
    year["retained"] = (year["opening"] + year["gained"] - year["lost"]).clip(lower=0.0)
    return year.reset_index()


def actual_measures(later_inputs: ForecastInputs, accounts: pd.DataFrame, membership: Any) -> dict[str, Floats]:
    """Actual values of the forecast measures: periods × segments, NaN where a quarter is not final yet.

    `later_inputs` has the quarters numbered from the day of the forecast, with what has become known since. Accounts
    that became customers after that day are excluded.
    """
    cohort = later_inputs.opening_accounts["account_id"]
    cohort_quarters = later_inputs.quarters[
        later_inputs.quarters["account_id"].isin(cohort) & later_inputs.quarters["quarter"].isin(QUARTERS_AHEAD)
    ]
    renewals = later_inputs.renewals[later_inputs.renewals["account_id"].isin(cohort)]
    renewals = booked_renewals(renewals, later_inputs, QUARTERS_AHEAD)
    periods = [
        (number, [number], cohort_quarters[(cohort_quarters["quarter"] == number) & (cohort_quarters["opening"] > 0)])
        for number in QUARTERS_AHEAD
    ]
    totals = [
        _account_totals(
            accounts, account_quarters, renewals[renewals["quarter"].isin(numbers)], later_inputs.is_final(last)
        )
        for last, numbers, account_quarters in [
            *periods,
            (QUARTERS_PER_YEAR, list(QUARTERS_AHEAD), combine_quarters(cohort_quarters)),
        ]
    ]
    return derive_measures({name: np.stack([period[name] @ membership for period in totals]) for name in TOTALS})


def _account_totals(
    accounts: pd.DataFrame, account_quarters: pd.DataFrame, ended_renewals: pd.DataFrame, is_final: bool
) -> dict[str, Floats]:
    """`TOTALS` of one period, one number per account; NaN if the period is not final."""
    due = ended_renewals.groupby("account_id")[["amount_due", "amount_renewed"]].sum()
    columns = account_quarters.set_index("account_id")[["opening", "retained", "kept"]].join(due, how="outer")
    values = columns.reindex(accounts["account_id"]).fillna(0.0).astype(np.float64) + (0.0 if is_final else np.nan)
    totals = values.rename(columns={"amount_due": "due", "amount_renewed": "renewed"}).assign(decided=np.nan)
    return {name: totals[name].to_numpy() for name in TOTALS}
