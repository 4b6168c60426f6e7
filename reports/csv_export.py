"""The risk list as CSV for spreadsheets: UTF-8 with a byte-order mark; text that could run as a formula is escaped."""

from __future__ import annotations

import pandas as pd

from renewals.reports.columns import COLUMNS
from renewals.reports.sanitize import escape_formula, make_printable

TEXT_KINDS = ("text", "id")


def to_csv(risk_list: pd.DataFrame) -> bytes:
    """Return the risk list as CSV bytes with column names as header. Text that looks like a formula gets a leading
    apostrophe; numbers are unchanged."""
    shown = risk_list.copy()
    for column in COLUMNS:
        values = shown[column.name]
        if column.kind in TEXT_KINDS and not pd.api.types.is_integer_dtype(values):
            shown[column.name] = values.map(_escape_text, na_action="ignore")
        elif column.kind == "flag":
            shown[column.name] = values.map({True: "true", False: "false"}, na_action="ignore").astype(object)
    text = shown.to_csv(index=False, date_format="%Y-%m-%d", lineterminator="\n")
    return text.encode("utf-8-sig")


def _escape_text(text: object) -> str:
    return escape_formula(make_printable(str(text)))
