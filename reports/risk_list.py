"""The risk list: all columns of the data contract, in order and with fixed types, validated before it is published."""

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
from renewals.models.settings import RENEWAL
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
"""Columns that come with the observations."""
_ARROW_TYPES = {
    "date": pa.date32(),
    "text": pa.string(),
    "integer": pa.int32(),
    "number": pa.float64(),
    "probability": pa.float64(),
    "flag": pa.bool_(),
}


class RiskList(NamedTuple):
    """A risk list, and the reasons why accounts have no score."""

    rows: pd.DataFrame
    """The risk list."""
    not_scored_reasons: pd.DataFrame
    """Why a row is not scored: one row per such row, with `account_id`, `renewal_id` and one column per language."""
    fault_summary: dict[str, Any]
    """The number of rows that break an invariant, and for each fault its number of rows and one example account."""


def build_risk_list(
    observations: pd.DataFrame,
    probabilities: pd.DataFrame,
    reasons: pd.DataFrame,
    prescribed_playbooks: pd.DataFrame,
    models: Mapping[str, str],
    options: ListOptions,
) -> RiskList:
    """Build the risk list in rank order, with exactly `COLUMNS`; one row per renewal or other customer.

    All tables share one index. `observations` holds the spine's columns, `status` and `alerts`. `probabilities` holds a
    column for each target that has a model, the interval of the renewal probability, and `OUT_OF_RANGE_SHARE`.
    `observations` also holds `unscored_worth`, by which rows are ranked where there is no model. `reasons` is the
    result of `models.explanation.reasons.explain_scores`. `prescribed_playbooks` holds the playbooks by name
    (`name_playbooks`), and the hours and the gain per hour of the best one. `models` gives each target's model as
    `name/version`.

    A row that breaks an invariant gets no scores and no rank. Raises BrokenListError if too many rows do, or if the
    list as a whole breaks its contract.
    """
    rows = row_checks.mark_invalid_rows(
        _assemble_rows(observations, probabilities, reasons, prescribed_playbooks, models)
    )
    faulty = row_checks.summarize_faults(rows)
    _check_fault_share(faulty, len(rows), options.invalid_row_limit)
    rows = rows.assign(**{OUT_OF_RANGE_SHARE: probabilities.get(OUT_OF_RANGE_SHARE)})
    reason_texts = row_checks.status_reasons(rows, options.min_history_days, options.max_out_of_range_share)
    listed = cast_columns(rows.assign(status_reason=reason_texts[options.language]))
    gain_per_hour, hours = (
        prescribed_playbooks[name].where(listed["status"].eq(worklist.SCORED)) for name in ("gain_per_hour", "hours")
    )
    if "unscored_worth" in observations:
        is_unscored = listed["status"].eq(worklist.NO_MODEL)
        gain_per_hour = gain_per_hour.where(~is_unscored, observations["unscored_worth"])
    ranking = ranking_columns(listed, gain_per_hour, hours, options)
    listed[ranking.columns] = ranking
    listed = listed.iloc[_rank_order(listed)].reset_index(drop=True)
    validate_list(listed)
    return RiskList(listed, reason_texts.assign(**{name: rows[name] for name in ("account_id", "renewal_id")}), faulty)


def _assemble_rows(
    observations: pd.DataFrame,
    probabilities: pd.DataFrame,
    reasons: pd.DataFrame,
    prescribed_playbooks: pd.DataFrame,
    models: Mapping[str, str],
) -> pd.DataFrame:
    """Join the input columns of the list, one row per observation. Values for scored accounts are empty in other
    rows."""
    rows = pd.DataFrame(
        {name: observations.get(name) for name in (*SPINE_COLUMNS, row_checks.FAULT_COLUMN)}, index=observations.index
    )
    scored = rows["status"].eq(worklist.SCORED)
    scores = probabilities.reindex(columns=[*TARGETS, RENEWAL_LOW, RENEWAL_HIGH])
    of_renewal = [RENEWAL, RENEWAL_LOW, RENEWAL_HIGH]
    scores = scores.where(rows["status"].ne(worklist.NOT_SCORED)).assign(**scores[of_renewal].where(scored))
    rows = rows.join(scores.rename(columns={target: f"{target}_probability" for target in TARGETS}))
    rows = rows.join(reasons.where(scored)).join(
        prescribed_playbooks.drop(columns=["gain_per_hour", "hours"]).where(scored)
    )
    alerts = observations.get("alerts")
    return rows.assign(
        health=observations.get("health"),
        alerts=alerts,
        renewal_model=models.get(RENEWAL),
        expansion_model=models.get("expansion"),
    )


