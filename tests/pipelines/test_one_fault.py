"""One faulty row per output: that row is named and counted, and all other rows are published unchanged."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from renewals.pipelines.commands import score as act
from renewals.pipelines.commands.explain import explain
from renewals.pipelines.commands.publish import run_publish
from renewals.pipelines.runtime.errors import InternalError, OutputError
from renewals.pipelines.scoring import champion_models, score_change
from renewals.pipelines.scoring.champion_models import Champion
from renewals.pipelines.scoring.interventions_since import new_interventions
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage import artifacts
from renewals.pipelines.storage.published import published_lists
from renewals.pipelines.storage.registry import model_loader, model_registry
from renewals.reports.columns import COLUMNS
from renewals.reports.sentences import score_change as sentences
from renewals.reports.workbook import account_sheet
from tests.pipelines.scored_company import AS_OF, NAMES, Model, champions, job, write_company
from tests.pipelines.scoring.test_score_change import JULY, a_month_on, june_is_published, later
from tests.reports.books import read
from tests.reports.pages import payload_of

SCORED_ONLY = [column.name for column in COLUMNS if column.scored_only]
MODEL = {"people_28d": 1.0, "bugs_28d": -0.5}


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(champion_models, "load_champion", champions(renewal="3", expansion="1"))
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda one, target: None)
    write_company(tmp_path)
    return tmp_path


def folder(root: Path, day: date = AS_OF) -> Path:
    return root / "lists" / str(day)


def published(root: Path, day: date = AS_OF) -> pd.DataFrame:
    """Publish the list again, without the old manifest: a fault in the inputs does not change its identity."""
    one = job(root) if day == AS_OF else later(job(root))
    (folder(root, day) / "manifest.json").unlink(missing_ok=True)
    score(one)
    publish(one)
    return pd.read_parquet(folder(root, day) / "risk_list.parquet").set_index("account_id", drop=False)


def manifest(root: Path, day: date = AS_OF) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder(root, day) / "manifest.json").read_bytes())
    return content


def put(root: Path, name: str, account: str, column: str, value: Any) -> None:
    path = root / "data" / "act" / name
    rows = pd.read_parquet(path)
    rows[column] = rows[column].astype(object).where(rows["account_id"] != account, value)
    rows.infer_objects().to_parquet(path)


def assert_only(account: str, then: pd.DataFrame, now: pd.DataFrame, but: tuple[str, ...] = ()) -> None:
    """Check that all accounts except one are unchanged except for ranks and that ranks have no gap."""
    names = [name for name in then.columns if name not in ("rank", "within_capacity", *but)]
    pd.testing.assert_frame_equal(
        then.drop(account)[names].sort_index(), now.drop(account)[names].sort_index(), check_dtype=False
    )
    for _, ranked in now.dropna(subset="rank").groupby("csm"):
        assert ranked["rank"].tolist() == list(range(1, len(ranked) + 1))


# --- the list ---


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("stage", None, "empty"),
        ("stage", "limbo", "unknown_value"),
        ("size_band", "giant", "unknown_value"),
        ("renewal_date", None, "empty"),
        ("days_to_renewal", None, "empty"),
        ("arr", float("inf"), "not_finite"),
    ],
)
def test_an_invalid_spine_value_affects_only_its_row(company: Path, column: str, value: Any, kind: str) -> None:
    then = published(company)
    put(company, "spine.parquet", "a2", {"arr": "arr_due"}.get(column, column), value)
    now = published(company)
    gamma = now.loc["a2"]
    assert gamma["status"] == "not_scored"
    assert gamma[SCORED_ONLY].isna().all()
    assert pd.isna(gamma[column])
    assert gamma["status_reason"]
    assert_only("a2", then, now)
    content = manifest(company)
    assert content["invalid_rows"] == {
        "rows": 1,
        "faults": [{"column": column, "kind": kind, "rows": 1, "example": "a2"}],
    }
    assert content["rows"]["status"] == {"not_scored": 1, "scored": 6, "too_little_history": 1}
    plays = pd.read_parquet(company / "data" / "act" / artifacts.PRESCRIBED_PLAYBOOKS).set_index("account_id").loc["a2"]
    assert plays[["play_1", "best", "expected_gain", "hours", "gain_per_hour"]].isna().all()


@pytest.mark.parametrize("wrong", [float("nan"), 1.5, -0.1, float("inf")])
def test_an_invalid_probability_affects_only_its_row(
    company: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    then = published(company)
    chances = Model.probability

    def with_fault(self: Model, frame: pd.DataFrame) -> np.ndarray:
        return np.where((frame["people_28d"] == 1) & (frame["bugs_28d"] == 2), wrong, chances(self, frame))

    monkeypatch.setattr(Model, "probability", with_fault)
    now = published(company)
    not_scored = now.index[now["status"] == "not_scored"].tolist()
    assert not_scored == ["a5"]
    assert "renewal" in now.loc["a5", "status_reason"]
    assert_only("a5", then, now)


def test_an_infinite_feature_value_affects_only_its_row(company: Path, capsys: Any) -> None:
    then = published(company)
    put(company, "scoring.parquet", "a3", "people_28d", float("inf"))
    now = published(company)
    quiet = now.loc["a3"]
    assert (quiet["status"], quiet["status_reason"]) == (
        "not_scored",
        "A figure about “Use of the product” is infinite.",
    )
    assert quiet[SCORED_ONLY].isna().all()
    assert_only("a3", then, now)
    fault = {"column": "people_28d", "kind": "figure", "rows": 1, "example": "a3"}
    assert manifest(company)["invalid_rows"]["faults"] == [fault]
    output = capsys.readouterr()
    line = next(one for one in (output.out + output.err).splitlines() if "rows failed a check" in one)
    assert "a3" in line
    assert NAMES[3] not in line, "the log contains ids and counts and no other account data"


def test_an_infinite_peer_value_is_not_a_what_if_step(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer window of the feature changes with it, and its largest value among the peers is infinite."""
    from tests.pipelines.commands.test_whatif import WhatIfModel

    class Strict(WhatIfModel):
        def probability(self, frame: pd.DataFrame) -> np.ndarray:
            if np.isinf(frame[["people_28d", "people_90d"]]).any(axis=None):
                raise ValueError("infinite values in people_90d")
            return super().probability(frame)

    strict = Strict({"people_28d": 1.0, "people_90d": 0.25})
    monkeypatch.setattr(champion_models, "load_champion", lambda one, target: Champion("renewal", "3", strict))
    act_side = company / "data" / "act"
    catalogue = json.loads((act_side / "features.json").read_bytes())
    longer = catalogue["features"][0] | {"name": "people_90d", "params": {"days": 90}, "actionable": False}
    (act_side / "features.json").write_text(json.dumps(catalogue | {"features": [*catalogue["features"], longer]}))
    figures = pd.read_parquet(act_side / "scoring.parquet")
    figures["people_90d"] = figures["people_28d"].where(figures["people_28d"] < 3, float("inf"))
    figures.to_parquet(act_side / "scoring.parquet")
    score(job(company, what_if_features=("people_28d",), invalid_row_limit=0.5))
    grid = pd.read_parquet(act_side / artifacts.WHAT_IF_GRID)
    assert len(grid)
    assert (grid["feature"] == "people_28d").all()


