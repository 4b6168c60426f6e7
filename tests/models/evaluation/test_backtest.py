"""What is told of the past, on tables small enough to add up by hand."""

import numpy as np
import pandas as pd
import pytest

from renewals.models.evaluation import backtest
from renewals.models.evaluation.backtest import MODEL, BacktestSettings
from renewals.models.settings import GateSettings
from renewals.reports.settings import Capacity

GATE = GateSettings(bootstrap_samples=200, min_renewals=4, min_events=2, segments=("plan",))
EVERYTHING = Capacity().for_manager


def renewals(*rows: tuple, **columns) -> pd.DataFrame:
    """One row per (account, as_of, label, model); the renewal is 90 days away."""
    frame = pd.DataFrame(rows, columns=["account_id", "as_of", "label", MODEL])
    as_of = pd.to_datetime(frame["as_of"])
    return frame.assign(
        as_of=as_of,
        renewal_date=as_of + pd.Timedelta(days=90),
        days_to_renewal=90,
        term=np.arange(len(frame)),
        origin=pd.Timestamp(2024, 1, 1),
        **columns,
    )


def asked(target: str = "renewal", capacity=EVERYTHING) -> BacktestSettings:
    return BacktestSettings(target, GATE, capacity)


def many(chance, label, **columns) -> pd.DataFrame:
    rows = [(f"a{n}", "2024-02-01", int(hit), p) for n, (p, hit) in enumerate(zip(chance, label, strict=True))]
    return renewals(*rows, **columns)


@pytest.fixture
def truthful():
    """A model that knows, beside a base rate that does not."""
    rng = np.random.default_rng(0)
    chance = rng.choice([0.1, 0.9], 300)
    return many(chance, rng.random(300) < chance, base_rate=0.5, linear=chance)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.01, 0.02, "better"), (-0.02, -0.01, "worse"), (-0.01, 0.01, "no_difference"), (0, 0, "no_difference")],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(low, high, said):
    assert backtest.verdict(low, high) == said


def test_a_part_holds_every_speaker_and_what_the_model_gains_over_each(truthful):
    told = backtest.compare_models(truthful, asked())
    assert list(told["models"]) == [MODEL, "base_rate", "linear"]
    assert (told["rows"], told["terms"], told["accounts"]) == (300, 300, 300)
    assert told["gain_over"]["base_rate"]["verdict"] == "better"
    assert told["gain_over"]["linear"] == {"value": 0.0, "low": 0.0, "high": 0.0, "verdict": "no_difference"}
    swapped = truthful.rename(columns={MODEL: "base_rate", "base_rate": MODEL})
    assert backtest.compare_models(swapped, asked())["gain_over"]["base_rate"]["verdict"] == "worse"
    low, high = told["models"][MODEL]["auc_interval"]
    assert low < told["models"][MODEL]["auc"] < high


def test_a_part_without_rows_says_so(truthful):
    told = backtest.compare_models(truthful.head(0), asked())
    assert (told["rows"], told["gain_over"], told["models"][MODEL]) == (0, {}, {})


def test_the_share_of_lost_revenue_among_those_who_fit():
    """Anna can carry one account a month. In February she is shown beta and misses acme; in March she is shown acme."""
    rows = renewals(
        ("acme", "2024-02-01", 0, 0.8),
        ("beta", "2024-02-01", 1, 0.2),
        ("acme", "2024-03-01", 0, 0.1),
        ("beta", "2024-03-01", 1, 0.9),
        ("gamma", "2024-03-01", 0, 0.5),
        arr=[100.0, 100.0, 100.0, 100.0, 300.0],
        csm=["Anna", "Anna", "Anna", "Anna", "Bob"],
    )
    one = Capacity(managers={"Anna": {"accounts": 1}}).for_manager
    told = backtest.recall_at_capacity(rows, asked(capacity=one))
    assert told["lists"] == 2
    assert told["lost_arr"] == 500.0
    assert told["models"][MODEL]["recall"] == pytest.approx(400 / 500)
    assert told["models"][MODEL]["arr_share_listed"] == pytest.approx(500 / 700)
    assert [(one["csm"], one["recall"]) for one in told["managers"]] == [("Anna", 0.5), ("Bob", 1.0)]
    assert [one["recall_early"] for one in told["managers"]] == [0.5, 1.0]


