"""Model against manager: whose word on a renewal was right, once the renewal is final.

Answers are a log: one row per account answered in a returned workbook, in the order in which they were collected. The
newest says what holds; what an earlier one said stays known as of the days between.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

MIN_VERDICTS = 30
"""Final verdicts from which on a share of right ones is told: of fewer, the 90 % interval spans 30 points or more where
the share is near a half."""
LOST, RENEWS = "lost", "renews"
LIST_KEY = ["as_of", "account_id"]
SIDES = ("model", "manager")
PENDING = "pending"


def current_verdicts(answers: pd.DataFrame) -> pd.DataFrame:
    """The verdict in force, one row per (as_of, account_id) with one; `recorded_at` is when it was first so said.

    `answers` has one row per answer. One without a verdict takes none back.
    """
    return _latest_answers(answers, LIST_KEY, ["verdict", "note", "csm"], answers["verdict"].notna())


def started_actions(answers: pd.DataFrame) -> pd.DataFrame:
    """What was begun: one row per (account_id, action, started_on), with who told and when that was first known.

    Another day for the same play of the same list corrects the first. The same day told of two lists is one beginning.
    """
    rows = _latest_answers(answers, [*LIST_KEY, "action"], ["started_on"], answers["action"].notna())
    first = rows.sort_values("recorded_at", kind="stable").drop_duplicates(["account_id", "action", "started_on"])
    return first.sort_values(["started_on", "account_id", "action"], kind="stable").reset_index(drop=True)


def _latest_answers(
    answers: pd.DataFrame, key: list[str], value_columns: list[str], has_value: pd.Series
) -> pd.DataFrame:
    """The newest row of each key in its first telling: what is said again in the same words is not news."""
    rows = answers[has_value].sort_values("recorded_at", kind="stable").reset_index(drop=True)
    words = rows[value_columns].astype(object).where(rows[value_columns].notna(), None)
    before = words.groupby([rows[name] for name in key], sort=False).shift()
    changed = ((words != before) & ~(words.isna() & before.isna())).any(axis=1)
    newest = rows[changed].drop_duplicates(key, keep="last")
    return newest.sort_values(key, kind="stable").reset_index(drop=True)


def is_disagreement(rows: pd.DataFrame) -> pd.Series:
    """Whether the manager's verdict is not what the list said: lost where risk is not high, renews where it is."""
    high = rows["risk_band"].eq("high")
    told = rows["risk_band"].notna()
    return told & ((rows["verdict"].eq(LOST) & ~high) | (rows["verdict"].eq(RENEWS) & high))


def add_correctness(rows: pd.DataFrame, renewed: pd.Series) -> pd.DataFrame:
    """Verdicts with who was right: `correct_side` is model, manager, both, neither or pending; one row per verdict.

    `renewed` holds 1, 0, or nothing while the renewal is not final. Empty where either took no side.
    """
    final = renewed.notna()
    manager = rows["verdict"].map({RENEWS: 1.0, LOST: 0.0})
    model = rows["risk_band"].eq("high").map({True: 0.0, False: 1.0}).where(rows["risk_band"].notna())
    became = renewed.astype("float64")
    hits = {"model": model.eq(became), "manager": manager.eq(became)}
    right = pd.Series("neither", index=rows.index, dtype=object)
    for side in SIDES:
        right = right.mask(hits[side], side)
    right = right.mask(hits["model"] & hits["manager"], "both").mask(~final, PENDING)
    sided = manager.notna() & model.notna()
    return rows.assign(renewed=renewed.astype("Int8"), correct_side=right.where(sided, None))


def count_correct(rows: pd.DataFrame) -> dict[str, Any]:
    """How often each was right: over the disagreements that are final, and over all final verdicts where enough are.

    `rows` are judged verdicts. A share is null under `MIN_VERDICTS` final ones. The Brier score of the model is told
    beside both shares; a manager gives no probability.
    """
    sided = rows[rows["correct_side"].notna()]
    apart, final = sided[is_disagreement(sided)], sided[sided["correct_side"].ne(PENDING)]
    settled = apart["correct_side"].ne(PENDING)
    return {
        "verdicts": len(rows),
        "disagreements": len(apart),
        "pending": int((~settled).sum()),
        **{side: int(apart["correct_side"].eq(side).sum()) for side in SIDES},
        "final": len(final),
        "min_final": MIN_VERDICTS,
        "accuracy": {side: _mean_if_enough(final["correct_side"].isin([side, "both"])) for side in SIDES},
        "brier": _mean_if_enough((final["renewal_probability"] - final["renewed"].astype("float64")) ** 2),
    }


def _mean_if_enough(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) >= MIN_VERDICTS else None
