"""Model against manager in words: cells of the sheet, the tally, and one account's sentence."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pandas as pd
import pytest

from renewals.models.ranking import manager_feedback
from renewals.reports.render_failures import RenderFailures
from renewals.reports.sentences import disagreements
from renewals.reports.words import MESSAGES, Messages

JUNE, DUE = date(2026, 6, 1), date(2026, 9, 1)


def log(*rows: tuple[str, str | None, str | None, int]) -> pd.DataFrame:
    """A log of account, verdict, band, and the day in June on which it came in."""
    return pd.DataFrame(
        {
            **{"as_of": [JUNE] * len(rows), "account_id": [row[0] for row in rows]},
            **{"account_name": [row[0].title() for row in rows], "csm": [None] * len(rows)},
            **{"verdict": [row[1] for row in rows], "note": [None] * len(rows), "renewal_date": [DUE] * len(rows)},
            **{"renewal_probability": [0.3 if row[2] == "high" else 0.8 for row in rows]},
            **{"risk_band": [row[2] for row in rows], "recorded_at": [datetime(2026, 6, row[3]) for row in rows]},
        }
    )


def judged(rows: pd.DataFrame, *renewed: int | None) -> pd.DataFrame:
    return manager_feedback.add_correctness(rows, pd.Series(renewed, index=rows.index, dtype="Int8"))


def test_a_manager_disagrees_with_the_band_and_only_with_it() -> None:
    rows = log(
        *(("a", "lost", "low", 3), ("b", "lost", "medium", 3), ("c", "lost", "high", 3), ("d", "renews", "high", 3)),
        *(("e", "renews", "medium", 3), ("f", "unsure", "high", 3), ("g", "lost", None, 3)),
    )
    assert rows.loc[manager_feedback.is_disagreement(rows), "account_id"].tolist() == ["a", "b", "d"]


def test_who_was_right() -> None:
    rows = log(
        *(("a", "lost", "low", 3), ("b", "lost", "low", 3), ("c", "lost", "low", 3)),
        *(("d", "renews", "low", 3), ("e", "lost", "high", 3), ("f", "unsure", "high", 3), ("g", "lost", None, 3)),
    )
    own = judged(rows, 1, 0, None, 1, 1, 1, 0)
    assert own["correct_side"].tolist()[:5] == ["model", "manager", "pending", "both", "neither"]
    assert own["correct_side"].isna().tolist()[5:] == [True, True]
    told = manager_feedback.count_correct(own)
    assert {name: told[name] for name in ("verdicts", "disagreements", "pending", "model", "manager", "final")} == {
        **{"verdicts": 7, "disagreements": 3, "pending": 1, "model": 1, "manager": 1, "final": 4},
    }


@pytest.mark.parametrize(("count", "told"), [(29, False), (30, True)])
def test_shares_are_told_where_enough_is_final(count: int, told: bool) -> None:
    rows = log(*((f"a{k}", "lost", "low" if k % 3 else "high", 3) for k in range(count)))
    own = manager_feedback.count_correct(judged(rows, *(k % 2 for k in range(count))))
    if told:  # lost: 15 of 30; the list was right of those that it called low and renewed, or high and lost
        right = [(k % 3 > 0) == (k % 2 == 1) for k in range(30)]
        assert own["accuracy"] == {"model": sum(right) / 30, "manager": 0.5}
        assert own["brier"] == pytest.approx(sum(((0.3 if k % 3 == 0 else 0.8) - k % 2) ** 2 for k in range(30)) / 30)
    else:
        assert own["accuracy"] == {"model": None, "manager": None}
        assert own["brier"] is None


def test_the_newest_verdict_counts_from_its_first_telling() -> None:
    rows = log(("a", "lost", "low", 3), ("a", "renews", "low", 5), ("a", "renews", "low", 7), ("a", None, "low", 9))
    own = manager_feedback.current_verdicts(rows)
    assert own[["verdict", "recorded_at"]].to_numpy().tolist() == [["renews", pd.Timestamp("2026-06-05")]]
    back = manager_feedback.current_verdicts(pd.concat([rows, log(("a", "lost", "low", 11))]))
    assert back[["verdict", "recorded_at"]].to_numpy().tolist() == [["lost", pd.Timestamp("2026-06-11")]]


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_the_sheet_says_what_is_pending_first(language: str) -> None:
    words = Messages(language)
    rows = judged(log(("a", "lost", "low", 3), ("b", "renews", "high", 3)), 1, None)
    cells = disagreements.sheet_rows(rows, words, RenderFailures())
    assert len(disagreements.heading_keys()) == len(cells[0]) == len(disagreements.SHEET_COLUMNS)
    assert [row[2] for row in cells] == ["b", "a"]
    assert [row[8] for row in cells] == [
        words.text("disagreements.right.pending"),
        words.text("disagreements.right.model"),
    ]
    assert cells[0][5] == 0.3
    assert cells[0][6] == words.value("risk_band", "high")
    assert cells[0][3] is None


def told(**more: Any) -> dict[str, Any]:
    own = {"verdicts": 9, "disagreements": 3, "pending": 1, "model": 1, "manager": 1, "final": 8, "min_final": 30}
    return own | {"as_of": "2026-11-01", "accuracy": {"model": None, "manager": None}, "brier": None} | more


def test_the_tally_in_words() -> None:
    english = Messages("en")
    first, few = disagreements.tally_sentences(told(), english)
    assert first.endswith("Of the 2 that are final the model was right in 1, the manager in 1.")
    assert few == "Verdicts with a final outcome: 8. From 30 on it is told how often each was right."
    shares = disagreements.tally_sentences(
        told(final=40, accuracy={"model": 0.6, "manager": 0.7}, brier=0.21), english
    )[1]
    assert "the manager was right in 70%, the model's risk band in 60% (Brier score of its " in shares
    assert disagreements.tally_sentences(told(disagreements=0, as_of=None), english) == [
        "Of 9 verdicts none goes against the list."
    ]


def test_the_sentence_of_one_account() -> None:
    row = judged(log(("a", "lost", "low", 3)), None).iloc[0].to_dict()
    assert disagreements.disagreement_sentence(row, Messages("en")) == (
        "List of 2026-06-01: the manager held that it will be lost, the list gave it 80%. Who was right: not final yet."
    )
    assert disagreements.disagreement_sentence(row | {"csm": "王芳", "correct_side": "manager"}, Messages("zh")) == (
        "2026-06-01 的名单：王芳 认为会流失，名单给出的续约可能性为 80%。谁判断正确：客户经理。"
    )
