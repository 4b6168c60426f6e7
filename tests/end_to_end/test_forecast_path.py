"""The forecast of a small company, after its list: two files that say the same, and what a person is shown."""

import io
import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import yaml

from renewals.models.forecast.quarter_effect import fit_quarter_effect_sd
from renewals.pipelines.commands import forecast as foretelling
from renewals.pipelines.commands.forecast import print_forecast, run_forecast
from renewals.pipelines.runtime.errors import ConfigError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.stages.act.forecast import COLUMNS, JSON_COLUMNS, MEASURE_UNITS, SEGMENT_COLUMNS, forecast
from renewals.pipelines.storage.registry import model_registry
from tests.root import ROOT


@pytest.fixture(scope="session")
def foretold(published):
    """The job after `renewals forecast`, and its result."""
    job, _ = published
    return job, forecast(job)


def read(job) -> pd.DataFrame:
    return pd.read_parquet(job.data / "act" / "forecast" / "forecast.parquet")


def test_two_files_that_say_the_same(foretold):
    job, result = foretold
    folder = Path(result["folder"])
    assert {path.name for path in folder.iterdir()} == {"forecast.parquet", "forecast.json"}
    rows, told = read(job), json.loads((folder / "forecast.json").read_text())
    assert list(rows.columns) == COLUMNS
    assert len(rows) == result["rows"] == len(told["rows"])
    again = pd.DataFrame(told["rows"], columns=told["columns"])
    pd.testing.assert_frame_equal(again, rows[JSON_COLUMNS], check_dtype=False)
    assert [one["measure"] for one in told["definitions"]] == list(MEASURE_UNITS)
    assert told["quarter_effect"]["quarters"] > 0


def test_four_quarters_and_the_year_under_the_scorecard_s_names(foretold):
    rows = read(foretold[0]).query("segment_kind == 'company' and measure == 'arr_due'")
    assert list(zip(rows["period_kind"], rows["period"], strict=True)) == [
        ("quarter", "2025-03"),
        ("quarter", "2025-06"),
        ("quarter", "2025-09"),
        ("quarter", "2025-12"),
        ("trailing_year", "2025-12"),
    ]
    assert set(read(foretold[0])["segment_kind"]) == {"company", *SEGMENT_COLUMNS}


def test_what_is_expected_lies_between_and_the_parts_add_up(foretold):
    rows = read(foretold[0])
    assert (rows["low"] <= rows["high"]).all()
    company = rows.query("segment_kind == 'company'").set_index(["measure", "period_kind", "period"])
    assert (company["expected"] >= company["low"] - 1e-6).all()
    assert (company["expected"] <= company["high"] + 1e-6).all()
    assert (company.loc["gross_retention"]["high"] <= 1).all()
    assert (company.loc["arr_renewed"]["expected"] <= company.loc["arr_due"]["expected"]).all()
    parts = rows.query("measure == 'arr_renewed' and segment_kind != 'company'")
    sums = parts.groupby(["segment_kind", "period_kind", "period"])["expected"].sum()
    for kind in SEGMENT_COLUMNS:
        assert sums.loc[kind].to_dict() == pytest.approx(company.loc["arr_renewed"]["expected"].to_dict())


def test_twice_gives_the_same_bytes(foretold):
    job, result = foretold
    before = {path.name: path.read_bytes() for path in Path(result["folder"]).iterdir()}
    forecast(job)
    assert {path.name: path.read_bytes() for path in Path(result["folder"]).iterdir()} == before


def test_its_spread_is_that_of_the_model_behind_the_list_and_not_of_the_last_learning(foretold, tmp_path):
    """What was learned last may be refused or older: here its back-test has every renewal promised for sure."""
    job, result = foretold
    for name in ("act", "clean", "model_load_checks"):
        (tmp_path / name).symlink_to(job.data / name)
    for name in ("models", "mlartifacts"):
        shutil.copytree(job.data / name, tmp_path / name)
    shutil.copyfile(job.data / "mlflow.db", tmp_path / "mlflow.db")
    last = tmp_path / "models" / "renewal" / "backtest.parquet"
    pd.read_parquet(last).assign(probability=0.999).to_parquet(last)
    assert forecast(replace(job, data=tmp_path))["quarter_effect"] == result["quarter_effect"]
    champion = pd.read_parquet(io.BytesIO(model_registry.fetch_champion(job, "renewal")[2]["backtest.parquet"]))
    usual = job.settings.forecast.quarter_effect_sd
    assert result["quarter_effect"]["sd"] == round(
        fit_quarter_effect_sd(champion, pd.Timestamp(job.day), usual).mean, 6
    )
    assert result["quarter_effect"]["sd"] != round(
        fit_quarter_effect_sd(pd.read_parquet(last), pd.Timestamp(job.day), usual).mean, 6
    )


def test_renewals_of_the_quarter_are_those_of_the_list(published, foretold):
    """Nearly all of what is due in the first quarter is the main renewal of an account on the list."""
    job, _ = published
    listed = pd.read_parquet(job.data / "act" / "list.parquet")
    soon = listed[pd.to_datetime(listed["renewal_date"]) < "2025-04-01"]
    due = (
        read(job).query("segment_kind == 'company' and measure == 'arr_due' and period == '2025-03'")["expected"].item()
    )
    assert 0.8 * soon["arr"].sum() < due < 1.2 * soon["arr"].sum()


def test_it_stands_on_the_first_of_a_month(tmp_path):
    job = Job(read_settings(None), "", tmp_path, tmp_path, as_of=date(2025, 1, 15))
    with pytest.raises(ConfigError, match="first day of a month, not 2025-01-15; use 2025-01-01"):
        forecast(job)


def test_without_scores_or_a_model_it_says_what_to_run(foretold, tmp_path):
    job, _ = foretold
    with pytest.raises(MissingInputError, match="run `renewals score"):
        forecast(replace(job, data=tmp_path))
    (tmp_path / "act").symlink_to(job.data / "act")
    with pytest.raises(MissingInputError, match="run `renewals learn --until DATE`"):
        forecast(replace(job, data=tmp_path))


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Forecast from 2025-01-01", "2025-01 to 2025-03", "the year 2025-01", "net retention", "80%")),
        ("zh", ("续约预测（自 2025-01-01", "2025-01 至 2025-03", "全年 2025-01", "净留存率", "80%")),
    ],
)
def test_a_person_is_shown_the_quarters_of_the_company(foretold, language, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "260")
    job, result = foretold
    own = job.settings.model_copy(update={"list": job.settings.list.model_copy(update={"language": language})})
    print_forecast(result, replace(job, settings=own))
    shown = capsys.readouterr().err
    for word in words:
        assert word in shown
    row = read(job).query("segment_kind == 'company' and measure == 'gross_retention' and period == '2025-03'").iloc[0]
    assert f"{row['expected']:.1%} ({row['low']:.1%} – {row['high']:.1%})" in shown


def test_nothing_is_shown_where_nobody_watches(foretold, capsys, monkeypatch):
    job, result = foretold
    monkeypatch.setattr(foretelling, "run_scoring_stages", lambda _: None)
    assert run_forecast(job) == result
    assert "Forecast from" not in capsys.readouterr().err


def test_dvc_runs_it_after_the_scores_of_the_same_day():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    stage = stages["forecast"]
    assert stage["cmd"] == "python -m renewals.pipelines.stages.act.forecast --act"
    assert {"data/act/list.parquet", "data/act/score.json"} <= set(stage["deps"]) & set(stages["score"]["outs"])
    assert all((ROOT / dep).exists() for dep in stage["deps"] if dep.endswith(".py"))
