"""Alerts stage on a small company on disk: its files, its new alerts and its errors."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import yaml

from renewals.features.alert_registry import ALERT_CODES
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.stages.act.alerts import alerts
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows
from renewals.pipelines.storage.artifacts import read_alerts_summary
from renewals.pipelines.storage.published import published_lists
from tests.root import ROOT

TABLES = {
    "accounts": "account_id,account_name,region\n1,acme,north\n2,quiet,south\n",
    "contracts": "contract_id,account_id,start_date,end_date,arr,seats\n1,1,2025-03-01,2026-09-01,900,8\n"
    "2,2,2025-03-01,2026-09-01,900,8\n",
    "usage_events": "account_id,user_id,feature,occurred_at,recorded_at\n1,7,send,2026-05-02,2026-05-02\n",
    "people": "user_id,account_id,tier,valid_from,valid_to,recorded_at\n7,1,S,2025-03-01,2026-05-10,2025-03-01\n"
    "8,1,A,2025-03-01,2026-06-20,2025-03-01\n",
    "tickets": "ticket_id,account_id,kind,severity,opened_at,recorded_at\n1,2,bug,high,2026-05-20,2026-05-20\n",
}


@pytest.fixture
def june(tmp_path: Path) -> Job:
    for name, text in TABLES.items():
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / f"{name}.csv").write_text(text)
    return Job(Settings(), str(tmp_path / "raw"), tmp_path / "data", tmp_path / "lists", as_of=date(2026, 6, 1))


def run(job: Job) -> pd.DataFrame:
    for stage in (check, rollup, ledger, spine, windows, alerts):
        stage(job)
    return pd.read_parquet(job.folder / "alerts.parquet")


def test_alerts_have_their_evidence_and_the_summary_has_the_counts(june: Job) -> None:
    rows = run(june)
    assert list(rows.columns) == [
        "account_id", "as_of", "code", "started_on", "latest_cause_on", "count", "tier", "value", "expected",
        "is_new", "first_reported_on",
    ]  # fmt: skip
    assert list(zip(rows["account_id"], rows["code"], strict=True)) == [("1", "sponsor_lost"), ("2", "sla_breach")]
    assert rows.loc[0, ["started_on", "tier", "is_new", "first_reported_on"]].tolist() == [
        date(2026, 5, 10), "S", True, date(2026, 6, 1)
    ]  # fmt: skip
    summary = json.loads((june.folder / "alerts.json").read_text())
    assert summary["by_code"] == dict.fromkeys(ALERT_CODES, 0) | {"sponsor_lost": 1, "sla_breach": 1}
    assert summary["new"] == summary["by_code"]
    assert summary["unavailable_rules"] == ["low_score_not_followed_up"]


def test_the_same_tables_give_the_same_bytes(june: Job) -> None:
    run(june)
    first = [(june.folder / name).read_bytes() for name in ("alerts.parquet", "alerts.json")]
    alerts(june)
    assert first == [(june.folder / name).read_bytes() for name in ("alerts.parquet", "alerts.json")]


def test_an_alert_of_a_published_list_is_not_new_on_the_next_list_and_a_further_loss_is(june: Job) -> None:
    run(june)
    published_lists.archive_alerts(june)
    assert run(replace(june, as_of=date(2026, 6, 15)))["is_new"].tolist() == [False, False]
    july = run(replace(june, as_of=date(2026, 7, 1)))
    assert july.set_index("code")["is_new"].to_dict() == {"sponsor_lost": True, "sla_breach": False}
    assert july.set_index("code")["count"]["sponsor_lost"] == 2


def test_lists_of_the_same_day_and_later_days_are_not_earlier_lists(june: Job) -> None:
    """A list that is computed again has the same new alerts."""
    run(june)
    published_lists.archive_alerts(june)
    published_lists.archive_alerts(replace(june, as_of=date(2026, 7, 1)))
    assert run(june)["is_new"].all()


def test_old_alert_history_is_deleted(june: Job) -> None:
    run(june)
    for day in (date(2025, 11, 1), date(2026, 1, 1), date(2026, 6, 1)):
        published_lists.archive_alerts(replace(june, as_of=day, workspace="act"))
    assert sorted(path.stem for path in (june.data / "alert_history").iterdir()) == ["2026-01-01", "2026-06-01"]
    assert [path.stem for path in published_lists.recent_alert_paths(replace(june, as_of=date(2026, 7, 1)))] == [
        "2026-06-01"
    ]


def test_alerts_of_a_different_day_are_not_read(june: Job) -> None:
    with pytest.raises(MissingInputError, match="no alerts of 2026-06-01"):
        read_alerts_summary(june)
    run(june)
    assert read_alerts_summary(june)["as_of"] == "2026-06-01"
    with pytest.raises(MissingInputError, match="no alerts of 2026-07-01"):
        read_alerts_summary(replace(june, as_of=date(2026, 7, 1)))


def test_the_stage_is_declared_only_on_the_act_side() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert stages["alerts"]["cmd"] == "python -m renewals.pipelines.stages.act.alerts --act"
    assert {"data/act/alerts.parquet", "data/act/alerts.json"} <= set(stages["score"]["deps"])
    assert {"data/act/alerts.parquet", "data/act/alerts.json"} == set(stages["alerts"]["outs"])
