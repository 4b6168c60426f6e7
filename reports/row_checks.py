"""Why an account has no score, and which rows of a list break one of its invariants.

A row that breaks one is listed without scores, and says why; the others are published. Faults that are not a row's, or
too many rows with faults, end the run (`reports/risk_list.py`).
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
from renewals.reports.sanitize import make_printable, truncate
from renewals.reports.words import MESSAGES, Messages

Flags = npt.NDArray[np.bool_]

FAULT_COLUMN = "fault"
"""The column of observations that holds the `Fault` of a row that is set aside, None for the others."""
OUT_OF_RANGE_SHARE = "out_of_range_share"
"""The column beside the probabilities: the share of an account's figures beyond what training showed."""
MAX_VALUE_LENGTH = 60
"""So many letters of a strange value are shown."""
KEY_COLUMNS = ("as_of", "account_id")
"""A row that lacks one of these is no account of the day: the list as a whole is broken."""


class BrokenListError(ValueError):
    """The list as a whole breaks its contract, or too many of its rows do."""


@dataclass(frozen=True)
class Fault:
    """How one row breaks an invariant."""

    column: str
    """The column of the list, or the feature whose figure is at fault."""
    kind: str
    """The key of its words, `status_reason.<kind>`."""
    value: str = ""
    """What stood there."""
    family: str = ""
    """The family of the feature, where it is one."""

    def sentence(self, messages: Messages) -> str:
        """Why the account is not scored."""
        about = messages.value("family", self.family) if self.family else messages.heading(self.column)
        return messages.text(f"status_reason.{self.kind}", about=about, value=self.value)


class InvariantViolation(NamedTuple):
    """One invariant of one column, and the rows that break it."""

    column: ListColumn
    kind: str
    rows: Flags


# --- invariants -------------------------------------------------------------------------------------


def mark_invalid_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows; those that break an invariant without scores and without what is at fault; one row per row given.

    Their `status` is not_scored and `FAULT_COLUMN` says why. Rows may lack columns of the list: only those there are
    looked at. What a row must have stands empty where it is at fault: nothing is put in its place.
    """
    found = list(_find_violations(rows))
    if not found:
        return rows
    why = rows[FAULT_COLUMN].to_numpy(object, copy=True) if FAULT_COLUMN in rows else np.full(len(rows), None, object)
    for breach in reversed(found):  # of several faults of a row the first is told
        for place in np.flatnonzero(breach.rows).tolist():
            why[place] = _build_fault(rows, breach, place)
    emptied = {own.column.name: rows[own.column.name].mask(own.rows) for own in found}
    is_broken = np.logical_or.reduce([own.rows for own in found])
    status = (emptied.get("status", rows["status"])).mask(is_broken, worklist.NOT_SCORED)
    told: dict[str, Any] = {**emptied, "status": status, FAULT_COLUMN: why}
    return clear_unscored_rows(rows.assign(**told))


def clear_unscored_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, what only a scored account has emptied in the others; one row per row given."""
    scored = rows["status"].eq(worklist.SCORED)
    names = [column.name for column in COLUMNS if column.scored_only and column.name in rows]
    return rows.assign(**{name: rows[name].where(scored) for name in names})


def _build_fault(rows: pd.DataFrame, violation: InvariantViolation, position: int) -> Fault:
    value = rows[violation.column.name].iloc[position]
    return Fault(
        violation.column.name, violation.kind, truncate(make_printable(_to_text(value)), MAX_VALUE_LENGTH, "…")
    )


def _to_text(value: Any) -> str:
    try:
        return str(value).encode("utf-8", "replace").decode()
    except Exception:  # whatever stands there may not end the run
        return type(value).__name__


def describe_violations(risk_list: pd.DataFrame) -> list[str]:
    """Every invariant that some row of the list breaks, and how many do."""
    return [f"{own.column.name}: {own.kind} ({own.rows.sum()} rows)" for own in _find_violations(risk_list)]


def _find_violations(rows: pd.DataFrame) -> Iterator[InvariantViolation]:
    """The invariants of single rows that are broken, in the order of the columns."""
    scored = rows["status"].eq(worklist.SCORED).to_numpy(bool)
    listed = rows["status"].ne(worklist.NOT_SCORED).to_numpy(bool)
    for column in COLUMNS:
        if column.name in rows and column.name not in KEY_COLUMNS:
            for kind, broken in _check_column(rows, column, scored, listed).items():
                if broken.any():
                    yield InvariantViolation(column, kind, broken)


def _check_column(rows: pd.DataFrame, column: ListColumn, is_scored: Flags, is_listed: Flags) -> dict[str, Flags]:
    """Of each invariant of a column the rows that break it."""
    values, unreadable = cast_column(rows, column)
    tests = {"unreadable": unreadable}
    if column.required:
        tests["empty"] = values.isna().to_numpy(bool) & ~unreadable & is_listed
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
    if column.name == RENEWAL_HIGH and {*REQUIRED_SCORES} <= {*rows.columns}:
        tests["outside_interval"] = is_scored & ~_is_inside_interval(rows)
    return tests


def _find_filled(values: pd.Series, mask: Flags) -> Flags:
    """The rows among some in which anything stands; most columns are of texts, and few rows are asked of."""
    found = np.zeros(len(values), bool)
    found[mask] = values[mask].notna()
    return found


def _is_inside_interval(rows: pd.DataFrame) -> Flags:
    """Whether the chance lies within its interval; what is missing or no probability is another fault."""
    chance, low, high = (pd.to_numeric(rows[name], errors="coerce").to_numpy(np.float64) for name in REQUIRED_SCORES)
    return ~((chance < low) | (chance > high))


# --- in words ---------------------------------------------------------------------------------------


def status_reasons(rows: pd.DataFrame, min_history_days: int, max_out_of_range: float) -> pd.DataFrame:
    """Why an account is not scored, a column per language; one row per row that is not.

    `rows` has `status`, `FAULT_COLUMN` and `OUT_OF_RANGE_SHARE`; `min_history_days` is for how many days an account
    must have been there, and `max_out_of_range` the share of strange figures allowed.
    """
    own = rows[rows["status"].ne(worklist.SCORED)]
    standing = list(zip(own["status"], own[FAULT_COLUMN], own[OUT_OF_RANGE_SHARE], strict=True))
    told = {
        language: [_status_reason(*one, min_history_days, max_out_of_range, Messages(language)) for one in standing]
        for language in MESSAGES
    }
    return pd.DataFrame(told, index=own.index, dtype=object)


def _status_reason(
    status: str,
    fault: Fault | None,
    out_of_range_share: float,
    min_history_days: int,
    max_out_of_range: float,
    messages: Messages,
) -> str:
    if isinstance(fault, Fault):
        return fault.sentence(messages)
    if status == worklist.UNLIKE_TRAINING:
        return messages.text("status_reason.unlike_training", share=out_of_range_share, most=max_out_of_range)
    return messages.text("status_reason.too_little_history", days=min_history_days)


def summarize_faults(rows: pd.DataFrame) -> dict[str, Any]:
    """How many rows are at fault, and of each fault how many, and the id of one account."""
    told = rows[rows[FAULT_COLUMN].notna()] if FAULT_COLUMN in rows else rows.iloc[:0].assign(**{FAULT_COLUMN: None})
    kinds = told[FAULT_COLUMN].map(lambda fault: (fault.column, fault.kind))
    each = [
        {"column": column, "kind": kind, "rows": len(own), "example": min(own.astype(str))}
        for (column, kind), own in sorted(told["account_id"].groupby(kinds, sort=False))
    ]
    return {"rows": len(told), "faults": each}
