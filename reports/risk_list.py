"""The risk list: every column of the data contract, in its order, of fixed types, checked before anyone reads it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from renewals.features.alert_registry import ALERT_CODES
from renewals.models.ranking import worklist
from renewals.models.ranking.expected_value import MAX_PLAYS
from renewals.models.ranking.playbooks import PlaybookLibrary
from renewals.reports import row_checks
from renewals.reports.columns import (
    ALERT_COMBINATIONS,
    COLUMN_NAMES,
    COLUMNS,
    RENEWAL_HIGH,
    RENEWAL_LOW,
    TARGETS,
    ListColumn,
    cast_columns,
)
from renewals.reports.row_checks import OUT_OF_RANGE_SHARE, BrokenListError
from renewals.reports.settings import ListOptions

SPINE_COLUMNS = COLUMN_NAMES[: COLUMN_NAMES.index("status") + 1]
"""What the observations bring."""
_ARROW_TYPES = {
    "date": pa.date32(),
    "text": pa.string(),
    "integer": pa.int32(),
    "number": pa.float64(),
    "probability": pa.float64(),
    "flag": pa.bool_(),
}


class RiskList(NamedTuple):
    """A list, and what is to be said of the accounts that have no score."""

    rows: pd.DataFrame
    """The risk list."""
    not_scored_reasons: pd.DataFrame
    """Why an account is not scored: one row per such account, its `account_id` and a column per language."""
    fault_summary: dict[str, Any]
    """How many rows break an invariant, and of each fault how many and one account."""


def build_risk_list(
    observations: pd.DataFrame,
    probabilities: pd.DataFrame,
    reasons: pd.DataFrame,
    prescribed_playbooks: pd.DataFrame,
    models: Mapping[str, str],
    options: ListOptions,
) -> RiskList:
    """The list in rank order, with exactly `COLUMNS`; one row per observation.

    `observations` holds the spine's columns, `status` and `alerts`; `probabilities` a column for each target that has a
    model, the interval of the renewal's, and `STRANGENESS`; `reasons` what `models.explanation.reasons.explain_scores`
    gave; `prescribed_playbooks` the plays by name (`name_playbooks`), the hours of the best and its worth; all on one
    index. `models` names each target's model as `name/version`. A row that breaks an invariant has no scores and no
    rank. Raises BrokenListError where too many do, or the list as a whole breaks its contract.
    """
    rows = row_checks.mark_invalid_rows(
        _assemble_rows(observations, probabilities, reasons, prescribed_playbooks, models)
    )
    faulty = row_checks.summarize_faults(rows)
    _check_fault_share(faulty, len(rows), options.invalid_row_limit)
    rows = rows.assign(**{OUT_OF_RANGE_SHARE: probabilities.get(OUT_OF_RANGE_SHARE)})
    why = row_checks.status_reasons(rows, options.min_history_days, options.max_out_of_range_share)
    listed = cast_columns(rows.assign(status_reason=why[options.language]))
    worth, hours = (
        prescribed_playbooks[name].where(listed["status"].eq(worklist.SCORED)) for name in ("gain_per_hour", "hours")
    )
    order = ranking_columns(listed, worth, hours, options)
    listed[order.columns] = order
    listed = listed.iloc[_rank_order(listed)].reset_index(drop=True)
    validate_list(listed)
    return RiskList(listed, why.assign(account_id=rows["account_id"]), faulty)


def _assemble_rows(
    observations: pd.DataFrame,
    probabilities: pd.DataFrame,
    reasons: pd.DataFrame,
    prescribed_playbooks: pd.DataFrame,
    models: Mapping[str, str],
) -> pd.DataFrame:
    """The columns that are given; one row per observation."""
    rows = pd.DataFrame(
        {name: observations.get(name) for name in (*SPINE_COLUMNS, row_checks.FAULT_COLUMN)}, index=observations.index
    )
    scored = rows["status"].eq(worklist.SCORED)
    chances = probabilities.reindex(columns=[*TARGETS, RENEWAL_LOW, RENEWAL_HIGH]).where(scored)
    rows = rows.join(chances.rename(columns={target: f"{target}_probability" for target in TARGETS}))
    rows = rows.join(reasons.where(scored)).join(
        prescribed_playbooks.drop(columns=["gain_per_hour", "hours"]).where(scored)
    )
    alerts = observations.get("alerts")
    return rows.assign(alerts=alerts, renewal_model=models["renewal"], expansion_model=models.get("expansion"))


def _check_fault_share(fault_summary: Mapping[str, Any], rows: int, limit: float) -> None:
    """One row is always allowed: of a short list it is more than any limit, and costs the others nothing."""
    if fault_summary["rows"] > max(1, limit * rows):
        each = "; ".join(
            f"{own['column']}: {own['kind']} ({own['rows']} rows, such as account {own['example']})"
            for own in fault_summary["faults"]
        )
        raise BrokenListError(
            f"{fault_summary['rows']} of {rows} rows break the list's contract, more than list.invalid_row_limit "
            f"({limit:.1%}) "
            f"allows: {each}"
        )


def name_playbooks(prescribed_playbooks: pd.DataFrame, library: PlaybookLibrary, language: str) -> pd.DataFrame:
    """The plays that `models.ranking.expected_value.prescribe_playbooks` gave, by name, and what they are worth; one
    row per row given."""
    names = np.array([*(getattr(play.name, language) for play in library.plays.values()), None], object)
    named = {f"playbook_{k}": names[prescribed_playbooks[f"play_{k}"].to_numpy()] for k in range(1, MAX_PLAYS + 1)}
    said = pd.DataFrame({name: pd.Series(own, prescribed_playbooks.index, dtype=object) for name, own in named.items()})
    return said.join(prescribed_playbooks[["hours", "gain_per_hour"]])


def alert_codes(accounts: pd.Series, alerts: pd.DataFrame) -> pd.Series:
    """The codes of each account, parted by semicolons; None where no rule speaks. `alerts` has one row per code.

    A code that the list has no place for is left out.
    """
    place = pd.Index(accounts).get_indexer(pd.Index(alerts["account_id"]))
    known = pd.Index(ALERT_CODES).get_indexer(pd.Index(alerts["code"]))
    there = (place >= 0) & (known >= 0)
    mask = np.bincount(place[there], 1 << known[there], len(accounts)).astype(np.int64)
    texts = np.array([None, *ALERT_COMBINATIONS[1:]], object)
    return pd.Series(texts[mask], accounts.index, dtype=object)


def ranking_columns(
    risk_list: pd.DataFrame, gain_per_hour: pd.Series, hours: pd.Series, options: ListOptions
) -> pd.DataFrame:
    """What follows from the probabilities and worth: band, money, group, rank; one row per row of the list."""
    renewal = risk_list["renewal_probability"]
    band = worklist.risk_band(renewal, options.bands.high, options.bands.medium)
    at_risk = worklist.arr_at_risk(risk_list["arr"], renewal)
    whose = (risk_list["arr"], risk_list["csm"], risk_list["account_id"])
    ranks = worklist.rank_accounts(gain_per_hour, *whose, options.capacity.for_manager, hours, at_risk)
    groups = worklist.quadrant(band, risk_list["expansion_probability"], options.expansion_threshold)
    return ranks.assign(risk_band=band, arr_at_risk=at_risk, quadrant=groups)


def _rank_order(risk_list: pd.DataFrame) -> np.ndarray:
    """Places in rank order: everyone's first, everyone's second, …; the larger sum at risk first among equals."""
    keys = pd.DataFrame(
        {
            "rank": risk_list["rank"].astype("float64"),
            "worth": -risk_list["arr_at_risk"].fillna(0.0),
            "arr": -risk_list["arr"].fillna(0.0),
            "key": worklist.sort_key(risk_list["account_id"]),
        }
    ).reset_index(drop=True)
    return keys.sort_values(["rank", "worth", "arr", "key"], na_position="last", kind="stable").index.to_numpy()


def validate_list(risk_list: pd.DataFrame) -> None:
    """Raises BrokenListError with every way in which the list breaks its contract.

    A fault of a single row is one too: such rows are set aside before (`reports/row_checks.py`).
    """
    if list(risk_list.columns) != list(COLUMN_NAMES):
        lost = sorted(set(risk_list.columns) ^ set(COLUMN_NAMES))
        raise BrokenListError(f"the list has other columns than its contract: {lost}")
    found = row_checks.describe_violations(risk_list)
    if doubled := int(risk_list.duplicated(["as_of", "account_id"]).sum()):
        found.append(f"{doubled} accounts are listed twice")
    if unnamed := int(risk_list["account_id"].isna().sum()):
        found.append(f"account_id is empty in {unnamed} rows")
    if risk_list["as_of"].isna().any() or risk_list["as_of"].nunique() > 1:
        found.append("as_of is not one day in all rows")
    if not _ranks_are_consecutive(risk_list):
        found.append("rank does not count 1, 2, 3, … within each manager in the order of the list")
    if found:
        raise BrokenListError("the list breaks its contract: " + "; ".join(found))


def _ranks_are_consecutive(risk_list: pd.DataFrame) -> bool:
    ranked = risk_list[risk_list["rank"].notna()]
    place = ranked.groupby("csm", dropna=False, sort=False).cumcount() + 1
    return bool((ranked["rank"].astype("int64") == place).all())


def to_arrow(risk_list: pd.DataFrame) -> pa.Table:
    """The list with the fixed types of its contract; account ids as they were given."""
    fields = [(c.name, _arrow_type(c, risk_list[c.name])) for c in COLUMNS]
    return pa.Table.from_pandas(risk_list[list(COLUMN_NAMES)], schema=pa.schema(fields), preserve_index=False)


def _arrow_type(column: ListColumn, values: pd.Series) -> pa.DataType:
    if column.kind != "id":
        return _ARROW_TYPES[column.kind]
    return pa.int64() if pd.api.types.is_integer_dtype(values) else pa.string()


def to_parquet(risk_list: pd.DataFrame) -> bytes:
    """The list as a Parquet file; the same list gives the same bytes."""
    sink = io.BytesIO()
    pq.write_table(to_arrow(risk_list).replace_schema_metadata(None), sink, compression="zstd")
    return sink.getvalue()


def count_rows(risk_list: pd.DataFrame) -> dict[str, Any]:
    """How many rows of each status and risk band."""
    return {
        "rows": len(risk_list),
        "status": {str(k): int(v) for k, v in risk_list["status"].value_counts().sort_index().items()},
        "risk_band": {str(k): int(v) for k, v in risk_list["risk_band"].value_counts().sort_index().items()},
    }
