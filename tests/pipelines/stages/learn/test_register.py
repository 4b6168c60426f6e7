"""Comparison of a challenger with the champion on the same rows, and metrics and plots for MLflow; no registry."""

import math

import numpy as np
import pandas as pd
import pytest

from renewals.models.evaluation.gate import (
    compare_with_champion,
    failed_comparisons,
    is_champion_row,
    large_segments,
    pair_predictions,
    segment_calibration,
)
from renewals.models.settings import GateSettings
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.stages.learn import register
from renewals.pipelines.storage.registry import model_registry
from renewals.pipelines.storage.registry.evaluation_plots import _draw_calibration, _render_png
from renewals.pipelines.storage.registry.mlflow_runs import _run_metrics

GATE = GateSettings(lead_days=90, min_renewals=50, bootstrap_samples=100)
CARD = {"rows": 10, "terms": 5, "positive_terms": 3}


def backtest_predictions(quality: float, seed: int = 0, accounts: int = 200) -> pd.DataFrame:
    """Predictions 90 days before one renewal per account; their log-odds are `quality` times the true log-odds."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(scale=1.5, size=accounts)
    truth = (rng.random(accounts) < 1 / (1 + np.exp(-margin))).astype(int)
    return pd.DataFrame(
        {
            "account_id": [f"a{n}" for n in range(accounts)],
            "renewal_id": [f"a{n}:2025-04-01" for n in range(accounts)],
            "as_of": pd.Timestamp(2025, 1, 1),
            "renewal_date": pd.Timestamp(2025, 4, 1),
            "days_to_renewal": 90,
            "renewal_signed": False,
            "origin": pd.Timestamp(2024, 10, 1),
            "term": range(accounts),
            "label": truth,
            "probability": 1 / (1 + np.exp(-quality * margin)),
        }
    )


def compare(champion: pd.DataFrame, challenger: pd.DataFrame) -> dict:
    """Compare the back-tests of two models, without later predictions of the champion."""
    no_later_rows = challenger.head(0)[["account_id", "renewal_id", "as_of", "probability"]]
    return compare_with_champion(pair_predictions(challenger, champion, no_later_rows), "renewal", GATE)


def test_a_worse_challenger_fails_the_comparison_on_the_same_rows():
    loss, ranking = failed_comparisons(compare(backtest_predictions(1.0), backtest_predictions(-1.0)), "3")
    assert "worse than the champion, version 3, on the same 200 terms: log loss lower by -" in loss
    assert "AUC higher by -" in ranking


@pytest.mark.parametrize("quality", [1.0, 0.9])
def test_a_challenger_that_is_not_significantly_worse_passes(quality):
    assert failed_comparisons(compare(backtest_predictions(1.0), backtest_predictions(quality)), "3") == []


def test_only_common_rows_without_a_signed_renewal_count():
    challenger = backtest_predictions(1.0).assign(renewal_signed=[n < 20 for n in range(200)])
    assert compare(backtest_predictions(1.0).iloc[:150], challenger)["rows"] == 130


def test_predictions_of_a_model_trained_after_the_observation_do_not_count():
    after = pd.Timestamp(2025, 1, 2)
    no_later_rows = backtest_predictions(1.0).head(0)
    assert pair_predictions(
        backtest_predictions(1.0), backtest_predictions(1.0).assign(origin=after), no_later_rows
    ).empty
    assert pair_predictions(
        backtest_predictions(1.0).assign(origin=after), backtest_predictions(1.0), no_later_rows
    ).empty
    assert len(pair_predictions(backtest_predictions(1.0), backtest_predictions(1.0), no_later_rows)) == 200


def test_the_champion_itself_predicts_only_rows_observed_since_its_training():
    challenger = backtest_predictions(1.0)
    assert is_champion_row(challenger, pd.Timestamp(2024, 10, 1)).all(), (
        "trained at the origin of the fold: the same history for both"
    )
    assert not is_champion_row(challenger, pd.Timestamp(2024, 10, 2)).any(), (
        "the champion used more history than the fold"
    )
    assert not is_champion_row(challenger.assign(origin=pd.Timestamp(2026, 1, 1)), pd.Timestamp(2025, 6, 1)).any()


def test_a_prediction_of_the_champion_replaces_its_backtest():
    later = backtest_predictions(1.0).head(30)[["account_id", "renewal_id", "as_of"]].assign(probability=0.5)
    both = pair_predictions(backtest_predictions(1.0), backtest_predictions(1.0), later).set_index("account_id")
    assert (both.loc[later["account_id"], "probability_champion"] == 0.5).all()
    assert (both["probability_champion"] == 0.5).sum() == 30


def with_size_bands(predictions: pd.DataFrame) -> pd.DataFrame:
    """Add a size band: every fourth account is large."""
    return predictions.assign(size_band=["large" if n % 4 == 0 else "small" for n in range(len(predictions))])


def test_a_challenger_that_is_worse_in_one_segment_is_refused_for_that_segment():
    challenger = with_size_bands(backtest_predictions(1.0, accounts=800))
    margin = np.log(challenger["probability"] / (1 - challenger["probability"]))
    is_large = challenger["size_band"] == "large"
    probability = 1 / (1 + np.exp(-np.where(is_large, -margin, margin + 1.5 * (2 * challenger["label"] - 1))))
    rows = pair_predictions(
        challenger.assign(probability=probability), backtest_predictions(1.0, accounts=800), challenger.head(0)
    )
    comparison = compare_with_champion(rows, "renewal", GATE)
    assert comparison["gain"]["low"] > 0, "better overall"
    (reason,) = failed_comparisons(comparison, "3")
    assert "worse than the champion, version 3, in size_band large (200 terms)" in reason


def test_only_large_enough_segments_are_checked():
    rows = with_size_bands(backtest_predictions(1.0)).assign(industry="retail", plan=None)
    assert [name for name, _ in large_segments(rows, GATE)] == ["size_band large", "size_band small", "industry retail"]
    few = GateSettings(lead_days=90, min_renewals=51)
    assert [name for name, _ in large_segments(rows, few)] == ["size_band small", "industry retail"]
    rare = rows.assign(label=np.where(rows["size_band"] == "large", 1, rows["label"]))
    assert "size_band large" not in dict(large_segments(rare, GATE))


def test_a_bias_in_one_segment_is_detected():
    rows = with_size_bands(backtest_predictions(1.0, accounts=800))
    high = rows.assign(probability=np.where(rows["size_band"] == "large", 0.98, rows["probability"]))
    bias_by_segment = segment_calibration(high, "probability", GATE)
    assert bias_by_segment["size_band large"]["bias"]["low"] > GATE.max_calibration_error
    assert abs(bias_by_segment["size_band small"]["bias"]["value"]) < GATE.max_calibration_error


def test_more_segments_widen_each_interval():
    single = segment_calibration(
        with_size_bands(backtest_predictions(1.0)), "probability", GATE.model_copy(update={"segments": ("size_band",)})
    )
    rows = with_size_bands(backtest_predictions(1.0)).assign(**{f"s{n}": "x" for n in range(6)})
    many_segments = GATE.model_copy(update={"segments": ("size_band", *(f"s{n}" for n in range(6)))})
    one, many = (
        result["size_band small"]["bias"]
        for result in (single, segment_calibration(rows, "probability", many_segments))
    )
    assert many["high"] - many["low"] > 1.2 * (one["high"] - one["low"])


class RegisteredVersion:
    """A registered version with a matching identity tag."""

    def __init__(self, version: str) -> None:
        self.name, self.version, self.tags = "renewals-renewal", version, {model_registry.IDENTITY_TAG: "same"}


@pytest.mark.parametrize(("corrupted", "version"), [(set(), "2"), ({"2"}, "1"), ({"1", "2"}, "new")])
def test_a_corrupted_version_is_not_reused(corrupted, version, monkeypatch):
    def verify(client, registered):
        if registered.version in corrupted:
            raise DataContractError("model.txt not as registered")
        return {"model.txt": b"tree"}

    monkeypatch.setattr(
        model_registry, "registered_versions", lambda client, target: [RegisteredVersion("2"), RegisteredVersion("1")]
    )
    monkeypatch.setattr(model_registry, "verified_files", verify)
    monkeypatch.setattr(register, "_identity", lambda job, files: "same")
    monkeypatch.setattr(register, "_create_version", lambda *args: RegisteredVersion("new"))
    result, exists = register._find_or_create_version(None, None, "renewal", {}, {})
    assert (result.version, exists) == (version, version != "new")


def test_too_few_common_renewals_are_not_compared():
    comparison = compare(backtest_predictions(1.0).iloc[:49], backtest_predictions(-1.0))
    assert comparison["gain"] is None
    assert failed_comparisons(comparison, "3") == []


def test_mlflow_receives_only_finite_metrics():
    at_lead = {"90": {"rows": 5, "model": {"auc": 0.7, "slope": None}, "base_rate": {"auc": math.inf, "log_loss": 0.5}}}
    folds = [{"at_lead": {"90": {"auc": math.nan, "log_loss": 0.4, "rows": 5}}}]
    metrics = {
        (metric.key, metric.step): metric.value for metric in _run_metrics(CARD, {"at_lead": at_lead, "folds": folds})
    }
    assert metrics == {
        ("rows", 0): 10.0,
        ("terms", 0): 5.0,
        ("positive_terms", 0): 3.0,
        ("auc_90d", 0): 0.7,
        ("base_rate.log_loss_90d", 0): 0.5,
        ("fold.log_loss_90d", 1): 0.4,
        ("fold.rows_90d", 1): 5.0,
    }


def test_a_plot_has_the_same_bytes_each_time():
    table = pd.DataFrame({"mean_predicted": [0.2, 0.8], "mean_observed": [0.1, 0.9]})
    first = _render_png(_draw_calibration, table)
    assert first.startswith(b"\x89PNG")
    assert _render_png(_draw_calibration, table) == first


def test_a_manifest_changes_with_any_byte_of_any_file():
    files = {"model.txt": b"tree", "additive_model.json": b"{}"}
    assert model_registry.build_manifest(files) == model_registry.build_manifest(dict(reversed(files.items())))
    assert model_registry.build_manifest(files) != model_registry.build_manifest(
        files | {"additive_model.json": b"{} "}
    )
