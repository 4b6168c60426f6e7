"""Tests of the time rules of training: folds train on final outcomes only and test on later observations only."""

from datetime import date
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.models.settings import FoldSettings
from renewals.models.training.splits import (
    InsufficientHistoryError,
    lead_weights,
    observations,
    rolling_origin_folds,
    term_weights,
)
from tests.models.drawn import training_table

TABLE = training_table()
OPTIONS = FoldSettings(origins=3, min_renewals=30, min_events=5)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    until=st.dates(date(2022, 6, 1), date(2024, 6, 1)),
    embargo=st.integers(0, 90),
    origins=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_every_fold_trains_on_final_outcomes_and_tests_on_later_rows(until, embargo, origins, seed):
    table = TABLE.sample(frac=1.0, random_state=seed)
    observed = observations(table, "renewal", until)
    assert (observed["matured_at"] <= pd.Timestamp(until)).all()
    for fold in rolling_origin_folds(
        observed, FoldSettings(origins=origins, embargo_days=embargo, min_renewals=30, min_events=5)
    ):
        train, test = observed.iloc[fold.train], observed.iloc[fold.test]
        assert train["matured_at"].max() + pd.Timedelta(days=embargo) <= fold.origin
        assert test["as_of"].min() >= fold.origin
        assert not set(fold.train) & set(fold.test)


def test_folds_do_not_overlap_in_time():
    observed = observations(TABLE, "renewal", date(2024, 6, 1))
    folds = rolling_origin_folds(observed, OPTIONS)
    assert len(folds) == 3
    for before, after in pairwise(folds):
        assert observed.iloc[before.test]["as_of"].max() < after.origin


def test_weights_of_the_rows_of_one_term_sum_to_one():
    observed = observations(TABLE, "renewal", date(2024, 6, 1))
    focused = lead_weights(observed["days_to_renewal"].to_numpy(np.float64), 90)
    for weight in (term_weights(observed["term"]), term_weights(observed["term"], focused)):
        assert np.allclose(pd.Series(weight).groupby(observed["term"].to_numpy()).sum(), 1.0)


def test_account_that_cancels_early_is_learned_from_with_the_cohort_and_not_before():
    """Acme cancels in March a term until December: its outcome is final in May, but used only with that of beta."""
    table = pd.DataFrame(
        {
            "account_id": ["acme", "beta"],
            "renewal_id": ["acme:2024-12-31", "beta:2024-12-31"],
            "as_of": pd.Timestamp(2024, 2, 1),
            "renewal_date": pd.Timestamp(2024, 12, 31),
            "days_to_renewal": 334,
            "term_start": pd.Timestamp(2023, 12, 31),
            "renewal_signed": False,
            "notice_given": False,
            "renewal": [0, 1],
            "renewal_matured_at": pd.to_datetime(["2024-05-01", "2025-03-01"]),
        }
    )
    assert not len(observations(table, "renewal", date(2025, 2, 28)))
    assert observations(table, "renewal", date(2025, 3, 1))["label"].tolist() == [0, 1]


def two_renewals() -> pd.DataFrame:
    """Two renewals of acme seen on two days, and the second one's row that holds the account's up-sell."""
    columns = ["renewal_id", "as_of", "renewal_date", "upsell"]
    rows = [
        ("acme:2024-06-01", "2024-02-01", "2024-06-01", None),
        ("acme:2024-12-31", "2024-02-01", "2024-12-31", 1),
        ("acme:2024-06-01", "2024-03-01", "2024-06-01", None),
        ("acme:2024-12-31", "2024-03-01", "2024-12-31", 0),
    ]
    return pd.DataFrame(rows, columns=columns).assign(
        account_id="acme",
        as_of=lambda table: pd.to_datetime(table["as_of"]),
        renewal_date=lambda table: pd.to_datetime(table["renewal_date"]),
        days_to_renewal=lambda table: (table["renewal_date"] - table["as_of"]).dt.days,
        term_start=pd.Timestamp(2023, 12, 31),
        renewal_signed=False,
        notice_given=False,
        renewal=[0, 1, 0, 1],
        renewal_matured_at=lambda table: table["renewal_date"] + pd.Timedelta(days=61),
        upsell_matured_at=pd.Timestamp(2024, 9, 1),
    )


def test_each_renewal_of_an_account_is_one_term_and_expansion_is_learned_once_a_day():
    day = date(2025, 6, 1)
    renewal = observations(two_renewals(), "renewal", day)
    assert renewal[["renewal_id", "label", "term"]].to_numpy().tolist() == [
        *[["acme:2024-06-01", 0, 0]] * 2,
        *[["acme:2024-12-31", 1, 1]] * 2,
    ]
    assert term_weights(renewal["term"]).tolist() == [0.5] * 4
    upsell = observations(two_renewals(), "upsell", day)
    assert upsell[["renewal_id", "label", "term"]].to_numpy().tolist() == [
        ["acme:2024-12-31", 1, 0],
        ["acme:2024-12-31", 0, 0],
    ]


def test_rows_that_are_not_due_are_learned_from_for_expansion_only():
    """They have no renewal date, and no label of a renewal."""
    table = two_renewals().iloc[[1, 3]].assign(renewal_id="acme:", renewal_date=pd.NaT, renewal=None)
    table["renewal_matured_at"] = pd.NaT
    assert observations(table, "renewal", date(2025, 6, 1)).empty
    assert observations(table, "upsell", date(2025, 6, 1))["label"].tolist() == [1, 0]


def test_rows_near_the_focus_lead_weigh_most():
    near = lead_weights(np.array([0.0, 35.0, 90.0, 200.0, 365.0]), 90)
    assert near == pytest.approx([(20 / 110) ** 3, 1 / 8, 1.0, 1 / 8, (110 / 385) ** 3])


def test_row_is_used_from_the_day_it_matures():
    matured = pd.Timestamp(TABLE["renewal_matured_at"].iloc[0])
    on_the_day = observations(TABLE, "renewal", matured.date())
    before = observations(TABLE, "renewal", (matured - pd.Timedelta(days=1)).date())
    assert (on_the_day["matured_at"] == matured).any()
    assert not (before["matured_at"] == matured).any()


def test_error_for_short_history_names_the_setting():
    with pytest.raises(InsufficientHistoryError, match=r"folds\.min_renewals"):
        rolling_origin_folds(observations(TABLE, "renewal", date(2021, 4, 1)), FoldSettings(min_renewals=10_000))


def test_table_with_one_outcome_class_is_refused():
    with pytest.raises(InsufficientHistoryError, match="not enough outcomes"):
        rolling_origin_folds(observations(TABLE.assign(renewal=1), "renewal", date(2024, 6, 1)), OPTIONS)


def test_treated_rows_can_be_excluded_from_renewals_only():
    day = date(2024, 6, 1)
    marked = TABLE.assign(treated=(TABLE["account_id"] < "a050").astype("int8"), upsell=TABLE["renewal"])
    marked["upsell_matured_at"] = marked["renewal_matured_at"]
    all_rows, untreated = observations(marked, "renewal", day), observations(marked, "renewal", day, "exclude")
    assert len(untreated) == (all_rows["account_id"] >= "a050").sum() < len(all_rows)
    assert len(observations(TABLE, "renewal", day, "exclude")) == len(observations(TABLE, "renewal", day))
    assert len(observations(marked, "upsell", day, "exclude")) == len(all_rows)  # expansions exclude no rows
