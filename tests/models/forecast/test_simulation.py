"""The forecast of small companies, each figure worked out by hand; and that its intervals are as wide as they say."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from renewals.models.forecast.benchmarks import actual_measures, derive_measures, last_year_rates
from renewals.models.forecast.renewal_schedule import (
    ALL_BANDS,
    build_schedule,
    forecast_accounts,
    late_renewal_rate,
    term_length_distribution,
)
from renewals.models.forecast.simulation import (
    build_pool,
    forecast_measures,
    growth_pool,
    segment_membership,
    simulate_totals,
)
from tests.models.standings import DAY, OPTIONS, quarters, read, scores, sets, shock, standing

FLAT = """
    account_id | due_at     | amount_due | renewed
    past       | 2025-05-15 | 100        | 1
"""
"""One past renewal, of another customer, flat: what is bought again is kept whole and nothing is bought on top."""
PAST = """
    account_id | quarter | opening
    past       | -2      | 100
"""


def told(known, chances=None, spread=0.0, options=OPTIONS, kinds=()):
    """expected, low and high by (measure, quarter, segment)."""
    rows = forecast_measures(known, scores() if chances is None else chances, shock(spread), options, kinds, "unknown")
    keyed = rows.set_index(["measure", "quarter", "segment"])[["expected", "low", "high"]]
    return {key: tuple(values) for key, values in zip(keyed.index, keyed.to_numpy(), strict=True)}


def company(coming: str, past: str = FLAT, history: str = PAST, opening: str = "acme | 1 | 100"):
    """A company with these renewals to come; today's revenue is that of `opening`."""
    head = FLAT.strip().splitlines()[0]
    past = past if "account_id" in past else f"{head}\n{past}"
    history = history or "account_id | quarter | opening\nnobody | 1 | 0"
    known = pd.concat([sets(past), sets(coming if "account_id" in coming else f"{head}\n{coming}")], ignore_index=True)
    now = quarters(f"account_id | quarter | opening\n{opening}")
    return standing(known, pd.concat([quarters(history), now], ignore_index=True))


def test_a_decided_renewal_is_a_fact_whatever_the_score_says():
    found = told(company("acme | 2026-02-10 | 100 | 1"), scores(acme=0.01))
    assert found["arr_renewed", 1, ALL_BANDS] == found["arr_decided", 1, ALL_BANDS] == (100, 100, 100)
    assert found["arr_at_risk", 1, ALL_BANDS] == (0, 0, 0)
    assert found["gross_retention", 1, ALL_BANDS] == found["net_retention", 1, ALL_BANDS] == (1, 1, 1)


def test_one_account_is_there_or_gone():
    expected, low, high = told(company("acme | 2026-02-10 | 100 | 0"), scores(acme=0.7))["arr_renewed", 1, ALL_BANDS]
    assert expected == pytest.approx(70, abs=3)
    assert (low, high) == (0, 100)


def test_two_accounts_toss_a_coin_each():
    coming = "acme | 2026-02-10 | 100 | 0\nbeta | 2026-03-10 | 300 | 0"
    known = company(coming, opening="acme | 1 | 100\nbeta | 1 | 300")
    due = build_schedule(known, scores(acme=0.5, beta=0.5))
    accounts = forecast_accounts(known, due)
    found = simulate_totals(known, due, accounts, segment_membership(accounts, (), "").membership, shock(), OPTIONS)[
        "renewed"
    ][:, 0, 0]
    values, counts = np.unique(found, return_counts=True)
    assert values.tolist() == [0, 100, 300, 400]
    assert counts / len(found) == pytest.approx(0.25, abs=0.04)


def test_two_renewals_of_one_account_share_its_coin():
    known = company("acme | 2026-02-10 | 60 | 0\nacme | 2026-03-10 | 40 | 0")
    due = build_schedule(known, scores(acme=0.5))
    accounts = forecast_accounts(known, due)
    found = simulate_totals(known, due, accounts, segment_membership(accounts, (), "").membership, shock(), OPTIONS)[
        "renewed"
    ][:, 0, 0]
    assert np.unique(found).tolist() == [0, 100]


SMALLER = """
    account_id | due_at     | amount_due | renewed | amount_kept
    past       | 2025-05-15 | 100        | 1       | 80
"""


