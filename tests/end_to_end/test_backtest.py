"""The back-test of a small company: judged as `learn` left it, or learned first, with the same words."""

import json
from dataclasses import replace

import pytest

from renewals.pipelines.commands.backtest import run_backtest
from tests.pipelines.production import LAST_LEARNING


def figures(job) -> dict:
    return json.loads((job.data / "backtest" / "renewal" / "report.json").read_text())


@pytest.mark.slow
def test_what_learn_left_is_judged_and_what_is_not_there_is_learned_first(learned, tmp_path):
    job, _ = learned
    result = run_backtest(job)
    assert result["models"] == "reused"
    assert set(result["targets"]) == set(job.settings.targets)
    told = figures(job)
    assert {"model", "base_rate", "recency", "health_score", "linear"} <= set(told["overall"]["models"])
    assert told["activity"][0]["activity"] == "active"
    assert told["by_model_age"]
    assert told["capacity"]["managers"]
    own = job.settings.model_copy(update={"targets": ("renewal",)})
    fresh = replace(job, data=tmp_path, settings=own)
    assert run_backtest(fresh)["models"] == "new"
    assert figures(fresh) == told
    assert not (tmp_path / "mlflow.db").exists()
    assert not any((tmp_path / name).exists() for name in LAST_LEARNING)
