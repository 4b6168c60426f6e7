"""Tests of the first origin of a back-test and of the error message for a history that is too short."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from renewals.models.settings import FoldSettings
from renewals.models.training.history import History
from renewals.models.training.splits import InsufficientHistoryError, observations, rolling_origin_folds
from tests.models.drawn import training_table

UNTIL = date(2024, 3, 1)


def marketplace(accounts: int = 1500, months: int = 14, seed: int = 1) -> pd.DataFrame:
    """Quarterly terms of a growing number of accounts, observed at month starts; one row per observation."""
    rng = np.random.default_rng(seed)
    first = pd.Timestamp(UNTIL) - pd.DateOffset(months=months)
    days = (np.sqrt(rng.random(accounts)) * (pd.Timestamp(UNTIL) - first).days).astype(int)
    rows = []
    for number, first_start in enumerate(first + pd.to_timedelta(days, "D")):
        start, renewed = first_start, 1
        while renewed and start < pd.Timestamp(UNTIL):
            end, renewed = start + pd.DateOffset(months=3), int(rng.random() < 0.8)
            rows += [
                (f"a{number:04d}", f"a{number:04d}:{end:%Y-%m-%d}", as_of, end, start, (end - as_of).days, renewed)
                for as_of in pd.date_range(start, min(end, pd.Timestamp(UNTIL)), freq="MS", inclusive="left")
            ]
            start = end
    names = ["account_id", "renewal_id", "as_of", "renewal_date", "term_start", "days_to_renewal", "renewal"]
    table = pd.DataFrame(rows, columns=names).assign(renewal_signed=False, notice_given=False)
    return table.assign(renewal_matured_at=table["renewal_date"] + pd.Timedelta(days=61))


@pytest.fixture(scope="module")
def market() -> pd.DataFrame:
    return observations(marketplace(), "renewal", UNTIL)


def test_growing_company_with_quarterly_terms_has_folds(market):
    """Few observations with a final outcome are later than the day on which half of the outcomes are final."""
    terms = market.groupby("term")["matured_at"].min().sort_values()
    half = terms.iloc[len(terms) // 2]
    assert len(terms) > 800
    assert (market["as_of"] >= half).mean() < 0.1
    folds = rolling_origin_folds(market, FoldSettings())
    first = market.iloc[folds[0].train]
    assert first["term"].nunique() >= 60
    assert min((first["label"] == outcome).sum() for outcome in (0, 1)) >= 10
    tested = market.iloc[np.concatenate([fold.test for fold in folds])]
    near = tested[(tested["days_to_renewal"] - 90).abs() <= 16]
    assert near["term"].nunique() >= 60


def test_first_origin_trains_on_the_configured_share_of_usable_terms():
    observed = observations(training_table(), "renewal", date(2024, 6, 1))
    shares = []
    for share in (0.2, 0.5, 0.8):
        origin = rolling_origin_folds(observed, FoldSettings(first_train_share=share, min_renewals=30, min_events=5))[
            0
        ].origin
        days = pd.DatetimeIndex([origin])
        history = History.from_observations(observed, FoldSettings(), 90)
        usable = (history.terms["final"] <= origin) | (history.terms["seen"] >= origin)
        assert len(history.terms) - history._unusable_terms(days)[0] == usable.sum()
        shares.append((history.terms["final"] <= origin).sum() / usable.sum())
    assert shares == pytest.approx([0.2, 0.5, 0.8], abs=0.08)


def test_unreachable_train_share_uses_the_last_possible_origin(market):
    """A share of 95 % leaves too few terms for testing, so the last day that leaves enough is used."""
    folds = rolling_origin_folds(market, FoldSettings(first_train_share=0.95))
    history = History.from_observations(market, FoldSettings(), 90)
    after = history.count_testable(pd.DatetimeIndex([folds[0].origin]))
    assert (after >= history.required_counts).all()
    later = pd.DatetimeIndex(market["as_of"].unique()).sort_values()
    later = later[later > folds[0].origin]
    assert not (history.count_testable(later) >= history.required_counts).all(axis=1).any()


def test_terms_too_short_for_the_lead_are_tested_at_any_lead():
    monthly = marketplace(600)
    monthly = monthly[monthly["days_to_renewal"] <= 31]
    folds = rolling_origin_folds(observations(monthly, "renewal", UNTIL), FoldSettings())
    assert folds[0].train.size
    assert folds[0].test.size


def test_expansion_is_tested_at_any_lead(market):
    """The lead time is ignored for expansions, so later days leave enough terms for testing."""
    rows = market.assign(as_of=market["as_of"])
    assert (
        rolling_origin_folds(rows, FoldSettings(), "upsell")[0].origin
        > rolling_origin_folds(rows, FoldSettings())[0].origin
    )


def test_first_origin_has_enough_terms_before_and_after(market):
    history, days = (
        History.from_observations(market, FoldSettings()),
        pd.DatetimeIndex(market["as_of"].unique()).sort_values(),
    )
    origin = history.first_origin(days)
    for setting in ("min_renewals", "min_events"):
        options = FoldSettings(**{setting: 100_000})
        assert History.from_observations(market, options).first_origin(days) is None
    assert (history.count_final(pd.DatetimeIndex([origin])) >= (60, 10)).all()
    assert (history.count_testable(pd.DatetimeIndex([origin])) >= (60, 10)).all()


@pytest.mark.parametrize("decision", ["renewal_signed", "notice_given"])
def test_rows_with_a_decided_renewal_are_not_used_for_testing(market, decision):
    decided = market.assign(**{decision: True})
    with pytest.raises(InsufficientHistoryError, match="there are 0 for testing"):
        rolling_origin_folds(decided, FoldSettings())


# --- error message -------------------------------------------------------------------------------


def observed_terms(outcomes: list[tuple[str, int]], seen_before: int = 91) -> pd.DataFrame:
    """Observations of one term per (day of the final outcome, label), each seen once, `seen_before` days earlier."""
    final = pd.to_datetime([day for day, _ in outcomes])
    return pd.DataFrame(
        {
            "account_id": [f"a{n}" for n in range(len(outcomes))],
            "as_of": final - pd.Timedelta(days=seen_before),
            "renewal_date": final - pd.Timedelta(days=61),
            "days_to_renewal": 90,
            "renewal_signed": False,
            "notice_given": False,
            "label": [outcome for _, outcome in outcomes],
            "matured_at": final,
            "term": range(len(outcomes)),
        }
    )


def monthly_outcomes(
    count: int, per_month: int = 5, negatives: int = 1, begin: str = "2024-01-01"
) -> list[tuple[str, int]]:
    days = pd.date_range(begin, periods=count, freq="MS").astype(str)
    return [(day, int(position >= negatives)) for day in days for position in range(per_month)]


OPTIONS = FoldSettings(min_renewals=20, min_events=2, focus_lead_days=0)


def test_error_names_available_and_required_outcomes():
    with pytest.raises(InsufficientHistoryError) as error:
        rolling_origin_folds(observed_terms(monthly_outcomes(3)), OPTIONS)
    message = str(error.value)
    assert "15 final (12 positive, 3 negative)" in message
    assert "needed for training: 20 (folds.min_renewals) with 2 of the rarer outcome (folds.min_events)" in message
    assert "there are not enough for training yet" in message


def test_error_estimates_when_history_will_suffice():
    """At five outcomes a month, 20 are final in April; 20 more need four months to observe and three to be final."""
    with pytest.raises(InsufficientHistoryError) as error:
        rolling_origin_folds(observed_terms(monthly_outcomes(3)), OPTIONS)
    assert "enough about " in str(error.value)
    estimate = History.from_observations(observed_terms(monthly_outcomes(3)), OPTIONS).expected_ready_day()
    months = next(n for n in range(3, 30) if _can_train(monthly_outcomes(n)))
    ready = pd.Timestamp("2024-01-01") + pd.DateOffset(months=months - 1)
    assert abs((estimate - ready).days) <= 45


def test_error_counts_terms_for_testing_if_training_is_possible():
    with pytest.raises(
        InsufficientHistoryError, match="enough for training on 2024-04-01, and since then there are 10 for testing"
    ):
        rolling_origin_folds(observed_terms(monthly_outcomes(8)), OPTIONS)
    estimate = History.from_observations(observed_terms(monthly_outcomes(8)), OPTIONS).expected_ready_day()
    months = next(n for n in range(8, 30) if _can_train(monthly_outcomes(n)))
    assert abs((estimate - (pd.Timestamp("2024-01-01") + pd.DateOffset(months=months - 1))).days) <= 45


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_expected_ready_day_is_a_midnight_for_any_unit_of_dates(unit):
    """The pace is seldom a whole number of outcomes per day, and dates read from a file may be in seconds."""
    for months in range(1, 9):
        observed = observed_terms(monthly_outcomes(months)).astype(
            dict.fromkeys(["as_of", "matured_at"], f"datetime64[{unit}]")
        )
        estimate = History.from_observations(observed, OPTIONS).expected_ready_day()
        assert estimate is None or estimate == estimate.normalize()


def _can_train(outcomes: list[tuple[str, int]]) -> bool:
    try:
        return bool(rolling_origin_folds(observed_terms(outcomes), OPTIONS))
    except InsufficientHistoryError:
        return False


def test_no_month_is_named_without_the_rarer_outcome_or_at_too_slow_a_pace():
    with pytest.raises(InsufficientHistoryError, match="not be enough in 20 years"):
        rolling_origin_folds(
            observed_terms(monthly_outcomes(12)), FoldSettings(min_renewals=100_000, focus_lead_days=0)
        )
    with pytest.raises(InsufficientHistoryError, match="not be enough in 20 years"):
        rolling_origin_folds(observed_terms(monthly_outcomes(12, negatives=0)), OPTIONS)


def test_error_without_any_outcome_counts_zero():
    nothing = observed_terms(monthly_outcomes(3)).head(0)
    with pytest.raises(InsufficientHistoryError, match="not enough outcomes: 0 final"):
        rolling_origin_folds(nothing, OPTIONS)