def _check_fault_share(fault_summary: Mapping[str, Any], rows: int, limit: float) -> None:
    """Raise BrokenListError if too many rows are faulty. One faulty row is always allowed: in a short list it would
    exceed any limit, and it does not affect the other rows."""
    if fault_summary["rows"] > max(1, limit * rows):
        details = "; ".join(
            f"{fault['column']}: {fault['kind']} ({fault['rows']} rows, such as account {fault['example']})"
            for fault in fault_summary["faults"]
        )
        raise BrokenListError(
            f"{fault_summary['rows']} of {rows} rows break the list's contract, more than list.invalid_row_limit "
            f"({limit:.1%}) "
            f"allows: {details}"
        )


def name_playbooks(prescribed_playbooks: pd.DataFrame, library: PlaybookLibrary, language: str) -> pd.DataFrame:
    """Replace playbook ids by their names in one language; keep `hours` and `gain_per_hour`. One row per input row.

    `prescribed_playbooks` is the result of `models.ranking.expected_value.prescribe_playbooks`.
    """
    names = np.array([*(getattr(playbook.name, language) for playbook in library.plays.values()), None], object)
    columns = {f"playbook_{k}": names[prescribed_playbooks[f"play_{k}"].to_numpy()] for k in range(1, MAX_PLAYS + 1)}
    table = pd.DataFrame(
        {name: pd.Series(values, prescribed_playbooks.index, dtype=object) for name, values in columns.items()}
    )
    return table.join(prescribed_playbooks[["hours", "gain_per_hour"]])


def alert_codes(accounts: pd.Series, alerts: pd.DataFrame) -> pd.Series:
    """Alert codes of each row's account, joined by semicolons; None for accounts without an alert.

    `alerts` has one row per account and code. Codes that are not in `ALERT_CODES` and alerts of accounts that are not
    listed are left out.
    """
    row_account, ids = pd.factorize(accounts)
    account_position = pd.Index(ids).get_indexer(pd.Index(alerts["account_id"]))
    code_position = pd.Index(ALERT_CODES).get_indexer(pd.Index(alerts["code"]))
    known = (account_position >= 0) & (code_position >= 0)
    mask = np.bincount(account_position[known], 1 << code_position[known], len(ids)).astype(np.int64)
    texts = np.array([None, *ALERT_COMBINATIONS[1:]], object)
    return pd.Series(texts[mask][row_account], accounts.index, dtype=object)


def ranking_columns(
    risk_list: pd.DataFrame, gain_per_hour: pd.Series, hours: pd.Series, options: ListOptions
) -> pd.DataFrame:
    """Compute `rank`, `within_capacity`, `risk_band`, `arr_at_risk` and `quadrant`; one row per row of the list.

    Of equal scores the larger ARR at risk comes first; without a probability, the earlier decision.
    """
    renewal = risk_list["renewal_probability"]
    band = worklist.risk_band(renewal, options.bands.high, options.bands.medium)
    at_risk = worklist.arr_at_risk(risk_list["arr"], renewal)
    portfolio = (risk_list["arr"], risk_list["csm"], risk_list["account_id"])
    ties = at_risk.fillna(-risk_list["days_to_decision"].astype("float64"))
    ranks = worklist.rank_accounts(gain_per_hour, *portfolio, options.capacity.for_manager, hours, ties)
    groups = worklist.quadrant(band, risk_list["expansion_probability"], options.expansion_threshold)
    return ranks.assign(risk_band=band, arr_at_risk=at_risk, quadrant=groups)