def test_what_a_renewed_account_keeps_is_what_past_ones_kept():
    """Bought again for sure, a fifth smaller: all of it is renewed, four fifths are kept."""
    found = told(company("acme | 2026-02-10 | 100 | 0", SMALLER), scores(acme=1.0))
    assert found["arr_renewed", 1, ALL_BANDS] == pytest.approx((100, 100, 100))
    assert (
        found["gross_retention", 1, ALL_BANDS] == found["net_retention", 1, ALL_BANDS] == pytest.approx((0.8, 0.8, 0.8))
    )


UPLIFTED = """
    account_id | due_at     | amount_due | renewed | growth
    past       | 2025-05-15 | 100        | 1       | 7
"""
HELD = """
    account_id | quarter | opening | closing
    past       | -2      | 100     | 107
"""


def test_a_routine_uplift_is_not_retention():
    """Seven per cent dearer: in NRR, and not in GRR (R5). It is no growth between renewals either."""
    found = told(company("acme | 2026-02-10 | 100 | 0", UPLIFTED, HELD), scores(acme=1.0))
    assert found["gross_retention", 1, ALL_BANDS] == pytest.approx((1, 1, 1))
    assert found["net_retention", 1, ALL_BANDS] == pytest.approx((1.07, 1.07, 1.07))
    assert found["net_retention", 2, ALL_BANDS] == pytest.approx((1, 1, 1))


GROWN = """
    account_id | quarter | opening | closing
    past       | -2      | 100     | 110
"""


def test_net_retention_holds_what_is_bought_between_renewals():
    """Past quarters of accounts grew by a tenth: so do these, 46 % a year, and it falls due with the term."""
    found = told(company("acme | 2026-11-10 | 100 | 0", history=GROWN), scores(acme=1.0))
    assert found["net_retention", 1, ALL_BANDS] == pytest.approx((1.1,) * 3)
    assert found["net_retention", 5, ALL_BANDS] == pytest.approx((1.1**4,) * 3)
    assert found["gross_retention", 5, ALL_BANDS] == pytest.approx((1,) * 3)
    assert found["arr_due", 4, ALL_BANDS] == pytest.approx((100 * 1.1**3,) * 3)


def test_a_decided_renewal_moves_money_when_its_follow_on_starts():
    begun = """
        account_id | due_at     | amount_due | renewed | amount_kept | moves_at
        acme       | 2026-02-10 | 100        | 1       | 60          | 2025-12-20
        beta       | 2026-02-10 | 100        | 1       | 60          | 2026-04-03
    """
    found = told(company(begun, opening="acme | 1 | 60\nbeta | 1 | 100"))
    assert found["arr_renewed", 1, ALL_BANDS] == (200, 200, 200)
    assert found["gross_retention", 1, ALL_BANDS] == (1, 1, 1), "acme's loss is in the opening, beta's comes later"
    assert found["gross_retention", 2, ALL_BANDS] == pytest.approx((120 / 160,) * 3)


def test_who_has_no_score_gets_the_rate_of_the_band():
    """Of the band's ten renewals of last year seven came; ten are lent at the company's rate of (7 + 1) / (10 + 2)."""
    past = "\n".join(f"past | 2025-05-{day:02d} | 100 | {int(day <= 7)}" for day in range(1, 11))
    known = company("acme | 2026-02-10 | 100 | 0", f"{FLAT.strip().splitlines()[0]}\n{past}")
    assert build_schedule(known, scores()).query("generation == 0")["probability"].tolist() == pytest.approx(
        [(7 + 10 * 8 / 12) / 20]
    )
    assert build_schedule(known, scores(acme=0.9)).query("generation == 0")["probability"].tolist() == [0.9]


def test_what_is_pending_is_no_forecast_of_a_quarter_but_part_of_the_opening():
    """Late renewals came in one of the two past cases not followed after 20 days: (1 + 1/2) / (2 + 1)."""
    past = """
        account_id | due_at     | amount_due | renewed | followed_at
        past       | 2025-05-10 | 100        | 1       | 2025-06-09
        gone       | 2025-05-10 | 100        | 0       |
        early      | 2025-05-10 | 100        | 1       | 2025-05-01
    """
    history = "account_id | quarter | opening\npast | -1 | 100\ngone | -1 | 100\nearly | -1 | 100\nlate | 0 | 100"
    known = company("late | 2025-12-12 | 100 | 0", past, history)
    assert late_renewal_rate(known, np.array([20])) == pytest.approx([0.5])
    found = told(known)
    assert found["opening_arr", 1, ALL_BANDS][0] == pytest.approx(150, abs=3)
    assert found["arr_due", 1, ALL_BANDS] == (0, 0, 0)
    assert np.isnan(found["revenue_renewal_rate", 1, ALL_BANDS]).all()


