"""A trial from raw tables: a folder of its own, a comparison and a run; what serves and what customers see stays."""

import json

import pytest
from typer.testing import CliRunner

from renewals.pipelines.cli import app
from renewals.pipelines.commands import learn as learning
from tests.end_to_end.conftest import DAY, QUICK
from tests.pipelines.production import production, runs_of
from tests.root import ROOT

BETTER_OR_WORSE = ("lightgbm.learning_rate=0.2", "lightgbm.tree_weights=[0.5]")


@pytest.fixture
def command(published):
    """`renewals learn` on the company with its list published; the day and more words are still to be said."""
    job = published[0]
    sets = [word for one in (*QUICK, *BETTER_OR_WORSE) for word in ("--set", one)]
    places = ["--tables", job.tables, "--data", str(job.data), "--params", str(ROOT / "params.yaml")]
    return ["learn", "--until", str(DAY), *places, *sets]


def test_a_trial_changes_nothing_that_serves_and_says_what_learning_would(published, command, monkeypatch):
    job, before = published[0], production(published[0])
    assert all(before.values())
    monkeypatch.setattr(learning, "is_interactive", lambda: True)
    ran = CliRunner().invoke(app, [*command, "--try", "--name", "fast"])
    assert ran.exit_code == 0, ran.output
    assert production(job) == before
    said = json.loads(ran.stdout.splitlines()[-1])
    assert (said["experiment"], said["folder"]) == ("fast", str(job.data / "experiments" / "fast"))
    renewal, expansion = said["models"]["renewal"], said["models"]["expansion"]
    assert renewal["gate_outcome"] in ("promoted", "rejected")
    words = (
        f"renewal: on the {renewal['champion_comparison']['terms']} terms in common with the champion, log loss lower"
    )
    assert words in ran.stderr
    assert f"Without --try it {learning.OUTCOME_TEXTS[renewal['gate_outcome']]}" in ran.stderr
    assert expansion["champion_comparison"] is None, "no model of expansion has passed the gate on this company"
    assert "expansion: there is no champion to compare with. Without --try it would be rejected" in ran.stderr
    assert [len(runs_of(job, "fast", target)) for target in job.settings.targets] == [1, 1]
    assert (job.data / "experiments" / "fast" / "models" / "renewal" / "model.txt").is_file()


@pytest.mark.slow
def test_a_trial_that_the_gate_refuses_is_an_answer_and_no_failure(published, command):
    before = production(published[0])
    ran = CliRunner().invoke(
        app, [*command, "--try", "--set", "gate.min_renewals=100000", "--set", "targets=[renewal]"]
    )
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout.splitlines()[-1])["models"]["renewal"]["gate_outcome"] == "rejected"
    assert production(published[0]) == before


def test_a_name_without_a_trial_is_a_wrong_command(command):
    ran = CliRunner().invoke(app, [*command, "--name", "fast"])
    assert ran.exit_code == 2
    assert "--name needs --try" in ran.stderr
