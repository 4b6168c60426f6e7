"""Where a back-test begins, and what is said where there is too little to begin."""

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
    """Quarterly terms of ever more accounts, observed at month starts; one row per (account_id, as_of)."""
    rng = np.random.default_rng(seed)
    first = pd.Timestamp(UNTIL) - pd.DateOffset(months=months)
    days = (np.sqrt(rng.random(accounts)) * (pd.Timestamp(UNTIL) - first).days).astype(int)
    rows = []
    for number, begun in enumerate(first + pd.to_timedelta(days, "D")):
        start, renewed = begun, 1
        while renewed and start < pd.Timestamp(UNTIL):
            end, renewed = start + pd.DateOffset(months=3), int(rng.random() < 0.8)
            rows += [
                (f"a{number:04d}", as_of, end, start, (end - as_of).days, renewed)
                for as_of in pd.date_range(start, min(end, pd.Timestamp(UNTIL)), freq="MS", inclusive="left")
            ]
            start = end
    names = ["account_id", "as_of", "renewal_date", "term_start", "days_to_renewal", "renewal"]
    table = pd.DataFrame(rows, columns=names).assign(renewal_signed=False)
    return table.assign(renewal_matured_at=table["renewal_date"] + pd.Timedelta(days=61))


@pytest.fixture(scope="module")
def market() -> pd.DataFrame:
    return observations(marketplace(), "renewal", UNTIL)


def test_quarterly_terms_of_a_growing_company_are_learned_from(market):
    """Half of the outcomes are final so late that hardly a term is observed after it whose outcome is final, too."""
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


def test_the_first_origin_learns_from_a_share_of_all_that_is_used():
    observed = observations(training_table(), "renewal", date(2024, 6, 1))
    shares = []
    for share in (0.2, 0.5, 0.8):
        origin = rolling_origin_folds(observed, FoldSettings(first_train_share=share, min_renewals=30, min_events=5))[
            0
        ].origin
        days = pd.DatetimeIndex([origin])
        history = History.from_observations(observed, FoldSettings(), 90)
        used = (history.terms["final"] <= origin) | (history.terms["seen"] >= origin)
        assert len(history.terms) - history._unusable_terms(days)[0] == used.sum()
        shares.append((history.terms["final"] <= origin).sum() / used.sum())
    assert shares == pytest.approx([0.2, 0.5, 0.8], abs=0.08)


def test_a_share_that_cannot_be_had_refuses_nothing(market):
    """With nine tenths first nothing would be left to test: the last day that leaves enough is taken."""
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
    """Asked of expansion the lead says nothing, and more days leave enough to test."""
    rows = market.assign(as_of=market["as_of"])
    assert (
        rolling_origin_folds(rows, FoldSettings(), "upsell")[0].origin
        > rolling_origin_folds(rows, FoldSettings())[0].origin
    )


def test_days_without_enough_on_either_side_are_no_first_origin(market):
    history, days = (
        History.from_observations(market, FoldSettings()),
        pd.DatetimeIndex(market["as_of"].unique()).sort_values(),
    )
    origin = history.first_origin(days)
    for wanted in ("min_renewals", "min_events"):
        options = FoldSettings(**{wanted: 100_000})
        assert History.from_observations(market, options).first_origin(days) is None
    assert (history.count_final(pd.DatetimeIndex([origin])) >= (60, 10)).all()
    assert (history.count_testable(pd.DatetimeIndex([origin])) >= (60, 10)).all()


def test_a_row_that_was_decided_tests_nothing(market):
    decided = market.assign(renewal_signed=True)
    with pytest.raises(InsufficientHistoryError, match="there are 0 for testing"):
        rolling_origin_folds(decided, FoldSettings())


# --- a refusal -----------------------------------------------------------------------------------


