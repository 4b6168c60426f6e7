"""Tests of marking the observations with a treated renewal."""

from collections.abc import Sequence

import ibis
import pandas as pd
import pytest

from renewals.models.training.treated import mark_treated


def treated_flags(started: str, account: str = "acme", ends: Sequence[str] = ("2024-12-31",)) -> list[int]:
    """Whether each renewal of acme, seen in May, is treated; sorted by their end."""
    spine = pd.DataFrame(
        {
            "account_id": "acme",
            "renewal_id": [f"acme:{end}" for end in ends],
            "as_of": "2024-05-01",
            "renewal_date": [end or None for end in ends],
        }
    )
    spine = spine.astype({"as_of": "datetime64[us]", "renewal_date": "datetime64[us]"})
    interventions = pd.DataFrame({"account_id": [account, account], "started_at": pd.to_datetime([started, started])})
    days = {"as_of": lambda t: t.as_of.date(), "renewal_date": lambda t: t.renewal_date.date()}
    rows = mark_treated(ibis.memtable(spine).mutate(**days), ibis.memtable(interventions), decided_days=60)
    return rows.order_by("renewal_id").to_pyarrow()["treated"].to_pylist()


@pytest.mark.parametrize(
    ("started", "treated"),
    [
        ("2024-04-30 23:59", 0),  # known at as_of: a feature, not a treatment
        ("2024-05-01", 1),
        ("2024-10-31 23:59", 1),
        ("2024-11-01", 0),  # 60 days before the end: the decision has been made
    ],
)
def test_observation_is_treated_from_its_day_until_the_decision(started, treated):
    assert treated_flags(started) == [treated]


def test_each_renewal_of_an_account_is_treated_until_its_own_decision():
    ends = ("2024-09-30", "2024-12-31")
    assert treated_flags("2024-06-01", ends=ends) == [1, 1]
    assert treated_flags("2024-09-01", ends=ends) == [0, 1]


def test_row_without_a_renewal_date_is_not_treated():
    assert treated_flags("2024-06-01", ends=("",)) == [0]


def test_intervention_of_another_account_is_ignored():
    assert treated_flags("2024-06-01", account="quiet") == [0]
