"""Tests of marking the observations with a treated renewal."""

import ibis
import pandas as pd
import pytest

from renewals.models.training.treated import mark_treated


def treated_flags(started: str, account: str = "acme") -> list[int]:
    spine = pd.DataFrame({"account_id": ["acme"], "as_of": ["2024-05-01"], "renewal_date": ["2024-12-31"]})
    spine = spine.astype({"as_of": "datetime64[us]", "renewal_date": "datetime64[us]"})
    interventions = pd.DataFrame({"account_id": [account, account], "started_at": pd.to_datetime([started, started])})
    days = {"as_of": lambda t: t.as_of.date(), "renewal_date": lambda t: t.renewal_date.date()}
    rows = mark_treated(ibis.memtable(spine).mutate(**days), ibis.memtable(interventions), decided_days=60)
    return rows.to_pyarrow()["treated"].to_pylist()


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


def test_intervention_of_another_account_is_ignored():
    assert treated_flags("2024-06-01", account="quiet") == [0]
