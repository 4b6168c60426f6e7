"""Checks of single rows of the list, and the reasons why accounts have no score.

A row that breaks an invariant is listed without scores but with the reason; the other rows are published. The run ends
with an error if too many rows are faulty, or if the list as a whole is (`reports/risk_list.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models.ranking import worklist
from renewals.reports.columns import COLUMNS, RENEWAL_HIGH, REQUIRED_SCORES, ListColumn, cast_column
from renewals.reports.family_names import family_name
from renewals.reports.sanitize import make_printable, truncate
from renewals.reports.words import MESSAGES, Messages

Flags = npt.NDArray[np.bool_]

FAULT_COLUMN = "fault"
"""Column of the observations with the `Fault` of a row that is not scored because of it; None in the other rows."""
OUT_OF_RANGE_SHARE = "out_of_range_share"
"""Column next to the probabilities: the share of an account's feature values outside the range of the training rows."""
MAX_VALUE_LENGTH = 60
"""An invalid value is shown with at most this many characters."""
KEY_COLUMNS = ("as_of", "account_id")
"""Columns without which a row is no account of the day; if one is empty, the list as a whole is invalid."""


class BrokenListError(ValueError):
    """The list as a whole breaks its contract, or too many of its rows do."""


@dataclass(frozen=True)
class Fault:
    """The invariant that one row breaks, with the column and the invalid value."""

    column: str
    """The column of the list or the feature with the invalid value."""
    kind: str
    """Kind of the fault; its text has the key `status_reason.<kind>`."""
    value: str = ""
    """The invalid value as text."""
    family: str = ""
    """Family of the feature; empty if the fault is in a column of the list."""

    def sentence(self, messages: Messages) -> str:
        """Sentence that explains why the account is not scored."""
        about = family_name(self.family, messages) if self.family else messages.heading(self.column)
        return messages.text(f"status_reason.{self.kind}", about=about, value=self.value)


class InvariantViolation(NamedTuple):
    """One invariant of one column, and a mask of the rows that break it."""

    column: ListColumn
    kind: str
    rows: Flags


# --- invariants -------------------------------------------------------------------------------------


def mark_invalid_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Set rows that break an invariant to not_scored and clear their scores and invalid values; one row per input row.

    `FAULT_COLUMN` holds the fault of each such row. Only the columns present are checked; `rows` may lack columns of
    the list. A required value that is invalid becomes empty: it is not replaced by another value.
    """
    violations = list(_find_violations(rows))
    if not violations:
        return rows
    faults = (
        rows[FAULT_COLUMN].to_numpy(object, copy=True) if FAULT_COLUMN in rows else np.full(len(rows), None, object)
    )
    for violation in reversed(violations):  # the first of several faults of a row is reported
        for position in np.flatnonzero(violation.rows).tolist():
            faults[position] = _build_fault(rows, violation, position)
    emptied = {violation.column.name: rows[violation.column.name].mask(violation.rows) for violation in violations}
    is_broken = np.logical_or.reduce([violation.rows for violation in violations])
    status = (emptied.get("status", rows["status"])).mask(is_broken, worklist.NOT_SCORED)
    changes: dict[str, Any] = {**emptied, "status": status, FAULT_COLUMN: faults}
    return clear_unscored_rows(rows.assign(**changes))


def clear_unscored_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Empty the columns that only scored accounts may have in all other rows; one row per input row."""
    status = rows["status"]
    may_have = {
        "scored_only": status.eq(worklist.SCORED),
        "ranked_only": status.isin(worklist.RANKED),
        "predicted": status.ne(worklist.NOT_SCORED),
    }
    emptied = {
        column.name: rows[column.name].where(allowed)
        for constraint, allowed in may_have.items()
        for column in COLUMNS
        if getattr(column, constraint) and column.name in rows
    }
    return rows.assign(**emptied)


def _build_fault(rows: pd.DataFrame, violation: InvariantViolation, position: int) -> Fault:
    value = rows[violation.column.name].iloc[position]
    return Fault(
        violation.column.name, violation.kind, truncate(make_printable(_to_text(value)), MAX_VALUE_LENGTH, "…")
    )


def _to_text(value: Any) -> str:
    try:
        return str(value).encode("utf-8", "replace").decode()
    except Exception:  # no value, whatever its type, may end the run
        return type(value).__name__


def describe_violations(risk_list: pd.DataFrame) -> list[str]:
    """Describe every broken invariant with its column, its kind and the number of rows; one text per violation."""
    return [
        f"{violation.column.name}: {violation.kind} ({violation.rows.sum()} rows)"
        for violation in _find_violations(risk_list)
    ]


