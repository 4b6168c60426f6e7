"""The list of a trial is stored with the trial; published lists and the archives for the next list do not change."""

import json
import shutil
from pathlib import Path

import pytest

from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from tests.pipelines.production import digests
from tests.pipelines.scored_company import AS_OF, job, publish_company


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return publish_company(tmp_path, monkeypatch)


def test_an_experiment_publishes_no_list(company, monkeypatch):
    shutil.rmtree(company / "data" / "list_archive")
    (company / "data" / "alert_history" / f"{AS_OF}.parquet").unlink()
    before = {name: digests(company / name) for name in ("lists", "data/list_archive", "data/alert_history")}
    assert before["lists"]
    monkeypatch.setenv("DVC_EXP_NAME", "lossy-berg")
    chinese_job = job(company, language="zh")
    score(chinese_job)
    result = publish(chinese_job)
    assert {name: digests(company / name) for name in before} == before
    assert (result["state"], result["experiment"]) == ("not published", "lossy-berg")
    folder = Path(result["folder"])
    assert folder == company / "data" / "experiments" / "lossy-berg" / "lists" / str(AS_OF)
    assert json.loads((folder / "manifest.json").read_bytes())["language"] == "zh"


def test_without_an_experiment_the_list_is_published(company):
    chinese_job = job(company, language="zh")
    score(chinese_job)
    result = publish(chinese_job)
    assert (result["state"], "experiment" in result) == ("published", False)
    assert not (company / "data" / "experiments").exists()
