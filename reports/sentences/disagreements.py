"""Managers' verdicts compared with the model, as text: a sheet of the workbook, the tally, and a sentence per
account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from renewals.reports.render_failures import RenderFailures
from renewals.reports.words import Messages

SHEET_COLUMNS = (
    "as_of",
    "account_name",
    "account_id",
    "csm",
    "verdict",
    "said",
    "band",
    "renewal_date",
    "right",
    "note",
)
"""Columns of the sheet, in reading order."""


def heading_keys() -> list[str]:
    """Message keys of the column headings of the sheet."""
    return [f"disagreements.{name}" for name in SHEET_COLUMNS]


def sheet_rows(disagreements: pd.DataFrame, messages: Messages, failures: RenderFailures) -> list[list[Any]]:
    """Disagreements as cells of the sheet, pending ones first; one row per list and account. Rows that cannot be shown
    are left out and counted in `failures`."""
    order = disagreements.assign(final=disagreements["correct_side"].ne("pending")).sort_values(
        ["final", "renewal_date", "as_of", "account_id"], kind="stable"
    )
    records = order.astype(object).where(order.notna(), None).to_dict("records")

    def make(row: Mapping[Any, Any]) -> list[Any]:
        return [_cell(name, row, messages) for name in SHEET_COLUMNS]

    cells = failures.render_each("workbook", "disagreements", make, records, (row["account_id"] for row in records))
    return [shown for shown in cells if shown is not None]


def _cell(name: str, row: Mapping[Any, Any], messages: Messages) -> Any:
    if name == "verdict":
        return messages.text(f"disagreements.verdict.{row[name]}")
    if name == "right":
        return messages.text(f"disagreements.right.{row['correct_side']}")
    if name == "said":
        return row["renewal_probability"]
    if name in ("as_of", "renewal_date"):
        return pd.Timestamp(row[name]).date()
    if name == "band":
        return messages.value("risk_band", row["risk_band"])
    return None if row[name] is None else str(row[name])


def tally_sentences(tally: Mapping[str, Any], messages: Messages) -> list[str]:
    """Sentences on how often the model and the managers were right: over the disagreements, and over all final
    verdicts."""
    first = messages.text(
        "disagreements.none" if not tally["disagreements"] else "disagreements.tally", **_count_fields(tally)
    )
    if tally["as_of"] is None:
        return [first]
    shares = tally["accuracy"]
    if shares["model"] is None:
        return [first, messages.text("disagreements.too_few", final=tally["final"], enough=tally["min_final"])]
    figures = {"model": shares["model"], "manager": shares["manager"], "brier": tally["brier"]}
    return [first, messages.text("disagreements.shares", final=tally["final"], **figures)]


def _count_fields(tally: Mapping[str, Any]) -> dict[str, int]:
    settled = tally["disagreements"] - tally["pending"]
    return {"all": tally["disagreements"], "settled": settled, "model": tally["model"], "manager": tally["manager"]} | {
        "verdicts": tally["verdicts"]
    }


def disagreement_sentence(row: Mapping[str, Any], messages: Messages) -> str:
    """Sentence on one account: the manager's verdict, the predicted probability, and which of them was right."""
    return messages.text(
        "disagreements.sentence",
        as_of=row["as_of"],
        csm=row["csm"] or messages.text("disagreements.someone"),
        verdict=messages.text(f"disagreements.verdict.{row['verdict']}"),
        chance=row["renewal_probability"],
        right=messages.text(f"disagreements.right.{row['correct_side']}"),
    )