def test_new_business_is_left_out():
    known = company("stranger | 2026-02-10 | 100 | 0\nacme | 2026-02-11 | 100 | 0")
    assert set(build_schedule(known, scores())["account_id"]) == {"acme"}


def test_a_short_term_falls_due_again():
    """Half a year from 10 February is August; the second renewal waits for the first, at the band's rate."""
    coming = """
        account_id | due_at     | amount_due | renewed | began
        acme       | 2026-02-10 | 100        | 0       | 2025-08-10
    """
    due = build_schedule(company(coming), scores(acme=0.8))
    assert due[["quarter", "generation", "after", "share"]].to_numpy().tolist() == [[1, 0, -1, 1.0], [3, 1, 0, 1.0]]
    expected = told(company(coming), scores(acme=0.8))["arr_due", 3, ALL_BANDS][0]
    assert expected == pytest.approx(80, abs=3)


def test_how_long_follow_ons_are_goes_by_the_past():
    """Of ten yearly terms all were followed by half a year; with the ten lent, half of the follow-ons are short."""
    past = "\n".join(f"past | 2025-05-{day:02d} | 100 | 1 | 2025-11-{day:02d}" for day in range(1, 11))
    past = f"account_id | due_at | amount_due | renewed | lasts_until\n{past}"
    known = company("acme | 2026-02-10 | 100 | 0", past)
    shares = term_length_distribution(known).set_index(["months", "next_months"])["share"]
    assert shares[12, 6] == shares[12, 12] == 0.5
    assert build_schedule(known, scores()).query("generation == 1")["share"].tolist() == [0.5]


def test_by_manager_the_parts_add_up_to_the_company():
    coming = "acme/ann | 2026-02-10 | 100 | 0\nbeta/bo | 2026-03-10 | 300 | 0\ncoral | 2026-03-11 | 50 | 0"
    known = company(coming, opening="acme/ann | 1 | 100\nbeta/bo | 1 | 300\ncoral | 1 | 50")
    found = told(known, scores(**{"acme/ann": 0.5, "beta/bo": 0.9, "coral": 0.8}), kinds=("csm",))
    parts = [found["arr_renewed", 1, name][0] for name in ("ann", "bo", "unknown")]
    assert sum(parts) == pytest.approx(found["arr_renewed", 1, ALL_BANDS][0])
    assert parts[1] > parts[0]


def test_money_decides_what_is_drawn():
    """A case of 900 is nine times as likely as one of 100: the mean share is that of the sums."""
    cases = read("size_band | stake | gain\nsmall | 900 | 90\nsmall | 100 | 100")
    found = build_pool(cases, "stake", ("gain",), (0.0,)).draw(
        np.array(["small"]), np.random.default_rng(0).random((20_000, 1))
    )
    assert found.mean() == pytest.approx(190 / 1000, abs=0.01)


def test_without_a_past_what_is_renewed_is_kept_whole():
    found = told(company("acme | 2026-02-10 | 100 | 0", "past | 2025-12-15 | 100 | 1", ""), scores(acme=1.0))
    assert found["gross_retention", 1, ALL_BANDS] == found["net_retention", 5, ALL_BANDS] == (1, 1, 1)


def test_growth_between_renewals_leaves_out_what_was_bought_at_them():
    assert growth_pool(company("acme | 2026-02-10 | 100 | 0", UPLIFTED, HELD)).shares.tolist() == [[0.0]]
    assert growth_pool(company("acme | 2026-02-10 | 100 | 0", FLAT, HELD)).shares.tolist() == [[0.07]]


def crowd(count: int = 200):
    """Two hundred accounts of one size, due in the first quarter."""
    names = [f"a{number:03d}" for number in range(count)]
    coming = "\n".join(f"{name} | 2026-02-10 | 100 | 0" for name in names)
    known = company(coming, opening="\n".join(f"{name} | 1 | 100" for name in names))
    return known, scores(**dict.fromkeys(names, 0.85))


def test_a_shared_shock_widens_the_interval():
    known, chances = crowd()
    widths = []
    for spread in (0.0, 0.2, 0.5):
        _, low, high = told(known, chances, spread)["gross_retention", 1, ALL_BANDS]
        widths.append(high - low)
    assert widths[0] < widths[1] < widths[2]
    # Independent coins: 2 x 1.28 x sqrt(0.85 x 0.15 / 200) = 0.065.
    assert widths[0] == pytest.approx(0.065, abs=0.006)


