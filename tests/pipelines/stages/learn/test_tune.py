"""`renewals tune`: studies are stored, resumed, evaluated once on held-out renewals, and described in sentences."""

import json
from dataclasses import replace
from datetime import date

import optuna
import pandas as pd
import pytest

from renewals.models.evaluation import tuning
from renewals.pipelines.commands import tune as tune_command
from renewals.pipelines.runtime.errors import ConfigError, DataContractError, MissingInputError, OutputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.stages.learn import tune as stage
from renewals.pipelines.storage.artifacts import to_json_bytes
from renewals.reports.sentences.tuning import tuning_sentences
from renewals.reports.words import Messages
from tests.models.drawn import CATALOGUE, training_table

DAY = date(2024, 6, 1)
QUICK = (
    "targets=[renewal]",
    "linear.inverse_penalties=[0.01]",
    "linear.near_term_days=0",
    "lightgbm.num_rounds=[8]",
    "lightgbm.tree_weights=[0.5]",
    "lightgbm.min_data_in_leaf=20",
    "lightgbm.parallel_fits=1",
    "folds.origins=2",
    "folds.min_renewals=30",
    "folds.min_events=5",
    "gate.bootstrap_samples=50",
    "gate.min_renewals=20",
    "gate.min_events=5",
    "tune.search_space={lightgbm.learning_rate: [0.01, 0.3, 0.5], lightgbm.max_depth: [1, 2, 5]}",
)


def write_job(folder, table: pd.DataFrame, trials: int = 3, *more: str) -> Job:
    (folder / "learn").mkdir(parents=True)
    table.to_parquet(folder / "learn" / "training.parquet")
    (folder / "learn" / "features.json").write_text(json.dumps({"features": CATALOGUE, "missing_families": []}))
    (folder / "learn" / "freshness.json").write_text(json.dumps({"notices": []}))
    return with_trials(Job(read_settings(None), "tables", folder, folder / "lists", until=DAY), trials, *more)


def with_trials(job: Job, trials: int, *more: str) -> Job:
    return replace(job, settings=read_settings(None, [*QUICK, f"tune.trials={trials}", *more]))


@pytest.fixture(scope="module")
def table():
    return training_table()


@pytest.fixture(scope="module")
def done(table, tmp_path_factory):
    """The job after three trials, and the result of `tune`."""
    job = write_job(tmp_path_factory.mktemp("tuned") / "data", table)
    return job, stage.tune(job, "renewal")


def studies(job: Job) -> list[optuna.Study]:
    url = f"sqlite:///{job.data / 'tune' / 'renewal.db'}"
    return [optuna.load_study(study_name=name, storage=url) for name in optuna.get_all_study_names(url)]


def forbid(*_):
    raise AssertionError("no trial is expected here")


def test_the_report_has_the_trials_the_best_setting_and_its_overrides(done):
    job, summary = done
    report = stage.read_report(job, "renewal")
    (study,) = studies(job)
    assert study.study_name == report["study"]
    assert [trial["log_loss"] for trial in report["trials"]] == [trial.value for trial in study.trials]
    assert report["trials"][0]["setting"] == report["current"]
    assert report["log_loss"]["best"] == min(trial["log_loss"] for trial in report["trials"])
    assert report["log_loss"]["current"] == report["trials"][0]["log_loss"]
    assert report["cutoff"] < report["until"] == "2024-06-01"
    assert summary["overrides"] == report["overrides"] != []
    changed = read_settings(None, [*QUICK, *report["overrides"]])
    assert tuning.current_setting(changed, list(report["setting"])) == report["setting"]
    assert report["holdout"]["verdict"] in ("better", "no_difference", "worse")


def test_a_finished_study_runs_no_trial_and_gives_the_same_result(done, monkeypatch):
    job, first = done
    before = (job.data / "tune" / "renewal.json").read_bytes()
    monkeypatch.setattr(tuning, "trial_loss", forbid)
    monkeypatch.setattr(tuning, "compare_with_current", forbid)
    again = stage.tune(job, "renewal")
    assert (first["unchanged"], again["unchanged"]) == (False, True)
    assert {**again, "unchanged": False} == first
    assert (job.data / "tune" / "renewal.json").read_bytes() == before


def test_a_study_resumed_with_a_larger_budget_equals_a_single_run(done, table, tmp_path):
    job = write_job(tmp_path / "parts", table, 2)
    assert stage.tune(job, "renewal")["trials"] == 2
    stage.tune(with_trials(job, 3), "renewal")
    assert stage.read_report(job, "renewal") == stage.read_report(done[0], "renewal")


def test_an_interrupted_run_loses_one_trial(done, table, tmp_path, monkeypatch):
    job, calls, loss_of = write_job(tmp_path / "cut", table), [], tuning.trial_loss

    def interrupt_second(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return loss_of(*args)

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "trial_loss", interrupt_second)
        with pytest.raises(KeyboardInterrupt):
            stage.tune(job, "renewal")
    assert not (job.data / "tune" / "renewal.json").exists()
    assert stage.tune(job, "renewal")["trials"] == 3
    report, single_run = stage.read_report(job, "renewal"), stage.read_report(done[0], "renewal")
    assert [trial["state"] for trial in report["trials"]].count("failed") == 1
    completed = [(trial["setting"], trial["log_loss"]) for trial in report["trials"] if trial["state"] != "failed"]
    assert completed == [(trial["setting"], trial["log_loss"]) for trial in single_run["trials"]]


