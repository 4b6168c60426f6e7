"""The list of a trial is kept with the trial: the customers' lists, and what the next list builds on, stay."""

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
    other = job(company, language="zh")
    score(other)
    said = publish(other)
    assert {name: digests(company / name) for name in before} == before
    assert (said["state"], said["experiment"]) == ("not published", "lossy-berg")
    folder = Path(said["folder"])
    assert folder == company / "data" / "experiments" / "lossy-berg" / "lists" / str(AS_OF)
    assert json.loads((folder / "manifest.json").read_bytes())["language"] == "zh"


def test_without_the_experiment_it_is_published_as_before(company):
    other = job(company, language="zh")
    score(other)
    said = publish(other)
    assert (said["state"], "experiment" in said) == ("published", False)
    assert not (company / "data" / "experiments").exists()
