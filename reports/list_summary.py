"""What a whole list comes to: by month of renewal, risk band, group and manager, and beside the list before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from renewals.models.ranking.worklist import QUADRANTS, RISK_BANDS, SCORED, risk_band
from renewals.reports.sanitize import make_printable
from renewals.reports.settings import ListOptions

MAX_MANAGERS = 30
"""So many managers are summed up, those with the most revenue to renew first."""
CHANGE_THRESHOLD_POINTS = 10
"""A chance that moved by more percentage points than this is told of."""
MAX_DECREASES = 5
"""So many of the largest falls are named."""


def summarize_list(risk_list: pd.DataFrame, options: ListOptions) -> dict[str, Any]:
    """What the whole list comes to: by month of renewal, risk band, group and manager."""
    own = _add_summary_columns(risk_list)
    managers = portfolio_loads(risk_list, options)
    return {
        "arr": round(float(own["arr"].sum())),
        "arr_at_risk": round(float(own["arr_at_risk"].sum())),
        "scored": int(risk_list["status"].eq(SCORED).sum()),
        "months": _to_records(_sum_by(own.dropna(subset="month"), "month")),
        "bands": _to_records(_sum_by(own, "risk_band").set_index("risk_band").reindex(RISK_BANDS).reset_index()),
        "quadrants": _to_records(_sum_by(own, "quadrant").set_index("quadrant").reindex(QUADRANTS).reset_index()),
        "managers": managers[:MAX_MANAGERS],
        "managers_left_out": len(managers[MAX_MANAGERS:]),
    }


def portfolio_loads(risk_list: pd.DataFrame, options: ListOptions) -> list[dict[str, Any]]:
    """Every manager's portfolio beside what the manager can carry (M2), the most revenue to renew first."""
    managers = _sum_by(_add_summary_columns(risk_list), "name")
    first = managers.sort_values(["arr", "name"], ascending=[False, True], kind="stable")
    return [_add_capacity(manager, options) for manager in _to_records(first)]


def _add_summary_columns(risk_list: pd.DataFrame) -> pd.DataFrame:
    return risk_list.assign(
        month=risk_list["renewal_date"].dt.strftime("%Y-%m"),
        fits=risk_list["within_capacity"].fillna(False).astype(bool),
        arr=risk_list["arr"].fillna(0.0),
        arr_at_risk=risk_list["arr_at_risk"].fillna(0.0),
        name=risk_list["csm"].astype(object),
    )


def _sum_by(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row per value of a column: accounts, revenue, revenue at risk, and how many fit the capacity."""
    sums = {"accounts": ("account_id", "size"), "arr": ("arr", "sum"), "arr_at_risk": ("arr_at_risk", "sum")}
    return rows.groupby(column, dropna=False).agg(**sums, fits=("fits", "sum")).reset_index()


def _to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    numbers = ["accounts", "arr", "arr_at_risk", "fits"]
    whole = table.assign(**table[numbers].fillna(0.0).round().astype("int64"))
    return [{str(k): _to_json_value(v) for k, v in row.items()} for row in whole.to_dict("records")]


def _to_json_value(value: Any) -> Any:
    if isinstance(value, int):
        return value
    return None if pd.isna(value) else make_printable(str(value))


def _add_capacity(manager: Mapping[str, Any], options: ListOptions) -> dict[str, Any]:
    """A manager's portfolio beside what the manager can carry; `load` is the fuller of the two measures."""
    room = options.capacity.for_manager(manager["name"])
    loads = [manager[n] / most for n, most in (("accounts", room.accounts), ("arr", room.arr)) if most]
    return {
        **manager,
        "most_accounts": room.accounts,
        "most_arr": round(room.arr),
        "load": round(max(loads), 3) if len(loads) == 2 else None,
    }


# --- beside the list before ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ListComparison:
    """What changed since the last list."""

    previous_day: date
    rose: int
    """Accounts whose chance of renewal rose by more than `CHANGE_THRESHOLD_POINTS`."""
    fell: int
    new: int
    """Accounts that the last list did not have."""
    gone: int
    """Accounts that only the last list had."""
    band_changes: pd.DataFrame
    """One row per risk band: `previous` and `current_bands` how many accounts of both lists it holds, `came` and `left`
    between."""
    largest_decreases: pd.DataFrame
    """The accounts whose chance fell most, the largest fall first; rows of the list, and `previous`, the earlier
    chance."""


def compare_lists(
    risk_list: pd.DataFrame, previous_day: date, previous: pd.DataFrame, options: ListOptions
) -> ListComparison:
    """What changed since the list of a day; `previous` has its `account_id` and `renewal_probability`.

    Both lists are cut into bands at today's limits.
    """
    change = risk_list["probability_change"].astype("float64")
    falls = risk_list.assign(then=risk_list["renewal_probability"] - change)[change < 0]
    falls = falls.sort_values(["probability_change", "rank"], kind="stable").head(MAX_DECREASES)
    ids, before = (table["account_id"].astype(object) for table in (risk_list, previous))
    return ListComparison(
        previous_day,
        rose=int((change > CHANGE_THRESHOLD_POINTS / 100).sum()),
        fell=int((change < -CHANGE_THRESHOLD_POINTS / 100).sum()),
        new=int((~ids.isin(before)).sum()),
        gone=int((~before.isin(ids)).sum()),
        band_changes=_band_changes(
            ids, risk_list["risk_band"], previous.set_index(before)["renewal_probability"], options
        ),
        largest_decreases=falls,
    )


def _band_changes(
    ids: pd.Series, current_bands: pd.Series, previous_probabilities: pd.Series, options: ListOptions
) -> pd.DataFrame:
    """Who moved between the bands, of the accounts that both lists scored; one row per band."""
    before = risk_band(
        previous_probabilities[~previous_probabilities.index.duplicated()], options.bands.high, options.bands.medium
    )
    then = ids.map(before)
    both = then.notna() & current_bands.notna()
    then, current_bands = then[both], current_bands[both]
    rows = {
        band: {
            "then": int(then.eq(band).sum()),
            "came": int((current_bands.eq(band) & then.ne(band)).sum()),
            "left": int((then.eq(band) & current_bands.ne(band)).sum()),
            "now": int(current_bands.eq(band).sum()),
        }
        for band in RISK_BANDS
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("risk_band").reset_index()
