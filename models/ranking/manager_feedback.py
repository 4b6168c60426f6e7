"""Compare managers' verdicts with the model once renewals are final.

Answers are a log: one row per account answered in a returned workbook, in order of collection. The newest answer is
current; earlier ones remain valid as of the days before it.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

MIN_VERDICTS = 30
"""Minimum number of final verdicts for a share of correct ones; below it the 90 % interval spans 30 points or more at
shares near one half."""
LOST, RENEWS = "lost", "renews"
LIST_KEY = ["as_of", "account_id"]
SIDES = ("model", "manager")
PENDING = "pending"


def current_verdicts(answers: pd.DataFrame) -> pd.DataFrame:
    """Current verdict of each account and list; one row per (as_of, account_id) that has one.

    `answers` has one row per answer. An answer without a verdict does not withdraw an earlier one. `recorded_at` is the
    time of the answer that last changed the verdict, the note or the manager.
    """
    return _latest_answers(answers, LIST_KEY, ["verdict", "note", "csm"], answers["verdict"].notna())


def started_actions(answers: pd.DataFrame) -> pd.DataFrame:
    """Actions that managers started, as first reported; one row per (account_id, action, started_on).

    A new start day for the same action on the same list corrects the earlier one. The same start day on two lists is
    one action.
    """
    rows = _latest_answers(answers, [*LIST_KEY, "action"], ["started_on"], answers["action"].notna())
    first = rows.sort_values("recorded_at", kind="stable").drop_duplicates(["account_id", "action", "started_on"])
    return first.sort_values(["started_on", "account_id", "action"], kind="stable").reset_index(drop=True)


def _latest_answers(
    answers: pd.DataFrame, key: list[str], value_columns: list[str], has_value: pd.Series
) -> pd.DataFrame:
    """Newest row of each key that changed a value; repeated answers with the same values are ignored."""
    rows = answers[has_value].sort_values("recorded_at", kind="stable").reset_index(drop=True)
    values = rows[value_columns].astype(object).where(rows[value_columns].notna(), None)
    previous = values.groupby([rows[name] for name in key], sort=False).shift()
    changed = ((values != previous) & ~(values.isna() & previous.isna())).any(axis=1)
    newest = rows[changed].drop_duplicates(key, keep="last")
    return newest.sort_values(key, kind="stable").reset_index(drop=True)


def is_disagreement(rows: pd.DataFrame) -> pd.Series:
    """True if the verdict contradicts the list: lost although risk is not high, or renews although it is."""
    high = rows["risk_band"].eq("high")
    has_band = rows["risk_band"].notna()
    return has_band & ((rows["verdict"].eq(LOST) & ~high) | (rows["verdict"].eq(RENEWS) & high))


def add_correctness(rows: pd.DataFrame, renewed: pd.Series) -> pd.DataFrame:
    """Add `renewed` and `correct_side` to verdicts: model, manager, both, neither or pending; one row per verdict.

    `renewed` holds 1, 0, or a missing value before the renewal is final. `correct_side` is empty if the manager was
    unsure or the list has no risk band.
    """
    final = renewed.notna()
    manager = rows["verdict"].map({RENEWS: 1.0, LOST: 0.0})
    model = rows["risk_band"].eq("high").map({True: 0.0, False: 1.0}).where(rows["risk_band"].notna())
    outcome = renewed.astype("float64")
    hits = {"model": model.eq(outcome), "manager": manager.eq(outcome)}
    correct = pd.Series("neither", index=rows.index, dtype=object)
    for side in SIDES:
        correct = correct.mask(hits[side], side)
    correct = correct.mask(hits["model"] & hits["manager"], "both").mask(~final, PENDING)
    has_sides = manager.notna() & model.notna()
    return rows.assign(renewed=renewed.astype("Int8"), correct_side=correct.where(has_sides, None))


def count_correct(rows: pd.DataFrame) -> dict[str, Any]:
    """Count how often model and manager were correct: over final disagreements, and over all final verdicts.

    `rows` come from `add_correctness`. Shares are null below `MIN_VERDICTS` final verdicts. The model's Brier score is
    included; a manager gives no probability.
    """
    comparable = rows[rows["correct_side"].notna()]
    disagreements, final = comparable[is_disagreement(comparable)], comparable[comparable["correct_side"].ne(PENDING)]
    is_final = disagreements["correct_side"].ne(PENDING)
    return {
        "verdicts": len(rows),
        "disagreements": len(disagreements),
        "pending": int((~is_final).sum()),
        **{side: int(disagreements["correct_side"].eq(side).sum()) for side in SIDES},
        "final": len(final),
        "min_final": MIN_VERDICTS,
        "accuracy": {side: _mean_if_enough(final["correct_side"].isin([side, "both"])) for side in SIDES},
        "brier": _mean_if_enough((final["renewal_probability"] - final["renewed"].astype("float64")) ** 2),
    }


def _mean_if_enough(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) >= MIN_VERDICTS else None