def test_the_first_fifth_of_a_list_is_told_apart():
    rows = many([0.1, *[0.9] * 9], [0, *[1] * 8, 0], arr=10.0, csm="Anna")
    told = backtest.recall_at_capacity(rows, asked())["models"][MODEL]
    assert (told["recall"], told["recall_early"]) == (1.0, 0.5)


def test_accounts_of_no_manager_are_a_portfolio_of_their_own():
    rows = renewals(("acme", "2024-02-01", 0, 0.5), arr=[10.0], csm=[None])
    (told,) = backtest.recall_at_capacity(rows, asked())["managers"]
    assert (told["csm"], told["recall"]) == (None, 1.0)


def test_the_model_s_lists_are_ranked_otherwise_too():
    """One account fits. Acme will hardly renew and is too late; beta is large and safe; gamma can be saved."""
    rows = renewals(
        ("acme", "2024-02-01", 0, 0.3), ("beta", "2024-02-01", 1, 0.999), ("gamma", "2024-02-01", 0, 0.5),
        arr=[300.0, 900.0, 100.0], csm="Anna",
    )  # fmt: skip
    rows["days_to_renewal"] = [20, 90, 90]
    asked_for = BacktestSettings("renewal", GATE, Capacity(accounts=1).for_manager, assumed_effect=1.0, decided_days=30)
    told = backtest.recall_at_capacity(rows, asked_for)
    assert (told["lost_arr"], told["lost_arr_in_time"]) == (400.0, 100.0)
    found = {name: (one["recall"], one["in_time_recall"]) for name, one in told["rankings"].items()}
    acme, beta, gamma = (0.75, 0.0), (0.0, 0.0), (0.25, 1.0)
    assert found == {
        **{"expected_gain": gamma, "probability": acme, "arr": beta},
        **{"arr_at_risk": acme, "expected_profit": acme},
    }


def test_contact_pays_where_leaving_is_likely_and_the_revenue_large():
    """3 in 10 accept: of 1000 at a certain loss 0.3 * (950 - 15) - 0.7 * 15 = 270; a certain renewal costs 50 + 15."""
    chance, arr = pd.Series([0.0, 1.0]), pd.Series([1000.0, 1000.0])
    assert backtest.expected_profit(chance, arr).tolist() == pytest.approx([270.0, -65.0])


def test_without_revenue_or_managers_nothing_is_said_of_capacity():
    assert backtest.recall_at_capacity(many([0.5], [1]), asked())["models"] == {}


def test_an_old_model_is_compared_with_the_youngest_on_the_same_rows():
    rows = renewals(("acme", "2024-06-01", 1, 0.9), ("beta", "2024-06-01", 0, 0.1)).assign(
        origin=pd.Timestamp(2024, 6, 1)
    )
    words = [("acme", "2024-06-01", 0.9), ("beta", "2024-06-01", 0.1), ("acme", "2024-04-01", 0.5)]
    aged = pd.DataFrame(words, columns=["account_id", "origin", "probability"]).assign(
        as_of=pd.Timestamp(2024, 6, 1), origin=lambda frame: pd.to_datetime(frame["origin"]), out_of_range_share=0.0
    )
    first, third = backtest.metrics_by_model_age(rows, aged, asked())
    assert (first["month"], first["rows"], first["gain"]) == (1, 2, None), "nobody is younger"
    assert (third["month"], third["rows"], third["newest_month"]) == (3, 1, 1.0)
    assert third["log_loss"] == pytest.approx(-np.log(0.5))
    assert third["newest_log_loss"] == pytest.approx(-np.log(0.9))
    assert third["gain"]["value"] == pytest.approx(np.log(0.5) - np.log(0.9))


def test_of_an_age_only_the_rows_that_a_younger_model_spoke_of_are_compared():
    rows = renewals(("acme", "2024-06-01", 1, 0.9), ("beta", "2024-07-01", 1, 0.2)).assign(
        origin=pd.to_datetime(["2024-06-01", "2024-05-01"])
    )
    aged = rows[["account_id", "as_of"]].assign(origin=pd.to_datetime(["2024-04-01", "2024-05-01"]), probability=0.5)
    (third,) = backtest.metrics_by_model_age(rows, aged, asked())
    assert (third["month"], third["rows"], third["newest_month"]) == (3, 1, 1.0)
    assert third["newest_log_loss"] == pytest.approx(-np.log(0.9))


