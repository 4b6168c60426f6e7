"""Lists from models trained after the list's day: refused, or marked and never read as history."""

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
from tests.pipelines.answered_company import company as answered_company
from tests.pipelines.scored_company import AS_OF, job, write_alerts
from tests.pipelines.scoring.test_score_change import PEOPLE, MarginModel, june_is_published
from tests.reports.pages import payload_of

JULY, AUGUST, SEPTEMBER = date(2026, 7, 1), date(2026, 8, 1), date(2026, 9, 1)


@pytest.fixture
def june(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with the list of June, published without hindsight."""
    june_is_published(tmp_path, monkeypatch)
    return tmp_path


def job_on(root: Path, day: date, **options: Any) -> Job:
    """Job of `day`, with the spine, the scoring table and the alerts dated to that day."""
    act = root / "data" / "act"
    for name in ("spine", "scoring"):
        rows = pd.read_parquet(act / f"{name}.parquet")
        rows.assign(as_of=day).to_parquet(act / f"{name}.parquet")
    write_alerts(act, pd.read_parquet(act / "spine.parquet"), day)
    return replace(job(root, **options), as_of=day)


def set_champions(monkeypatch: pytest.MonkeyPatch, **until: date) -> None:
    """Replace the champions with models of the targets and training days in `until`."""

    def champion(one: Job, target: str) -> Champion:
        if target not in until:
            raise MissingInputError(f"no champion for {target}")
        return Champion(f"renewals-{target}", "3", MarginModel(PEOPLE), until=until[target])

    monkeypatch.setattr(champion_models, "load_champion", champion)


def publish_list(one: Job) -> Path:
    score(one)
    return Path(publish(one)["folder"])


def publish_with_hindsight(root: Path, day: date, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Publish the list of `day` with a champion trained in September, then restore the champion of June.

    Returns the folder of the list.
    """
    set_champions(monkeypatch, renewal=SEPTEMBER)
    folder = publish_list(job_on(root, day, hindsight=True))
    set_champions(monkeypatch, renewal=AS_OF)
    return folder


def publish_in_time(root: Path, day: date) -> Path:
    return publish_list(job_on(root, day))


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    return content


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- refused without the option ------------------------------------------------------------------


@pytest.mark.parametrize("until", [{"renewal": SEPTEMBER}, {"renewal": AS_OF, "expansion": SEPTEMBER}])
def test_a_day_before_the_training_day_of_any_model_is_refused(june, monkeypatch, until) -> None:
    set_champions(monkeypatch, **until)
    later = max(until, key=lambda target: until[target])
    with pytest.raises(ConfigError) as refused:
        score(job_on(june, JULY))
    message = str(refused.value)
    assert f"({later} version 3 until 2026-09-01)" in message
    assert "--hindsight" in message
    assert "trained on data of 2026-07-01 or later" in message
    assert refused.value.exit_code == 78
    assert not (june / "lists" / str(JULY)).exists()


def test_training_day_itself_and_unknown_training_days_are_not_hindsight(june, monkeypatch) -> None:
    set_champions(monkeypatch, renewal=JULY)
    assert manifest(publish_in_time(june, JULY))["hindsight"] is False
    assert manifest(june / "lists" / str(AS_OF))["models"]["renewal"]["trained_until"] is None


def test_hindsight_option_without_later_models_changes_nothing(june, monkeypatch) -> None:
    set_champions(monkeypatch, renewal=AS_OF)
    first = publish_in_time(june, JULY)
    before = contents(first)
    assert manifest(first)["notices"] == []
    score(job_on(june, JULY, hindsight=True))
    assert publish(job_on(june, JULY, hindsight=True))["state"] == "already published"
    assert contents(first) == before


@pytest.mark.parametrize("command", ["score", "forecast"])
def test_preflight_refuses_hindsight_before_any_table_is_read(june, monkeypatch, command) -> None:
    checks = {check.__name__: check for check in preflight.CHECKS_BY_COMMAND[command]}
    check = checks["require_replaceable_list" if command == "score" else "require_hindsight_allowed"]
    monkeypatch.setattr(
        model_registry, "champions_by_target", lambda one, targets: {"renewal": TrainedVersion("3", SEPTEMBER)}
    )
    with pytest.raises(ConfigError, match="--as-of 2026-09-01 or later"):
        check(replace(job(june), as_of=JULY))
    check(replace(job(june), as_of=SEPTEMBER))
    check(replace(job(june, hindsight=True), as_of=JULY))


def test_preflight_refuses_to_replace_a_list_without_hindsight(june, monkeypatch) -> None:
    monkeypatch.setattr(
        model_registry, "champions_by_target", lambda one, targets: {"renewal": TrainedVersion("3", SEPTEMBER)}
    )
    with pytest.raises(ConfigError, match="2026-06-01 already holds a list made without hindsight"):
        preflight.require_replaceable_list(job(june, hindsight=True))


def test_demo_with_training_data_after_its_list_is_refused(tmp_path) -> None:
    def demo_job(**settings: Any) -> Job:
        return Job(Settings.model_validate(settings), "", tmp_path, tmp_path / "lists")

    dates = {"until": "2026-06-01", "as_of": "2026-05-01"}
    with pytest.raises(ConfigError, match=r"renewal version 1 until 2026-06-01"):
        preflight.require_demo_dates(demo_job(dates=dates))
    preflight.require_demo_dates(demo_job(dates=dates, list={"hindsight": True}))
    preflight.require_demo_dates(demo_job())


# --- notice --------------------------------------------------------------------------------------


def test_hindsight_notice_is_in_manifest_page_and_workbook(june, monkeypatch) -> None:
    folder = publish_with_hindsight(june, JULY, monkeypatch)
    content = manifest(folder)
    assert content["hindsight"] is True
    assert content["models"]["renewal"]["trained_until"] == "2026-09-01"
    (notice,) = [entry for entry in content["notices"] if entry["code"] == "hindsight"]
    assert "made afterwards for" in notice["en"]
    assert "事后" in notice["zh"]
    page = (folder / "risk_list.html").read_text()
    assert notice["en"] in page
    assert notice["zh"] in page
    with zipfile.ZipFile(folder / "risk_list.xlsx") as book:
        assert notice["en"] in book.read("xl/sharedStrings.xml").decode()


# --- on the command line -------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "stage"), [("score", "run_score"), ("forecast", "run_forecast")])
@pytest.mark.parametrize("hindsight", [False, True])
def test_the_option_reaches_the_stage(tmp_path, monkeypatch, command, stage, hindsight) -> None:
    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preflight, "run_checks", lambda *_: None)
    monkeypatch.setattr(
        import_module(f"renewals.pipelines.commands.{command}"), stage, lambda one: seen.append(one) or {}
    )
    with pytest.raises(SystemExit) as exited:
        cli.main([command, "--as-of", "2026-06-01", *(["--hindsight"] if hindsight else [])])
    assert exited.value.code == 0
    assert [one.settings.list.hindsight for one in seen] == [hindsight]


