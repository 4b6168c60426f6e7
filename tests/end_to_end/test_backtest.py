"""Back-test of a small company: the same report with the models of `learn` and with models trained first."""

import json
from dataclasses import replace

import pytest

from renewals.pipelines.commands.backtest import run_backtest
from tests.pipelines.production import LAST_LEARNING


def read_report(job) -> dict:
    return json.loads((job.data / "backtest" / "renewal" / "report.json").read_text())


@pytest.mark.slow
def test_backtest_reuses_the_models_of_learn_or_trains_them_first(learned, tmp_path):
    job, _ = learned
    result = run_backtest(job)
    assert result["models"] == "reused"
    assert set(result["targets"]) == set(job.settings.targets)
    report = read_report(job)
    assert {"model", "base_rate", "recency", "health_score", "linear"} <= set(report["overall"]["models"])
    assert report["activity"][0]["activity"] == "active"
    assert report["by_model_age"]
    assert report["capacity"]["managers"]
    settings = job.settings.model_copy(update={"targets": ("renewal",)})
    fresh = replace(job, data=tmp_path, settings=settings)
    assert run_backtest(fresh)["models"] == "new"
    assert read_report(fresh) == report
    assert not (tmp_path / "mlflow.db").exists()
    assert not any((tmp_path / name).exists() for name in LAST_LEARNING)
