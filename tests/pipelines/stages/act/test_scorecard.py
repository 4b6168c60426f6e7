"""The scorecard on disk: whole, the same each time, and readable by whatever reads JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import ibis
import pyarrow.parquet as pq
import pytest

from renewals.examples.company import simulate_company, write_company
from renewals.features.scorecard.measures import MEASURES
from renewals.features.scorecard.totals import SCORECARD_COLUMNS
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


def strictly(text: bytes) -> dict:
    """JSON as its standard has it: no NaN, no Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    read: dict = json.loads(text, parse_constant=refuse)
    return read


def test_three_files_and_nothing_else(measured):
    job, result = measured
    assert set(files(job)) == {"scorecard.parquet", "scorecard.json", "scorecard.html"}
    assert result["rows"] == pq.read_metadata(job.data / "act" / "scorecard" / "scorecard.parquet").num_rows > 0


def test_the_json_says_the_same_as_the_parquet(measured):
    job, result = measured
    told = strictly(files(job)["scorecard.json"])
    rows = pq.read_table(job.data / "act" / "scorecard" / "scorecard.parquet")
    assert tuple(rows.column_names) == SCORECARD_COLUMNS
    assert told["columns"] == list(JSON_COLUMNS)
    assert [dict(zip(told["columns"], row, strict=True)) for row in told["rows"]] == rows.select(
        JSON_COLUMNS
    ).to_pylist()
    assert (told["as_of"], told["currency"], told["missing_measures"]) == (
        "2026-06-01",
        "USD",
        result["missing_measures"],
    )
    assert [said["measure"] for said in told["definitions"]] == list(MEASURES)


def test_the_page_says_what_the_json_says(measured):
    job, _ = measured
    assert files(job)["scorecard.html"] == render_scorecard_page(strictly(files(job)["scorecard.json"]), "en")


def test_what_was_not_given_is_named(measured):
    assert measured[1]["missing_measures"] == ["nps"]


def test_twice_gives_the_same_bytes(measured):
    job, _ = measured
    before = files(job)
    scorecard(job)
    assert files(job) == before


def test_as_many_months_as_were_asked_for(measured):
    job, _ = measured
    fewer = replace(job, settings=Settings(scorecard={"months": 3}))
    before = files(job)
    scorecard(fewer)
    told = strictly(files(job)["scorecard.json"])
    scorecard(job)
    assert {span["period"] for span in told["periods"]} == {"2026-03", "2026-04", "2026-05"}
    assert files(job) == before


def test_without_a_ledger_it_says_what_to_run(measured, tmp_path):
    job, _ = measured
    (tmp_path / "clean").symlink_to(job.data / "clean")
    with pytest.raises(MissingInputError, match="run the stage that writes it first"):
        scorecard(replace(job, data=tmp_path))


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Scorecard as of 2026-06-01", "12 months to 2026-03", "renewal rate by count", "open", "NPS")),
        ("zh", ("记分卡（截至 2026-06-01", "截至 2026-03 的 12 个月", "续约率（按客户数）", "未定", "净推荐值")),
    ],
)
def test_a_person_is_shown_the_newest_final_year_and_the_newest_months(measured, language, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    job, result = measured
    print_scorecard(result, replace(job, settings=Settings(list={"language": language})))
    shown = capsys.readouterr().err
    for word in (*words, "2026-05", "2025-12"):
        assert word in shown


def test_nothing_is_shown_where_nobody_watches(measured, capsys, monkeypatch):
    monkeypatch.setattr("renewals.pipelines.commands.scorecard.is_interactive", lambda: False)
    monkeypatch.setattr("renewals.pipelines.commands.scorecard.STAGES", (scorecard,))
    run_scorecard(measured[0])
    assert "Scorecard as of" not in capsys.readouterr().err


def test_dvc_runs_it_after_the_ledger_of_the_same_day():
    import yaml

    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    stage = stages["scorecard"]
    assert stage["cmd"] == "python -m renewals.pipelines.stages.act.scorecard --act"
    made = {out for name in ("check", "rollup", "act_ledger") for out in stages[name]["outs"] if isinstance(out, str)}
    assert {"data/clean", "data/act/ledger"} <= made & set(stage["deps"])
    assert all(ROOT.joinpath(dep).exists() for dep in stage["deps"] if dep.endswith(".py"))


@pytest.mark.parametrize("strange", ["inf", "nan"])
def test_a_figure_that_no_json_can_hold_costs_its_place_alone(measured, monkeypatch, strange):
    """One row's value is infinite: it stands empty in JSON and page, is counted, and every other row is the same."""
    from renewals.pipelines.stages.act import scorecard as stage

    job, _ = measured
    kept = files(job)
    then = strictly(kept["scorecard.json"])["rows"]
    own = next(
        row for row in then if row[0] == "month" and row[2] == "company" and row[JSON_COLUMNS.index("value")] == 0.0
    )
    made = stage.cards.scorecard

    def strange_card(*given):
        rows = made(*given)
        key = dict(zip(JSON_COLUMNS[:5], own[:5], strict=True))
        hit = ibis.and_(*(rows[name] == value for name, value in key.items()))
        return rows.mutate(value=hit.ifelse(ibis.literal(float(strange)), rows.value))

    monkeypatch.setattr(stage.cards, "scorecard", strange_card)
    result = stage.scorecard(job)
    now = strictly(files(job)["scorecard.json"])["rows"]
    assert [(was, row) for was, row in zip(then, now, strict=True) if was != row] == [
        (own, [*own[: JSON_COLUMNS.index("value")], None, *own[JSON_COLUMNS.index("value") + 1 :]])
    ]
    loss = {"output": "scorecard", "part": f"{own[4]} value", "why": "not finite", "count": 1, "example": own[1]}
    assert result["render_failures"] == [loss]
    assert files(job)["scorecard.html"]
    monkeypatch.undo()
    assert stage.scorecard(job)["render_failures"] == []
    assert files(job) == kept
