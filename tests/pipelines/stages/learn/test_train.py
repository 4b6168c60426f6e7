"""Training and evaluation from files to files, without a registry: stages that DVC can skip must work alone."""

import io
import json
import shutil
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from renewals.models.training.ensemble import MODEL_FILES, EnsembleModel
from renewals.pipelines.runtime.errors import DataContractError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.scoring.drift_reference import REFERENCE
from renewals.pipelines.scoring.feature_policy import feature_policy
from renewals.pipelines.stages.learn import train as training
from renewals.pipelines.stages.learn.evaluate import PLOT_COLUMNS, evaluate
from renewals.pipelines.storage import artifacts
from renewals.pipelines.storage.notices import Notice
from tests.models.drawn import CATALOGUE, training_table

QUICK = (
    "linear.inverse_penalties=[0.01]",
    "lightgbm.num_rounds=[20]",
    "lightgbm.tree_weights=[0.5]",
    "lightgbm.parallel_fits=1",
    "folds.origins=2",
    "folds.min_renewals=30",
    "folds.min_events=5",
    "gate.bootstrap_samples=50",
    "gate.lead_days=60",
)
DAY = date(2024, 6, 1)


def write_tables(folder, table: pd.DataFrame, until: date = DAY) -> Job:
    (folder / "learn").mkdir()
    table.to_parquet(folder / "learn" / "training.parquet")
    (folder / "learn" / "features.json").write_text(json.dumps({"features": CATALOGUE, "missing_families": []}))
    (folder / "learn" / "freshness.json").write_text(json.dumps({"notices": []}))
    return Job(read_settings(None, QUICK), "", folder, folder / "lists", until=until)


@pytest.fixture(scope="module")
def table():
    drawn = training_table()
    decided = (drawn["days_to_renewal"] < 150) & (drawn["renewal"] == 1) & (drawn["account_id"] < "a040")
    return drawn.assign(renewal_signed=decided)


@pytest.fixture(scope="module")
def done(table, tmp_path_factory):
    """The job and the results of `train` and `evaluate`."""
    job = write_tables(tmp_path_factory.mktemp("trained"), table)
    return job, training.train(job, "renewal"), evaluate(job, "renewal")


def test_the_model_card_records_the_parameters_and_notices_of_training(done, table, tmp_path):
    card = json.loads((done[0].folder / "models" / "renewal" / artifacts.MODEL_CARD).read_text())
    assert card["parameters"] == feature_policy(done[0].settings)
    assert card["notices"] == []
    job = write_tables(tmp_path, table)
    stale = Notice("stale", {"table": "usage_events", "newest_day": "2024-05-01", "days": 30, "day": str(DAY)})
    (job.folder / "freshness.json").write_text(json.dumps({"notices": [stale.as_dict()]}))
    training.train(job, "renewal")
    card = json.loads((job.folder / "models" / "renewal" / artifacts.MODEL_CARD).read_text())
    assert [one["en"] for one in card["notices"]] == [stale.text("en")]


def metrics_of(job: Job) -> dict:
    return json.loads((job.folder / "evaluation" / "renewal" / "metrics.json").read_text())


def test_the_headline_file_has_a_few_flat_metrics(done):
    folder, metrics = done[0].folder / "evaluation" / "renewal", metrics_of(done[0])
    headline = json.loads((folder / "headline.json").read_text())
    assert headline["auc"] == metrics["gate_metrics"]["auc"]["value"]
    assert headline["gain_over_base_rate"] == metrics["gate_metrics"]["gain_over"]["base_rate"]["value"]
    assert len(headline) < 25
    assert all(isinstance(value, int | float) for value in headline.values())
    assert "error" not in headline  # DVC marks a file that it cannot read with this key


def test_the_model_is_written_with_its_card_and_its_backtest(done):
    job, summary, _ = done
    files = artifacts.read_model(job.folder, "renewal")
    assert set(files) == {*MODEL_FILES, artifacts.MODEL_CARD, artifacts.BACKTEST, artifacts.BACKTEST_BY_AGE, REFERENCE}
    assert EnsembleModel.from_files(files).schema.names == tuple(feature["name"] for feature in CATALOGUE)
    card = json.loads(files[artifacts.MODEL_CARD])
    assert (card["until"], card["rows"], card["terms"]) == ("2024-06-01", summary["rows"], summary["terms"])
    assert len(card["candidates"]) == 1


def test_a_model_of_an_older_release_must_be_trained_again(done, tmp_path):
    folder = tmp_path / "models" / "renewal"
    shutil.copytree(done[0].folder / "models" / "renewal", folder)
    (folder / artifacts.MODEL_CARD).write_text(
        """{
 "target": "renewal", "until": "2024-06-01", "rows": 900, "trained": true, "terms": 300, "yes": 200, "features": 4,
 "recipe": {"strength": 1.0, "rounds": 40, "share_of_trees": 0.2},
 "calibration": {"slope": 1.0, "level": 0.0, "rows": 500, "terms": 200}, "doubt": {"spread": 0.3, "hidden": 0.2},
 "origins": ["2023-06-01"], "fingerprint": "abc", "tried": [], "importance": {}
}"""
    )
    with pytest.raises(MissingInputError, match="is from an older release: run `renewals learn`"):
        artifacts.read_model(tmp_path, "renewal")


def test_only_rows_final_on_the_day_are_used_for_training(done, table):
    final = pd.to_datetime(table["renewal_matured_at"]) <= pd.Timestamp(DAY)
    assert done[1]["rows"] == final.sum() < len(table)