@pytest.mark.parametrize(("spread", "low", "high"), [(0.4, 0.76, 0.84), (0.0, 0.0, 0.62)])
def test_intervals_hold_what_they_say_if_the_shock_is_known_and_not_without(spread, low, high):
    known, chances = crowd()
    _, least, most = told(known, chances, spread)["arr_renewed", 1, ALL_BANDS]
    dice = np.random.default_rng(3)
    level = expit(np.log(0.85 / 0.15) + 0.4 * dice.standard_normal(4000))
    truth = 100.0 * dice.binomial(200, level)
    assert low <= np.mean((truth >= least) & (truth <= most)) <= high


def test_the_same_seed_gives_the_same_figures_and_another_does_not():
    known, chances = crowd(20)
    first, again = (forecast_measures(known, chances, shock(0.2), OPTIONS, (), "") for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    other = forecast_measures(known, chances, shock(0.2), OPTIONS.model_copy(update={"seed": 8}), (), "")
    assert not first["expected"].equals(other["expected"])


# --- what it is held against -----------------------------------------------------------------------

LAST_YEAR = """
    account_id | quarter | opening | closing | lost | size_band
    a          | -4      | 100     | 100     |      | small
    b          | -4      | 900     | 900     |      | large
    a          | -3      | 100     | 100     |      | small
    b          | -3      | 900     | 900     |      | large
    a          | -2      | 100     | 50      | 50   | small
    b          | -2      | 900     | 990     |      | large
    a          | -1      | 50      | 50      |      | small
    b          | -1      | 990     | 990     |      | large
"""


def test_last_year_s_rates_are_ratios_of_sums():
    known = company(
        "b | 2026-02-10 | 990 | 0",
        "account_id | due_at | amount_due | renewed\na | 2025-04-10 | 100 | 0\nb | 2025-05-10 | 900 | 1",
        LAST_YEAR,
        "b | 1 | 990",
    )
    rates = last_year_rates(known)
    assert known.last_year_quarters == [-4, -3, -2, -1]
    assert rates.loc[ALL_BANDS, "renewed"] == pytest.approx(0.9)
    assert rates.loc["large", "renewed"] == 1
    assert rates.loc[ALL_BANDS, "gross"] == pytest.approx((1000 + 1000 + 950 + 1040) / (3 * 1000 + 1040))
    assert rates.loc[ALL_BANDS, "gross_year"] == pytest.approx(0.95)
    assert rates.loc[ALL_BANDS, "net_year"] == pytest.approx(1.04)
    rows = forecast_measures(known, scores(b=0.5), shock(), OPTIONS, (), "").set_index(["measure", "quarter"])
    assert rows.loc[("arr_renewed", 1), "by_last_year"] == pytest.approx(891)
    assert rows.loc[("gross_retention", 5), "by_last_year"] == pytest.approx(0.95)


def test_what_came_is_measured_of_the_customers_of_the_day():
    """Acme left and beta grew; a newcomer of the second quarter is in no figure; the fourth quarter is not over."""
    later = standing(
        sets(
            "account_id | due_at | amount_due | renewed\n"
            "acme | 2026-02-10 | 100 | 0\nbeta | 2026-05-10 | 300 | 1\nnew | 2026-05-10 | 50 | 1"
        ),
        quarters(
            "account_id | quarter | opening | closing | lost\n"
            "acme | 1 | 100 | 0 | 100\nbeta | 1 | 300 | 300 |\nacme | 2 | 0 | 0 |\nbeta | 2 | 300 | 330 |\n"
            "new | 2 | 50 | 0 | 50\nbeta | 3 | 330 | 330 |\nbeta | 4 | 330 | 330 |"
        ),
        pd.Timestamp(2026, 12, 1).date(),
    )
    accounts = pd.DataFrame({"account_id": ["acme", "beta"], "size_band": "small", "csm": None})
    found = actual_measures(later, accounts, segment_membership(accounts, (), "").membership)
    assert found["gross_retention"][:, 0] == pytest.approx([0.75, 1, 1, np.nan, np.nan], nan_ok=True)
    assert found["net_retention"][:3, 0] == pytest.approx([0.75, 1.1, 1])
    assert found["arr_renewed"][:2, 0] == pytest.approx([0, 300])


def test_a_share_of_nothing_is_none():
    nothing = {name: np.zeros((1, 1)) for name in ("opening", "closing", "kept", "due", "decided", "renewed")}
    assert np.isnan(derive_measures(nothing)["gross_retention"]).all()
    assert DAY.day == 1