# --- replacement ---------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["none", "a file", "the manifest", "no manifest"])
def test_hindsight_list_does_not_replace_a_list_without_hindsight_even_if_damaged(june, monkeypatch, damage) -> None:
    folder = june / "lists" / str(AS_OF)
    if damage == "a file":
        (folder / "risk_list.csv").write_text("damaged")
    if damage == "the manifest":
        (folder / MANIFEST).write_text("{")
    if damage == "no manifest":
        (folder / MANIFEST).unlink()
    before = contents(folder)
    set_champions(monkeypatch, renewal=SEPTEMBER)
    one = job_on(june, AS_OF, hindsight=True)
    score(one)
    with pytest.raises(ConfigError, match=r"holds a list made without hindsight.* \(--lists\)"):
        publish(one)
    assert contents(folder) == before


def test_a_list_without_hindsight_published_meanwhile_is_not_replaced(tmp_path) -> None:
    """`publish_folder` checks the folder again under its lock, whatever was checked before."""
    metadata = {"identity": {"number": 1}, "hindsight": True}
    publish_folder(tmp_path, JULY, {"a.csv": b"late"}, metadata)
    publish_folder(tmp_path, JULY, {"a.csv": b"late too"}, metadata | {"identity": {"number": 2}})
    publish_folder(tmp_path, JULY, {"a.csv": b"in time"}, {"identity": {"number": 3}})
    with pytest.raises(ConfigError, match="already holds a list made without hindsight"):
        publish_folder(tmp_path, JULY, {"a.csv": b"late"}, metadata)
    assert (tmp_path / str(JULY) / "a.csv").read_bytes() == b"in time"


