"""Columns of the risk list: their names, types and allowed values as in the data contract, and casts to these types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from renewals.features.alert_registry import ALERT_CODES
from renewals.features.family import THEMES
from renewals.models.explanation.reasons import REASON_COUNT, STRENGTH_COUNT
from renewals.models.ranking import worklist
from renewals.models.ranking.expected_value import MAX_PLAYS
from renewals.models.ranking.health import HEALTH
from renewals.models.ranking.playbooks import SIZE_BANDS, STAGES

TARGETS = ("renewal", "upsell", "cross_sell", "expansion")

Flags = npt.NDArray[np.bool_]
ColumnKind = Literal["id", "date", "text", "integer", "number", "probability", "flag"]


@dataclass(frozen=True)
class ListColumn:
    """One column of the risk list: its name, type and constraints."""

    name: str
    kind: ColumnKind
    required: bool = False
    """True if every row must have a value."""
    required_when_due: bool = False
    """True if every row with a renewal date must have one: all but customers of whom nothing is due."""
    values: tuple[str, ...] = ()
    """The allowed values; empty if any value is allowed."""
    scored_only: bool = False
    """True if only scored rows may have a value."""
    ranked_only: bool = False
    """True if only ranked rows, scored or not, may have a value."""
    predicted: bool = False
    """True if rows that break an invariant may have no value."""


def _scored_column(name: str, kind: ColumnKind, values: tuple[str, ...] = ()) -> ListColumn:
    return ListColumn(name, kind, values=values, scored_only=True)


def _reason_columns(number: int) -> list[ListColumn]:
    name = f"reason_{number}"
    return [
        _scored_column(f"{name}_feature", "text"),
        _scored_column(f"{name}_contribution", "number"),
        _scored_column(f"{name}_family", "text"),
        _scored_column(f"{name}_theme", "text", values=THEMES),
        _scored_column(f"{name}_actionable", "flag"),
    ]


ALERT_COMBINATIONS = tuple(
    ";".join(code for k, code in enumerate(ALERT_CODES) if mask >> k & 1) for mask in range(2 ** len(ALERT_CODES))
)
"""Allowed values of the column `alerts`, indexed by bit mask: bit k is set if the k-th code of `ALERT_CODES` is
present."""

RENEWAL_LOW, RENEWAL_HIGH = "renewal_low", "renewal_high"

COLUMNS: tuple[ListColumn, ...] = (
    ListColumn("as_of", "date", required=True),
    ListColumn("account_id", "id", required=True),
    ListColumn("account_name", "text"),
    ListColumn("csm", "text"),
    ListColumn("stage", "text", required=True, values=STAGES),
    ListColumn("size_band", "text", values=SIZE_BANDS),
    ListColumn("renewal_id", "text", required=True),
    ListColumn("is_main", "flag", required=True),
    ListColumn("renewal_date", "date", required_when_due=True),
    ListColumn("days_to_renewal", "integer", required_when_due=True),
    ListColumn("notice_date", "date"),
    ListColumn("decision_date", "date", required_when_due=True),
    ListColumn("days_to_decision", "integer", required_when_due=True),
    ListColumn("products", "text"),
    ListColumn("arr", "number"),
    ListColumn("account_arr", "number"),
    ListColumn("currency", "text"),
    ListColumn("contract_amount", "number"),
    ListColumn("contract_currency", "text"),
    ListColumn("signed", "flag", required=True),
    ListColumn("status", "text", required=True, values=worklist.STATUSES),
    ListColumn("status_reason", "text"),
    _scored_column("renewal_probability", "probability"),
    _scored_column(RENEWAL_LOW, "probability"),
    _scored_column(RENEWAL_HIGH, "probability"),
    _scored_column("risk_band", "text", values=worklist.RISK_BANDS),
    _scored_column("arr_at_risk", "number"),
    ListColumn("upsell_probability", "probability", predicted=True),
    ListColumn("cross_sell_probability", "probability", predicted=True),
    ListColumn("expansion_probability", "probability", predicted=True),
    _scored_column("quadrant", "text", values=worklist.QUADRANTS),
    ListColumn("health", "text", values=HEALTH),
    ListColumn("rank", "integer", ranked_only=True),
    ListColumn("within_capacity", "flag", ranked_only=True),
    *(_scored_column(f"reason_{k}", "text") for k in range(1, REASON_COUNT + 1)),
    *(column for k in range(1, REASON_COUNT + 1) for column in _reason_columns(k)),
    *(_scored_column(f"strength_{k}", "text") for k in range(1, STRENGTH_COUNT + 1)),
    *(_scored_column(f"playbook_{k}", "text") for k in range(1, MAX_PLAYS + 1)),
    ListColumn("alerts", "text", values=ALERT_COMBINATIONS[1:]),
    _scored_column("probability_change", "number"),
    _scored_column("reason_change", "text"),
    ListColumn("renewal_model", "text"),
    ListColumn("expansion_model", "text"),
)
REQUIRED_SCORES = ("renewal_probability", RENEWAL_LOW, RENEWAL_HIGH)
"""Columns that must have a value for every scored account."""
COLUMN_NAMES = tuple(column.name for column in COLUMNS)
_DTYPES: dict[str, Any] = {"integer": "Int64", "number": "float64", "probability": "float64", "flag": "boolean"}


def cast_columns(risk_list: pd.DataFrame) -> pd.DataFrame:
    """Cast all columns of the list to their types, in contract order; missing columns are empty. One row per input
    row."""
    return pd.DataFrame({column.name: cast_column(risk_list, column)[0] for column in COLUMNS}, index=risk_list.index)


def cast_column(rows: pd.DataFrame, column: ListColumn) -> tuple[pd.Series, Flags]:
    """Cast one column to its type; also return a mask of the rows that had a value which could not be cast and is now
    empty."""
    values = rows.get(column.name, pd.Series(None, index=rows.index, dtype=object))
    if column.kind == "id":
        return values, np.zeros(len(values), bool)
    return _cast_text(values) if column.kind == "text" else _cast_type(values, column.kind)


def _cast_text(values: pd.Series) -> tuple[pd.Series, Flags]:
    present = values.notna()
    texts = values.astype(object).where(present, None)
    try:
        pa.array(texts, pa.string())
    except (pa.ArrowException, UnicodeError):
        unreadable = present & ~texts.map(_is_text)
        return texts.mask(unreadable, None), unreadable.to_numpy(bool)
    return texts, np.zeros(len(texts), bool)


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and isinstance(value.encode(), bytes)
    except UnicodeError:
        return False


def _cast_type(values: pd.Series, kind: str) -> tuple[pd.Series, Flags]:
    if kind == "date":
        dates = pd.to_datetime(values, format="ISO8601", errors="coerce").astype("datetime64[s]")
        return dates, (values.notna() & dates.isna()).to_numpy(bool)
    try:
        return values.astype(_DTYPES[kind]), np.zeros(len(values), bool)
    except (TypeError, ValueError, OverflowError):
        castable = values.map(lambda value: _is_castable(value, _DTYPES[kind]))
        return values.astype(object).where(castable, None).astype(_DTYPES[kind]), ~castable.to_numpy(bool)


def _is_castable(value: Any, dtype: Any) -> bool:
    try:
        return len(pd.Series([value], dtype=object).astype(dtype)) == 1
    except (TypeError, ValueError, OverflowError):
        return False