def test_models_of_a_year_and_older_are_one_age_and_the_youngest_of_them_speaks():
    rows = renewals(("acme", "2024-06-01", 1, 0.9))
    aged = pd.DataFrame(
        {
            "account_id": "acme",
            "as_of": pd.Timestamp(2024, 6, 1),
            "origin": pd.to_datetime(["2022-01-01", "2023-05-01"]),
            "probability": [0.3, 0.6],
        }
    )
    (old,) = backtest.metrics_by_model_age(rows, aged, asked())
    assert (old["month"], old["rows"], old["model_count"]) == (13, 1, 1)
    assert old["log_loss"] == pytest.approx(-np.log(0.6))


def test_log_loss_falls_where_the_strange_are_misjudged():
    rows = many([0.9] * 20, [1] * 16 + [0] * 4)
    aged = rows[["account_id", "as_of", "origin"]].assign(out_of_range_share=[0.0] * 16 + [0.5] * 4)
    told = backtest.risk_coverage(rows, aged)
    assert [(one["coverage"], one["out_of_range_share"]) for one in told] == [(1.0, 0.5), (0.8, 0.0)]
    assert told[1]["log_loss"] == pytest.approx(-np.log(0.9))
    assert told[0]["log_loss"] == pytest.approx(0.8 * -np.log(0.9) + 0.2 * -np.log(0.1))


def test_who_was_not_in_use_for_ninety_days_is_silent_and_so_is_who_never_was():
    rows = many([0.5] * 4, [1, 0, 1, 0], days_since_last_use=[0.0, 90.0, 91.0, np.nan])
    assert {name: list(part["account_id"]) for name, part in backtest.split_by_activity(rows)} == {
        "active": ["a0", "a1"],
        "silent": ["a2", "a3"],
    }
    assert list(backtest.split_by_activity(many([0.5], [1]))) == []


def test_a_segment_is_named_by_its_column_and_value():
    rows = many([0.5] * 10, [1, 0] * 5, plan=["pro x"] * 8 + ["few"] * 2)
    assert [(name, len(part)) for name, part in backtest.split_segments(rows, GATE)] == [(["plan", "pro x"], 8)]


def test_a_quarter_is_that_of_the_renewal_or_of_the_observation_where_growth_is_asked():
    rows = renewals(("acme", "2024-02-01", 1, 0.8), ("beta", "2024-03-01", 0, 0.4))
    (quarter,) = backtest.metrics_by_period(rows, "renewal", "Q")
    assert (quarter["period"], quarter["mean_observed"], quarter["mean_predicted"]) == (
        "2024Q2",
        0.5,
        pytest.approx(0.6),
    )
    assert [one["period"] for one in backtest.metrics_by_period(rows, "expansion", "Q")] == ["2024Q1"]
    assert [one["period"] for one in backtest.metrics_by_period(rows, "expansion", "M")] == ["2024-02", "2024-03"]


def test_an_interval_in_the_wrong_place_does_not_hold():
    chance = np.repeat(np.linspace(0.55, 0.95, 10), 20)
    right = np.concatenate([np.arange(20) < round(20 * p) for p in chance[::20]])
    assert backtest.interval_coverage(many(chance, right), 0.5)["covered"] == 1.0
    assert backtest.interval_coverage(many(chance, np.zeros(200)), 0.5)["covered"] == 0.0


def test_expected_profit_is_that_of_the_best_cut():
    rows = many([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1], arr=[1000.0, 200.0, 500.0, 100.0])
    told = backtest.empb_profit(rows)
    stays = [0.3 * 0.95 * 1000 - 15, -(0.05 * 200 + 15), 0.3 * 0.95 * 500 - 15, -(0.05 * 100 + 15)]
    assert told["models"][MODEL] == pytest.approx(max(np.cumsum(stays)) / 4)


def test_growth_is_told_without_leads_capacity_intervals_and_profit(truthful):
    aged = truthful[["account_id", "as_of", "origin"]].assign(probability=0.5, out_of_range_share=0.0)
    told = {target: backtest.build_report(truthful, aged, 0.5, asked(target)) for target in ("renewal", "expansion")}
    assert set(told["renewal"]) - set(told["expansion"]) == {"leads", "capacity", "interval_coverage", "profit"}
    assert told["expansion"]["overall"]["rows"] == 300