def test_a_list_without_hindsight_replaces_a_hindsight_list(june, monkeypatch) -> None:
    folder = publish_with_hindsight(june, JULY, monkeypatch)
    publish_in_time(june, JULY)
    assert manifest(folder)["hindsight"] is False
    assert manifest(june / "lists" / ".revisions" / str(JULY) / "1")["hindsight"] is True
    assert list_archive.archived_days(job(june)) == [AS_OF, JULY]
    assert [one.day for one in published_lists.iter_previous_lists(job_on(june, AUGUST))] == [JULY, AS_OF]


def test_hindsight_list_in_another_folder_leaves_the_archive_unchanged(june, monkeypatch) -> None:
    before = contents(june / "data" / "list_archive")
    set_champions(monkeypatch, renewal=SEPTEMBER)
    score(job_on(june, AS_OF, hindsight=True))
    publish(replace(job(june, hindsight=True), lists=june / "elsewhere"))
    assert manifest(june / "elsewhere" / str(AS_OF))["hindsight"] is True
    assert contents(june / "data" / "list_archive") == before


def test_hindsight_lists_do_not_remove_a_list_without_hindsight_from_the_archive(june, monkeypatch) -> None:
    monkeypatch.setattr(list_archive, "MAX_ARCHIVED_DAYS", 2)
    for month in (7, 8, 9):
        one = job_on(june, date(2025, month, 1))
        list_archive.archive_list(one, f"key {month}", None, hindsight=True)
    assert list_archive.archived_days(job(june)) == [AS_OF]
    assert list_archive.archived_days(job(june), hindsight=True) == [date(2025, 8, 1), date(2025, 9, 1)]


# --- readers of lists -----------------------------------------------------------------------------


def test_score_change_ignores_hindsight_lists(june, monkeypatch) -> None:
    publish_with_hindsight(june, JULY, monkeypatch)
    assert manifest(publish_in_time(june, AUGUST))["score_change"]["previous_list"]["as_of"] == str(AS_OF)


def test_new_interventions_ignore_hindsight_lists(june, monkeypatch) -> None:
    publish_with_hindsight(june, JULY, monkeypatch)
    listed = pd.read_parquet(june / "lists" / str(AS_OF) / "risk_list.parquet")
    done = new_interventions(job_on(june, AUGUST), listed, {})
    assert done is not None
    assert done.last_list_day == AS_OF


def test_page_history_ignores_hindsight_lists(june, monkeypatch) -> None:
    publish_with_hindsight(june, JULY, monkeypatch)
    folder = publish_in_time(june, AUGUST)
    assert list(payload_of((folder / "risk_list.html").read_bytes())["probability_history"]) == [str(AS_OF)]
    assert [one.day for one in page_data.load_earlier_lists(job_on(june, AUGUST))] == [AS_OF]


def test_drift_of_scores_ignores_hindsight_lists(june, monkeypatch) -> None:
    publish_with_hindsight(june, JULY, monkeypatch)
    one = job_on(june, AUGUST)
    settings = SimpleNamespace(**vars(one.settings), drift=DriftSettings())
    listed = pd.read_parquet(june / "lists" / str(AS_OF) / "risk_list.parquet")
    reference = {"score": {"edges": [0.5], "shares": [0.5, 0.5], "accounts": 8}}
    comparisons = drift._compare_scores(replace(one, settings=settings), listed, reference)
    assert [comparison.name for comparison in comparisons if comparison.kind == "previous_list"] == [str(AS_OF)]