def _rank_order(risk_list: pd.DataFrame) -> np.ndarray:
    """Row positions in rank order: the first rank of every manager, then every second rank, and so on. Rows of equal
    rank are ordered by ARR at risk, largest first; rows without a rank by status, then by ARR."""
    places = {status: place for place, status in enumerate(worklist.STATUSES)}
    keys = pd.DataFrame(
        {
            "rank": risk_list["rank"].astype("float64"),
            "status": risk_list["status"].map(places),
            "arr_at_risk": -risk_list["arr_at_risk"].fillna(0.0),
            "arr": -risk_list["arr"].fillna(0.0),
            "key": worklist.sort_key(risk_list["account_id"]),
            "renewal_id": risk_list["renewal_id"],
        }
    ).reset_index(drop=True)
    return keys.sort_values(
        ["rank", "status", "arr_at_risk", "arr", "key", "renewal_id"], na_position="last", kind="stable"
    ).index.to_numpy()


def validate_list(risk_list: pd.DataFrame) -> None:
    """Check the finished list; raise BrokenListError with every violation of its contract.

    Faults of single rows are violations too: such rows must have lost their scores before (`reports/row_checks.py`).
    """
    if list(risk_list.columns) != list(COLUMN_NAMES):
        differences = sorted(set(risk_list.columns) ^ set(COLUMN_NAMES))
        raise BrokenListError(
            f"the columns of the list differ from its contract: {differences} are missing or unexpected"
        )
    violations = row_checks.describe_violations(risk_list)
    if duplicates := int(risk_list["renewal_id"].duplicated().sum()):
        violations.append(f"{duplicates} renewals are listed twice")
    if without_id := int(risk_list["account_id"].isna().sum()):
        violations.append(f"account_id is empty in {without_id} rows")
    if risk_list["as_of"].isna().any() or risk_list["as_of"].nunique() > 1:
        violations.append("as_of is missing or differs between rows")
    if not _ranks_are_consecutive(risk_list):
        violations.append("rank is not 1, 2, 3, … within each manager in the order of the list")
    if violations:
        raise BrokenListError("the list breaks its contract: " + "; ".join(violations))


def _ranks_are_consecutive(risk_list: pd.DataFrame) -> bool:
    ranked = risk_list[risk_list["rank"].notna()]
    expected = ranked.groupby("csm", dropna=False, sort=False).cumcount() + 1
    return bool((ranked["rank"].astype("int64") == expected).all())


def to_arrow(risk_list: pd.DataFrame) -> pa.Table:
    """Convert the list to an Arrow table with the fixed types of its contract; account ids keep their type, integer or
    text."""
    fields = [(c.name, _arrow_type(c, risk_list[c.name])) for c in COLUMNS]
    return pa.Table.from_pandas(risk_list[list(COLUMN_NAMES)], schema=pa.schema(fields), preserve_index=False)


def _arrow_type(column: ListColumn, values: pd.Series) -> pa.DataType:
    if column.kind != "id":
        return _ARROW_TYPES[column.kind]
    return pa.int64() if pd.api.types.is_integer_dtype(values) else pa.string()


def to_parquet(risk_list: pd.DataFrame) -> bytes:
    """Return the list as the bytes of a Parquet file; the same list gives the same bytes."""
    sink = io.BytesIO()
    pq.write_table(to_arrow(risk_list).replace_schema_metadata(None), sink, compression="zstd")
    return sink.getvalue()


def count_rows(risk_list: pd.DataFrame) -> dict[str, Any]:
    """Number of rows in total, by status and by risk band."""
    return {
        "rows": len(risk_list),
        "status": {str(k): int(v) for k, v in risk_list["status"].value_counts().sort_index().items()},
        "risk_band": {str(k): int(v) for k, v in risk_list["risk_band"].value_counts().sort_index().items()},
    }
