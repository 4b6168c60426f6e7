"""Backtest report, on tables small enough to add up by hand."""

import numpy as np
import pandas as pd
import pytest

from renewals.models.evaluation import backtest, capacity_recall
from renewals.models.evaluation.compared_rows import MODEL, BacktestSettings
from renewals.models.settings import GateSettings
from renewals.models.training.splits import KEY
from renewals.reports.settings import Capacity

GATE = GateSettings(bootstrap_samples=200, min_renewals=4, min_events=2, segments=("plan",))
EVERYTHING = Capacity().for_manager


def renewals(*rows: tuple, **columns) -> pd.DataFrame:
    """One row per (account, as_of, label, model); the renewal is 90 days away."""
    frame = pd.DataFrame(rows, columns=["account_id", "as_of", "label", MODEL])
    as_of = pd.to_datetime(frame["as_of"])
    renewal_date = as_of + pd.Timedelta(days=90)
    return frame.assign(
        as_of=as_of,
        renewal_id=frame["account_id"] + renewal_date.dt.strftime(":%Y-%m-%d"),
        renewal_date=renewal_date,
        days_to_renewal=90,
        term=np.arange(len(frame)),
        origin=pd.Timestamp(2024, 1, 1),
        **columns,
    )


def report_settings(target: str = "renewal", capacity=EVERYTHING) -> BacktestSettings:
    return BacktestSettings(target, GATE, capacity)


def predictions(probabilities, outcomes, **columns) -> pd.DataFrame:
    rows = [
        (f"a{n}", "2024-02-01", int(outcome), p)
        for n, (p, outcome) in enumerate(zip(probabilities, outcomes, strict=True))
    ]
    return renewals(*rows, **columns)


@pytest.fixture
def informed():
    """A model that knows the true probabilities, with a base rate that does not."""
    rng = np.random.default_rng(0)
    chance = rng.choice([0.1, 0.9], 300)
    return predictions(chance, rng.random(300) < chance, base_rate=0.5, linear=chance)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.01, 0.02, "better"), (-0.02, -0.01, "worse"), (-0.01, 0.01, "no_difference"), (0, 0, "no_difference")],
)
def test_verdict_needs_the_complete_interval_on_one_side_of_zero(low, high, expected):
    assert backtest.verdict(low, high) == expected


def test_report_has_each_model_and_the_gain_over_each(informed):
    report = backtest.compare_models(informed, report_settings())
    assert list(report["models"]) == [MODEL, "base_rate", "linear"]
    assert (report["rows"], report["terms"], report["accounts"]) == (300, 300, 300)
    assert report["gain_over"]["base_rate"]["verdict"] == "better"
    assert report["gain_over"]["linear"] == {"value": 0.0, "low": 0.0, "high": 0.0, "verdict": "no_difference"}
    swapped = informed.rename(columns={MODEL: "base_rate", "base_rate": MODEL})
    assert backtest.compare_models(swapped, report_settings())["gain_over"]["base_rate"]["verdict"] == "worse"
    low, high = report["models"][MODEL]["auc_interval"]
    assert low < report["models"][MODEL]["auc"] < high


def test_report_without_rows_is_empty(informed):
    report = backtest.compare_models(informed.head(0), report_settings())
    assert (report["rows"], report["gain_over"], report["models"][MODEL]) == (0, {}, {})


def test_recall_is_the_share_of_lost_revenue_within_capacity():
    """Anna has capacity for one account a month: her list has beta and not acme in February, and acme in March."""
    rows = renewals(
        ("acme", "2024-02-01", 0, 0.8),
        ("beta", "2024-02-01", 1, 0.2),
        ("acme", "2024-03-01", 0, 0.1),
        ("beta", "2024-03-01", 1, 0.9),
        ("gamma", "2024-03-01", 0, 0.5),
        arr=[100.0, 100.0, 100.0, 100.0, 300.0],
        csm=["Anna", "Anna", "Anna", "Anna", "Bob"],
    )
    capacity = Capacity(managers={"Anna": {"accounts": 1}}).for_manager
    report = capacity_recall.recall_at_capacity(rows, report_settings(capacity=capacity))
    assert report["lists"] == 2
    assert report["lost_arr"] == 500.0
    assert report["models"][MODEL]["recall"] == pytest.approx(400 / 500)
    assert report["models"][MODEL]["arr_share_listed"] == pytest.approx(500 / 700)
    assert [(manager["csm"], manager["recall"]) for manager in report["managers"]] == [("Anna", 0.5), ("Bob", 1.0)]
    assert [manager["recall_early"] for manager in report["managers"]] == [0.5, 1.0]


