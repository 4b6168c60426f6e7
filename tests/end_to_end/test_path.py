"""From raw tables to a published list, on a small company."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from renewals.features.registry import FAMILIES
from renewals.pipelines.commands import score as act_module
from renewals.pipelines.commands.explain import explain
from renewals.pipelines.commands.learn import learn
from renewals.pipelines.commands.score import run_score
from renewals.pipelines.runtime import runner
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.lock import exclusive_lock
from renewals.pipelines.stages.act import scorecard
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.prepare.assemble import assemble
from renewals.pipelines.stages.prepare.featurize import featurize
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows
from renewals.pipelines.storage.registry import model_registry
from renewals.reports.risk_list import COLUMNS
from tests.end_to_end.conftest import DAY
from tests.root import ROOT

SECRET = "Acme Ltd"
OUTPUTS = (
    *(
        "renewals.reports.risk_list.to_parquet",
        "renewals.reports.csv_export.to_csv",
        "renewals.reports.workbook.workbook.build_workbook",
        "renewals.reports.html.list_page.render_list_page",
    ),
    "renewals.reports.html.scorecard_page.render_scorecard_page",
)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_list(published) -> pd.DataFrame:
    return pd.read_parquet(published[1]["folder"] + "/risk_list.parquet")


def test_the_list_holds_every_observation_of_the_day_once(published):
    job, _ = published
    listed = read_list(published)
    spine = pd.read_parquet(job.data / "act" / "spine.parquet")
    assert sorted(listed["renewal_id"]) == sorted(spine["renewal_id"])
    assert listed["renewal_id"].is_unique
    assert (listed.groupby("account_id")["is_main"].sum() == 1).all()


def test_the_list_has_the_columns_of_the_contract_in_order(published):
    assert list(read_list(published).columns) == [column.name for column in COLUMNS]


def test_scored_accounts_have_a_probability_a_band_and_reasons(published):
    scored = read_list(published).query("status == 'scored'")
    assert scored["renewal_probability"].between(0, 1).all()
    assert set(scored["risk_band"]) <= {"high", "medium", "low"}
    assert (scored["reason_1"].str.len() > 0).mean() > 0.8
    assert ((scored["arr"] * (1 - scored["renewal_probability"]) - scored["arr_at_risk"]).abs() < 1e-6).all()


def test_every_file_is_in_the_manifest(published):
    folder = Path(published[1]["folder"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {p.name for p in folder.iterdir()} == {"manifest.json", *manifest["files"]}
    assert manifest["as_of"] == "2025-01-01"


def test_a_second_run_is_already_published_and_changes_no_byte(published):
    job, first = published
    before = {p.name: p.read_bytes() for p in Path(first["folder"]).iterdir()}
    again = run_score(job)
    assert again["state"] == "already published"
    assert {p.name: p.read_bytes() for p in Path(again["folder"]).iterdir()} == before


def test_scorecard_and_forecast_are_computed_with_the_list(published):
    from tests.reports.pages import payload_of

    job, first = published
    assert scorecard.read_scorecard(job)["as_of"] == "2025-01-01"
    assert scorecard.read_scorecard(replace(job, as_of=date(2025, 2, 1))) is None
    forecast = payload_of((Path(first["folder"]) / "risk_list.html").read_bytes())["summary"]["forecast"]
    assert {row["measure"] for row in forecast} >= {"arr_renewed", "gross_retention", "net_retention"}


def test_a_list_of_any_day_is_published_without_a_forecast(published, tmp_path):
    from tests.reports.pages import payload_of

    job, _ = published
    shutil.copytree(job.data, tmp_path / "data", ignore=shutil.ignore_patterns("lists"))
    middle = replace(job, as_of=date(2025, 1, 15), data=tmp_path / "data", lists=tmp_path / "lists")
    folder = Path(run_score(middle)["folder"])
    assert payload_of((folder / "risk_list.html").read_bytes())["summary"]["forecast"] == []


def test_learning_twice_registers_no_second_version(learned):
    job, first = learned
    again = learn(job)
    assert again["models"]["renewal"]["version"] == first["models"]["renewal"]["version"]


def test_no_family_and_no_rule_lacks_a_table(published):
    """The company has every table: what is missing was not handed over by the stage."""
    data = published[0].data
    families = [path for part in ("learn", "act") for path in (data / part / "features").glob("*.json")]
    missing = {path: json.loads(path.read_text())["missing_tables"] for path in families}
    assert len(missing) == 2 * len(FAMILIES)
    assert [path for path, tables in missing.items() if tables] == []
    assert json.loads((data / "act" / "alerts.json").read_text())["unavailable_rules"] == []


def test_learn_and_score_compute_the_same_features(learned, tmp_path):
    """The features that `score` computes for one date equal those of that date in the training table."""
    job, _ = learned
    for shared in ("clean", "rollup"):
        (tmp_path / shared).symlink_to(job.data / shared)
    day = date(2024, 12, 1)
    score_job = replace(job, data=tmp_path, until=None, as_of=day)
    for stage in (ledger, spine, windows, featurize, assemble):
        stage(score_job)
    scored = pd.read_parquet(tmp_path / "act" / "scoring.parquet")
    trained = pd.read_parquet(job.data / "learn" / "training.parquet")
    trained = trained[pd.to_datetime(trained["as_of"]) == pd.Timestamp(day)].reset_index(drop=True)
    assert len(scored) > 50
    left_out = [column for column in scored if column not in trained]
    assert left_out == ["auto_renew"]  # only today's value is known
    assert scored[left_out].isna().all(axis=None)
    scored = scored.drop(columns=left_out)
    pd.testing.assert_frame_equal(scored, trained[list(scored.columns)])


def test_what_models_learned_without_a_history_is_said_with_model_and_list(learned, published):
    manifest = json.loads((Path(published[1]["folder"]) / "manifest.json").read_text())
    left_out, kept = manifest["history"]
    assert left_out["values"] == {"columns": "contracts.auto_renew, accounts.csm"}
    assert kept["values"] == {"columns": "contracts.seats, accounts.employee_count"}
    client = model_registry.mlflow_client(learned[0])
    description = model_registry.version_by_alias(client, "renewal").description
    assert description == f"{left_out['en']} {kept['en']}"


def test_no_stage_reads_the_ground_truth(published):
    code = [p for part in ("features", "models", "reports", "pipelines") for p in (ROOT / part).rglob("*.py")]
    assert len(code) > 150
    assert [p for p in code if "truth/" in p.read_text() or '/ "ground_truth"' in p.read_text()] == []


def test_explain_agrees_with_the_list(published):
    job, _ = published
    row = read_list(published).query("status == 'scored'").iloc[0]
    explanation = explain(job, str(row["account_id"]))
    assert explanation["scores"]["renewal_probability"] == pytest.approx(row["renewal_probability"])
    assert row["reason_1"] in json.dumps(explanation, ensure_ascii=False, default=str)


def test_explain_of_an_unknown_account_is_an_error(published):
    job, _ = published
    with pytest.raises(MissingInputError, match="no account"):
        explain(job, "nobody-at-all")


def test_nothing_known_later_is_in_the_training_table(learned):
    job, _ = learned
    rows = pd.read_parquet(job.data / "learn" / "training.parquet")
    final = rows[rows["renewal"].notna()]
    assert (pd.to_datetime(final["renewal_matured_at"]) <= pd.Timestamp(date(2025, 1, 1))).all()
    assert (pd.to_datetime(rows["as_of"]) < pd.Timestamp(date(2025, 1, 1))).all()
    assert len(final) > 0


def test_recurring_revenue_closes_to_the_cent(learned):
    job, _ = learned
    roll_forward = pq.read_table(job.data / "learn" / "ledger" / "roll_forward.parquet").to_pandas()
    by_month = roll_forward.groupby("month").sum(numeric_only=True).sort_index()
    closing = by_month.eval(
        "opening + new + expansion + reactivation + contracted + paused + fx + correction - contraction - churn"
    )
    assert (closing == by_month["closing"]).all()
    assert (by_month["closing"].to_numpy()[:-1] == by_month["opening"].to_numpy()[1:]).all()


def test_publishing_needs_scores_of_the_same_day(published):
    with pytest.raises(MissingInputError, match="run `renewals score"):
        publish(replace(published[0], as_of=date(2024, 12, 1)))


def test_readers_need_no_lock(published, tmp_path):
    """explain, whatif, publish and promote work while a different run holds the lock of the data folder."""
    job, result = published
    account = str(read_list(published).query("status == 'scored'")["account_id"].iloc[0])
    model = result["models"]["renewal"].rpartition("/")[2]
    day = ("--as-of", str(DAY))
    commands = {
        "explain": (account, *day),
        "whatif": (account, *day, "--set", "days_to_renewal=30"),
        "publish": (*day, "--to", f"duckdb:///{tmp_path / 'x.duckdb'}", "--lists", str(job.lists)),
        "promote": ("renewal", "--version", model),
    }
    with exclusive_lock(job.data, "backtest"):
        for name, argv in commands.items():
            completed = subprocess.run(
                [sys.executable, "-m", "renewals.pipelines.cli", name, *argv, "--data", str(job.data)],
                **{"capture_output": True, "text": True, "cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}},
            )
            assert completed.returncode == 0, (name, completed.stderr)
            assert len(completed.stdout.splitlines()) == 1


def inject_failure(monkeypatch, stage):
    """Make `stage` the only stage of the command; it runs completely and then fails."""

    def broken(job):
        stage(job)
        raise ValueError(SECRET)

    broken.__name__ = stage.__name__
    monkeypatch.setattr(act_module, "STAGES", (broken,))


def assert_exit_70(job, capfd):
    before = tree(job.lists)
    assert runner.run_command(lambda: act_module.run_score(job), job.data, "score") == 70
    shown = capfd.readouterr()
    output = json.loads(shown.out.splitlines()[-1])
    assert output["exit"] == 70
    assert "Traceback" not in shown.err
    assert SECRET not in shown.out + shown.err + Path(output["log"]).read_text()
    assert tree(job.lists) == before


@pytest.mark.parametrize("stage", act_module.STAGES, ids=lambda stage: stage.__name__)
def test_an_unexpected_error_in_any_stage_ends_in_70_and_changes_no_list(published, monkeypatch, capfd, stage):
    inject_failure(monkeypatch, stage)
    assert_exit_70(published[0], capfd)


@pytest.mark.parametrize(
    "output",
    [
        "renewals.reports.risk_list.to_parquet",
        "renewals.reports.csv_export.to_csv",
        "renewals.reports.workbook.workbook.build_workbook",
        "renewals.reports.html.list_page.render_list_page",
    ],
)
def test_an_unexpected_error_in_any_output_ends_in_70_and_changes_no_list(published, monkeypatch, capfd, output):
    def broken(*_, **__):
        raise ValueError(SECRET)

    monkeypatch.setattr(output, broken)
    monkeypatch.setattr(act_module, "STAGES", ())
    monkeypatch.setattr(act_module, "OPTIONAL_STAGES", ())
    assert_exit_70(published[0], capfd)
