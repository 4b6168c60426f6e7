"""A list whose models learned after its day: refused, or marked and read by nobody as history."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from datetime import date
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from renewals.models.settings import DriftSettings
from renewals.pipelines import cli, preflight
from renewals.pipelines.commands.explain import explain
from renewals.pipelines.runtime.errors import ConfigError, DataContractError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.scoring import champion_models, drift, page_data
from renewals.pipelines.scoring.champion_models import Champion
from renewals.pipelines.scoring.interventions_since import new_interventions
from renewals.pipelines.stages.act import context, disagreements
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.stages.act.score import score
from renewals.pipelines.storage import artifacts
from renewals.pipelines.storage.published import list_archive, published_lists
from renewals.pipelines.storage.published.hindsight import TrainedVersion
from renewals.pipelines.storage.published.list_folder import publish_folder
from renewals.pipelines.storage.published.manifest import MANIFEST
from renewals.pipelines.storage.registry import model_registry
from tests.pipelines.answered_company import JULY as ANSWERED_IN_JULY
from tests.pipelines.answered_company import company as answered
from tests.pipelines.scored_company import AS_OF, job, write_alerts
from tests.pipelines.scoring.test_score_change import PEOPLE, MarginModel, june_is_published
from tests.reports.pages import payload_of

JULY, AUGUST, SEPTEMBER = date(2026, 7, 1), date(2026, 8, 1), date(2026, 9, 1)


@pytest.fixture
def june(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """June's list, made in its time."""
    june_is_published(tmp_path, monkeypatch)
    return tmp_path


def on(root: Path, day: date, **options: Any) -> Job:
    """The job of a day whose figures are there."""
    act = root / "data" / "act"
    for name in ("spine", "scoring"):
        rows = pd.read_parquet(act / f"{name}.parquet")
        rows.assign(as_of=day).to_parquet(act / f"{name}.parquet")
    write_alerts(act, pd.read_parquet(act / "spine.parquet"), day)
    return replace(job(root, **options), as_of=day)


def trained(monkeypatch: pytest.MonkeyPatch, **until: date) -> None:
    """Models of these targets, trained on these days."""

    def champion(one: Job, target: str) -> Champion:
        if target not in until:
            raise MissingInputError(f"no champion for {target}")
        return Champion(f"renewals-{target}", "3", MarginModel(PEOPLE), until=until[target])

    monkeypatch.setattr(champion_models, "load_champion", champion)


def published(one: Job) -> Path:
    score(one)
    return Path(publish(one)["folder"])