def test_early_recall_covers_the_first_fifth_of_a_list():
    rows = predictions([0.1, *[0.9] * 9], [0, *[1] * 8, 0], arr=10.0, csm="Anna")
    result = capacity_recall.recall_at_capacity(rows, report_settings())["models"][MODEL]
    assert (result["recall"], result["recall_early"]) == (1.0, 0.5)


def test_accounts_without_a_manager_are_one_portfolio():
    rows = renewals(("acme", "2024-02-01", 0, 0.5), arr=[10.0], csm=[None])
    (portfolio,) = capacity_recall.recall_at_capacity(rows, report_settings())["managers"]
    assert (portfolio["csm"], portfolio["recall"]) == (None, 1.0)


def test_a_loss_is_in_time_until_the_last_day_for_notice():
    """Both end in 90 days; acme's notice was due 60 days before that, and its decision is made (R12)."""
    rows = renewals(
        ("acme", "2024-02-01", 0, 0.3), ("gamma", "2024-02-01", 0, 0.5), arr=[300.0, 100.0], csm="Anna",
    ).assign(days_to_renewal=90, days_to_decision=[30, 90])  # fmt: skip
    settings = BacktestSettings("renewal", GATE, Capacity(accounts=1).for_manager, assumed_effect=1.0, decided_days=30)
    report = capacity_recall.recall_at_capacity(rows, settings)
    assert (report["lost_arr"], report["lost_arr_in_time"]) == (400.0, 100.0)
    assert report["rankings"]["expected_gain"]["in_time_recall"] == 1.0


def test_recall_is_reported_for_each_ranking():
    """Capacity is one account. Acme will hardly renew and is too late; beta is large and safe; gamma can be saved."""
    rows = renewals(
        ("acme", "2024-02-01", 0, 0.3), ("beta", "2024-02-01", 1, 0.999), ("gamma", "2024-02-01", 0, 0.5),
        arr=[300.0, 900.0, 100.0], csm="Anna",
    )  # fmt: skip
    rows["days_to_renewal"] = [20, 90, 90]
    settings = BacktestSettings("renewal", GATE, Capacity(accounts=1).for_manager, assumed_effect=1.0, decided_days=30)
    report = capacity_recall.recall_at_capacity(rows, settings)
    assert (report["lost_arr"], report["lost_arr_in_time"]) == (400.0, 100.0)
    recalls = {name: (one["recall"], one["in_time_recall"]) for name, one in report["rankings"].items()}
    acme, beta, gamma = (0.75, 0.0), (0.0, 0.0), (0.25, 1.0)
    assert recalls == {
        **{"expected_gain": gamma, "probability": acme, "arr": beta},
        **{"arr_at_risk": acme, "expected_profit": acme},
    }


def test_expected_profit_is_positive_for_a_probable_loss_of_large_revenue():
    """3 in 10 accept: of 1000 at a certain loss 0.3 * (950 - 15) - 0.7 * 15 = 270; a certain renewal costs 50 + 15."""
    chance, arr = pd.Series([0.0, 1.0]), pd.Series([1000.0, 1000.0])
    assert capacity_recall.expected_profit(chance, arr).tolist() == pytest.approx([270.0, -65.0])


def test_capacity_report_without_revenue_or_managers_is_empty():
    assert capacity_recall.recall_at_capacity(predictions([0.5], [1]), report_settings())["models"] == {}


def test_old_model_is_compared_with_the_newest_on_the_same_rows():
    rows = renewals(("acme", "2024-06-01", 1, 0.9), ("beta", "2024-06-01", 0, 0.1)).assign(
        origin=pd.Timestamp(2024, 6, 1)
    )
    predicted = [("acme", "2024-06-01", 0.9), ("beta", "2024-06-01", 0.1), ("acme", "2024-04-01", 0.5)]
    aged = pd.DataFrame(predicted, columns=["account_id", "origin", "probability"]).assign(
        renewal_id=lambda frame: frame["account_id"] + ":2024-08-30",
        as_of=pd.Timestamp(2024, 6, 1),
        origin=lambda frame: pd.to_datetime(frame["origin"]),
        out_of_range_share=0.0,
    )
    first, third = backtest.metrics_by_model_age(rows, aged, report_settings())
    assert (first["month"], first["rows"], first["gain"]) == (1, 2, None), "no model is newer"
    assert (third["month"], third["rows"], third["newest_month"]) == (3, 1, 1.0)
    assert third["log_loss"] == pytest.approx(-np.log(0.5))
    assert third["newest_log_loss"] == pytest.approx(-np.log(0.9))
    assert third["gain"]["value"] == pytest.approx(np.log(0.5) - np.log(0.9))


