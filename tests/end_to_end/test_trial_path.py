"""A trial from raw tables: its folder, its comparison and its run; production models and lists do not change."""

import json

import pytest
from typer.testing import CliRunner

from renewals.pipelines.cli import app
from renewals.pipelines.commands import learn as learning
from tests.end_to_end.conftest import DAY, QUICK
from tests.pipelines.production import production, runs_of
from tests.root import ROOT

TRIAL_SETTINGS = ("lightgbm.learning_rate=0.2", "lightgbm.tree_weights=[0.5]")


@pytest.fixture
def command(published):
    """Arguments of `renewals learn` on the company with its published list; tests append further options."""
    job = published[0]
    sets = [part for setting in (*QUICK, *TRIAL_SETTINGS) for part in ("--set", setting)]
    paths = ["--tables", job.tables, "--data", str(job.data), "--params", str(ROOT / "params.yaml")]
    return ["learn", "--until", str(DAY), *paths, *sets]


def test_a_trial_changes_nothing_in_production_and_predicts_the_gate_outcome(published, command, monkeypatch):
    job, before = published[0], production(published[0])
    assert all(before.values())
    monkeypatch.setattr(learning, "is_interactive", lambda: True)
    ran = CliRunner().invoke(app, [*command, "--try", "--name", "fast"])
    assert ran.exit_code == 0, ran.output
    assert production(job) == before
    output = json.loads(ran.stdout.splitlines()[-1])
    assert (output["experiment"], output["folder"]) == ("fast", str(job.data / "experiments" / "fast"))
    renewal, expansion = output["models"]["renewal"], output["models"]["expansion"]
    assert renewal["gate_outcome"] in ("promoted", "rejected")
    comparison = (
        f"renewal: on the {renewal['champion_comparison']['terms']} terms in common with the champion, log loss lower"
    )
    assert comparison in ran.stderr
    assert f"Without --try it {learning.OUTCOME_TEXTS[renewal['gate_outcome']]}" in ran.stderr
    assert expansion["champion_comparison"] is None, "no model of expansion has passed the gate on this company"
    assert "expansion: there is no champion to compare with. Without --try it would be rejected" in ran.stderr
    assert [len(runs_of(job, "fast", target)) for target in job.settings.targets] == [1, 1]
    assert (job.data / "experiments" / "fast" / "models" / "renewal" / "model.txt").is_file()


@pytest.mark.slow
def test_a_trial_that_the_gate_rejects_exits_with_0(published, command):
    before = production(published[0])
    ran = CliRunner().invoke(
        app, [*command, "--try", "--set", "gate.min_renewals=100000", "--set", "targets=[renewal]"]
    )
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout.splitlines()[-1])["models"]["renewal"]["gate_outcome"] == "rejected"
    assert production(published[0]) == before


def test_a_name_without_try_is_a_usage_error(command):
    ran = CliRunner().invoke(app, [*command, "--name", "fast"])
    assert ran.exit_code == 2
    assert "--name needs --try" in ran.stderr