def test_changed_rows_or_settings_start_a_new_study(done, table, tmp_path):
    job = write_job(tmp_path / "rows", table, 1)
    names = [stage.tune(job, "renewal") and stage.read_report(job, "renewal")["study"]]
    for changed in (
        with_trials(job, 1, "tune.seed=8"),
        with_trials(job, 1, "lightgbm.lambda_l2=3"),
        with_trials(job, 1, "linear.knots=9"),
    ):
        stage.tune(changed, "renewal")
        names.append(stage.read_report(job, "renewal")["study"])
    table.assign(use=table["use"].where(table.index != 0, 99.0)).to_parquet(job.folder / "training.parquet")
    stage.tune(job, "renewal")
    names.append(stage.read_report(job, "renewal")["study"])
    assert names[0] == stage.read_report(done[0], "renewal")["study"]
    assert len(set(names)) == 5
    assert sorted(study.study_name for study in studies(job)) == sorted(names)


def test_held_out_rows_evaluate_the_study_and_do_not_affect_it(done, table, tmp_path, monkeypatch):
    """With inverted later outcomes, only the result on the held-out rows differs."""
    job, _ = done
    first = stage.read_report(job, "renewal")
    late = table["as_of"] >= first["cutoff"]
    inverted = write_job(tmp_path / "turned", table.assign(renewal=table["renewal"].where(~late, 1 - table["renewal"])))
    stage.tune(inverted, "renewal")
    report = stage.read_report(inverted, "renewal")
    assert report["holdout"] != first["holdout"]
    assert {**report, "holdout": None} == {**first, "holdout": None}
    (job.folder / "training.parquet").rename(tmp_path / "original.parquet")
    try:
        (inverted.folder / "training.parquet").rename(job.folder / "training.parquet")
        monkeypatch.setattr(tuning, "trial_loss", forbid)
        assert stage.tune(job, "renewal")["evaluations"] == 2
    finally:
        (tmp_path / "original.parquet").replace(job.folder / "training.parquet")


def test_a_study_without_improvement_keeps_the_current_setting(table, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "compare_with_current", forbid)
    job = write_job(tmp_path / "same", table, 1)
    summary = stage.tune(job, "renewal")
    assert (summary["verdict"], summary["overrides"]) == ("same", [])


def test_too_little_history_is_a_reason_and_no_error(table, tmp_path):
    job = replace(write_job(tmp_path / "few", table), until=date(2021, 4, 1))
    summary = stage.tune(job, "renewal")
    assert summary["searched"] is False
    assert "folds.min_renewals" in summary["reason"]
    assert not (job.data / "tune" / "renewal.db").exists()


def test_missing_or_damaged_files_have_clear_messages(done, table, tmp_path):
    job, _ = done
    with pytest.raises(MissingInputError, match="renewals learn"):
        stage.tune(replace(job, data=tmp_path / "none"), "renewal")
    with pytest.raises(DataContractError, match="lacks upsell"):
        stage.tune(job, "upsell")
    damaged = write_job(tmp_path / "damaged", table)
    (damaged.data / "tune").mkdir()
    (damaged.data / "tune" / "renewal.db").write_bytes(b"no database" * 100)
    with pytest.raises(OutputError, match="move it away"):
        stage.tune(damaged, "renewal")
    with pytest.raises(ConfigError, match="`targets` has only renewal"):
        tune_command.run_tune(job, "upsell")


def test_each_trial_prints_one_line_and_optuna_prints_none(table, tmp_path, capfd):
    job = write_job(tmp_path / "lines", table, 2)
    stage.tune(job, "renewal")
    shown = capfd.readouterr()
    assert shown.out.count("log loss") + shown.err.count("log loss") == 2
    assert "Trial" not in shown.err
    assert "study" not in shown.err


def test_tune_reuses_the_training_table_of_an_earlier_run(done, table, monkeypatch):
    job, _ = done
    prepared = []
    monkeypatch.setattr(tune_command, "prepare_training_table", lambda job: prepared.append(1))
    assert tune_command.run_tune(job)["training_table"] == "new"
    (job.data / "tune" / "training_table.json").write_bytes(to_json_bytes(tune_command._training_table_source(job)))
    assert tune_command.run_tune(job, "renewal")["training_table"] == "reused"
    assert tune_command.run_tune(replace(job, tables="other"))["training_table"] == "new"
    later = replace(job, until=date(2024, 7, 1))
    assert not tune_command.has_training_table(later)
    assert len(prepared) == 2


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("verdict", ["better", "no_difference", "worse", "too_few", "same"])
def test_sentences_for_each_verdict(done, language, verdict):
    report, messages = stage.read_report(done[0], "renewal"), Messages(language)
    overrides = [] if verdict == "same" else report["overrides"]
    sentences = tuning_sentences(
        {**report, "overrides": overrides, "holdout": {**report["holdout"], "verdict": verdict}}, messages
    )
    assert "3 " in sentences[0]
    assert f"{report['log_loss']['best']:.4f}" in sentences[0]
    assert len(sentences) == (2 if verdict == "same" else 3)
    assert all(f"--set {change}" in sentences[-1] for change in overrides)
    if verdict in ("better", "no_difference", "worse"):
        assert f"{report['holdout']['gain']['value']:.4f}" in sentences[1]


def test_sentence_for_a_target_without_a_search():
    report = {"target": "renewal", "searched": False, "reason": "history is too short"}
    assert tuning_sentences(report, Messages("en")) == ["Renewal: no search: history is too short"]