def test_model_age_uses_only_rows_that_a_newer_model_predicted():
    rows = renewals(("acme", "2024-06-01", 1, 0.9), ("beta", "2024-07-01", 1, 0.2)).assign(
        origin=pd.to_datetime(["2024-06-01", "2024-05-01"])
    )
    aged = rows[KEY].assign(origin=pd.to_datetime(["2024-04-01", "2024-05-01"]), probability=0.5)
    (third,) = backtest.metrics_by_model_age(rows, aged, report_settings())
    assert (third["month"], third["rows"], third["newest_month"]) == (3, 1, 1.0)
    assert third["newest_log_loss"] == pytest.approx(-np.log(0.9))


def test_models_older_than_a_year_are_one_age_and_the_newest_of_them_counts():
    rows = renewals(("acme", "2024-06-01", 1, 0.9))
    aged = pd.DataFrame(
        {
            "account_id": "acme",
            "renewal_id": "acme:2024-08-30",
            "as_of": pd.Timestamp(2024, 6, 1),
            "origin": pd.to_datetime(["2022-01-01", "2023-05-01"]),
            "probability": [0.3, 0.6],
        }
    )
    (old,) = backtest.metrics_by_model_age(rows, aged, report_settings())
    assert (old["month"], old["rows"], old["model_count"]) == (13, 1, 1)
    assert old["log_loss"] == pytest.approx(-np.log(0.6))


def test_log_loss_falls_when_out_of_range_accounts_are_left_out():
    rows = predictions([0.9] * 20, [1] * 16 + [0] * 4)
    aged = rows[[*KEY, "origin"]].assign(out_of_range_share=[0.0] * 16 + [0.5] * 4)
    steps = backtest.risk_coverage(rows, aged)
    assert [(step["coverage"], step["out_of_range_share"]) for step in steps] == [(1.0, 0.5), (0.8, 0.0)]
    assert steps[1]["log_loss"] == pytest.approx(-np.log(0.9))
    assert steps[0]["log_loss"] == pytest.approx(0.8 * -np.log(0.9) + 0.2 * -np.log(0.1))


def test_accounts_without_use_for_ninety_days_are_silent():
    rows = predictions([0.5] * 4, [1, 0, 1, 0], days_since_last_use=[0.0, 90.0, 91.0, np.nan])
    assert {name: list(part["account_id"]) for name, part in backtest.split_by_activity(rows)} == {
        "active": ["a0", "a1"],
        "silent": ["a2", "a3"],
    }
    assert list(backtest.split_by_activity(predictions([0.5], [1]))) == []


def test_segment_name_has_column_and_value():
    rows = predictions([0.5] * 10, [1, 0] * 5, plan=["pro x"] * 8 + ["few"] * 2)
    assert [(name, len(part)) for name, part in backtest.split_segments(rows, GATE)] == [(["plan", "pro x"], 8)]


def test_period_is_that_of_the_renewal_or_for_expansion_of_the_observation():
    rows = renewals(("acme", "2024-02-01", 1, 0.8), ("beta", "2024-03-01", 0, 0.4))
    (quarter,) = backtest.metrics_by_period(rows, "renewal", "Q")
    assert (quarter["period"], quarter["mean_observed"], quarter["mean_predicted"]) == (
        "2024Q2",
        0.5,
        pytest.approx(0.6),
    )
    assert [one["period"] for one in backtest.metrics_by_period(rows, "expansion", "Q")] == ["2024Q1"]
    assert [one["period"] for one in backtest.metrics_by_period(rows, "expansion", "M")] == ["2024-02", "2024-03"]


def test_interval_coverage_is_zero_for_wrong_probabilities():
    chance = np.repeat(np.linspace(0.55, 0.95, 10), 20)
    right = np.concatenate([np.arange(20) < round(20 * p) for p in chance[::20]])
    assert backtest.interval_coverage(predictions(chance, right), 0.5)["covered"] == 1.0
    assert backtest.interval_coverage(predictions(chance, np.zeros(200)), 0.5)["covered"] == 0.0


def test_expected_profit_is_the_maximum_over_all_cuts():
    rows = predictions([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1], arr=[1000.0, 200.0, 500.0, 100.0])
    report = backtest.empb_profit(rows)
    profits = [0.3 * 0.95 * 1000 - 15, -(0.05 * 200 + 15), 0.3 * 0.95 * 500 - 15, -(0.05 * 100 + 15)]
    assert report["models"][MODEL] == pytest.approx(max(np.cumsum(profits)) / 4)


def test_expansion_report_has_no_leads_capacity_intervals_or_profit(informed):
    aged = informed[[*KEY, "origin"]].assign(probability=0.5, out_of_range_share=0.0)
    reports = {
        target: backtest.build_report(informed, aged, 0.5, report_settings(target))
        for target in ("renewal", "expansion")
    }
    assert set(reports["renewal"]) - set(reports["expansion"]) == {"leads", "capacity", "interval_coverage", "profit"}
    assert reports["expansion"]["overall"]["rows"] == 300
