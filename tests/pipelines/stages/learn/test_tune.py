"""`renewals tune`: studies that are kept, gone on with, judged once, and told in words."""

import json
from dataclasses import replace
from datetime import date

import optuna
import pandas as pd
import pytest

from renewals.models.evaluation import tuning
from renewals.pipelines.commands import tune as whole
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


def drawn(folder, table: pd.DataFrame, trials: int = 3, *more: str) -> Job:
    (folder / "learn").mkdir(parents=True)
    table.to_parquet(folder / "learn" / "training.parquet")
    (folder / "learn" / "features.json").write_text(json.dumps({"features": CATALOGUE, "missing_families": []}))
    (folder / "learn" / "freshness.json").write_text(json.dumps({"notices": []}))
    return asked(Job(read_settings(None), "tables", folder, folder / "lists", until=DAY), trials, *more)


def asked(job: Job, trials: int, *more: str) -> Job:
    return replace(job, settings=read_settings(None, [*QUICK, f"tune.trials={trials}", *more]))


@pytest.fixture(scope="module")
def table():
    return training_table()


@pytest.fixture(scope="module")
def done(table, tmp_path_factory):
    """The job of three trials, and what `tune` said of it."""
    job = drawn(tmp_path_factory.mktemp("tuned") / "data", table)
    return job, stage.tune(job, "renewal")


def studies(job: Job) -> list[optuna.Study]:
    url = f"sqlite:///{job.data / 'tune' / 'renewal.db'}"
    return [optuna.load_study(study_name=name, storage=url) for name in optuna.get_all_study_names(url)]


def forbid(*_):
    raise AssertionError("nothing was to be tried")


def test_the_report_says_what_was_tried_what_was_found_and_how_to_take_it_over(done):
    job, said = done
    told = stage.read_report(job, "renewal")
    (study,) = studies(job)
    assert study.study_name == told["study"]
    assert [trial["log_loss"] for trial in told["trials"]] == [trial.value for trial in study.trials]
    assert told["trials"][0]["setting"] == told["current"]
    assert told["log_loss"]["best"] == min(trial["log_loss"] for trial in told["trials"])
    assert told["log_loss"]["current"] == told["trials"][0]["log_loss"]
    assert told["cutoff"] < told["until"] == "2024-06-01"
    assert said["overrides"] == told["overrides"] != []
    changed = read_settings(None, [*QUICK, *told["overrides"]])
    assert tuning.current_setting(changed, list(told["setting"])) == told["setting"]
    assert told["holdout"]["verdict"] in ("better", "no_difference", "worse")


def test_a_study_that_is_done_costs_nothing_and_says_the_same(done, monkeypatch):
    job, said = done
    before = (job.data / "tune" / "renewal.json").read_bytes()
    monkeypatch.setattr(tuning, "trial_loss", forbid)
    monkeypatch.setattr(tuning, "compare_with_current", forbid)
    again = stage.tune(job, "renewal")
    assert (said["unchanged"], again["unchanged"]) == (False, True)
    assert {**again, "unchanged": False} == said
    assert (job.data / "tune" / "renewal.json").read_bytes() == before


def test_a_larger_budget_goes_on_and_ends_where_one_run_would_have(done, table, tmp_path):
    job = drawn(tmp_path / "parts", table, 2)
    assert stage.tune(job, "renewal")["trials"] == 2
    stage.tune(asked(job, 3), "renewal")
    assert stage.read_report(job, "renewal") == stage.read_report(done[0], "renewal")


def test_a_run_that_is_cut_off_loses_one_trial(done, table, tmp_path, monkeypatch):
    job, begun, loss_of = drawn(tmp_path / "cut", table), [], tuning.trial_loss

    def second_is_cut(*given):
        begun.append(1)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return loss_of(*given)

    with monkeypatch.context() as cut:
        cut.setattr(tuning, "trial_loss", second_is_cut)
        with pytest.raises(KeyboardInterrupt):
            stage.tune(job, "renewal")
    assert not (job.data / "tune" / "renewal.json").exists()
    assert stage.tune(job, "renewal")["trials"] == 3
    told, whole_run = stage.read_report(job, "renewal"), stage.read_report(done[0], "renewal")
    assert [trial["state"] for trial in told["trials"]].count("failed") == 1
    kept = [(trial["setting"], trial["log_loss"]) for trial in told["trials"] if trial["state"] != "failed"]
    assert kept == [(trial["setting"], trial["log_loss"]) for trial in whole_run["trials"]]


