"""`renewals backtest` from a training table to a report, plots and a page, with names that contain code."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import replace
from datetime import date

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from renewals.pipelines.cli import app
from renewals.pipelines.commands import backtest as backtest_command
from renewals.pipelines.commands.backtest import print_report, run_backtest
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.stages.learn.backtest import PLOT_COLUMNS, backtest
from renewals.pipelines.stages.learn.train import train
from renewals.pipelines.storage.artifacts import BACKTEST_BY_AGE, read_model
from renewals.pipelines.storage.registry import mlflow_runs
from renewals.pipelines.storage.registry.trained_models import find_model_folder
from renewals.reports.words import MESSAGES, Messages
from tests.models.drawn import CATALOGUE, training_table
from tests.pipelines.stages.learn.test_train import DAY, QUICK, write_tables
from tests.root import ROOT

EVIL = "<script>alert('1')</script>"
FORMULA = "=HYPERLINK(0)&'\x1b'"
MORE = ("targets=[renewal]", "gate.min_renewals=20", "gate.min_events=3", "gate.segments=[plan, industry]")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Job with a trained model and code in the names of managers and industries, and result of the back-test."""
    drawn = training_table()
    number = drawn["account_id"].str[1:].astype(int)
    table = drawn.assign(
        arr=1000.0 + number,
        csm=(number % 2).map({0: EVIL, 1: FORMULA}),
        industry=(number % 3 == 0).map({True: EVIL, False: FORMULA}),
        days_since_last_use=(number % 4) * 40.0,
        treated=(number == 7).astype(int),
    )
    job = write_tables(tmp_path_factory.mktemp("backtest"), table)
    idle = {**CATALOGUE[0], "name": "days_since_last_use", "risk": "high"}
    (job.data / "learn" / "features.json").write_text(json.dumps({"features": [*CATALOGUE, idle]}))
    job = replace(job, settings=read_settings(None, [*QUICK, *MORE]))
    train(job, "renewal")
    return job, backtest(job)


def with_rate(job: Job, rate: float) -> Job:
    """The same job with another learning rate."""
    lightgbm = job.settings.lightgbm.model_copy(update={"learning_rate": rate})
    return replace(job, settings=job.settings.model_copy(update={"lightgbm": lightgbm}))


def report(job: Job) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not valid JSON")

    return json.loads((job.data / "backtest" / "renewal" / "report.json").read_text(), parse_constant=refuse)


def files(job: Job) -> dict[str, bytes]:
    folder = job.data / "backtest"
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def in_language(job: Job, language: str) -> Job:
    settings = job.settings.model_copy(update={"list": job.settings.list.model_copy(update={"language": language})})
    return replace(job, settings=settings)


def texts(page: str) -> list[str]:
    return [
        html.unescape(text) for text in re.findall(r">([^<>]+)<", re.sub(r"<style>.*?</style>", "", page, flags=re.S))
    ]


def test_page_report_predictions_and_plots_are_written(done):
    job, result = done
    plots = {f"renewal/plots/{name}" for name in PLOT_COLUMNS}
    assert set(files(job)) == {"index.html", "renewal/report.json", "renewal/predictions.parquet", *plots}
    assert result["page"] == str(job.data / "backtest" / "index.html")
    assert result["targets"]["renewal"]["auc"] == report(job)["overall"]["models"]["model"]["auc"] > 0.7


def test_every_test_row_has_the_prediction_of_every_model(done):
    predictions = pd.read_parquet(done[0].data / "backtest" / "renewal" / "predictions.parquet")
    tested = report(done[0])["tested"]
    assert len(predictions) == tested["observations"] + tested["excluded_signed"]
    assert tested["excluded_treated"] > 0
    models = list(report(done[0])["overall"]["models"])
    assert {"model", "recency", "few_features", "health_score", "linear"} <= set(models)
    assert predictions[models].stack().between(0, 1).all()
    assert not predictions.duplicated(["account_id", "as_of"]).any()


def test_the_report_has_all_sections(done):
    content = report(done[0])
    assert [lead["lead_days"] for lead in content["leads"]] == [60, 90, 180]
    assert [one["activity"] for one in content["activity"]] == ["active", "silent"]
    assert {tuple(one["segment"]) for one in content["segments"]} == {
        *(("plan", plan) for plan in ("basic", "pro")),
        *(("industry", name) for name in (EVIL, FORMULA)),
    }
    assert {one["csm"] for one in content["capacity"]["managers"]} == {EVIL, FORMULA}
    assert len(content["by_model_age"]) > 3
    assert len(content["interval_coverage"]["groups"]) == 10
    assert all(content[name] for name in ("quarters", "months", "calibration", "risk_coverage"))


def test_the_plots_have_their_columns_and_contain_no_names(done):
    for name, columns in PLOT_COLUMNS.items():
        drawn = done[0].data / "backtest" / "renewal" / "plots" / name
        assert list(pd.read_csv(drawn).columns) == columns
        assert len(pd.read_csv(drawn)) > 1
        assert EVIL not in drawn.read_text()
        assert FORMULA not in drawn.read_text()


def test_a_second_run_gives_the_same_bytes(done):
    before = files(done[0])
    backtest(done[0])
    assert files(done[0]) == before


def test_names_are_shown_as_text_and_the_page_loads_no_resource(done):
    page = files(done[0])["index.html"].decode()
    assert "<script" not in page
    assert EVIL in texts(page)
    assert "=HYPERLINK(0)&'␛'" in texts(page)
    assert not re.search(r"""\b(src|href|url|import|on\w+)\s*[=(]""", page)
    assert "\x1b" not in page