def with_hindsight(root: Path, day: date, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The list of a day, made by a model of September; afterwards one of June serves again."""
    trained(monkeypatch, renewal=SEPTEMBER)
    folder = published(on(root, day, hindsight=True))
    trained(monkeypatch, renewal=AS_OF)
    return folder


def in_time(root: Path, day: date) -> Path:
    return published(on(root, day))


def manifest(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    return told


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- refused, unless it is asked for -------------------------------------------------------------


@pytest.mark.parametrize("until", [{"renewal": SEPTEMBER}, {"renewal": AS_OF, "expansion": SEPTEMBER}])
def test_a_day_before_the_training_day_of_any_model_is_refused(june, monkeypatch, until) -> None:
    trained(monkeypatch, **until)
    later = max(until, key=lambda target: until[target])
    with pytest.raises(ConfigError) as refused:
        score(on(june, JULY))
    said = str(refused.value)
    assert f"({later} version 3 until 2026-09-01)" in said
    assert "--hindsight" in said
    assert "trained on data of 2026-07-01 or later" in said
    assert refused.value.exit_code == 78
    assert not (june / "lists" / str(JULY)).exists()


def test_the_training_day_itself_and_models_that_do_not_say_theirs_are_no_hindsight(june, monkeypatch) -> None:
    trained(monkeypatch, renewal=JULY)
    assert manifest(in_time(june, JULY))["hindsight"] is False
    assert manifest(june / "lists" / str(AS_OF))["models"]["renewal"]["trained_until"] is None


def test_asked_for_where_there_is_none_the_list_is_as_any_other(june, monkeypatch) -> None:
    trained(monkeypatch, renewal=AS_OF)
    first = in_time(june, JULY)
    before = contents(first)
    assert manifest(first)["notices"] == []
    score(on(june, JULY, hindsight=True))
    assert publish(on(june, JULY, hindsight=True))["state"] == "already published"
    assert contents(first) == before


@pytest.mark.parametrize("command", ["score", "forecast"])
def test_the_start_refuses_before_any_table_is_read(june, monkeypatch, command) -> None:
    checks = {check.__name__: check for check in preflight.CHECKS_BY_COMMAND[command]}
    check = checks["require_replaceable_list" if command == "score" else "require_hindsight_allowed"]
    monkeypatch.setattr(
        model_registry, "champions_by_target", lambda one, targets: {"renewal": TrainedVersion("3", SEPTEMBER)}
    )
    with pytest.raises(ConfigError, match="--as-of 2026-09-01 or later"):
        check(replace(job(june), as_of=JULY))
    check(replace(job(june), as_of=SEPTEMBER))
    check(replace(job(june, hindsight=True), as_of=JULY))


def test_the_start_refuses_a_list_for_which_there_is_no_place(june, monkeypatch) -> None:
    monkeypatch.setattr(
        model_registry, "champions_by_target", lambda one, targets: {"renewal": TrainedVersion("3", SEPTEMBER)}
    )
    with pytest.raises(ConfigError, match="2026-06-01 already holds a list made without hindsight"):
        preflight.require_replaceable_list(job(june, hindsight=True))


def test_the_demonstration_is_refused_where_it_would_learn_until_after_its_list(tmp_path) -> None:
    def asked(**given: Any) -> Job:
        return Job(Settings.model_validate(given), "", tmp_path, tmp_path / "lists")

    dates = {"until": "2026-06-01", "as_of": "2026-05-01"}
    with pytest.raises(ConfigError, match=r"renewal version 1 until 2026-06-01"):
        preflight.require_demo_dates(asked(dates=dates))
    preflight.require_demo_dates(asked(dates=dates, list={"hindsight": True}))
    preflight.require_demo_dates(asked())


# --- marked --------------------------------------------------------------------------------------


def test_the_list_says_that_it_was_made_with_hindsight_wherever_it_is_read(june, monkeypatch) -> None:
    folder = with_hindsight(june, JULY, monkeypatch)
    said = manifest(folder)
    assert said["hindsight"] is True
    assert said["models"]["renewal"]["trained_until"] == "2026-09-01"
    (notice,) = [one for one in said["notices"] if one["code"] == "hindsight"]
    assert "made afterwards for" in notice["en"]
    assert "事后" in notice["zh"]
    written = (folder / "risk_list.html").read_text()
    assert notice["en"] in written
    assert notice["zh"] in written
    with zipfile.ZipFile(folder / "risk_list.xlsx") as book:
        assert notice["en"] in book.read("xl/sharedStrings.xml").decode()


# --- on the command line -------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "stage"), [("score", "run_score"), ("forecast", "run_forecast")])
@pytest.mark.parametrize("asked", [False, True])
def test_the_option_reaches_the_stage(tmp_path, monkeypatch, command, stage, asked) -> None:
    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preflight, "run_checks", lambda *_: None)
    monkeypatch.setattr(
        import_module(f"renewals.pipelines.commands.{command}"), stage, lambda one: seen.append(one) or {}
    )
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--as-of", "2026-06-01", *(["--hindsight"] if asked else [])])
    assert ended.value.code == 0
    assert [one.settings.list.hindsight for one in seen] == [asked]


# --- its place -----------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["none", "a file", "the manifest", "no manifest"])
def test_it_takes_no_place_of_a_list_made_in_its_time_be_it_harmed(june, monkeypatch, harm) -> None:
    folder = june / "lists" / str(AS_OF)
    if harm == "a file":
        (folder / "risk_list.csv").write_text("harmed")
    if harm == "the manifest":
        (folder / MANIFEST).write_text("{")
    if harm == "no manifest":
        (folder / MANIFEST).unlink()
    before = contents(folder)
    trained(monkeypatch, renewal=SEPTEMBER)
    one = on(june, AS_OF, hindsight=True)
    score(one)
    with pytest.raises(ConfigError, match=r"holds a list made without hindsight.* \(--lists\)"):
        publish(one)
    assert contents(folder) == before


def test_a_list_made_in_its_time_that_came_meanwhile_stays(tmp_path) -> None:
    """The place is looked at again under the lock of publishing, after whatever was looked at before."""
    about = {"identity": {"made": 1}, "hindsight": True}
    publish_folder(tmp_path, JULY, {"a.csv": b"late"}, about)
    publish_folder(tmp_path, JULY, {"a.csv": b"late too"}, about | {"identity": {"made": 2}})
    publish_folder(tmp_path, JULY, {"a.csv": b"in time"}, {"identity": {"made": 3}})
    with pytest.raises(ConfigError, match="already holds a list made without hindsight"):
        publish_folder(tmp_path, JULY, {"a.csv": b"late"}, about)
    assert (tmp_path / str(JULY) / "a.csv").read_bytes() == b"in time"


def test_a_list_made_in_its_time_takes_the_place_of_one_made_with_hindsight(june, monkeypatch) -> None:
    folder = with_hindsight(june, JULY, monkeypatch)
    in_time(june, JULY)
    assert manifest(folder)["hindsight"] is False
    assert manifest(june / "lists" / ".revisions" / str(JULY) / "1")["hindsight"] is True
    assert list_archive.archived_days(job(june)) == [AS_OF, JULY]
    assert [one.day for one in published_lists.iter_previous_lists(on(june, AUGUST))] == [JULY, AS_OF]


def test_elsewhere_it_leaves_what_is_kept_of_the_list_made_in_its_time(june, monkeypatch) -> None:
    before = contents(june / "data" / "list_archive")
    trained(monkeypatch, renewal=SEPTEMBER)
    score(on(june, AS_OF, hindsight=True))
    publish(replace(job(june, hindsight=True), lists=june / "elsewhere"))
    assert manifest(june / "elsewhere" / str(AS_OF))["hindsight"] is True
    assert contents(june / "data" / "list_archive") == before


def test_lists_made_with_hindsight_push_no_day_out_of_what_is_kept(june, monkeypatch) -> None:
    monkeypatch.setattr(list_archive, "MAX_ARCHIVED_DAYS", 2)
    for month in (7, 8, 9):
        one = on(june, date(2025, month, 1))
        list_archive.archive_list(one, f"key {month}", None, hindsight=True)
    assert list_archive.archived_days(job(june)) == [AS_OF]
    assert list_archive.archived_days(job(june), hindsight=True) == [date(2025, 8, 1), date(2025, 9, 1)]


# --- who reads what ------------------------------------------------------------------------------


def test_the_change_of_scores_is_that_since_the_list_made_in_its_time(june, monkeypatch) -> None:
    with_hindsight(june, JULY, monkeypatch)
    assert manifest(in_time(june, AUGUST))["score_change"]["previous_list"]["as_of"] == str(AS_OF)


def test_what_was_done_since_counts_from_the_list_made_in_its_time(june, monkeypatch) -> None:
    with_hindsight(june, JULY, monkeypatch)
    listed = pd.read_parquet(june / "lists" / str(AS_OF) / "risk_list.parquet")
    done = new_interventions(on(june, AUGUST), listed, {})
    assert done is not None
    assert done.last_list_day == AS_OF


def test_the_page_shows_no_past_that_was_made_afterwards(june, monkeypatch) -> None:
    with_hindsight(june, JULY, monkeypatch)
    folder = in_time(june, AUGUST)
    assert list(payload_of((folder / "risk_list.html").read_bytes())["probability_history"]) == [str(AS_OF)]
    assert [one.day for one in page_data.load_earlier_lists(on(june, AUGUST))] == [AS_OF]


def test_drift_compares_with_the_list_made_in_its_time(june, monkeypatch) -> None:
    with_hindsight(june, JULY, monkeypatch)
    one = on(june, AUGUST)
    settings = SimpleNamespace(**vars(one.settings), drift=DriftSettings())
    listed = pd.read_parquet(june / "lists" / str(AS_OF) / "risk_list.parquet")
    usual = {"score": {"edges": [0.5], "shares": [0.5, 0.5], "accounts": 8}}
    looks = drift._compare_scores(replace(one, settings=settings), listed, usual)
    assert [look.name for look in looks if look.kind == "previous_list"] == [str(AS_OF)]


def test_drift_holds_no_outcome_against_a_list_made_afterwards(june, monkeypatch) -> None:
    settings = Settings(drift=DriftSettings(min_renewals=10))
    with_hindsight(june, JULY, monkeypatch)
    due = replace(on(june, date(2027, 6, 1)), settings=settings)
    seen: list[set[date]] = []

    def labelled(one: Job, told: pd.DataFrame) -> pd.DataFrame:
        seen.append(set(pd.to_datetime(told["as_of"]).dt.date))
        return told.assign(label=1)

    monkeypatch.setattr(drift, "_join_outcomes", labelled)
    drift._compare_outcomes(due)
    assert seen == [{AS_OF}]


def test_alerts_of_it_were_told_to_nobody(june, monkeypatch) -> None:
    before = contents(june / "data" / "alert_history")
    with_hindsight(june, JULY, monkeypatch)
    assert contents(june / "data" / "alert_history") == before
    one = on(june, AUGUST)
    assert published_lists.recent_alert_paths(one) == [published_lists.alert_history_path(one, AS_OF)]
    assert len(artifacts.read_alerts(one)) == 3


def test_dvc_hears_nothing_of_it(june, monkeypatch) -> None:
    def heard() -> dict[str, Any]:
        one = on(june, AUGUST)
        settings = Settings(list=one.settings.list)
        return context.context(replace(one, settings=settings))

    before = heard()
    with_hindsight(june, JULY, monkeypatch)
    assert heard() == before
    assert set(before["lists"]) == set(before["kept"]) == {str(AS_OF)}


def test_the_tally_of_answers_stands_on_the_newest_list_made_in_its_time(june, monkeypatch) -> None:
    with_hindsight(june, JULY, monkeypatch)
    for day in (AS_OF, JULY):
        ledger = list_archive.archive_folder(replace(job(june), as_of=day), day) / "ledger" / "renewals.parquet"
        ledger.parent.mkdir()
        ledger.write_bytes(b"")
    asked = []
    monkeypatch.setattr(disagreements, "_find_disagreements", lambda day, log: (asked.append(day.day), {})[::-1] * 2)
    disagreements.current_tally(job(june), pd.DataFrame())
    assert asked == [AS_OF]


def test_explain_reads_it_on_its_own_day(june, monkeypatch) -> None:
    with_hindsight(june, JULY, monkeypatch)
    assert explain(replace(job(june), as_of=JULY), "a0")["as_of"] == str(JULY)
    with pytest.raises(MissingInputError, match=r"2026-06-01, 2026-07-01\. Run"):
        explain(replace(job(june), as_of=AUGUST), "a0")


def test_answers_to_it_are_refused_in_words_and_those_to_others_are_kept(tmp_path) -> None:
    company = answered(tmp_path)
    company.publish(ANSWERED_IN_JULY)
    marked = tmp_path / "lists" / str(ANSWERED_IN_JULY) / MANIFEST
    marked.write_text(json.dumps(json.loads(marked.read_bytes()) | {"hindsight": True}))
    good = company.book("june.xlsx", {"Anna": [("acme", "Will renew", None, None, None)]})
    late = company.book(
        "july.xlsx", {"Anna": [("acme", "Will be lost", None, None, None)]}, as_of=str(ANSWERED_IN_JULY)
    )
    with pytest.raises(DataContractError, match=r"july\.xlsx: was rejected: .*was made with hindsight") as refused:
        company.collect(good, late, recorded="2026-07-10")
    assert refused.value.details["accepted"] == 1
    assert [row["as_of"] for row in company.rows("feedback_log")] == [AS_OF]