def test_other_rows_or_settings_begin_a_study_of_their_own(done, table, tmp_path):
    job = drawn(tmp_path / "rows", table, 1)
    names = [stage.tune(job, "renewal") and stage.read_report(job, "renewal")["study"]]
    for other in (asked(job, 1, "tune.seed=8"), asked(job, 1, "lightgbm.lambda_l2=3"), asked(job, 1, "linear.knots=9")):
        stage.tune(other, "renewal")
        names.append(stage.read_report(job, "renewal")["study"])
    table.assign(use=table["use"].where(table.index != 0, 99.0)).to_parquet(job.folder / "training.parquet")
    stage.tune(job, "renewal")
    names.append(stage.read_report(job, "renewal")["study"])
    assert names[0] == stage.read_report(done[0], "renewal")["study"]
    assert len(set(names)) == 5
    assert sorted(study.study_name for study in studies(job)) == sorted(names)


def test_what_is_held_out_judges_the_study_and_is_no_part_of_it(done, table, tmp_path, monkeypatch):
    """Later outcomes turned round: the same study, trials and best setting, and another verdict."""
    job, _ = done
    first = stage.read_report(job, "renewal")
    late = table["as_of"] >= first["cutoff"]
    turned = drawn(tmp_path / "turned", table.assign(renewal=table["renewal"].where(~late, 1 - table["renewal"])))
    stage.tune(turned, "renewal")
    told = stage.read_report(turned, "renewal")
    assert told["holdout"] != first["holdout"]
    assert {**told, "holdout": None} == {**first, "holdout": None}
    (job.folder / "training.parquet").rename(tmp_path / "kept.parquet")
    try:
        (turned.folder / "training.parquet").rename(job.folder / "training.parquet")
        monkeypatch.setattr(tuning, "trial_loss", forbid)
        assert stage.tune(job, "renewal")["evaluations"] == 2
    finally:
        (tmp_path / "kept.parquet").replace(job.folder / "training.parquet")


def test_nothing_better_than_what_is_in_force_is_said_so(table, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "compare_with_current", forbid)
    job = drawn(tmp_path / "same", table, 1)
    said = stage.tune(job, "renewal")
    assert (said["verdict"], said["overrides"]) == ("same", [])


def test_too_little_history_is_a_word_and_no_error(table, tmp_path):
    job = replace(drawn(tmp_path / "few", table), until=date(2021, 4, 1))
    said = stage.tune(job, "renewal")
    assert said["searched"] is False
    assert "folds.min_renewals" in said["reason"]
    assert not (job.data / "tune" / "renewal.db").exists()


def test_what_is_missing_or_damaged_is_said_in_words(done, table, tmp_path):
    job, _ = done
    with pytest.raises(MissingInputError, match="renewals learn"):
        stage.tune(replace(job, data=tmp_path / "none"), "renewal")
    with pytest.raises(DataContractError, match="lacks upsell"):
        stage.tune(job, "upsell")
    damaged = drawn(tmp_path / "damaged", table)
    (damaged.data / "tune").mkdir()
    (damaged.data / "tune" / "renewal.db").write_bytes(b"no database" * 100)
    with pytest.raises(OutputError, match="move it away"):
        stage.tune(damaged, "renewal")
    with pytest.raises(ConfigError, match="`targets` has only renewal"):
        whole.run_tune(job, "upsell")


def test_each_trial_is_one_line_and_optuna_says_nothing(table, tmp_path, capfd):
    job = drawn(tmp_path / "lines", table, 2)
    stage.tune(job, "renewal")
    shown = capfd.readouterr()
    assert shown.out.count("log loss") + shown.err.count("log loss") == 2
    assert "Trial" not in shown.err
    assert "study" not in shown.err


def test_a_search_takes_the_table_that_an_earlier_one_made(done, table, monkeypatch):
    job, _ = done
    prepared = []
    monkeypatch.setattr(whole, "prepare_training_table", lambda job: prepared.append(1))
    assert whole.run_tune(job)["training_table"] == "new"
    (job.data / "tune" / "training_table.json").write_bytes(to_json_bytes(whole._training_table_source(job)))
    assert whole.run_tune(job, "renewal")["training_table"] == "reused"
    assert whole.run_tune(replace(job, tables="other"))["training_table"] == "new"
    later = replace(job, until=date(2024, 7, 1))
    assert not whole.has_training_table(later)
    assert len(prepared) == 2


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("verdict", ["better", "no_difference", "worse", "too_few", "same"])
def test_the_result_in_words(done, language, verdict):
    told, words = stage.read_report(done[0], "renewal"), Messages(language)
    take_over = [] if verdict == "same" else told["overrides"]
    said = tuning_sentences({**told, "overrides": take_over, "holdout": {**told["holdout"], "verdict": verdict}}, words)
    assert "3 " in said[0]
    assert f"{told['log_loss']['best']:.4f}" in said[0]
    assert len(said) == (2 if verdict == "same" else 3)
    assert all(f"--set {change}" in said[-1] for change in take_over)
    if verdict in ("better", "no_difference", "worse"):
        assert f"{told['holdout']['gain']['value']:.4f}" in said[1]


def test_a_refusal_in_words():
    refused = {"target": "renewal", "searched": False, "reason": "history is too short"}
    assert tuning_sentences(refused, Messages("en")) == ["Renewal: no search: history is too short"]