def test_drift_of_calibration_ignores_hindsight_lists(june, monkeypatch) -> None:
    settings = Settings(drift=DriftSettings(min_renewals=10))
    publish_with_hindsight(june, JULY, monkeypatch)
    due = replace(job_on(june, date(2027, 6, 1)), settings=settings)
    seen: list[set[date]] = []

    def add_labels(one: Job, predictions: pd.DataFrame) -> pd.DataFrame:
        seen.append(set(pd.to_datetime(predictions["as_of"]).dt.date))
        return predictions.assign(label=1)

    monkeypatch.setattr(drift, "_join_outcomes", add_labels)
    drift._compare_outcomes(due)
    assert seen == [{AS_OF}]


def test_alerts_of_a_hindsight_list_are_not_in_the_alert_history(june, monkeypatch) -> None:
    before = contents(june / "data" / "alert_history")
    publish_with_hindsight(june, JULY, monkeypatch)
    assert contents(june / "data" / "alert_history") == before
    one = job_on(june, AUGUST)
    assert published_lists.recent_alert_paths(one) == [published_lists.alert_history_path(one, AS_OF)]
    assert len(artifacts.read_alerts(one)) == 3


def test_context_for_dvc_ignores_hindsight_lists(june, monkeypatch) -> None:
    def dvc_context() -> dict[str, Any]:
        one = job_on(june, AUGUST)
        settings = Settings(list=one.settings.list)
        return context.context(replace(one, settings=settings))

    before = dvc_context()
    publish_with_hindsight(june, JULY, monkeypatch)
    assert dvc_context() == before
    assert set(before["lists"]) == set(before["kept"]) == {str(AS_OF)}


def test_tally_of_answers_uses_the_newest_list_without_hindsight(june, monkeypatch) -> None:
    publish_with_hindsight(june, JULY, monkeypatch)
    for day in (AS_OF, JULY):
        ledger = list_archive.archive_folder(replace(job(june), as_of=day), day) / "ledger" / "term_states.parquet"
        ledger.parent.mkdir()
        ledger.write_bytes(b"")
    days = []
    monkeypatch.setattr(disagreements, "_find_disagreements", lambda day, log: (days.append(day.day), {})[::-1] * 2)
    disagreements.current_tally(job(june), pd.DataFrame())
    assert days == [AS_OF]


def test_explain_reads_a_hindsight_list_on_its_day_only(june, monkeypatch) -> None:
    publish_with_hindsight(june, JULY, monkeypatch)
    assert explain(replace(job(june), as_of=JULY), "a0")["as_of"] == str(JULY)
    with pytest.raises(MissingInputError, match=r"2026-06-01, 2026-07-01\. Run"):
        explain(replace(job(june), as_of=AUGUST), "a0")


def test_answers_to_a_hindsight_list_are_rejected_and_answers_to_another_list_accepted(tmp_path) -> None:
    company = answered_company(tmp_path)
    company.publish(ANSWERED_IN_JULY)
    manifest_file = tmp_path / "lists" / str(ANSWERED_IN_JULY) / MANIFEST
    manifest_file.write_text(json.dumps(json.loads(manifest_file.read_bytes()) | {"hindsight": True}))
    good = company.book("june.xlsx", {"Anna": [("acme", "Will renew", None, None, None)]})
    late = company.book(
        "july.xlsx", {"Anna": [("acme", "Will be lost", None, None, None)]}, as_of=str(ANSWERED_IN_JULY)
    )
    with pytest.raises(DataContractError, match=r"july\.xlsx: was rejected: .*was made with hindsight") as refused:
        company.collect(good, late, recorded="2026-07-10")
    assert refused.value.details["accepted"] == 1
    assert [row["as_of"] for row in company.rows("feedback_log")] == [AS_OF]