def test_a_what_if_step_without_a_probability_is_omitted(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.pipelines.commands.test_whatif import WhatIfModel

    class Partial(WhatIfModel):
        def probability(self, frame: pd.DataFrame) -> np.ndarray:
            return np.where(frame["people_28d"] == 2, np.nan, super().probability(frame))

    partial = Partial(MODEL)
    predict = Model.predict_and_explain
    monkeypatch.setattr(
        Partial, predict.__name__, lambda self, f: (WhatIfModel.probability(self, f), *predict(self, f)[1:])
    )
    monkeypatch.setattr(champion_models, "load_champion", lambda one, target: Champion("renewal", "3", partial))
    one = job(company, what_if_features=("people_28d",))
    score(one)
    grid = pd.read_parquet(company / "data" / "act" / artifacts.WHAT_IF_GRID)
    assert len(grid)
    assert not (grid["value"] == 2).any()
    publish(one)


def test_two_rows_of_eight_are_too_many_and_nothing_is_published(company: Path) -> None:
    published(company)
    before = {path.name: path.read_bytes() for path in folder(company).iterdir()}
    for account in ("a1", "a2"):
        put(company, "spine.parquet", account, "stage", None)
    with pytest.raises(InternalError, match=r"2 of 8 rows .* stage: empty \(2 rows, such as account a1\)") as stop:
        score(job(company))
    assert stop.value.exit_code == 70
    assert {path.name: path.read_bytes() for path in folder(company).iterdir()} == before
    assert score(job(company, invalid_row_limit=0.25))["invalid_rows"]["rows"] == 2


def test_an_unknown_alert_code_is_omitted(company: Path) -> None:
    then = published(company)
    rows = pd.read_parquet(company / "data" / "act" / "alerts.parquet")
    pd.concat([rows, rows.iloc[:1].assign(code="moon_is_full")]).to_parquet(company / "data" / "act" / "alerts.parquet")
    pd.testing.assert_frame_equal(then, published(company))


# --- outputs ---


def test_every_output_shows_the_reason_for_a_missing_score(company: Path) -> None:
    put(company, "spine.parquet", "a2", "stage", "limbo")
    now = published(company)
    reason = "“Stage” holds “limbo”, which is none of its values."
    assert now.loc["a2", "status_reason"] == reason
    text = pd.read_csv(folder(company) / "risk_list.csv", encoding="utf-8-sig").set_index("account_id")
    assert text.loc["a2", "status_reason"] == reason
    sheet = read((folder(company) / "risk_list.xlsx").read_bytes())["Not scored"]
    cells = {str(row[0].value): [cell.value for cell in row] for row in sheet.iter_rows()}
    assert reason in cells["gamma"]
    assert any(str(cell).startswith("Too little history: ") for cell in cells["fresh"])
    assert "Why not scored" in cells["Account"]
    reasons = payload_of((folder(company) / "risk_list.html").read_bytes())["not_scored_reasons"]
    position = now.index.get_loc("a2")
    assert reasons["en"]["texts"][reasons["en"]["codes"][position]] == reason
    assert reasons["zh"]["texts"][reasons["zh"]["codes"][position]] == "“阶段”的值“limbo”不在允许的取值之内。"
    assert reasons["en"]["codes"].count(-1) == 6, "scored accounts have no reason"
    assert explain(job(company), "a2")["scores"]["status_reason"] == reason


# --- the page and explain ---


@pytest.mark.parametrize(("column", "value"), [("started_on", None), ("value", None), ("expected", None)])
def test_an_alert_without_a_sentence_shows_its_name_and_leaves_the_rest_unchanged(
    company: Path, column: str, value: Any
) -> None:
    then = published(company)
    earlier = payload_of((folder(company) / "risk_list.html").read_bytes())["alerts"]
    path = company / "data" / "act" / "alerts.parquet"
    rows = pd.read_parquet(path)
    rows[column] = rows[column].astype(object).where(rows["code"] != "usage_drop", value)
    rows.to_parquet(path)
    pd.testing.assert_frame_equal(then, published(company))
    alerts = payload_of((folder(company) / "risk_list.html").read_bytes())["alerts"]
    for language, name in (("en", "Use has dropped"), ("zh", "使用骤降")):
        texts = [alerts["sentences"][language]["texts"][code] for code in alerts["sentences"][language]["codes"]]
        before = [earlier["sentences"][language]["texts"][code] for code in earlier["sentences"][language]["codes"]]
        assert [text for text, was in zip(texts, before, strict=True) if text != was] == [texts[0]]
        assert texts[0].startswith(name)
    loss = {"output": "page", "part": "alerts", "count": 1, "example": "a0"}
    assert [{key: failure[key] for key in loss} for failure in manifest(company)["render_failures"]] == [loss]
    sentences = [alert["sentence"] for alert in explain(job(company), "a0")["alerts"]]
    assert sentences[0].startswith("Use has dropped")
    assert "Use has dropped" not in sentences[1]


def test_a_feature_value_that_cannot_be_formatted_is_unknown_only_on_the_page(
    company: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from renewals.reports.html import list_page

    write = list_page.format_value

    def written(feature: Any, value: Any, phrases: Any, *place: int) -> str:
        if value == 3.0 and not place:
            raise TypeError("three is not written")
        return write(feature, value, phrases, *place)

    published(company)
    monkeypatch.setattr(list_page, "format_value", written)
    published(company)
    losses = manifest(company)["render_failures"]
    assert losses[0]["part"] == "people_28d"
    assert losses[0]["why"] == "TypeError"
    page = payload_of((folder(company) / "risk_list.html").read_bytes())
    assert any(figure >= 0 for slot in page["shown_reasons"] for figure in slot[1])


# --- the workbook ---


def cells_of(root: Path, name: str = "List") -> list[list[Any]]:
    return [[cell.value for cell in row] for row in read((folder(root) / "risk_list.xlsx").read_bytes())[name]]


def test_a_value_that_no_cell_can_show_affects_only_its_cell(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(company)
    then, make = cells_of(company), account_sheet.cell_value

    def cell(name: str, value: Any, messages: Any) -> Any:
        if value == "beta":
            raise KeyError(value)
        return [] if value == "gamma" else make(name, value, messages)

    monkeypatch.setattr(account_sheet, "cell_value", cell)
    published(company)
    now = cells_of(company)
    pairs = [
        (row[0], value, was) for row, old in zip(now, then, strict=True) for value, was in zip(row, old, strict=True)
    ]
    assert sorted(was for _, value, was in pairs if value != was) == ["beta", "gamma"]
    failures = {(failure["part"], failure["why"]): failure for failure in manifest(company)["render_failures"]}
    assert failures["account_name", "KeyError"]["example"] == "a1"
    assert failures["cell", "TypeError"]["example"].startswith(("ann!", "li!", "List!"))


def test_a_disagreement_with_an_unknown_verdict_affects_only_its_line() -> None:
    from renewals.reports.render_failures import RenderFailures
    from renewals.reports.sentences import disagreements
    from renewals.reports.words import Messages
    from tests.reports.sentences.test_disagreements import log, with_correctness

    rows = with_correctness(log(("a", "lost", "low", 3), ("b", "renews", "high", 3)), 1, None)
    whole = disagreements.sheet_rows(rows, Messages("en"), RenderFailures())
    failures = RenderFailures()
    rows["verdict"] = rows["verdict"].astype(object).where(rows["account_id"] != "a", "perhaps")
    assert disagreements.sheet_rows(rows, Messages("en"), failures) == [row for row in whole if row[2] != "a"]
    assert [failure["example"] for failure in failures.summarize()] == ["a"]


# --- the change of scores ---


@pytest.fixture
def june(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    june_is_published(tmp_path, monkeypatch)
    a_month_on(tmp_path)
    return tmp_path


def test_a_change_without_a_sentence_affects_only_its_account(june: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    then, explain_change = published(june, JULY), sentences.explain_change

    def why_changed(parts: Any, features: Any, before: Any, now: Any, messages: Any) -> str:
        if parts["change"] == then.loc["a3", "probability_change"]:
            raise ValueError("not this one")
        return explain_change(parts, features, before, now, messages)

    monkeypatch.setattr(sentences, "explain_change", why_changed)
    now = published(june, JULY)
    assert_only("a3", then, now)
    assert now.loc["a3", "reason_change"] != then.loc["a3", "reason_change"]
    assert now.loc["a3", "probability_change"] == then.loc["a3", "probability_change"]
    summary = json.loads((june / "data" / "act" / artifacts.SCORE_SUMMARY).read_bytes())
    failures = summary["score_change"]["render_failures"]
    assert [(failure["part"], failure["why"]) for failure in failures] == [("reason_change", "ValueError")]
    assert failures[0]["example"] == "a3"


def test_an_infinite_archived_feature_value_affects_only_its_reason(june: Path) -> None:
    then = published(june, JULY)
    path = published_lists.features_path(job(june), AS_OF)
    rows = pd.read_parquet(path)
    rows["people_28d"] = rows["people_28d"].where(rows["account_id"] != "a0", float("inf"))
    rows.to_parquet(path)
    now = published(june, JULY)
    assert_only("a0", then, now)
    assert now.loc["a0", "probability_change"] == then.loc["a0", "probability_change"]
    assert now.loc["a0", "reason_change"] != then.loc["a0", "reason_change"]


@pytest.mark.parametrize("was", [1.5, float("inf"), float("-inf")])
def test_an_invalid_previous_probability_affects_only_its_change(
    june: Path, monkeypatch: pytest.MonkeyPatch, was: float
) -> None:
    from dataclasses import replace

    from renewals.pipelines.storage.published import published_lists

    then, newest = published(june, JULY), published_lists.latest_list

    def with_fault(one: Any) -> Any:
        last = newest(one)
        chances = last.scores["renewal_probability"].where(last.scores["account_id"] != "a0", was)
        return replace(last, scores=last.scores.assign(renewal_probability=chances))

    monkeypatch.setattr(published_lists, "latest_list", with_fault)
    now = published(june, JULY)
    assert_only("a0", then, now)
    assert pd.isna(now.loc["a0", "probability_change"])
    assert now.loc["a0", "reason_change"] == "Not scored on the last list"


def test_a_failed_decomposition_changes_only_the_reason_column(june: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    then = published(june, JULY)

    def split(*arguments: Any) -> Any:
        raise TypeError("no such thing")

    monkeypatch.setattr(score_change, "decompose_change", split)
    now = published(june, JULY)
    pd.testing.assert_frame_equal(then.drop(columns="reason_change"), now.drop(columns="reason_change"))


def test_ids_of_another_type_than_last_month_are_no_error(june: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = published(june, JULY)
    numbered = listed.reset_index(drop=True).assign(account_id=range(len(listed)))
    numbered["renewal_id"] = numbered["account_id"].astype(str) + ":2026-09-01"
    started = pd.DataFrame({"account_id": [2, 3], "playbook": "call", "started_on": date(2026, 6, 5)})
    monkeypatch.setattr(
        sys.modules["renewals.pipelines.scoring.interventions_since"], "_load_interventions", lambda one, day: started
    )
    since = new_interventions(later(job(june)), numbered, {})
    assert since is not None
    assert since.interventions["account_id"].tolist() == [2, 3]
    assert since.interventions["previous_probability"].isna().all()


# --- a challenger ---


@pytest.mark.parametrize("wrong", [float("nan"), 2.0])
def test_an_account_without_a_challenger_probability_is_omitted(
    company: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    class Partial(Model):
        def probability(self, frame: pd.DataFrame) -> np.ndarray:
            return np.where(frame["bugs_28d"] + frame["people_28d"] == 0, wrong, super().probability(frame))

    monkeypatch.setattr(
        model_registry, "fetch_challenger", lambda one, target: (target, "7", {}) if target == "renewal" else None
    )
    monkeypatch.setattr(model_loader, "load_model", lambda data, name, files: Partial(MODEL))
    summary = score(job(company))["challengers"]["renewal"]
    assert summary["accounts"] == 6
    rows = pd.read_parquet(company / "data" / "act" / artifacts.CHALLENGER_SCORES)
    assert "a0" not in set(rows["account_id"])
    assert rows["rank_challenger"].notna().all()


# --- optional stages ---


def failing(error: Exception) -> Any:
    def scorecard(one: Any) -> None:
        raise error

    return scorecard


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OutputError("no disk"), KeyError("x"), MemoryError()])
def test_a_failed_optional_stage_does_not_stop_the_list(
    company: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from tests.pipelines.stages.act.test_workbook import write_card

    write_card(company)
    score(job(company))
    monkeypatch.setattr(act, "run_scoring_stages", lambda one: None)
    monkeypatch.setattr(act, "OPTIONAL_STAGES", (failing(error), lambda one: None))
    outcome = act.run_score(job(company))
    assert outcome["state"] == "published"
    assert list(outcome["failed_stages"]) == list(manifest(company)["failed_stages"]) == ["scorecard"]
    assert not (folder(company) / "scorecard.html").exists(), "the scorecard of an earlier run is not published"
    assert (
        str(error) in outcome["failed_stages"]["scorecard"]
        or type(error).__name__ in outcome["failed_stages"]["scorecard"]
    )


def test_without_a_failure_nothing_is_missing(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score(job(company))
    monkeypatch.setattr(act, "run_scoring_stages", lambda one: None)
    monkeypatch.setattr(act, "OPTIONAL_STAGES", ())
    assert act.run_score(job(company))["failed_stages"] == manifest(company)["failed_stages"] == {}


def test_an_interrupt_in_an_optional_stage_stops_the_run(company: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(act, "run_scoring_stages", lambda one: None)
    monkeypatch.setattr(act, "OPTIONAL_STAGES", (failing(KeyboardInterrupt()),))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        act.run_score(job(company))


@pytest.mark.parametrize("invalid", [float("nan"), float("inf")])
def test_an_invalid_forecast_value_affects_only_its_cell(company: Path, invalid: float) -> None:
    names = ["period_kind", "period", "segment_kind", "segment", "measure", "expected", "low", "high"]
    rows = [
        ["quarter", "2026-08", "company", "all", "arr_due", 5.0, invalid, 6.0],
        ["quarter", "2026-08", "company", "all", "arr_renewed", 4.0, 3.0, 5.0],
    ]
    model = {"renewal": {"name": "renewal", "version": "3"}}
    forecast = {"as_of": str(AS_OF), "models": model, "confidence": 0.8, "columns": names, "rows": rows}
    path = company / "data" / "act" / "forecast" / artifacts.FORECAST_SUMMARY
    path.parent.mkdir()
    path.write_text(json.dumps(forecast))
    published(company)
    shown = payload_of((folder(company) / "risk_list.html").read_bytes())["summary"]["forecast"]
    assert [(row["expected"], row["low"], row["high"]) for row in shown] == [(5.0, None, 6.0), (4.0, 3.0, 5.0)]


# --- the database ---


def test_unusual_values_of_one_row_are_written_to_the_database(company: Path) -> None:
    import duckdb

    put(company, "spine.parquet", "a2", "account_name", "nul \x00 long " + "x" * 1_000_000)
    put(company, "spine.parquet", "a3", "arr_due", float("inf"))
    listed = published(company)
    run_publish(job(company), f"duckdb:///{company / 'company.duckdb'}", "renewals")
    with duckdb.connect(str(company / "company.duckdb")) as database:
        written = database.execute(
            "SELECT account_id, account_name, status, status_reason FROM renewals.risk_list"
        ).df()
    written = written.set_index("account_id")
    assert len(written) == len(listed) == 8
    assert written.loc["a2", "account_name"].startswith("nul \u2400 long")
    assert written.loc["a3", "status"] == "not_scored"
    assert written.loc["a3", "status_reason"] == "“ARR” is infinite, which is not a valid amount."
