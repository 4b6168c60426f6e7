"""Compare the scores of champion and challenger, on accounts that a person can count."""

import numpy as np
import pandas as pd
import pytest

from renewals.models.evaluation import challenger


def rows(*accounts: tuple) -> pd.DataFrame:
    """One row per account: id, then probability, rank, band and top of the champion and of the challenger."""
    columns = [
        f"{name}{side}" for side in ("", "_challenger") for name in ("probability", "rank", "risk_band", "in_top")
    ]
    return pd.DataFrame(accounts, columns=["account_id", *columns])


ACME = ("acme", 0.2, 1, "high", True, 0.9, 4, "low", False)
BETA = ("beta", 0.5, 2, "high", True, 0.5, 1, "high", True)
GAMMA = ("gamma", 0.7, 3, "medium", False, 0.75, 3, "medium", False)
QUIET = ("quiet", 0.9, 4, "low", False, 0.7, 2, "medium", True)


def test_equal_scores_give_equal_lists():
    equal_rows = rows(*(one[:5] + one[1:5] for one in (ACME, BETA, GAMMA, QUIET)))
    comparison = challenger.compare_scores(equal_rows)
    assert (comparison["top_overlap"], comparison["rank_correlation"], comparison["bands_changed"]) == (
        1.0,
        pytest.approx(1.0),
        0,
    )
    assert (comparison["movers"], comparison["mean_change"], comparison["accounts"]) == ([], 0.0, 4)


def test_top_overlap_is_the_share_of_the_champions_top_that_stays():
    assert challenger.compare_scores(rows(ACME, BETA, GAMMA, QUIET))["top_overlap"] == 0.5


def test_movers_are_sorted_by_band_then_rank_without_unchanged_accounts():
    comparison = challenger.compare_scores(rows(BETA, GAMMA, QUIET, ACME))
    assert [mover["account_id"] for mover in comparison["movers"]] == ["acme", "quiet", "gamma"]
    assert comparison["movers"][0] == {
        **{"account_id": "acme", "probability": 0.2, "probability_challenger": 0.9, "rank": 1, "rank_challenger": 4},
        **{"risk_band": "high", "risk_band_challenger": "low"},
    }
    assert comparison["bands_changed"] == 2


def test_opposite_order_has_correlation_minus_one():
    rising = pd.Series([0.1, 0.2, 0.7])
    assert challenger.rank_correlation(rising, 1 - rising) == pytest.approx(-1.0)
    assert challenger.rank_correlation(rising, pd.Series([0.5, 0.5, 0.5])) is None


def test_top_tenth_has_at_least_one_account():
    assert challenger.in_top_share(pd.Series(np.arange(10) / 10)).tolist() == [False] * 9 + [True]
    assert challenger.in_top_share(pd.Series([0.3, 0.4])).tolist() == [False, True]


def test_score_distribution_has_mean_and_quantiles():
    assert challenger.score_distribution(pd.Series([0.0, 0.5, 1.0]))["mean"] == 0.5
    assert challenger.score_distribution(pd.Series([0.0, 0.5, 1.0]))["q25"] == 0.25
    assert challenger.score_distribution(pd.Series(dtype=float)) == {}


def test_comparison_of_no_accounts_is_empty():
    comparison = challenger.compare_scores(rows().astype({"probability": float, "probability_challenger": float}))
    assert (
        comparison["accounts"],
        comparison["top_overlap"],
        comparison["rank_correlation"],
        comparison["movers"],
    ) == (0, None, None, [])
