"""The columns of the risk list: the data contract, in its order, and how a table is read in their types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from renewals.features.alerts import CODES
from renewals.features.family import THEMES
from renewals.models.explanation.reasons import REASONS, STRENGTHS
from renewals.models.ranking import worklist
from renewals.models.ranking.expected_value import SLOTS
from renewals.models.ranking.playbooks import SIZE_BANDS, STAGES

TARGETS = ("renewal", "upsell", "cross_sell", "expansion")

Flags = npt.NDArray[np.bool_]
Kind = Literal["id", "date", "text", "integer", "number", "probability", "flag"]


@dataclass(frozen=True)
class Column:
    """One column of the list."""

    name: str
    kind: Kind
    required: bool = False
    """Filled in every row."""
    values: tuple[str, ...] = ()
    """The only values it may hold, where these are fixed."""
    scored_only: bool = False
    """Empty unless the account is scored."""


def _scored(name: str, kind: Kind, values: tuple[str, ...] = ()) -> Column:
    return Column(name, kind, values=values, scored_only=True)


def _reason(number: int) -> list[Column]:
    name = f"reason_{number}"
    return [
        _scored(f"{name}_feature", "text"),
        _scored(f"{name}_contribution", "number"),
        _scored(f"{name}_family", "text"),
        _scored(f"{name}_theme", "text", values=THEMES),
        _scored(f"{name}_actionable", "flag"),
    ]


ALERTS = tuple(";".join(code for k, code in enumerate(CODES) if mask >> k & 1) for mask in range(2 ** len(CODES)))
"""What the column of alerts may say: by the sum of 2 to the place of each code, the codes in their order."""

LOW, HIGH = "renewal_low", "renewal_high"

COLUMNS: tuple[Column, ...] = (
    Column("as_of", "date", required=True),
    Column("account_id", "id", required=True),
    Column("account_name", "text"),
    Column("csm", "text"),
    Column("stage", "text", required=True, values=STAGES),
    Column("size_band", "text", values=SIZE_BANDS),
    Column("renewal_date", "date", required=True),
    Column("days_to_renewal", "integer", required=True),
    Column("arr", "number"),
    Column("currency", "text"),
    Column("status", "text", required=True, values=worklist.STATUSES),
    Column("status_reason", "text"),
    _scored("renewal_probability", "probability"),
    _scored(LOW, "probability"),
    _scored(HIGH, "probability"),
    _scored("risk_band", "text", values=worklist.RISK_BANDS),
    _scored("arr_at_risk", "number"),
    _scored("upsell_probability", "probability"),
    _scored("cross_sell_probability", "probability"),
    _scored("expansion_probability", "probability"),
    _scored("quadrant", "text", values=worklist.QUADRANTS),
    _scored("rank", "integer"),
    _scored("within_capacity", "flag"),
    *(_scored(f"reason_{k}", "text") for k in range(1, REASONS + 1)),
    *(column for k in range(1, REASONS + 1) for column in _reason(k)),
    *(_scored(f"strength_{k}", "text") for k in range(1, STRENGTHS + 1)),
    *(_scored(f"playbook_{k}", "text") for k in range(1, SLOTS + 1)),
    Column("alerts", "text", values=ALERTS[1:]),
    _scored("probability_change", "number"),
    _scored("reason_change", "text"),
    Column("renewal_model", "text", required=True),
    Column("expansion_model", "text"),
)
ALWAYS = ("renewal_probability", LOW, HIGH)
"""What every scored account has."""
NAMES = tuple(column.name for column in COLUMNS)
_DTYPES: dict[str, Any] = {"integer": "Int64", "number": "float64", "probability": "float64", "flag": "boolean"}


def typed(listed: pd.DataFrame) -> pd.DataFrame:
    """Every column of the list in its order and of its type; absent ones empty; one row per row given."""
    return pd.DataFrame({column.name: read_column(listed, column)[0] for column in COLUMNS}, index=listed.index)


def read_column(rows: pd.DataFrame, column: Column) -> tuple[pd.Series, Flags]:
    """A column in its type, and the rows in which something stood that is not of it, and that are empty now."""
    values = rows.get(column.name, pd.Series(None, index=rows.index, dtype=object))
    if column.kind == "id":
        return values, np.zeros(len(values), bool)
    return _as_text(values) if column.kind == "text" else _as_type(values, column.kind)


def _as_text(values: pd.Series) -> tuple[pd.Series, Flags]:
    there = values.notna()
    texts = values.astype(object).where(there, None)
    try:
        pa.array(texts, pa.string())
    except (pa.ArrowException, UnicodeError):
        unreadable = there & ~texts.map(_is_text)
        return texts.mask(unreadable, None), unreadable.to_numpy(bool)
    return texts, np.zeros(len(texts), bool)


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and isinstance(value.encode(), bytes)
    except UnicodeError:
        return False


def _as_type(values: pd.Series, kind: str) -> tuple[pd.Series, Flags]:
    if kind == "date":
        read = pd.to_datetime(values, format="ISO8601", errors="coerce").astype("datetime64[s]")
        return read, (values.notna() & read.isna()).to_numpy(bool)
    try:
        return values.astype(_DTYPES[kind]), np.zeros(len(values), bool)
    except (TypeError, ValueError, OverflowError):
        fitting = values.map(lambda value: _fits(value, _DTYPES[kind]))
        return values.astype(object).where(fitting, None).astype(_DTYPES[kind]), ~fitting.to_numpy(bool)


def _fits(value: Any, dtype: Any) -> bool:
    try:
        return len(pd.Series([value], dtype=object).astype(dtype)) == 1
    except (TypeError, ValueError, OverflowError):
        return False
