"""Totals of a risk list by month of renewal, risk band, quadrant and manager, and its comparison with the previous
list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from renewals.models.ranking.worklist import NOT_DUE, NOT_SCORED, QUADRANTS, RISK_BANDS, SCORED, risk_band
from renewals.reports.sanitize import make_printable
from renewals.reports.settings import ListOptions

MAX_MANAGERS = 30
"""Maximum number of managers in the summary; those with the most revenue to renew come first."""
CHANGE_THRESHOLD_POINTS = 10
"""A renewal probability counts as changed if it moved by more than this many percentage points."""
MAX_DECREASES = 5
"""Maximum number of accounts in `largest_decreases`."""


def summarize_list(risk_list: pd.DataFrame, options: ListOptions) -> dict[str, Any]:
    """Sum up the whole list: totals, and accounts and revenue by month of renewal, risk band, quadrant and manager.

    Revenue is what falls due: customers of whom nothing is due count only in `customers` and `customers_arr`.
    """
    customers = risk_list.drop_duplicates("account_id")
    rows = _add_summary_columns(risk_list)
    managers = portfolio_loads(risk_list, options)
    return {
        "customers": len(customers),
        "customers_arr": round(float(customers["account_arr"].sum())),
        "arr": round(float(rows["arr"].sum())),
        "arr_at_risk": round(float(rows["arr_at_risk"].sum())),
        "scored": int(risk_list["status"].eq(SCORED).sum()),
        "months": _to_records(_sum_by(rows.dropna(subset="month"), "month")),
        "bands": _to_records(_sum_by(rows, "risk_band").set_index("risk_band").reindex(RISK_BANDS).reset_index()),
        "quadrants": _to_records(_sum_by(rows, "quadrant").set_index("quadrant").reindex(QUADRANTS).reset_index()),
        "managers": managers[:MAX_MANAGERS],
        "managers_left_out": len(managers[MAX_MANAGERS:]),
    }


def portfolio_loads(risk_list: pd.DataFrame, options: ListOptions) -> list[dict[str, Any]]:
    """Portfolio of every manager with the manager's capacity (M2), the largest revenue to renew first; one dict per
    manager."""
    managers = _sum_by(_add_summary_columns(risk_list), "name")
    by_arr = managers.sort_values(["arr", "name"], ascending=[False, True], kind="stable")
    return [_add_capacity(manager, options) for manager in _to_records(by_arr)]


def due_rows(risk_list: pd.DataFrame) -> pd.DataFrame:
    """Rows of the list about something that is due: all but those of customers of whom nothing is."""
    status = risk_list["status"]
    return risk_list[status.ne(NOT_DUE) & ~(status.eq(NOT_SCORED) & risk_list["renewal_date"].isna())]


def _add_summary_columns(risk_list: pd.DataFrame) -> pd.DataFrame:
    """Add the columns to sum up to the rows of the list about something that is due."""
    risk_list = due_rows(risk_list)
    return risk_list.assign(
        month=risk_list["renewal_date"].dt.strftime("%Y-%m"),
        fits=risk_list["account_id"].where(risk_list["within_capacity"].fillna(False).astype(bool)),
        arr=risk_list["arr"].fillna(0.0),
        arr_at_risk=risk_list["arr_at_risk"].fillna(0.0),
        name=risk_list["csm"].astype(object),
    )


def _sum_by(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Sum up the rows by one column: accounts, revenue, revenue at risk, and accounts within capacity. One row per
    value of the column."""
    sums = {"accounts": ("account_id", "nunique"), "arr": ("arr", "sum"), "arr_at_risk": ("arr_at_risk", "sum")}
    return rows.groupby(column, dropna=False).agg(**sums, fits=("fits", "nunique")).reset_index()


def _to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    numbers = ["accounts", "arr", "arr_at_risk", "fits"]
    integers = table.assign(**table[numbers].fillna(0.0).round().astype("int64"))
    return [{str(k): _to_json_value(v) for k, v in row.items()} for row in integers.to_dict("records")]


def _to_json_value(value: Any) -> Any:
    if isinstance(value, int):
        return value
    return None if pd.isna(value) else make_printable(str(value))


def _add_capacity(manager: Mapping[str, Any], options: ListOptions) -> dict[str, Any]:
    """Add the manager's capacity to the portfolio; `load` is the larger used share of the two capacities (accounts,
    ARR)."""
    capacity = options.capacity.for_manager(manager["name"])
    loads = [manager[n] / limit for n, limit in (("accounts", capacity.accounts), ("arr", capacity.arr)) if limit]
    return {
        **manager,
        "most_accounts": capacity.accounts,
        "most_arr": round(capacity.arr),
        "load": round(max(loads), 3) if len(loads) == 2 else None,
    }


# --- comparison with the previous list ----------------------------------------------------------------


@dataclass(frozen=True)
class ListComparison:
    """Changes since the previous list."""

    previous_day: date
    rose: int
    """Number of accounts whose renewal probability rose by more than `CHANGE_THRESHOLD_POINTS`."""
    fell: int
    new: int
    """Number of accounts that are not on the previous list."""
    gone: int
    """Number of accounts that are only on the previous list."""
    band_changes: pd.DataFrame
    """One row per risk band, over the accounts with a band on both lists: `then` and `now` are the accounts in the band
    on each list, `came` and `left` those that entered and left it."""
    largest_decreases: pd.DataFrame
    """The accounts with the largest decreases of the probability, largest first: rows of the list with the previous
    probability in `then`."""


def compare_lists(
    risk_list: pd.DataFrame, previous_day: date, previous: pd.DataFrame, options: ListOptions
) -> ListComparison:
    """Compare the risk list with the previous list of `previous_day`; `previous` has `account_id`, `renewal_id` and
    `renewal_probability`.

    The risk bands of both lists use the current limits.
    """
    change = risk_list["probability_change"].astype("float64")
    decreases = risk_list.assign(then=risk_list["renewal_probability"] - change)[change < 0]
    decreases = decreases.sort_values(["probability_change", "rank"], kind="stable").head(MAX_DECREASES)
    ids, previous_ids = (table["account_id"].astype(object).drop_duplicates() for table in (risk_list, previous))
    return ListComparison(
        previous_day,
        rose=int((change > CHANGE_THRESHOLD_POINTS / 100).sum()),
        fell=int((change < -CHANGE_THRESHOLD_POINTS / 100).sum()),
        new=int((~ids.isin(previous_ids)).sum()),
        gone=int((~previous_ids.isin(ids)).sum()),
        band_changes=_band_changes(
            risk_list["renewal_id"],
            risk_list["risk_band"],
            previous.set_index("renewal_id")["renewal_probability"],
            options,
        ),
        largest_decreases=decreases,
    )


def _band_changes(
    ids: pd.Series, current_bands: pd.Series, previous_probabilities: pd.Series, options: ListOptions
) -> pd.DataFrame:
    """Count the renewals that entered or left each risk band, over those scored on both lists; one row per band."""
    bands_by_id = risk_band(
        previous_probabilities[~previous_probabilities.index.duplicated()], options.bands.high, options.bands.medium
    )
    previous_bands = ids.map(bands_by_id)
    both = previous_bands.notna() & current_bands.notna()
    previous_bands, current_bands = previous_bands[both], current_bands[both]
    rows = {
        band: {
            "then": int(previous_bands.eq(band).sum()),
            "came": int((current_bands.eq(band) & previous_bands.ne(band)).sum()),
            "left": int((previous_bands.eq(band) & current_bands.ne(band)).sum()),
            "now": int(current_bands.eq(band).sum()),
        }
        for band in RISK_BANDS
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("risk_band").reset_index()
