"""What was done since the last list, in words; the workbook's tests see to the sheets."""

from datetime import date

import pandas as pd
import pytest

from renewals.reports.sentences.playbooks import SHEET_COLUMNS, intervention_sentence
from renewals.reports.words import MESSAGES, Messages

LAST = date(2026, 5, 1)
BEGUN = pd.DataFrame(
    {
        "playbook": ["Push", "Review"],
        "started_on": [date(2026, 5, 2), date(2026, 5, 9)],
        "previous_probability": 0.41,
        "probability": 0.5,
    }
)


def test_what_was_begun_stands_beside_both_chances_and_nothing_is_claimed() -> None:
    assert intervention_sentence(LAST, BEGUN, Messages("en")) == (
        "Since the list of 2026-05-01: Push (begun 2026-05-02), Review (begun 2026-05-09). The chance of renewal was "
        "41% then and is 50% now. What of this the playbook did, one account cannot tell."
    )


def test_without_both_chances_none_is_told() -> None:
    for gone in ("previous_probability", "probability"):
        words = intervention_sentence(LAST, BEGUN.assign(**{gone: None}), Messages("en"))
        assert "Push (begun 2026-05-02)" in words
        assert "%" not in words


def test_where_nothing_was_begun_that_is_said() -> None:
    assert (
        intervention_sentence(LAST, BEGUN.iloc[:0], Messages("en"))
        == "Since the list of 2026-05-01 no playbook was logged as begun."
    )


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_every_column_of_the_sheet_has_a_heading(language: str) -> None:
    assert all(Messages(language).text(f"plays.{name}") for name in SHEET_COLUMNS)