def few(outcomes: list[tuple[str, int]], seen_before: int = 91) -> pd.DataFrame:
    """One term per outcome: the day it was final, and what it was; seen once, so many days before that."""
    final = pd.to_datetime([day for day, _ in outcomes])
    return pd.DataFrame(
        {
            "account_id": [f"a{n}" for n in range(len(outcomes))],
            "as_of": final - pd.Timedelta(days=seen_before),
            "renewal_date": final - pd.Timedelta(days=61),
            "days_to_renewal": 90,
            "renewal_signed": False,
            "label": [outcome for _, outcome in outcomes],
            "matured_at": final,
            "term": range(len(outcomes)),
        }
    )


def every_month(count: int, of_each: int = 5, rare: int = 1, begin: str = "2024-01-01") -> list[tuple[str, int]]:
    days = pd.date_range(begin, periods=count, freq="MS").astype(str)
    return [(day, int(place >= rare)) for day in days for place in range(of_each)]


OPTIONS = FoldSettings(min_renewals=20, min_events=2, focus_lead_days=0)


def test_a_refusal_counts_what_there_is_and_what_is_needed():
    with pytest.raises(InsufficientHistoryError) as refused:
        rolling_origin_folds(few(every_month(3)), OPTIONS)
    told = str(refused.value)
    assert "15 final (12 positive, 3 negative)" in told
    assert "needed for training: 20 (folds.min_renewals) with 2 of the rarer outcome (folds.min_events)" in told
    assert "there are not enough for training yet" in told


def test_a_refusal_says_when_there_will_be_enough():
    """Five a month: twenty are final in April; those seen from then on are final three months later, and take four."""
    with pytest.raises(InsufficientHistoryError) as refused:
        rolling_origin_folds(few(every_month(3)), OPTIONS)
    assert "enough about " in str(refused.value)
    when = History.from_observations(few(every_month(3)), OPTIONS).expected_ready_day()
    enough = next(n for n in range(3, 30) if _learns(every_month(n)))
    there = pd.Timestamp("2024-01-01") + pd.DateOffset(months=enough - 1)
    assert abs((when - there).days) <= 45


def test_where_enough_could_be_learned_the_refusal_says_what_is_lacking_to_test():
    with pytest.raises(
        InsufficientHistoryError, match="enough for training on 2024-04-01, and since then there are 10 for testing"
    ):
        rolling_origin_folds(few(every_month(8)), OPTIONS)
    when = History.from_observations(few(every_month(8)), OPTIONS).expected_ready_day()
    enough = next(n for n in range(8, 30) if _learns(every_month(n)))
    assert abs((when - (pd.Timestamp("2024-01-01") + pd.DateOffset(months=enough - 1))).days) <= 45


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_the_day_is_a_whole_one_whatever_the_unit_of_the_dates(unit):
    """The pace is seldom a whole number of outcomes a day; dates read from a file may count in seconds."""
    for months in range(1, 9):
        observed = few(every_month(months)).astype(dict.fromkeys(["as_of", "matured_at"], f"datetime64[{unit}]"))
        when = History.from_observations(observed, OPTIONS).expected_ready_day()
        assert when is None or when == when.normalize()


def _learns(outcomes: list[tuple[str, int]]) -> bool:
    try:
        return bool(rolling_origin_folds(few(outcomes), OPTIONS))
    except InsufficientHistoryError:
        return False


def test_without_the_rarer_outcome_or_at_too_slow_a_pace_no_month_is_named():
    with pytest.raises(InsufficientHistoryError, match="not be enough in 20 years"):
        rolling_origin_folds(few(every_month(12)), FoldSettings(min_renewals=100_000, focus_lead_days=0))
    with pytest.raises(InsufficientHistoryError, match="not be enough in 20 years"):
        rolling_origin_folds(few(every_month(12, rare=0)), OPTIONS)


def test_no_outcome_at_all_is_refused_in_words():
    nothing = few(every_month(3)).head(0)
    with pytest.raises(InsufficientHistoryError, match="not enough outcomes: 0 final"):
        rolling_origin_folds(nothing, OPTIONS)
