"""One small company for all end-to-end tests: trained, scored and published once per session."""

from dataclasses import replace
from datetime import date

import pytest

from renewals.examples.company import simulate_company, write_company
from renewals.pipelines.commands.learn import learn
from renewals.pipelines.commands.score import run_score
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from tests.root import ROOT

DAY = date(2025, 1, 1)
QUICK = (
    "linear.inverse_penalties=[0.01]",
    "lightgbm.num_rounds=[40]",
    "lightgbm.tree_weights=[0.0, 0.5]",
    "folds.origins=2",
    "gate.bootstrap_samples=50",
    "gate.lead_days=30",
    "gate.min_renewals=10",
    "gate.min_events=3",
    "gate.slope_range=[-5.0, 10.0]",
    "gate.max_calibration_error=0.5",
    "targets=[renewal, expansion]",
)


@pytest.fixture(scope="session")
def company(tmp_path_factory):
    folder = tmp_path_factory.mktemp("company")
    write_company(simulate_company(accounts=260, months=26, seed=5), folder)
    return folder


@pytest.fixture(scope="session")
def learned(company, tmp_path_factory):
    """The job after `renewals learn`, and its result."""
    work = tmp_path_factory.mktemp("learned")
    job = Job(read_settings(ROOT / "params.yaml", QUICK), str(company), work, work / "lists", until=DAY)
    return job, learn(job)


@pytest.fixture(scope="session")
def published(learned):
    """The job after `renewals score`, and its result."""
    job = replace(learned[0], until=None, as_of=DAY)
    return job, run_score(job)
