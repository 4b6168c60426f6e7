"""Model against manager in words: the sheet of the workbook, the tally, and what is said of one account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from renewals.reports.render_failures import Losses
from renewals.reports.words import Words

COLUMNS = ("as_of", "account_name", "account_id", "csm", "verdict", "said", "band", "renewal_date", "right", "note")
"""The sheet's columns, in reading order."""


def headings() -> list[str]:
    """The keys of the words over the columns."""
    return [f"apart.{name}" for name in COLUMNS]


def rows(apart: pd.DataFrame, words: Words, losses: Losses) -> list[list[Any]]:
    """The disagreements as cells, what is pending first; one row per list and account that can be shown."""
    order = apart.assign(final=apart["right"].ne("pending")).sort_values(
        ["final", "renewal_date", "as_of", "account_id"], kind="stable"
    )
    told = order.astype(object).where(order.notna(), None).to_dict("records")

    def make(row: Mapping[Any, Any]) -> list[Any]:
        return [_cell(name, row, words) for name in COLUMNS]

    cells = losses.each("workbook", "disagreements", make, told, (row["account_id"] for row in told))
    return [own for own in cells if own is not None]


def _cell(name: str, row: Mapping[Any, Any], words: Words) -> Any:
    if name in ("verdict", "right"):
        return words.say(f"apart.{name}.{row[name]}")
    if name == "said":
        return row["renewal_probability"]
    if name in ("as_of", "renewal_date"):
        return pd.Timestamp(row[name]).date()
    if name == "band":
        return words.value("risk_band", row["risk_band"])
    return None if row[name] is None else str(row[name])


def tally(told: Mapping[str, Any], words: Words) -> list[str]:
    """Who was right so far, in two sentences: where they differed, and over all that is final."""
    first = words.say("apart.none" if not told["disagreements"] else "apart.tally", **_counts(told))
    if told["as_of"] is None:
        return [first]
    shares = told["right"]
    if shares["model"] is None:
        return [first, words.say("apart.too_few", final=told["final"], enough=told["enough"])]
    figures = {"model": shares["model"], "manager": shares["manager"], "brier": told["brier"]}
    return [first, words.say("apart.shares", final=told["final"], **figures)]


def _counts(told: Mapping[str, Any]) -> dict[str, int]:
    settled = told["disagreements"] - told["pending"]
    return {"all": told["disagreements"], "settled": settled, "model": told["model"], "manager": told["manager"]} | {
        "verdicts": told["verdicts"]
    }


def sentence(row: Mapping[str, Any], words: Words) -> str:
    """What is said of one account: who held what of its renewal, and who was right."""
    return words.say(
        "apart.sentence",
        as_of=row["as_of"],
        csm=row["csm"] or words.say("apart.someone"),
        verdict=words.say(f"apart.verdict.{row['verdict']}"),
        chance=row["renewal_probability"],
        right=words.say(f"apart.right.{row['right']}"),
    )
