"""Scorecard files: complete, the same in each run, and valid JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import ibis
import pyarrow.parquet as pq
import pytest

from renewals.examples.company import simulate_company, write_company
from renewals.features.scorecard.measures import MEASURES
from renewals.features.scorecard.totals import LOSS_COLUMNS, SCORECARD_COLUMNS
from renewals.pipelines.commands.scorecard import print_scorecard, run_scorecard
from renewals.pipelines.runtime.errors import MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.stages.act.scorecard import JSON_COLUMNS, scorecard
from renewals.reports.html.scorecard_page import render_scorecard_page
from tests.root import ROOT

AS_OF = date(2026, 6, 1)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A small company without surveys, and its scorecard."""
    root = tmp_path_factory.mktemp("measured")
    write_company(simulate_company(30, 42, 7), root / "company")
    (root / "company" / "surveys.parquet").unlink()
    job = Job(Settings(), str(root / "company"), root / "data", root / "lists", as_of=AS_OF)
    return job, run_scorecard(job)


def files(job: Job) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((job.data / "act" / "scorecard").iterdir())}


def parse_strict_json(text: bytes) -> dict:
    """Parse JSON and refuse NaN and Infinity, which the standard does not allow."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not valid JSON")

    parsed: dict = json.loads(text, parse_constant=refuse)
    return parsed


def test_exactly_three_files_are_written(measured):
    job, result = measured
    assert set(files(job)) == {"scorecard.parquet", "scorecard.json", "scorecard.html"}
    assert result["rows"] == pq.read_metadata(job.data / "act" / "scorecard" / "scorecard.parquet").num_rows > 0


def test_json_and_parquet_have_the_same_rows(measured):
    job, result = measured
    content = parse_strict_json(files(job)["scorecard.json"])
    rows = pq.read_table(job.data / "act" / "scorecard" / "scorecard.parquet")
    assert tuple(rows.column_names) == SCORECARD_COLUMNS
    assert content["columns"] == list(JSON_COLUMNS)
    assert [dict(zip(content["columns"], row, strict=True)) for row in content["rows"]] == rows.select(
        JSON_COLUMNS
    ).to_pylist()
    assert (content["as_of"], content["currency"], content["missing_measures"]) == (
        "2026-06-01",
        "USD",
        result["missing_measures"],
    )
    assert [definition["measure"] for definition in content["definitions"]] == list(MEASURES)


def test_losses_by_reason_add_up_to_what_was_lost(measured):
    job, _ = measured
    content = parse_strict_json(files(job)["scorecard.json"])
    losses = content["losses_by_reason"]
    assert tuple(losses["columns"]) == LOSS_COLUMNS
    lost = {}
    for row in (dict(zip(losses["columns"], values, strict=True)) for values in losses["rows"]):
        lost[row["period_kind"], row["period"]] = lost.get((row["period_kind"], row["period"]), 0) + row["arr"]
    rows = [dict(zip(content["columns"], values, strict=True)) for values in content["rows"]]
    shares = {
        (row["period_kind"], row["period"]): row["denominator"]
        for row in rows
        if (row["segment_kind"], row["measure"]) == ("company", "preventable_loss_share") and row["denominator"]
    }
    assert len(shares) > 12
    assert lost == pytest.approx(shares)


def test_the_page_is_rendered_from_the_json(measured):
    job, _ = measured
    assert files(job)["scorecard.html"] == render_scorecard_page(parse_strict_json(files(job)["scorecard.json"]), "en")


def test_measures_without_input_are_reported_as_missing(measured):
    assert measured[1]["missing_measures"] == ["nps"]


def test_a_second_run_gives_the_same_bytes(measured):
    job, _ = measured
    before = files(job)
    scorecard(job)
    assert files(job) == before


def test_the_months_setting_limits_the_periods(measured):
    job, _ = measured
    fewer = replace(job, settings=Settings(scorecard={"months": 3}))
    before = files(job)
    scorecard(fewer)
    content = parse_strict_json(files(job)["scorecard.json"])
    scorecard(job)
    assert {span["period"] for span in content["periods"]} == {"2026-03", "2026-04", "2026-05"}
    assert files(job) == before


def test_without_a_ledger_the_message_names_the_stage_to_run(measured, tmp_path):
    job, _ = measured
    (tmp_path / "clean").symlink_to(job.data / "clean")
    with pytest.raises(MissingInputError, match="run the stage that writes it first"):
        scorecard(replace(job, data=tmp_path))


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ("Scorecard as of 2026-06-01", "12 months to 2026-03", "renewal rate by count", "open", "NPS")),
        ("zh", ("记分卡（截至 2026-06-01", "截至 2026-03 的 12 个月", "续约率（按客户数）", "未定", "净推荐值")),
    ],
)
def test_the_printed_table_has_the_newest_final_year_and_the_newest_months(
    measured, language, expected, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "200")
    job, result = measured
    print_scorecard(result, replace(job, settings=Settings(list={"language": language})))
    shown = capsys.readouterr().err
    for part in (*expected, "2026-05", "2025-12"):
        assert part in shown


def test_a_non_interactive_run_prints_no_table(measured, capsys, monkeypatch):
    monkeypatch.setattr("renewals.pipelines.commands.scorecard.is_interactive", lambda: False)
    monkeypatch.setattr("renewals.pipelines.commands.scorecard.STAGES", (scorecard,))
    run_scorecard(measured[0])
    assert "Scorecard as of" not in capsys.readouterr().err


def test_dvc_runs_the_scorecard_after_the_ledger_of_the_same_day():
    import yaml

    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    stage = stages["scorecard"]
    assert stage["cmd"] == "python -m renewals.pipelines.stages.act.scorecard --act"
    outputs = {
        out for name in ("check", "rollup", "act_ledger") for out in stages[name]["outs"] if isinstance(out, str)
    }
    assert {"data/clean", "data/act/ledger"} <= outputs & set(stage["deps"])
    assert all(ROOT.joinpath(dep).exists() for dep in stage["deps"] if dep.endswith(".py"))


@pytest.mark.parametrize("invalid", ["inf", "nan"])
def test_a_value_that_is_not_finite_is_null_only_in_its_row(measured, monkeypatch, invalid):
    """The value is null in the JSON, empty on the page and counted; all remaining rows are the same."""
    from renewals.pipelines.stages.act import scorecard as stage

    job, _ = measured
    original_files = files(job)
    rows_before = parse_strict_json(original_files["scorecard.json"])["rows"]
    changed_row = next(
        row
        for row in rows_before
        if row[0] == "month" and row[2] == "company" and row[JSON_COLUMNS.index("value")] == 0.0
    )
    original_scorecard = stage.cards.scorecard

    def scorecard_with_invalid_value(*args):
        rows = original_scorecard(*args)
        key = dict(zip(JSON_COLUMNS[:5], changed_row[:5], strict=True))
        hit = ibis.and_(*(rows[name] == value for name, value in key.items()))
        return rows.mutate(value=hit.ifelse(ibis.literal(float(invalid)), rows.value))

    monkeypatch.setattr(stage.cards, "scorecard", scorecard_with_invalid_value)
    result = stage.scorecard(job)
    rows_after = parse_strict_json(files(job)["scorecard.json"])["rows"]
    assert [(was, row) for was, row in zip(rows_before, rows_after, strict=True) if was != row] == [
        (
            changed_row,
            [*changed_row[: JSON_COLUMNS.index("value")], None, *changed_row[JSON_COLUMNS.index("value") + 1 :]],
        )
    ]
    loss = {
        "output": "scorecard",
        "part": f"{changed_row[4]} value",
        "why": "not finite",
        "count": 1,
        "example": changed_row[1],
    }
    assert result["render_failures"] == [loss]
    assert files(job)["scorecard.html"]
    monkeypatch.undo()
    assert stage.scorecard(job)["render_failures"] == []
    assert files(job) == original_files