def test_every_backtest_prediction_precedes_its_outcome(done):
    backtest = pd.read_parquet(io.BytesIO(artifacts.read_model(done[0].folder, "renewal")[artifacts.BACKTEST]))
    assert (backtest["origin"] <= backtest["as_of"]).all()
    assert (backtest["as_of"] < backtest["matured_at"]).all()
    assert backtest["probability"].between(0, 1).all()


def test_training_again_writes_the_same_bytes(done, tmp_path, table):
    job = write_tables(tmp_path, table.sample(frac=1.0, random_state=2))
    training.train(job, "renewal")
    again, first = artifacts.read_model(job.folder, "renewal"), artifacts.read_model(done[0].folder, "renewal")
    assert {name: again[name] for name in MODEL_FILES} == {name: first[name] for name in MODEL_FILES}
    assert (
        json.loads(again[artifacts.MODEL_CARD])["rows_sha256"] == json.loads(first[artifacts.MODEL_CARD])["rows_sha256"]
    )


def test_a_changed_value_changes_the_fingerprint(done, tmp_path, table):
    job = write_tables(tmp_path, table.assign(use=table["use"].where(table.index != 0, 99.0)))
    training.train(job, "renewal")
    changed, original = (
        json.loads(artifacts.read_model(j.folder, "renewal")[artifacts.MODEL_CARD])["rows_sha256"]
        for j in (job, done[0])
    )
    assert changed != original


def test_too_few_outcomes_give_a_reason_and_no_model(done, table, tmp_path):
    job = write_tables(tmp_path, table)
    training.train(job, "renewal")
    early = replace(job, until=date(2021, 4, 1))
    summary = training.train(early, "renewal")
    files = artifacts.read_model(early.folder, "renewal")
    assert set(files) == {artifacts.SCHEMA}
    assert summary["trained"] is False
    assert "folds.min_renewals" in artifacts.untrained_reason(files)
    assert evaluate(early, "renewal") == {"target": "renewal", "trained": False}
    plots = early.folder / "evaluation" / "renewal" / "plots"
    assert {path.name for path in plots.iterdir()} == set(PLOT_COLUMNS)


def test_a_target_without_labels_is_an_error(done):
    with pytest.raises(DataContractError, match="lacks upsell"):
        training.train(done[0], "upsell")


def test_missing_inputs_name_the_command_to_run(tmp_path):
    job = Job(read_settings(None, QUICK), "", tmp_path, tmp_path / "lists", until=DAY)
    with pytest.raises(MissingInputError, match="renewals learn"):
        training.train(job, "renewal")
    with pytest.raises(MissingInputError, match="renewals learn"):
        evaluate(job, "renewal")


def test_signed_renewals_are_counted_and_excluded(done):
    job, _, _ = done
    tested = metrics_of(job)["tested"]
    backtest = pd.read_parquet(io.BytesIO(artifacts.read_model(job.folder, "renewal")[artifacts.BACKTEST]))
    assert tested["excluded_signed"] == backtest["renewal_signed"].sum() > 0
    assert tested["observations"] == (~backtest["renewal_signed"]).sum()


def test_each_renewal_is_evaluated_once_per_lead_time(done):
    metrics = metrics_of(done[0])
    assert set(metrics["at_lead"]) == {"30", "60", "90", "120", "180"}
    assert metrics["gate_metrics"]["rows"] == metrics["gate_metrics"]["terms"] == metrics["at_lead"]["60"]["rows"]


def test_the_model_is_compared_with_every_available_baseline(done):
    at_lead = metrics_of(done[0])["at_lead"]["60"]
    compared = {name for name, scores in at_lead.items() if isinstance(scores, dict)}
    assert compared == {"model", "base_rate", "last_outcome", "few_features", "logistic_regression", "linear"}
    assert at_lead["model"]["auc"] > 0.7
    assert at_lead["model"]["log_loss"] < at_lead["base_rate"]["log_loss"]


def test_intervals_contain_their_values_and_the_model_beats_the_base_rate(done):
    gate_metrics = metrics_of(done[0])["gate_metrics"]
    for metric in (gate_metrics["auc"], gate_metrics["calibration_slope"], gate_metrics["gain_over"]["base_rate"]):
        assert metric["low"] < metric["value"] < metric["high"]
    assert gate_metrics["gain_over"]["base_rate"]["low"] > 0


def test_base_rate_confidence_changes_only_the_comparison_with_the_base_rate(done):
    job = done[0]
    less = replace(job, settings=read_settings(None, [*QUICK, "gate.base_rate_confidence=0.6"]))
    wide, narrow = done[2]["gain_over"], evaluate(less, "renewal")["gain_over"]
    evaluate(job, "renewal")
    assert narrow["base_rate"]["low"] > wide["base_rate"]["low"]
    assert narrow["last_outcome"] == wide["last_outcome"]


def test_the_plots_are_tables_of_their_declared_columns(done):
    for name, columns in PLOT_COLUMNS.items():
        drawn = pd.read_csv(done[0].folder / "evaluation" / "renewal" / "plots" / name)
        assert list(drawn.columns) == columns
        assert len(drawn) > 1


def test_nan_and_infinity_become_null_in_json():
    tree = json.loads(artifacts.to_json_bytes({"auc": float("nan"), "folds": [{"auc": np.inf}], "rows": 3}))
    assert tree == {"auc": None, "folds": [{"auc": None}], "rows": 3}
