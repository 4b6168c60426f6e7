"""Texts of disagreements between model and manager: cells of the sheet, the tally, and one account's sentence."""

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
    """Answers with account, verdict, band, and the day in June on which they were recorded."""
    return pd.DataFrame(
        {
            **{"as_of": [JUNE] * len(rows), "account_id": [row[0] for row in rows]},
            **{"account_name": [row[0].title() for row in rows], "csm": [None] * len(rows)},
            **{"verdict": [row[1] for row in rows], "note": [None] * len(rows), "renewal_date": [DUE] * len(rows)},
            **{"renewal_probability": [0.3 if row[2] == "high" else 0.8 for row in rows]},
            **{"risk_band": [row[2] for row in rows], "recorded_at": [datetime(2026, 6, row[3]) for row in rows]},
        }
    )


def with_correctness(rows: pd.DataFrame, *renewed: int | None) -> pd.DataFrame:
    return manager_feedback.add_correctness(rows, pd.Series(renewed, index=rows.index, dtype="Int8"))


def test_disagreement_depends_on_verdict_and_band() -> None:
    rows = log(
        *(("a", "lost", "low", 3), ("b", "lost", "medium", 3), ("c", "lost", "high", 3), ("d", "renews", "high", 3)),
        *(("e", "renews", "medium", 3), ("f", "unsure", "high", 3), ("g", "lost", None, 3)),
    )
    assert rows.loc[manager_feedback.is_disagreement(rows), "account_id"].tolist() == ["a", "b", "d"]


def test_correct_side_follows_from_verdict_band_and_outcome() -> None:
    rows = log(
        *(("a", "lost", "low", 3), ("b", "lost", "low", 3), ("c", "lost", "low", 3)),
        *(("d", "renews", "low", 3), ("e", "lost", "high", 3), ("f", "unsure", "high", 3), ("g", "lost", None, 3)),
    )
    answers = with_correctness(rows, 1, 0, None, 1, 1, 1, 0)
    assert answers["correct_side"].tolist()[:5] == ["model", "manager", "pending", "both", "neither"]
    assert answers["correct_side"].isna().tolist()[5:] == [True, True]
    counts = manager_feedback.count_correct(answers)
    assert {name: counts[name] for name in ("verdicts", "disagreements", "pending", "model", "manager", "final")} == {
        **{"verdicts": 7, "disagreements": 3, "pending": 1, "model": 1, "manager": 1, "final": 4},
    }


@pytest.mark.parametrize(("count", "is_shown"), [(29, False), (30, True)])
def test_accuracy_needs_the_minimum_of_final_outcomes(count: int, is_shown: bool) -> None:
    rows = log(*((f"a{k}", "lost", "low" if k % 3 else "high", 3) for k in range(count)))
    counts = manager_feedback.count_correct(with_correctness(rows, *(k % 2 for k in range(count))))
    if is_shown:  # 15 of 30 were lost; the list is correct for low risk that renewed and high risk that was lost
        is_correct = [(k % 3 > 0) == (k % 2 == 1) for k in range(30)]
        assert counts["accuracy"] == {"model": sum(is_correct) / 30, "manager": 0.5}
        assert counts["brier"] == pytest.approx(
            sum(((0.3 if k % 3 == 0 else 0.8) - k % 2) ** 2 for k in range(30)) / 30
        )
    else:
        assert counts["accuracy"] == {"model": None, "manager": None}
        assert counts["brier"] is None


def test_newest_verdict_counts_from_the_first_time_it_was_recorded() -> None:
    rows = log(("a", "lost", "low", 3), ("a", "renews", "low", 5), ("a", "renews", "low", 7), ("a", None, "low", 9))
    current = manager_feedback.current_verdicts(rows)
    assert current[["verdict", "recorded_at"]].to_numpy().tolist() == [["renews", pd.Timestamp("2026-06-05")]]
    reverted = manager_feedback.current_verdicts(pd.concat([rows, log(("a", "lost", "low", 11))]))
    assert reverted[["verdict", "recorded_at"]].to_numpy().tolist() == [["lost", pd.Timestamp("2026-06-11")]]


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_sheet_lists_pending_disagreements_first(language: str) -> None:
    messages = Messages(language)
    rows = with_correctness(log(("a", "lost", "low", 3), ("b", "renews", "high", 3)), 1, None)
    cells = disagreements.sheet_rows(rows, messages, RenderFailures())
    assert len(disagreements.heading_keys()) == len(cells[0]) == len(disagreements.SHEET_COLUMNS)
    assert [row[2] for row in cells] == ["b", "a"]
    assert [row[8] for row in cells] == [
        messages.text("disagreements.right.pending"),
        messages.text("disagreements.right.model"),
    ]
    assert cells[0][5] == 0.3
    assert cells[0][6] == messages.value("risk_band", "high")
    assert cells[0][3] is None


def tally(**changes: Any) -> dict[str, Any]:
    counts = {"verdicts": 9, "disagreements": 3, "pending": 1, "model": 1, "manager": 1, "final": 8, "min_final": 30}
    return counts | {"as_of": "2026-11-01", "accuracy": {"model": None, "manager": None}, "brier": None} | changes


def test_tally_sentences() -> None:
    english = Messages("en")
    first, too_few = disagreements.tally_sentences(tally(), english)
    assert first.endswith("Of the 2 that are final the model was right in 1, the manager in 1.")
    assert too_few == "Verdicts with a final outcome: 8. From 30 on it is told how often each was right."
    shares = disagreements.tally_sentences(
        tally(final=40, accuracy={"model": 0.6, "manager": 0.7}, brier=0.21), english
    )[1]
    assert "the manager was right in 70%, the model's risk band in 60% (Brier score of its " in shares
    assert disagreements.tally_sentences(tally(disagreements=0, as_of=None), english) == [
        "Of 9 verdicts none goes against the list."
    ]


def test_disagreement_sentence_of_one_account() -> None:
    row = with_correctness(log(("a", "lost", "low", 3)), None).iloc[0].to_dict()
    assert disagreements.disagreement_sentence(row, Messages("en")) == (
        "List of 2026-06-01: the manager held that it will be lost, the list gave it 80%. Who was right: not final yet."
    )
    assert disagreements.disagreement_sentence(row | {"csm": "王芳", "correct_side": "manager"}, Messages("zh")) == (
        "2026-06-01 的名单：王芳 认为会流失，名单给出的续约可能性为 80%。谁判断正确：客户经理。"
    )
