"""Tuning from raw tables: the training table of `learn` is reused or built once, and no model is registered."""

from dataclasses import replace

from renewals.examples.company import simulate_company, write_company
from renewals.pipelines.commands.tune import run_tune
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from tests.end_to_end.conftest import DAY, QUICK
from tests.root import ROOT

SHORT_SEARCH = ("tune.trials=2", "folds.min_renewals=50", "tune.search_space={lightgbm.max_depth: [1, 2, 3]}")


def test_tune_reuses_the_training_table_of_learn(learned):
    job = replace(learned[0], settings=read_settings(ROOT / "params.yaml", [*QUICK, *SHORT_SEARCH]))
    result = run_tune(job)
    assert result["training_table"] == "reused"
    assert set(result["targets"]) == set(job.settings.targets)
    renewal = result["targets"]["renewal"]
    assert (renewal["searched"], renewal["trials"]) == (True, 2)


def test_a_missing_training_table_is_built_once(tmp_path):
    write_company(simulate_company(accounts=40, months=24, seed=5), tmp_path / "company")
    settings = read_settings(ROOT / "params.yaml", [*QUICK, "targets=[renewal]"])
    job = Job(settings, str(tmp_path / "company"), tmp_path / "work", tmp_path / "lists", until=DAY)
    first, again = run_tune(job), run_tune(job)
    assert (first["training_table"], again["training_table"]) == ("new", "reused")
    assert "folds.min_renewals" in first["targets"]["renewal"]["reason"]
    assert again["targets"]["renewal"]["unchanged"]
    assert not (job.data / "models").exists()
    assert not (job.data / "mlflow.db").exists()
