"""Forecast of a small company after its list: two files with the same rows, and the printed table."""

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
from renewals.pipelines.commands import forecast as forecast_command
from renewals.pipelines.commands.forecast import print_forecast, run_forecast
from renewals.pipelines.runtime.errors import ConfigError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.stages.act.forecast import COLUMNS, JSON_COLUMNS, MEASURE_UNITS, SEGMENT_COLUMNS, forecast
from renewals.pipelines.storage.registry import model_registry
from tests.root import ROOT


@pytest.fixture(scope="session")
def forecasted(published):
    """The job after `renewals forecast`, and its result."""
    job, _ = published
    return job, forecast(job)


def read(job) -> pd.DataFrame:
    return pd.read_parquet(job.data / "act" / "forecast" / "forecast.parquet")


def test_parquet_and_json_have_the_same_rows(forecasted):
    job, result = forecasted
    folder = Path(result["folder"])
    assert {path.name for path in folder.iterdir()} == {"forecast.parquet", "forecast.json"}
    rows, content = read(job), json.loads((folder / "forecast.json").read_text())
    assert list(rows.columns) == COLUMNS
    assert len(rows) == result["rows"] == len(content["rows"])
    again = pd.DataFrame(content["rows"], columns=content["columns"])
    pd.testing.assert_frame_equal(again, rows[JSON_COLUMNS], check_dtype=False)
    assert [definition["measure"] for definition in content["definitions"]] == list(MEASURE_UNITS)
    assert content["quarter_effect"]["quarters"] > 0


def test_four_quarters_and_the_year_under_the_scorecard_s_names(forecasted):
    rows = read(forecasted[0]).query("segment_kind == 'company' and measure == 'arr_due'")
    assert list(zip(rows["period_kind"], rows["period"], strict=True)) == [
        ("quarter", "2025-03"),
        ("quarter", "2025-06"),
        ("quarter", "2025-09"),
        ("quarter", "2025-12"),
        ("trailing_year", "2025-12"),
    ]
    assert set(read(forecasted[0])["segment_kind"]) == {"company", *SEGMENT_COLUMNS}


def test_expected_values_are_in_their_intervals_and_segments_add_up(forecasted):
    rows = read(forecasted[0])
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


def test_a_second_run_gives_the_same_bytes(forecasted):
    job, result = forecasted
    before = {path.name: path.read_bytes() for path in Path(result["folder"]).iterdir()}
    forecast(job)
    assert {path.name: path.read_bytes() for path in Path(result["folder"]).iterdir()} == before


def test_the_quarter_effect_comes_from_the_champion_and_not_from_the_last_trained_model(forecasted, tmp_path):
    """The last trained model may be rejected or old: here its back-test predicts 0.999 for every renewal."""
    job, result = forecasted
    for name in ("act", "clean", "model_load_checks"):
        (tmp_path / name).symlink_to(job.data / name)
    for name in ("models", "mlartifacts"):
        shutil.copytree(job.data / name, tmp_path / name)
    shutil.copyfile(job.data / "mlflow.db", tmp_path / "mlflow.db")
    last_backtest = tmp_path / "models" / "renewal" / "backtest.parquet"
    pd.read_parquet(last_backtest).assign(probability=0.999).to_parquet(last_backtest)
    assert forecast(replace(job, data=tmp_path))["quarter_effect"] == result["quarter_effect"]
    champion = pd.read_parquet(io.BytesIO(model_registry.fetch_champion(job, "renewal")[2]["backtest.parquet"]))
    default_sd = job.settings.forecast.quarter_effect_sd
    assert result["quarter_effect"]["sd"] == round(
        fit_quarter_effect_sd(champion, pd.Timestamp(job.day), default_sd).mean, 6
    )
    assert result["quarter_effect"]["sd"] != round(
        fit_quarter_effect_sd(pd.read_parquet(last_backtest), pd.Timestamp(job.day), default_sd).mean, 6
    )


def test_arr_due_in_the_first_quarter_agrees_with_the_list(published, forecasted):
    """Most ARR due in the first quarter is from main renewals of accounts on the list."""
    job, _ = published
    listed = pd.read_parquet(job.data / "act" / "list.parquet")
    soon = listed[pd.to_datetime(listed["renewal_date"]) < "2025-04-01"]
    due = (
        read(job).query("segment_kind == 'company' and measure == 'arr_due' and period == '2025-03'")["expected"].item()
    )
    assert 0.8 * soon["arr"].sum() < due < 1.2 * soon["arr"].sum()


def test_a_forecast_starts_on_the_first_day_of_a_month(tmp_path):
    job = Job(read_settings(None), "", tmp_path, tmp_path, as_of=date(2025, 1, 15))
    with pytest.raises(ConfigError, match="first day of a month, not 2025-01-15; use 2025-01-01"):
        forecast(job)


def test_missing_scores_or_models_name_the_command_to_run(forecasted, tmp_path):
    job, _ = forecasted
    with pytest.raises(MissingInputError, match="run `renewals score"):
        forecast(replace(job, data=tmp_path))
    (tmp_path / "act").symlink_to(job.data / "act")
    with pytest.raises(MissingInputError, match="run `renewals learn --until DATE`"):
        forecast(replace(job, data=tmp_path))


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ("Forecast from 2025-01-01", "2025-01 to 2025-03", "the year 2025-01", "net retention", "80%")),
        ("zh", ("续约预测（自 2025-01-01", "2025-01 至 2025-03", "全年 2025-01", "净留存率", "80%")),
    ],
)
def test_the_printed_table_has_the_quarters_of_the_company(forecasted, language, expected, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "260")
    job, result = forecasted
    settings = job.settings.model_copy(update={"list": job.settings.list.model_copy(update={"language": language})})
    print_forecast(result, replace(job, settings=settings))
    shown = capsys.readouterr().err
    for part in expected:
        assert part in shown
    row = read(job).query("segment_kind == 'company' and measure == 'gross_retention' and period == '2025-03'").iloc[0]
    assert f"{row['expected']:.1%} ({row['low']:.1%} – {row['high']:.1%})" in shown


def test_a_non_interactive_run_prints_no_table(forecasted, capsys, monkeypatch):
    job, result = forecasted
    monkeypatch.setattr(forecast_command, "run_scoring_stages", lambda _: None)
    assert run_forecast(job) == result
    assert "Forecast from" not in capsys.readouterr().err


def test_dvc_runs_the_forecast_after_the_scores_of_the_same_day():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    stage = stages["forecast"]
    assert stage["cmd"] == "python -m renewals.pipelines.stages.act.forecast --act"
    assert {"data/act/list.parquet", "data/act/score.json"} <= set(stage["deps"]) & set(stages["score"]["outs"])
    assert all((ROOT / dep).exists() for dep in stage["deps"] if dep.endswith(".py"))
