"""What a whole list comes to: by month of renewal, risk band, group and manager, and beside the list before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from renewals.models.ranking.worklist import QUADRANTS, RISK_BANDS, SCORED, risk_band
from renewals.reports.sanitize import printable
from renewals.reports.settings import ListOptions

MANAGERS = 30
"""So many managers are summed up, those with the most revenue to renew first."""
POINTS = 10
"""A chance that moved by more percentage points than this is told of."""
FALLS = 5
"""So many of the largest falls are named."""


def summary(listed: pd.DataFrame, options: ListOptions) -> dict[str, Any]:
    """What the whole list comes to: by month of renewal, risk band, group and manager."""
    own = _countable(listed)
    managers = portfolios(listed, options)
    return {
        "arr": round(float(own["arr"].sum())),
        "arr_at_risk": round(float(own["arr_at_risk"].sum())),
        "scored": int(listed["status"].eq(SCORED).sum()),
        "months": _records(_summed(own.dropna(subset="month"), "month")),
        "bands": _records(_summed(own, "risk_band").set_index("risk_band").reindex(RISK_BANDS).reset_index()),
        "quadrants": _records(_summed(own, "quadrant").set_index("quadrant").reindex(QUADRANTS).reset_index()),
        "managers": managers[:MANAGERS],
        "managers_left_out": len(managers[MANAGERS:]),
    }


def portfolios(listed: pd.DataFrame, options: ListOptions) -> list[dict[str, Any]]:
    """Every manager's portfolio beside what the manager can carry (M2), the most revenue to renew first."""
    managers = _summed(_countable(listed), "name")
    first = managers.sort_values(["arr", "name"], ascending=[False, True], kind="stable")
    return [_carried(manager, options) for manager in _records(first)]


def _countable(listed: pd.DataFrame) -> pd.DataFrame:
    return listed.assign(
        month=listed["renewal_date"].dt.strftime("%Y-%m"),
        fits=listed["within_capacity"].fillna(False).astype(bool),
        arr=listed["arr"].fillna(0.0),
        arr_at_risk=listed["arr_at_risk"].fillna(0.0),
        name=listed["csm"].astype(object),
    )


def _summed(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """One row per value of a column: accounts, revenue, revenue at risk, and how many fit the capacity."""
    sums = {"accounts": ("account_id", "size"), "arr": ("arr", "sum"), "arr_at_risk": ("arr_at_risk", "sum")}
    return rows.groupby(by, dropna=False).agg(**sums, fits=("fits", "sum")).reset_index()


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    numbers = ["accounts", "arr", "arr_at_risk", "fits"]
    whole = table.assign(**table[numbers].fillna(0.0).round().astype("int64"))
    return [{str(k): _plain(v) for k, v in row.items()} for row in whole.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, int):
        return value
    return None if pd.isna(value) else printable(str(value))


def _carried(manager: Mapping[str, Any], options: ListOptions) -> dict[str, Any]:
    """A manager's portfolio beside what the manager can carry; `load` is the fuller of the two measures."""
    room = options.capacity.of(manager["name"])
    loads = [manager[n] / most for n, most in (("accounts", room.accounts), ("arr", room.arr)) if most]
    return {
        **manager,
        "most_accounts": room.accounts,
        "most_arr": round(room.arr),
        "load": round(max(loads), 3) if len(loads) == 2 else None,
    }


# --- beside the list before ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Moved:
    """What changed since the last list."""

    last: date
    rose: int
    """Accounts whose chance of renewal rose by more than `POINTS`."""
    fell: int
    new: int
    """Accounts that the last list did not have."""
    gone: int
    """Accounts that only the last list had."""
    bands: pd.DataFrame
    """One row per risk band: `then` and `now` how many accounts of both lists it holds, `came` and `left` between."""
    falls: pd.DataFrame
    """The accounts whose chance fell most, the largest fall first; rows of the list, and `then`, the earlier chance."""


def moved(listed: pd.DataFrame, last: date, then: pd.DataFrame, options: ListOptions) -> Moved:
    """What changed since the list of a day; `then` has its `account_id` and `renewal_probability`.

    Both lists are cut into bands at today's limits.
    """
    change = listed["probability_change"].astype("float64")
    falls = listed.assign(then=listed["renewal_probability"] - change)[change < 0]
    falls = falls.sort_values(["probability_change", "rank"], kind="stable").head(FALLS)
    ids, before = (table["account_id"].astype(object) for table in (listed, then))
    return Moved(
        last,
        rose=int((change > POINTS / 100).sum()),
        fell=int((change < -POINTS / 100).sum()),
        new=int((~ids.isin(before)).sum()),
        gone=int((~before.isin(ids)).sum()),
        bands=_bands(ids, listed["risk_band"], then.set_index(before)["renewal_probability"], options),
        falls=falls,
    )


def _bands(ids: pd.Series, now: pd.Series, chances: pd.Series, options: ListOptions) -> pd.DataFrame:
    """Who moved between the bands, of the accounts that both lists scored; one row per band."""
    before = risk_band(chances[~chances.index.duplicated()], options.bands.high, options.bands.medium)
    then = ids.map(before)
    both = then.notna() & now.notna()
    then, now = then[both], now[both]
    rows = {
        band: {
            "then": int(then.eq(band).sum()),
            "came": int((now.eq(band) & then.ne(band)).sum()),
            "left": int((then.eq(band) & now.ne(band)).sum()),
            "now": int(now.eq(band).sum()),
        }
        for band in RISK_BANDS
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("risk_band").reset_index()
