"""Baselines learn from the same rows as the model and predict the same observations."""

import warnings
from datetime import date

import numpy as np
import pandas as pd
import pytest

from renewals.models.evaluation import baselines
from renewals.models.settings import FoldSettings
from renewals.models.training.splits import KEY, observations, rolling_origin_folds
from tests.models.drawn import training_table


def term(account: str, as_of: str, renewal_date: str, label: int, matured_at: str) -> dict:
    return {
        "account_id": account,
        "renewal_id": f"{account}:{renewal_date}",
        "as_of": as_of,
        "renewal_date": renewal_date,
        "label": label,
        "matured_at": matured_at,
    }


def rows(*terms: dict) -> pd.DataFrame:
    frame = pd.DataFrame(terms)
    days = {name: pd.to_datetime(frame[name]) for name in ("as_of", "renewal_date", "matured_at")}
    return frame.assign(**days, term=frame.groupby("renewal_id").ngroup())


PAST = rows(
    term("acme", "2022-01-01", "2022-06-01", 1, "2022-08-01"),
    term("acme", "2022-02-01", "2022-06-01", 1, "2022-08-01"),
    term("quiet", "2022-01-01", "2022-06-01", 0, "2022-08-01"),
)
NOW = rows(
    term("acme", "2022-08-01", "2023-06-01", 1, "2023-08-01"),
    term("quiet", "2022-07-01", "2023-06-01", 0, "2023-08-01"),
    term("new", "2022-08-01", "2023-06-01", 1, "2023-08-01"),
)


def test_base_rate_counts_each_renewal_once():
    assert list(baselines.base_rate(PAST, NOW, [])) == [0.5, 0.5, 0.5]


def test_last_outcome_is_the_newest_final_one():
    assert list(baselines.last_outcome_before(baselines._term_outcomes(PAST), NOW)) == ["yes", "none", "none"]


def test_last_outcome_shifts_the_base_rate_by_the_renewal_rate_of_its_group():
    third_year = rows(
        term("acme", "2022-09-01", "2023-06-01", 1, "2023-08-01"),
        term("quiet", "2022-09-01", "2023-06-01", 0, "2023-08-01"),
    )
    later = rows(
        term("acme", "2023-09-01", "2024-06-01", 1, "2024-08-01"),
        term("quiet", "2023-09-01", "2024-06-01", 0, "2024-08-01"),
    )
    past = pd.concat([PAST, third_year.assign(term=third_year["term"] + 2)], ignore_index=True)
    good, bad = baselines.last_outcome(past, later, [])
    assert good > 0.5 > bad


def test_baseline_without_its_column_is_none():
    assert baselines.recency(PAST, NOW, ["use"]) is None
    assert baselines.few_features(PAST, NOW, ["use"]) is None


def test_missing_values_are_filled():
    known = PAST.assign(use=[3.0, np.nan, 1.0])
    chance = baselines.logistic_regression(known, NOW.assign(use=np.nan), ["use"])
    assert ((chance > 0) & (chance < 1)).all()


def test_column_without_values_is_filled_without_suppressing_a_warning(monkeypatch):
    """`catch_warnings` acts on the whole process, and a parallel use of it undoes the suppression."""
    monkeypatch.setattr(warnings, "catch_warnings", None)
    assert baselines._column_medians(np.array([[np.nan, 1.0], [np.nan, 3.0]])).tolist() == [0.0, 2.0]


def test_each_test_row_is_predicted_once_from_rows_final_before_its_origin():
    observed = observations(training_table(), "renewal", date(2024, 6, 1))
    folds = rolling_origin_folds(observed, FoldSettings(origins=2, min_renewals=30, min_events=5))
    predictions = baselines.predict_baselines(observed, folds, ["use", "tickets", "noise"])
    assert len(predictions) == sum(len(fold.test) for fold in folds)
    assert not predictions.duplicated(KEY).any()
    seen = observed.merge(predictions, on=KEY)
    first = observed.iloc[folds[0].train].drop_duplicates("term")
    at_first = seen["as_of"] < folds[1].origin
    assert seen.loc[at_first, "base_rate"].unique() == pytest.approx([first["label"].mean()])


def test_health_score_is_calibrated_on_past_outcomes():
    past = PAST.assign(days_since_last_use=[1.0, 2.0, 80.0])
    now = NOW.assign(days_since_last_use=[1.0, 80.0, 30.0])
    acme, quiet, new = baselines.health_score(past, now, ["days_since_last_use"])
    assert acme > new > quiet
    assert baselines.health_score(PAST, NOW, ["use"]) is None
