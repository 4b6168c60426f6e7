"""A company with only the three required tables: every stage writes its outputs and names the missing tables."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from renewals.examples.company import simulate_company, write_company
from renewals.features.family import RENEWAL_KEY
from renewals.features.registry import FAMILIES
from renewals.features.tables import TABLES
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings, read_settings
from renewals.pipelines.scoring.page_data import company_forecast as read_forecast
from renewals.pipelines.stages.act.alerts import alerts
from renewals.pipelines.stages.act.context import context
from renewals.pipelines.stages.act.disagreements import disagreements
from renewals.pipelines.stages.act.forecast import forecast_where_due
from renewals.pipelines.stages.act.scorecard import scorecard
from renewals.pipelines.stages.learn.label import label
from renewals.pipelines.stages.prepare.assemble import assemble
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.featurize import featurize
from renewals.pipelines.stages.prepare.freshness import freshness
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows
from tests.pipelines.dvc_stages import ROOT, stages_of

DAY = date(2025, 1, 1)
WITHOUT = {"stakeholders", "contact", "tickets", "sentiment", "value", "advocacy", "care"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after a run of all stages that need no model."""
    root = tmp_path_factory.mktemp("few")
    write_company(simulate_company(60, 26, 5), root / "company")
    for path in (root / "company").glob("*.parquet"):
        if not TABLES[path.stem].required:
            path.unlink()
    contracts = pd.read_parquet(root / "company" / "contracts.parquet").drop(columns="currency")
    contracts.to_parquet(root / "company" / "contracts.parquet")
    settings = Settings(targets=read_settings(ROOT / "params.yaml").targets)
    learning = Job(settings, str(root / "company"), root / "data", root / "lists", until=DAY)
    acting = replace(learning, until=None, as_of=DAY)
    for job in (learning, acting):
        for stage in (check, freshness, rollup, ledger, spine, windows, featurize):
            stage(job)
    for learn in (label, assemble):
        learn(learning)
    for act in (context, disagreements, scorecard, alerts, assemble):
        act(acting)
    return root


def test_every_output_of_these_stages_exists(root: Path) -> None:
    done = ("check", "freshness", "rollup", "ledger", "spine", "windows", "featurize", "label", "assemble")
    acted = ("act_", "context", "disagreements", "scorecard", "alerts")
    stages = stages_of(ROOT)
    outs = [o for name, s in stages.items() if name.partition("@")[0] in done or name.startswith(acted) for o in s.outs]
    assert len(outs) > 60
    assert [out for out in outs if not (root / out).exists()] == []


@pytest.mark.parametrize("side", ["learn", "act"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_without_its_table_has_typed_columns_and_names_the_table(family: str, side: str, root: Path) -> None:
    content = json.loads((root / "data" / side / "features" / f"{family}.json").read_bytes())
    columns = pq.read_schema(root / "data" / side / "features" / f"{family}.parquet")
    assert tuple(columns.names[:3]) == RENEWAL_KEY
    assert not any(str(kind) == "null" for kind in columns.types)
    assert (len(columns) == len(RENEWAL_KEY)) == (family in WITHOUT)
    assert bool(content["features"]) != (family in WITHOUT)
    assert bool(content["missing_tables"]) >= (family in WITHOUT)


def test_the_assembled_catalogue_names_the_missing_families(root: Path) -> None:
    for side in ("learn", "act"):
        assert set(json.loads((root / "data" / side / "features.json").read_bytes())["missing_families"]) == WITHOUT


def test_only_the_families_of_the_settings_are_assembled_and_in_their_order(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "data", tmp_path / "data")
    settings = Settings(families=("fit", "commitment", "tickets"))
    assemble(Job(settings, "", tmp_path / "data", tmp_path / "lists", as_of=DAY))
    catalogue = json.loads((tmp_path / "data" / "act" / "features.json").read_bytes())
    assert list(dict.fromkeys(feature["family"] for feature in catalogue["features"])) == ["fit", "commitment"]
    assert catalogue["missing_families"] == ["tickets"]


def test_a_day_inside_a_month_has_no_forecast_and_a_reason(tmp_path: Path) -> None:
    job = Job(Settings(), "", tmp_path / "data", tmp_path / "lists", as_of=date(2025, 1, 15))
    forecast_where_due(job)
    content = json.loads((job.folder / "forecast" / "forecast.json").read_bytes())
    assert "2025-01-15" in content["no_forecast_reason"]
    assert read_forecast(job, {"name": "renewals-renewal", "version": "1"}) is None
