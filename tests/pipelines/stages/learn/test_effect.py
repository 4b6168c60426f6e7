"""`renewals effect`: from tables to effect.json, the printed table, and the messages without an estimate."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from renewals.examples.company import simulate_company, write_company
from renewals.pipelines.cli import app
from renewals.pipelines.commands.effect import effect_job, print_estimates, run_effect
from renewals.pipelines.runtime.errors import DataContractError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.stages.learn.effect import _canonical_names as spellings
from renewals.pipelines.stages.learn.effect import effect, estimate_effects, load_interventions
from renewals.pipelines.stages.prepare.assemble import assemble
from tests.models.treated_company import CATALOGUE, company
from tests.pipelines.scored_company import _with_all_columns, write_clean

UNTIL = date(2026, 6, 1)


@pytest.fixture(scope="module")
def with_effect(tmp_path_factory):
    """A job on a training table and interventions that were simulated with a known effect, and the effect."""
    root = tmp_path_factory.mktemp("answered")
    rows, interventions, truth = company(1.0, accounts=1500, seed=1003)
    learn, clean = root / "data" / "learn", root / "data" / "clean"
    learn.mkdir(parents=True)
    clean.mkdir()
    matured = rows["renewal_date"] + pd.Timedelta(days=61)
    training = rows.drop(columns=["label", "term"]).assign(
        renewal=rows["label"], renewal_matured_at=matured, term_start=rows["renewal_date"] - pd.Timedelta(days=365)
    )
    training.to_parquet(learn / "training.parquet")
    (learn / "features.json").write_text(json.dumps({"features": CATALOGUE}))
    write_clean(clean, rows.head(1).assign(account_name="acme"))
    _with_all_columns("interventions", interventions).to_parquet(clean / "interventions.parquet")
    return Job(Settings(), "tables", root / "data", root / "lists", until=UNTIL), truth


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A job on a small company, and the result of `effect`."""
    root = tmp_path_factory.mktemp("small")
    write_company(simulate_company(60, 42, 7), root / "company")
    job = Job(Settings(), str(root / "company"), root / "data", root / "lists", as_of=UNTIL)
    return job, run_effect(job)


def test_the_file_has_the_effect_of_each_playbook_in_two_languages(with_effect):
    job, truth = with_effect
    result = effect(job)
    report = json.loads((job.data / "effect" / "effect.json").read_text(encoding="utf-8"))
    assert report == {name: value for name, value in result.items() if name != "file"}
    estimate = report["playbooks"][0]
    assert (estimate["playbook"], estimate["verdict"], report["headline"]) == ("*", "helped", "points")
    assert abs(estimate["points"] - truth) < 0.06  # two standard errors
    assert estimate["unadjusted_difference"] < 0
    assert "helped" in estimate["sentences"]["en"]
    assert "有效" in estimate["sentences"]["zh"]


def test_a_second_run_gives_the_same_bytes(with_effect):
    file = with_effect[0].data / "effect" / "effect.json"
    effect(with_effect[0])
    before = file.read_bytes()
    effect(with_effect[0])
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ("Did it help?", "any playbook", "helped", "90% interval")),
        ("zh", ("是否有效", "任一方案", "有效", "90% 区间")),
    ],
)
def test_estimates_are_printed_as_a_table(with_effect, language, expected, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    job = with_effect[0]
    estimates = estimate_effects(job)[1]
    print_estimates(
        estimates,
        {"as_of": "2026-06-01", "confidence": 0.9},
        replace(job, settings=Settings(list={"language": language})),
    )
    shown = capsys.readouterr().err
    for part in expected:
        assert part in shown


def test_interventions_logged_after_the_day_are_excluded(with_effect):
    job = with_effect[0]
    everything = load_interventions(job)
    middle = everything["started_at"].median()
    assert (
        len(load_interventions(replace(job, until=middle.date())))
        == (everything["started_at"] < middle.normalize()).sum()
    )


def test_a_training_table_without_required_columns_is_an_error(with_effect, tmp_path):
    job = with_effect[0]
    (tmp_path / "learn").mkdir()
    (tmp_path / "clean").symlink_to(job.data / "clean")
    pd.DataFrame({"account_id": ["a"]}).to_parquet(tmp_path / "learn" / "training.parquet")
    with pytest.raises(DataContractError, match="lacks"):
        effect(replace(job, data=tmp_path))


def test_a_small_company_gets_a_reason_and_no_number(small):
    estimates = small[1]["playbooks"]
    assert {estimate["verdict"] for estimate in estimates} == {"no_estimate"}
    assert estimates[0]["reason"] == "too_few_treated"
    assert "at least 50 are needed" in estimates[0]["sentences"]["en"]
    assert "points" not in estimates[0]


def test_effect_does_not_write_to_the_learn_or_act_folder(small):
    job, _ = small
    assert effect_job(job).folder == job.data / "effect"
    assert not (job.data / "learn").exists()
    assert not (job.data / "act").exists()


def test_training_rows_mark_treated_accounts(small):
    past = effect_job(small[0])
    training = pq.read_table(past.folder / "training.parquet").to_pandas()
    assert set(training["treated"]) == {0, 1}
    interventions = load_interventions(past).merge(
        training[["account_id", "as_of", "renewal_date", "treated"]], on="account_id"
    )
    ahead = pd.to_datetime(interventions["renewal_date"]) - interventions["started_at"] > pd.Timedelta(days=60)
    after = interventions["started_at"] >= pd.to_datetime(interventions["as_of"])
    assert interventions.loc[ahead & after, "treated"].eq(1).all()
    (past.data / "clean" / "interventions.parquet").rename(past.data / "removed.parquet")
    assemble(past)
    assert "treated" not in pq.read_schema(past.folder / "training.parquet").names
    (past.data / "removed.parquet").rename(past.data / "clean" / "interventions.parquet")


def test_without_interventions_the_message_names_the_table(small, tmp_path):
    with pytest.raises(MissingInputError, match="no table `interventions`"):
        load_interventions(replace(small[0], data=_without_interventions(small[0], tmp_path)))


def _without_interventions(job, root):
    (root / "clean").mkdir()
    for name in ("accounts", "contracts", "usage_events"):
        (root / "clean" / f"{name}.parquet").symlink_to(job.data / "clean" / f"{name}.parquet")
    return root


def test_the_command_stops_with_one_message(small, tmp_path):
    for file in (small[0].data.parent / "company").glob("*.parquet"):
        if file.stem != "interventions":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    argv = ["effect", "--tables", str(tmp_path), "--as-of", "2026-06-01", "--data", str(tmp_path / "data")]
    done = CliRunner().invoke(app, argv)
    assert done.exit_code == 66
    output = json.loads(done.stdout.splitlines()[-1])
    assert output["state"] == "InputMissing"
    assert "interventions" in output["message"]
    assert "Traceback" not in done.output


def test_spellings_of_one_playbook_are_merged():
    """The name is the id in the library, else the first spelling in alphabetical order."""
    logged_as = ["QBR", "qbr", "Executive_Review", "Ünder way", "under WAY"]
    assert spellings(logged_as, ["executive_review"]) == {
        "QBR": "QBR",
        "qbr": "QBR",
        "Executive_Review": "executive_review",
        "Ünder way": "under WAY",
        "under WAY": "under WAY",
    }
