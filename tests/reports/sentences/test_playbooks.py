"""Sentences about playbooks started since the last list; the workbook's tests check the sheets."""

from datetime import date

import pandas as pd
import pytest

from renewals.reports.sentences.playbooks import SHEET_COLUMNS, intervention_sentence
from renewals.reports.words import MESSAGES, Messages

LAST = date(2026, 5, 1)
ACTIONS = pd.DataFrame(
    {
        "playbook": ["Push", "Review"],
        "started_on": [date(2026, 5, 2), date(2026, 5, 9)],
        "previous_probability": 0.41,
        "probability": 0.5,
    }
)


def test_sentence_names_actions_and_both_probabilities_and_claims_no_effect() -> None:
    assert intervention_sentence(LAST, ACTIONS, Messages("en")) == (
        "Since the list of 2026-05-01: Push (begun 2026-05-02), Review (begun 2026-05-09). The chance of renewal was "
        "41% then and is 50% now. What of this the playbook did, one account cannot tell."
    )


def test_sentence_shows_no_probability_if_one_is_missing() -> None:
    for missing in ("previous_probability", "probability"):
        sentence = intervention_sentence(LAST, ACTIONS.assign(**{missing: None}), Messages("en"))
        assert "Push (begun 2026-05-02)" in sentence
        assert "%" not in sentence


def test_sentence_of_no_actions() -> None:
    assert (
        intervention_sentence(LAST, ACTIONS.iloc[:0], Messages("en"))
        == "Since the list of 2026-05-01 no playbook was logged as begun."
    )


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_column_of_the_sheet_has_a_heading(language: str) -> None:
    assert all(Messages(language).text(f"plays.{name}") for name in SHEET_COLUMNS)