def test_both_languages_have_the_same_numbers(done):
    job, _ = done
    numbers = {}
    for language in MESSAGES:
        backtest(in_language(job, language))
        page = files(job)["index.html"].decode()
        cells = re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", page)
        numbers[language] = (
            [re.findall(r"-?\d[\d.,]*%?", cell) for cell in cells],
            re.findall(r'points="([^"]*)"', page),
        )
        assert Messages(language).text("backtest.section.by_model_age") in texts(page)
    backtest(job)
    assert numbers["en"] == numbers["zh"]
    assert len(numbers["en"][0]) > 200
    assert len(numbers["en"][1]) > 5


def test_the_page_shows_the_numbers_of_the_report(done):
    cells = texts(files(done[0])["index.html"].decode())
    model = report(done[0])["overall"]["models"]["model"]
    low, high = model["auc_interval"]
    assert f"{model['auc']:.3f} ({low:.3f}\u00a0…\u00a0{high:.3f})" in cells


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ("Renewal, 60 days before the renewal", "linear part alone", "better", "index.html")),
        ("zh", ("续约，续约前 60 天", "仅线性部分", "更优", "index.html")),
    ],
)
def test_the_printed_table_compares_the_model_with_the_baselines(done, language, expected, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    job, result = done
    print_report(result, in_language(job, language))
    shown = capsys.readouterr().err
    for part in expected:
        assert part in shown


def test_models_trained_for_the_day_are_reused(done, monkeypatch):
    job, result = done
    monkeypatch.setattr(backtest_command, "train", None)
    assert run_backtest(job) == {**result, "models": "reused"}


def test_models_with_a_different_day_rows_settings_or_files_are_not_reused(done, tmp_path):
    job, _ = done
    assert find_model_folder(job) == job.folder
    assert find_model_folder(replace(job, until=date(2024, 5, 1))) is None
    assert find_model_folder(replace(job, data=tmp_path)) is None
    assert find_model_folder(with_rate(job, 0.2)) is None, "the models in the folder may be those of a trial"
    age_file = job.folder / "models" / "renewal" / BACKTEST_BY_AGE
    content = age_file.read_bytes()
    age_file.unlink()
    assert find_model_folder(job) is None
    age_file.write_bytes(content)
    training = job.data / "learn" / "training.parquet"
    all_rows = training.read_bytes()
    pd.read_parquet(training).head(100).to_parquet(training)
    assert find_model_folder(job) is None
    training.write_bytes(all_rows)
    assert find_model_folder(job) == job.folder


def test_the_models_of_the_last_learn_run_are_preferred_to_those_of_a_trial(done, tmp_path):
    shutil.copytree(done[0].data, tmp_path / "data")
    job = replace(done[0], data=tmp_path / "data")
    shutil.copytree(job.folder / "models", job.data / "models")
    trial = with_rate(job, 0.2)
    train(trial, "renewal")
    assert find_model_folder(job) == find_model_folder(trial) == job.data
    assert run_backtest(job)["targets"] == done[1]["targets"]
    shutil.rmtree(job.data / "models")
    assert (find_model_folder(job), find_model_folder(trial)) == (None, job.folder)
    assert run_backtest(trial)["targets"] != done[1]["targets"]


def test_a_model_trained_with_different_settings_is_not_evaluated(done):
    job, _ = done
    changed = replace(job, settings=read_settings(None, [*QUICK, *MORE, "folds.first_train_share=0.7"]))
    with pytest.raises(MissingInputError, match=r"trained on a different training table than .* run `renewals learn`"):
        backtest(changed)
    backtest(job)


def test_without_a_trained_model_the_page_shows_the_reason(done, tmp_path):
    job = write_tables(tmp_path, training_table(), date(2021, 4, 1))
    job = replace(job, settings=done[0].settings)
    train(job, "renewal")
    result = backtest(job)
    assert result["targets"]["renewal"]["trained"] is False
    assert "renewal/predictions.parquet" not in files(job)
    (message,) = [text for text in texts(files(job)["index.html"].decode()) if "no model could be trained" in text]
    assert "folds.min_renewals" in message


def test_missing_inputs_name_the_command_to_run(tmp_path):
    job = Job(read_settings(None, QUICK), "", tmp_path, tmp_path / "lists", until=DAY)
    with pytest.raises(MissingInputError, match="renewals learn"):
        backtest(job)


def test_the_command_prints_one_line(done):
    job, _ = done
    sets = [part for one in (*QUICK, *MORE) for part in ("--set", one)]
    empty = job.data / "none.yaml"
    empty.write_text("{}")
    argv = ["backtest", "--until", str(DAY), "--data", str(job.data), "--params", str(empty), *sets]
    ran = CliRunner().invoke(app, argv)
    assert ran.exit_code == 0, ran.output
    output = json.loads(ran.stdout.splitlines()[-1])
    assert (output["until"], output["models"]) == (str(DAY), "reused")
    assert output["targets"]["renewal"]["verdict_over"]["base_rate"] == "better"


def test_predictions_by_model_age_are_not_registered(done):
    """The registry has only the files that a model needs to predict."""
    assert BACKTEST_BY_AGE in read_model(done[0].folder, "renewal")
    assert BACKTEST_BY_AGE not in mlflow_runs.version_files(read_model(done[0].folder, "renewal"), done[0], {})


def test_dvc_runs_the_backtest_after_training():
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["backtest"]
    assert stage["cmd"] == "python -m renewals.pipelines.stages.learn.backtest"
    assert stage["outs"] == ["data/backtest"]
    assert all((ROOT / dep).exists() for dep in stage["deps"] if not dep.startswith("data/"))
