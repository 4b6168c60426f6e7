"""The stages that build feature inputs hand over every table that their families and alert rules may read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import ibis.expr.types as ir
import pytest

from renewals.examples.company import simulate_company, write_company
from renewals.features.alert_registry import ALERT_RULES
from renewals.features.registry import FAMILIES, STAGE_TABLES, FeatureInputs
from renewals.features.tables import TABLES
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.stages.act import alerts as alerts_stage
from renewals.pipelines.stages.prepare import featurize as featurize_stage
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows
from tests.root import ROOT

DAY = date(2025, 1, 1)

FAMILY_SOURCES = [make for family in FAMILIES.values() for make in family.sources.values()]
FAMILY_NEEDS = {need for family in FAMILIES.values() for need in family.needs}


class RecordingInputs(FeatureInputs):
    """Feature inputs that record the tables they were given and the names that are asked for."""

    def __init__(self, tables: Mapping[str, ir.Table], *args: Any) -> None:
        super().__init__(tables, *args)
        self.given, self.asked = {name for name, table in tables.items() if table is not None}, set[str]()

    def missing_dependencies(self, name: str) -> set[str]:
        self.asked.add(name)
        return super().missing_dependencies(name)

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)

    def missing_tables(self) -> set[str]:
        """Tables that were asked for, directly or by a derived table, and not given."""
        return (self.asked & {*TABLES, *STAGE_TABLES}) - self.given


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job on a company with all tables, after the stages before featurize."""
    root = tmp_path_factory.mktemp("inputs")
    write_company(simulate_company(30, 24, 5), root / "company")
    job = Job(Settings(), str(root / "company"), root / "data", root / "lists", as_of=DAY)
    for stage in (check, rollup, ledger, spine, windows):
        stage(job)
    return job


STAGES = [
    pytest.param(featurize_stage, FAMILY_SOURCES, FAMILY_NEEDS, id="featurize"),
    pytest.param(alerts_stage, ALERT_RULES, set(), id="alerts"),
]


@pytest.mark.parametrize(("module", "sources", "needs"), STAGES)
def test_a_stage_hands_over_every_table_that_may_be_read(
    module: ModuleType,
    sources: list[Callable[..., ir.Table]],
    needs: set[str],
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The needs, all parameters, optional ones included, and what is asked for while the stage runs."""
    built: list[RecordingInputs] = []

    def build(*args: Any) -> RecordingInputs:
        built.append(RecordingInputs(*args))
        return built[-1]

    monkeypatch.setattr(module, "FeatureInputs", build)
    getattr(module, module.__name__.rpartition(".")[2])(job)
    (inputs,) = built
    asked_by_the_stage = set(inputs.asked)
    declared = needs | {name for make in sources for name in inspect.signature(make).parameters}
    for name in declared:
        inputs.missing_dependencies(name)
    assert inputs.missing_tables() == set()
    assert declared <= asked_by_the_stage
    assert inputs.given & asked_by_the_stage >= {"observations", "accounts", "people", "term_states", "rates"}


def test_these_are_all_stages_that_build_feature_inputs() -> None:
    building = {path for path in (ROOT / "pipelines").rglob("*.py") if "FeatureInputs(" in path.read_text()}
    assert building == {Path(inspect.getfile(module)).resolve() for module in (featurize_stage, alerts_stage)}