def _find_violations(rows: pd.DataFrame) -> Iterator[InvariantViolation]:
    """Yield the violations of invariants of single rows, in the order of the columns."""
    scored = rows["status"].eq(worklist.SCORED).to_numpy(bool)
    listed = rows["status"].ne(worklist.NOT_SCORED).to_numpy(bool)
    for column in COLUMNS:
        if column.name in rows and column.name not in KEY_COLUMNS:
            for kind, broken in _check_column(rows, column, scored, listed).items():
                if broken.any():
                    yield InvariantViolation(column, kind, broken)


def _check_column(rows: pd.DataFrame, column: ListColumn, is_scored: Flags, is_listed: Flags) -> dict[str, Flags]:
    """Masks of the rows that break each invariant of a column, by kind of violation."""
    values, unreadable = cast_column(rows, column)
    tests = {"unreadable": unreadable}
    if column.required:
        tests["empty"] = values.isna().to_numpy(bool) & ~unreadable & is_listed
    if column.required_when_due:
        is_due = rows["status"].ne(worklist.NOT_DUE).to_numpy(bool)
        tests["empty"] = values.isna().to_numpy(bool) & ~unreadable & is_listed & is_due
    if column.values:
        tests["unknown_value"] = values.notna().to_numpy(bool) & ~values.isin(column.values).to_numpy(bool)
    if column.kind == "probability":
        tests["not_a_probability"] = values.notna().to_numpy(bool) & ~values.between(0, 1).to_numpy(bool)
    if column.kind == "number":
        tests["not_finite"] = np.isinf(values.to_numpy(np.float64))
    if column.name in REQUIRED_SCORES:
        tests["no_probability"] = values.isna().to_numpy(bool) & ~unreadable & is_scored
    if column.scored_only:
        tests["not_scored_filled"] = _find_filled(values, ~is_scored)
    if column.ranked_only:
        tests["not_scored_filled"] = _find_filled(values, ~rows["status"].isin(worklist.RANKED).to_numpy(bool))
    if column.name == RENEWAL_HIGH and {*REQUIRED_SCORES} <= {*rows.columns}:
        tests["outside_interval"] = is_scored & ~_is_inside_interval(rows)
    return tests


def _find_filled(values: pd.Series, mask: Flags) -> Flags:
    """Mask of the rows within `mask` that have a value. Only these are looked at: they are few, and most columns are
    text."""
    filled = np.zeros(len(values), bool)
    filled[mask] = values[mask].notna()
    return filled


def _is_inside_interval(rows: pd.DataFrame) -> Flags:
    """Mask of the rows with their probability inside its interval; missing or invalid numbers are another kind of fault
    and count as inside."""
    chance, low, high = (pd.to_numeric(rows[name], errors="coerce").to_numpy(np.float64) for name in REQUIRED_SCORES)
    return ~((chance < low) | (chance > high))


# --- reasons as text ---------------------------------------------------------------------------------


def status_reasons(rows: pd.DataFrame, min_history_days: int, max_out_of_range: float) -> pd.DataFrame:
    """Reasons why rows have no score: one row per row without one, one column per language.

    `rows` has `status`, `FAULT_COLUMN` and `OUT_OF_RANGE_SHARE`. `min_history_days` is the required age of an account
    in days, and `max_out_of_range` the largest share of out-of-range feature values that is scored.
    """
    unscored = rows[rows["status"].ne(worklist.SCORED)]
    texts = {
        language: [
            _status_reason(row, min_history_days, max_out_of_range, Messages(language))
            for row in unscored[["status", FAULT_COLUMN, OUT_OF_RANGE_SHARE]].itertuples(index=False)
        ]
        for language in MESSAGES
    }
    return pd.DataFrame(texts, index=unscored.index, dtype=object)


def _status_reason(row: Any, min_history_days: int, max_out_of_range: float, messages: Messages) -> str:
    if isinstance(row.fault, Fault):
        return row.fault.sentence(messages)
    if row.status == worklist.UNLIKE_TRAINING:
        return messages.text("status_reason.unlike_training", share=row.out_of_range_share, most=max_out_of_range)
    if row.status == worklist.TOO_LITTLE_HISTORY:
        return messages.text("status_reason.too_little_history", days=min_history_days)
    return messages.text(f"status_reason.{row.status}")


def summarize_faults(rows: pd.DataFrame) -> dict[str, Any]:
    """Count the faulty rows in total and per fault (column and kind), each with the id of one example account."""
    faulty = rows[rows[FAULT_COLUMN].notna()] if FAULT_COLUMN in rows else rows.iloc[:0].assign(**{FAULT_COLUMN: None})
    kinds = faulty[FAULT_COLUMN].map(lambda fault: (fault.column, fault.kind))
    faults = [
        {"column": column, "kind": kind, "rows": len(accounts), "example": min(accounts.astype(str))}
        for (column, kind), accounts in sorted(faulty["account_id"].groupby(kinds, sort=False))
    ]
    return {"rows": len(faulty), "faults": faults}
