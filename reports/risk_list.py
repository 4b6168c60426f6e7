"""The risk list: every column of the data contract, in its order, of fixed types, checked before anyone reads it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from renewals.features.alerts import CODES
from renewals.models.ranking import worklist
from renewals.models.ranking.expected_value import SLOTS
from renewals.models.ranking.playbooks import Library
from renewals.reports import row_checks
from renewals.reports.columns import ALERTS, COLUMNS, HIGH, LOW, NAMES, TARGETS, Column, typed
from renewals.reports.row_checks import STRANGENESS, BrokenListError
from renewals.reports.settings import ListOptions

SPINE = NAMES[: NAMES.index("status") + 1]
"""What the observations bring."""
_ARROW = {
    "date": pa.date32(),
    "text": pa.string(),
    "integer": pa.int32(),
    "number": pa.float64(),
    "probability": pa.float64(),
    "flag": pa.bool_(),
}


class Listed(NamedTuple):
    """A list, and what is to be said of the accounts that have no score."""

    rows: pd.DataFrame
    """The risk list."""
    reasons: pd.DataFrame
    """Why an account is not scored: one row per such account, its `account_id` and a column per language."""
    faulty: dict[str, Any]
    """How many rows break an invariant, and of each fault how many and one account."""


def risk_list(
    observations: pd.DataFrame,
    probabilities: pd.DataFrame,
    told: pd.DataFrame,
    prescribed: pd.DataFrame,
    models: Mapping[str, str],
    options: ListOptions,
) -> Listed:
    """The list in rank order, with exactly `COLUMNS`; one row per observation.

    `observations` holds the spine's columns, `status` and `alerts`; `probabilities` a column for each target that has a
    model, the interval of the renewal's, and `STRANGENESS`; `told` what `models.explanation.reasons.told` gave;
    `prescribed` the plays by name (`playbooks`), the hours of the best and its worth; all on one index. `models` names
    each target's model as `name/version`. A row that breaks an invariant has no scores and no rank. Raises
    BrokenListError where too many do, or the list as a whole breaks its contract.
    """
    rows = row_checks.set_aside(_assembled(observations, probabilities, told, prescribed, models))
    faulty = row_checks.summary(rows)
    _refuse_too_many(faulty, len(rows), options.faulty_limit)
    rows = rows.assign(**{STRANGENESS: probabilities.get(STRANGENESS)})
    why = row_checks.status_reasons(rows, options.min_history_days, options.unlike_above)
    listed = typed(rows.assign(status_reason=why[options.language]))
    worth, hours = (prescribed[name].where(listed["status"].eq(worklist.SCORED)) for name in ("worth", "hours"))
    order = placed(listed, worth, hours, options)
    listed[order.columns] = order
    listed = listed.iloc[_order(listed)].reset_index(drop=True)
    check(listed)
    return Listed(listed, why.assign(account_id=rows["account_id"]), faulty)


def _assembled(
    observations: pd.DataFrame,
    probabilities: pd.DataFrame,
    told: pd.DataFrame,
    prescribed: pd.DataFrame,
    models: Mapping[str, str],
) -> pd.DataFrame:
    """The columns that are given; one row per observation."""
    rows = pd.DataFrame({name: observations.get(name) for name in (*SPINE, row_checks.FAULT)}, index=observations.index)
    scored = rows["status"].eq(worklist.SCORED)
    chances = probabilities.reindex(columns=[*TARGETS, LOW, HIGH]).where(scored)
    rows = rows.join(chances.rename(columns={target: f"{target}_probability" for target in TARGETS}))
    rows = rows.join(told.where(scored)).join(prescribed.drop(columns=["worth", "hours"]).where(scored))
    alerts = observations.get("alerts")
    return rows.assign(alerts=alerts, renewal_model=models["renewal"], expansion_model=models.get("expansion"))


def _refuse_too_many(faulty: Mapping[str, Any], rows: int, limit: float) -> None:
    """One row is always allowed: of a short list it is more than any limit, and costs the others nothing."""
    if faulty["rows"] > max(1, limit * rows):
        each = "; ".join(
            f"{own['column']}: {own['fault']} ({own['rows']} rows, such as account {own['example']})"
            for own in faulty["faults"]
        )
        raise BrokenListError(
            f"{faulty['rows']} of {rows} rows break the list's contract, more than list.faulty_limit ({limit:.1%}) "
            f"allows: {each}"
        )


def playbooks(prescribed: pd.DataFrame, library: Library, language: str) -> pd.DataFrame:
    """The plays that `models.ranking.expected_value.prescribed` gave, by name, and what they are worth; one row per row
    given."""
    names = np.array([*(getattr(play.name, language) for play in library.plays.values()), None], object)
    named = {f"playbook_{k}": names[prescribed[f"play_{k}"].to_numpy()] for k in range(1, SLOTS + 1)}
    said = pd.DataFrame({name: pd.Series(own, prescribed.index, dtype=object) for name, own in named.items()})
    return said.join(prescribed[["hours", "worth"]])


def alert_codes(accounts: pd.Series, alerts: pd.DataFrame) -> pd.Series:
    """The codes of each account, parted by semicolons; None where no rule speaks. `alerts` has one row per code.

    A code that the list has no place for is left out.
    """
    place = pd.Index(accounts).get_indexer(pd.Index(alerts["account_id"]))
    known = pd.Index(CODES).get_indexer(pd.Index(alerts["code"]))
    there = (place >= 0) & (known >= 0)
    mask = np.bincount(place[there], 1 << known[there], len(accounts)).astype(np.int64)
    texts = np.array([None, *ALERTS[1:]], object)
    return pd.Series(texts[mask], accounts.index, dtype=object)


def placed(listed: pd.DataFrame, worth: pd.Series, hours: pd.Series, options: ListOptions) -> pd.DataFrame:
    """What follows from the probabilities and worth: band, money, group, rank; one row per row of the list."""
    renewal = listed["renewal_probability"]
    band = worklist.risk_band(renewal, options.bands.high, options.bands.medium)
    at_risk = worklist.arr_at_risk(listed["arr"], renewal)
    whose = (listed["arr"], listed["csm"], listed["account_id"])
    ranks = worklist.ranked(worth, *whose, options.capacity.of, hours, at_risk)
    groups = worklist.quadrant(band, listed["expansion_probability"], options.expansion_high)
    return ranks.assign(risk_band=band, arr_at_risk=at_risk, quadrant=groups)


def _order(listed: pd.DataFrame) -> np.ndarray:
    """Places in rank order: everyone's first, everyone's second, …; the larger sum at risk first among equals."""
    keys = pd.DataFrame(
        {
            "rank": listed["rank"].astype("float64"),
            "worth": -listed["arr_at_risk"].fillna(0.0),
            "arr": -listed["arr"].fillna(0.0),
            "key": worklist.order_key(listed["account_id"]),
        }
    ).reset_index(drop=True)
    return keys.sort_values(["rank", "worth", "arr", "key"], na_position="last", kind="stable").index.to_numpy()


def check(listed: pd.DataFrame) -> None:
    """Raises BrokenListError with every way in which the list breaks its contract.

    A fault of a single row is one too: such rows are set aside before (`reports/row_checks.py`).
    """
    if list(listed.columns) != list(NAMES):
        lost = sorted(set(listed.columns) ^ set(NAMES))
        raise BrokenListError(f"the list has other columns than its contract: {lost}")
    found = row_checks.broken(listed)
    if doubled := int(listed.duplicated(["as_of", "account_id"]).sum()):
        found.append(f"{doubled} accounts are listed twice")
    if unnamed := int(listed["account_id"].isna().sum()):
        found.append(f"account_id is empty in {unnamed} rows")
    if listed["as_of"].isna().any() or listed["as_of"].nunique() > 1:
        found.append("as_of is not one day in all rows")
    if not _ranks_are_whole(listed):
        found.append("rank does not count 1, 2, 3, … within each manager in the order of the list")
    if found:
        raise BrokenListError("the list breaks its contract: " + "; ".join(found))


def _ranks_are_whole(listed: pd.DataFrame) -> bool:
    ranked = listed[listed["rank"].notna()]
    place = ranked.groupby("csm", dropna=False, sort=False).cumcount() + 1
    return bool((ranked["rank"].astype("int64") == place).all())


def as_arrow(listed: pd.DataFrame) -> pa.Table:
    """The list with the fixed types of its contract; account ids as they were given."""
    fields = [(c.name, _arrow_type(c, listed[c.name])) for c in COLUMNS]
    return pa.Table.from_pandas(listed[list(NAMES)], schema=pa.schema(fields), preserve_index=False)


def _arrow_type(column: Column, values: pd.Series) -> pa.DataType:
    if column.kind != "id":
        return _ARROW[column.kind]
    return pa.int64() if pd.api.types.is_integer_dtype(values) else pa.string()


def as_parquet(listed: pd.DataFrame) -> bytes:
    """The list as a Parquet file; the same list gives the same bytes."""
    sink = io.BytesIO()
    pq.write_table(as_arrow(listed).replace_schema_metadata(None), sink, compression="zstd")
    return sink.getvalue()


def counts(listed: pd.DataFrame) -> dict[str, Any]:
    """How many rows of each status and risk band."""
    return {
        "rows": len(listed),
        "status": {str(k): int(v) for k, v in listed["status"].value_counts().sort_index().items()},
        "risk_band": {str(k): int(v) for k, v in listed["risk_band"].value_counts().sort_index().items()},
    }
