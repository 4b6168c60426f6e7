"""Tables that are too old or incomplete for the requested day: notices, stops and their messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from renewals.features.tables import TABLES
from renewals.pipelines import cli, preflight
from renewals.pipelines.commands import backtest, effect, learn, score, scorecard
from renewals.pipelines.commands import check as command
from renewals.pipelines.commands.check import check_tables
from renewals.pipelines.runtime.errors import ConfigError, DataContractError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings, read_settings
from renewals.pipelines.runtime.source_settings import NEVER_STALE_TABLES, Freshness
from renewals.pipelines.stages.prepare import check, freshness
from renewals.pipelines.stages.prepare.freshness import assess_freshness
from renewals.pipelines.storage.artifacts import FRESHNESS
from renewals.pipelines.storage.engine.warehouse import connect
from renewals.pipelines.storage.notices import Notice, freshness_notices
from renewals.pipelines.validation.volume import monthly_volume
from tests.pipelines.validation.test_check import company
from tests.root import ROOT

DAY = date(2026, 12, 1)
ALLOWED = {"allow_stale": True}
Row = tuple[str | datetime | date, str | datetime | date | None]
"""Event time and known time of a row."""


def instant(value: str | datetime | date | None) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(str(value))


def write_clean(data: Path, name: str, rows: Iterable[Row]) -> None:
    """Write a clean table that has only its time columns."""
    pairs = [(instant(event), instant(known)) for event, known in rows]
    columns = {TABLES[name].event_time[0]: [e for e, _ in pairs], "recorded_at": [k for _, k in pairs]}
    table = pa.table({key: pa.array(values, pa.timestamp("us")) for key, values in columns.items()})
    (data / "clean").mkdir(parents=True, exist_ok=True)
    pq.write_table(table, data / "clean" / f"{name}.parquet")


def job(data: Path, day: date = DAY, usage: Iterable[Row] = (), limits: Any = None, **tables: Iterable[Row]) -> Job:
    """Write clean tables and return a job on them; `limits` are settings of `freshness`."""
    for name in ("accounts", "contracts"):
        (data / "clean").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"account_id": ["a"]}), data / "clean" / f"{name}.parquet")
    for name, rows in {"usage_events": usage, **tables}.items():
        write_clean(data, name, rows)
    return Job(Settings(freshness=Freshness.model_validate(limits or {})), "", data, data / "lists", as_of=day)


def stop_message(checked_job: Job) -> str:
    with pytest.raises(DataContractError) as stop:
        freshness.freshness(checked_job)
    assert stop.value.exit_code == 65
    assert not (checked_job.folder / FRESHNESS).exists()
    return str(stop.value)


def notices_of(checked_job: Job) -> list[Notice]:
    freshness.freshness(checked_job)
    return freshness_notices(checked_job)


def rows_ending(complete_days: int) -> list[Row]:
    """Five rows on consecutive days; `complete_days` days without rows follow before DAY."""
    return [(DAY - timedelta(days=complete_days + 1 + back), None) for back in range(5)]


# --- age ---------------------------------------------------------------------------------------------


def test_tables_that_end_months_before_the_day_stop_the_run(tmp_path: Path) -> None:
    message = stop_message(job(tmp_path, usage=[("2026-06-29", None), ("2026-06-30 17:00", None)]))
    assert message.startswith(
        "usage_events: the newest row known before 2026-12-01 is dated 2026-06-30; the 153 days since have no rows "
        "(freshness.usage_events.stop_days: 35). Update the table, or run for 2026-07-01, "
    )
    assert "--allow-stale" in message
    assert notices_of(job(tmp_path, date(2026, 7, 1), [("2026-06-29", None), ("2026-06-30 17:00", None)])) == []


@pytest.mark.parametrize(("days", "notices", "stops"), [(0, 0, 0), (6, 0, 0), (7, 1, 0), (34, 1, 0), (35, 1, 1)])
def test_a_gap_of_seven_days_is_a_notice_and_of_35_days_a_stop(
    tmp_path: Path, days: int, notices: int, stops: int
) -> None:
    report, findings = assess_freshness(job(tmp_path, usage=rows_ending(days)))
    assert [one.is_blocking for one in findings] == [bool(stops)] * notices
    assert report["newest_days"] == {"usage_events": str(DAY - timedelta(days=days + 1))}
    values = {"table": "usage_events", "newest_day": str(DAY - timedelta(days=days + 1)), "days": days, "day": str(DAY)}
    assert [one.notice for one in findings] == [Notice("stale", values)] * notices


@pytest.mark.parametrize("ahead", [DAY, date(2027, 3, 1)])
def test_a_row_dated_on_or_after_the_day_does_not_make_an_old_table_fresh(tmp_path: Path, ahead: date) -> None:
    rows: list[Row] = [("2026-06-30", "2026-07-01"), (ahead, "2026-07-01")]
    assert "is dated 2026-06-30" in stop_message(job(tmp_path, usage=rows))


def test_a_row_that_became_known_on_the_day_does_not_count(tmp_path: Path) -> None:
    late: list[Row] = [("2026-06-30", None), ("2026-11-30", DAY)]
    assert "is dated 2026-06-30" in stop_message(job(tmp_path, usage=late))
    in_time: list[Row] = [("2026-06-30", None), ("2026-11-30", "2026-11-30 23:59:59")]
    assert notices_of(job(tmp_path, usage=in_time)) == []


def test_an_old_table_that_is_reloaded_every_night_is_still_old(tmp_path: Path) -> None:
    rows: list[Row] = [(date(2026, 6, d), "2026-11-30 02:00") for d in range(1, 31)]
    assert "is dated 2026-06-30; the 153 days since have no rows" in stop_message(job(tmp_path, usage=rows))


def test_rows_first_loaded_on_the_day_are_not_known(tmp_path: Path) -> None:
    rows: list[Row] = [(date(2026, 11, d), "2026-12-01 02:00") for d in range(1, 31)]
    expected = (
        "none of its 30 rows was known before 2026-12-01: the first is dated 2026-11-01, but the first known time "
        "is 2026-12-01 (freshness.usage_events.stop_days: 35). If recorded_at is the time of a load, remove the "
    )
    assert expected in stop_message(job(tmp_path, usage=rows))


@pytest.mark.parametrize("day", [date(2026, 1, 15), date(2026, 2, 1)])
def test_a_day_before_the_first_row_stops_the_run(tmp_path: Path, day: date) -> None:
    message = stop_message(job(tmp_path, day, [("2026-02-01", None), ("2026-06-30", None)]))
    assert f"its first row is dated 2026-02-01, and no row was known before {day}" in message
    assert "Run for a day well after 2026-02-01" in message


def test_an_empty_table_is_a_stop_or_a_notice(tmp_path: Path) -> None:
    assert "usage_events: the table has no rows" in stop_message(job(tmp_path))
    nothing = Notice("no_known_rows", {"table": "tickets", "day": str(DAY)})
    assert notices_of(job(tmp_path, usage=rows_ending(0), tickets=[])) == [nothing]


def test_old_tickets_are_only_a_notice_and_missing_tickets_are_ignored(tmp_path: Path) -> None:
    old = job(tmp_path, usage=rows_ending(0), tickets=[(DAY - timedelta(days=400), None)])
    assert [(one.code, one.values["days"]) for one in notices_of(old)] == [("stale", 399)]
    (tmp_path / "clean" / "tickets.parquet").unlink()
    assert notices_of(old) == []


def test_a_limit_enables_the_check_of_a_further_table(tmp_path: Path) -> None:
    old: list[Row] = [(DAY - timedelta(days=50), None)]
    assert notices_of(job(tmp_path, usage=rows_ending(0), touchpoints=old)) == []
    (notice,) = notices_of(
        job(tmp_path, usage=rows_ending(0), touchpoints=old, limits={"touchpoints": {"warn_days": 49}})
    )
    assert notice.values["table"] == "touchpoints"


def test_null_limits_switch_the_check_off(tmp_path: Path) -> None:
    null_limits = {"usage_events": {"warn_days": None, "stop_days": None}}
    assert notices_of(job(tmp_path, usage=rows_ending(300), limits=null_limits)) == []


def test_one_message_names_all_old_tables(tmp_path: Path) -> None:
    limits = {"tickets": {"stop_days": 60}}
    message = stop_message(job(tmp_path, usage=rows_ending(100), tickets=rows_ending(80), limits=limits))
    assert "freshness.usage_events.stop_days: 35" in message
    assert "freshness.tickets.stop_days: 60" in message


# --- --allow-stale ------------------------------------------------------------------------------------


def test_allow_stale_continues_with_an_additional_notice(tmp_path: Path) -> None:
    codes = [
        one.code for one in notices_of(job(tmp_path, usage=rows_ending(100), tickets=rows_ending(80), limits=ALLOWED))
    ]
    assert codes == ["stale_allowed", "stale", "stale"]
    newer = notices_of(job(tmp_path, usage=rows_ending(10), tickets=rows_ending(0), limits=ALLOWED))
    assert [one.code for one in newer] == ["stale"]


def test_each_notice_has_a_text_in_every_language(tmp_path: Path) -> None:
    stale_job = job(tmp_path, usage=rows_ending(100), limits=ALLOWED)
    _, stale = notices_of(stale_job)
    assert stale.text("en") == (
        "There are no data on use of the product for the 100 days before Dec 1, 2026: the newest are of Aug 22, 2026. "
        "What happened since is missing from all figures."
    )
    assert stale.text("zh").startswith("2026年12月1日之前的 100 天没有产品使用数据，最新数据为2026年8月22日。")


def test_every_stage_list_checks_freshness_right_after_validation() -> None:
    for stages in (learn.STAGES, backtest.STAGES, score.STAGES, scorecard.STAGES):
        assert stages[:2] == (check.check, freshness.freshness)
    assert effect.STAGES.index(freshness.freshness) < effect.STAGES.index(learn.STAGES[2])


# --- settings ----------------------------------------------------------------------------------------


def test_every_table_has_limits_or_a_reason_to_have_none() -> None:
    limits = set(Freshness.model_fields) - {"volume", "allow_stale"}
    assert limits | set(NEVER_STALE_TABLES) == set(TABLES)
    assert not limits & set(NEVER_STALE_TABLES)


def test_the_limits_in_params_yaml_are_the_defaults() -> None:
    assert read_settings(ROOT / "params.yaml").freshness == Freshness()


@pytest.mark.parametrize("table", sorted(NEVER_STALE_TABLES))
def test_a_table_that_cannot_be_stale_takes_no_limit(table: str) -> None:
    with pytest.raises(ConfigError, match=f"freshness cannot be checked for {table}: .* Remove freshness.{table}"):
        read_settings(None, [f"freshness.{table}.warn_days=3"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("usage_events.stop_days=3", r"stop_days \(3\) must not be smaller than warn_days \(7\)"),
        ("volume.stop=0.9", r"stop \(0.9\) must not be larger than warn \(0.8\)"),
        ("usage_events.warn_days=0", "greater than or equal to 1"),
        ("tickts.warn_days=3", "did you mean 'tickets'"),
    ],
)
def test_invalid_limits_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(None, [f"freshness.{override}"])


def test_setting_one_limit_does_not_change_the_remaining_limits() -> None:
    limits = read_settings(None, ["freshness.usage_events.warn_days=20"]).freshness
    assert (limits.usage_events.warn_days, limits.usage_events.stop_days, limits.tickets.warn_days) == (20, 35, 35)


# --- volume ------------------------------------------------------------------------------------------


def months(counts: Sequence[int], last: str = "2026-11", delay: timedelta = timedelta(hours=1)) -> list[Row]:
    """Rows spread evenly over months: `counts` per month until `last`, each recorded `delay` after its event."""
    year, month = map(int, last.split("-"))
    rows: list[Row] = []
    for back, count in enumerate(reversed(counts)):
        first = datetime(year + (month - 1 - back) // 12, (month - 1 - back) % 12 + 1, 1)
        for k in range(count):
            happened = first + timedelta(days=27.9 * k / max(count - 1, 1))
            rows.append((happened, happened + delay))
    return rows


def volume(data: Path, rows: Iterable[Row], day: date = DAY) -> Any:
    write_clean(data, "usage_events", rows)
    result = monthly_volume(connect(Settings().engine).read_parquet(str(data / "clean" / "usage_events.parquet")), day)
    return result.as_dict() if result else None


@pytest.mark.parametrize(
    ("share", "stops"), [(0, None), (40, True), (49, True), (50, False), (79, False), (80, None), (300, None)]
)
def test_a_month_far_below_the_median_month(tmp_path: Path, share: int, stops: bool | None) -> None:
    """An almost empty month is also an old table, which the age check reports."""
    checked_job = job(tmp_path, usage=months([100] * 6 + [share]))
    findings = [one for one in assess_freshness(checked_job)[1] if one.notice.code == "low_volume"]
    assert [one.is_blocking for one in findings] == ([True] if share == 0 else [] if stops is None else [stops])


def test_messages_for_a_month_at_forty_percent(tmp_path: Path) -> None:
    message = stop_message(job(tmp_path, usage=months([100] * 6 + [40])))
    assert message.startswith(
        "usage_events: 40 rows of 2026-11 were known before 2026-12-01, 40% of the 100 rows of a usual month (median "
        "of the complete months before it, at most 6; freshness.volume.stop: 0.5). Look for missing deliveries of that"
    )
    _, low = notices_of(job(tmp_path, usage=months([100] * 6 + [40]), limits=ALLOWED))
    assert low.text("en").startswith("For Nov 2026 there are 40 records on use of the product, 40% of the usual 100:")
    assert low.text("zh").startswith("2026年11月的产品使用数据为 40 条，仅为通常 100 条的 40%：")


def test_the_reference_month_is_the_median_of_six(tmp_path: Path) -> None:
    result = volume(tmp_path, months([900, 900, 10, 90, 100, 110, 500, 100, 100]))
    assert result == {"month": "2026-11", "rows": 100, "usual": 100, "share": 1.0}


def test_the_current_month_is_not_checked(tmp_path: Path) -> None:
    rows = [*months([100] * 7, last="2026-11"), ("2026-12-01 10:00", None)]
    assert volume(tmp_path, rows, date(2026, 12, 15))["month"] == "2026-11"
    assert volume(tmp_path, rows, date(2026, 11, 30))["month"] == "2026-10"


@pytest.mark.parametrize(("earlier_months", "has_reference"), [(3, False), (4, True)])
def test_a_short_history_has_no_reference_month(tmp_path: Path, earlier_months: int, has_reference: bool) -> None:
    assert (volume(tmp_path, months([100] * earlier_months + [10])) is not None) == has_reference


def test_the_first_month_of_history_is_not_complete(tmp_path: Path) -> None:
    rows = [row for row in months([100] * 5 + [10]) if instant(row[0]) >= datetime(2026, 6, 2)]  # type: ignore[operator]
    assert volume(tmp_path, rows)["usual"] == 100
    rows = [row for row in rows if instant(row[0]) >= datetime(2026, 7, 2)]  # type: ignore[operator]
    assert volume(tmp_path, rows) is None


def test_events_that_are_always_late_are_not_a_drop(tmp_path: Path) -> None:
    """With ten days of delay, more than a quarter of the previous month is not known on the first day of a month."""
    result = volume(tmp_path, months([100] * 7, delay=timedelta(days=10)))
    assert result["rows"] < 75
    assert result["share"] == pytest.approx(1.0, abs=0.06)


def test_a_month_at_forty_percent_is_detected_when_all_rows_were_loaded_in_one_night(tmp_path: Path) -> None:
    night = datetime(2026, 12, 1, 2)
    rows = [(event, night) for event, _ in months([100] * 6 + [40])]
    assert volume(tmp_path, rows, date(2026, 12, 2)) == {"month": "2026-11", "rows": 40, "usual": 100, "share": 0.4}


def test_history_loaded_at_the_start_of_the_feed_counts_completely(tmp_path: Path) -> None:
    feed = datetime(2026, 9, 10)
    rows = [(event, known if known > feed else feed) for event, known in months([100] * 6 + [40])]  # type: ignore[operator]
    assert volume(tmp_path, rows)["share"] == pytest.approx(0.4, abs=0.02)


def test_a_month_that_always_arrives_in_one_later_load_is_not_missing_yet(tmp_path: Path) -> None:
    rows = [
        (event, datetime(event.year + event.month // 12, event.month % 12 + 1, 5))  # type: ignore[union-attr]
        for event, _ in months([100] * 7)
    ]
    assert volume(tmp_path, rows) is None
    assert volume(tmp_path, rows, date(2026, 12, 6))["share"] == 1.0


def test_rows_that_became_known_on_the_day_are_not_counted(tmp_path: Path) -> None:
    late: list[Row] = [(event, DAY) for event, _ in months([60])]
    rows = [*months([100] * 6 + [40]), *late]
    assert volume(tmp_path, rows)["rows"] == 40


# --- command line ------------------------------------------------------------------------------------

COMMANDS = {
    "check": ("check.check_tables", "--as-of"),
    "learn": ("learn.learn", "--until"),
    "backtest": ("backtest.run_backtest", "--until"),
    "tune": ("tune.run_tune", "--until"),
    "score": ("score.run_score", "--as-of"),
    "scorecard": ("scorecard.run_scorecard", "--as-of"),
    "forecast": ("forecast.run_forecast", "--as-of"),
    "effect": ("effect.run_effect", "--as-of"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_computing_command_accepts_allow_stale(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, day = COMMANDS[command]
    jobs: list[Job] = []
    monkeypatch.setattr(f"renewals.pipelines.commands.{stage}", lambda job, *items: jobs.append(job) or {})  # type: ignore[func-returns-value]
    monkeypatch.setattr(preflight, "run_checks", lambda *args: None)
    argv = [command, day, "2026-06-01", "--data", str(tmp_path), "--set", "freshness.tickets.warn_days=9"]
    for more in ([], ["--allow-stale"]):
        with pytest.raises(SystemExit) as end:
            cli.main([*argv, *more])
        assert end.value.code == 0
    assert [one.settings.freshness.allow_stale for one in jobs] == [False, True]
    assert {one.settings.freshness.tickets.warn_days for one in jobs} == {9}
    assert {one.day for one in jobs} == {date(2026, 6, 1)}


def test_check_accepts_a_day_or_no_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days: list[date | None] = []
    monkeypatch.setattr(command, "check_tables", lambda job: days.append(job.as_of) or {})  # type: ignore[func-returns-value]
    monkeypatch.setattr(preflight, "run_checks", lambda *args: None)
    for more, code in (([], 0), (["--as-of", "2026-06-01"], 0), (["--as-of", ""], 78), (["--as-of", "June"], 78)):
        with pytest.raises(SystemExit) as end:
            cli.main(["check", "--data", str(tmp_path), *more])
        assert end.value.code == code
    assert days == [None, date(2026, 6, 1)]


# --- check -------------------------------------------------------------------------------------------


def raw_job(folder: Path, **overrides: Any) -> Job:
    settings = Settings.model_validate({"engine": {"threads": 1}, **overrides})
    return Job(settings, str(company(folder / "in")), folder / "data", folder / "lists")


def test_check_without_a_day_reports_the_newest_days_and_no_freshness(tmp_path: Path) -> None:
    result = check_tables(raw_job(tmp_path))
    assert result["newest_days"] == {"accounts": None, "contracts": "2025-01-01", "usage_events": "2024-02-02"}
    assert "freshness" not in result
    assert not (tmp_path / "data" / "act").exists()


def test_check_on_a_day_stops_or_warns_like_score(tmp_path: Path) -> None:
    day_job = replace(raw_job(tmp_path), as_of=date(2024, 2, 20))
    result = check_tables(day_job)
    assert result["freshness"]["newest_days"] == {"usage_events": "2024-02-02"}
    assert [one["code"] for one in result["notices"]] == ["stale"]
    assert "17 days before Feb 20, 2024" in result["notices"][0]["en"]
    with pytest.raises(DataContractError, match="is dated 2024-02-02"):
        check_tables(replace(day_job, as_of=date(2024, 6, 1)))
    allowed = replace(raw_job(tmp_path, freshness={"allow_stale": True}), as_of=date(2024, 6, 1))
    assert [one["code"] for one in check_tables(allowed)["notices"]] == ["stale_allowed", "stale"]
    assert not (tmp_path / "data" / "act").exists()


def test_future_events_count_from_their_known_time() -> None:
    part = {"last_event": "2027-01-01 00:00:00", "watermark": "2026-06-30 10:00:00"}
    assert check._newest_day(part) == "2026-06-30"
    assert check._newest_day(part | {"last_event": None}) == "2026-06-30"
    assert check._newest_day({"last_event": None, "watermark": None}) is None


def test_dvc_runs_freshness_before_the_spine() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for prefix, side in (("", "learn"), ("act_", "act")):
        assert f"data/{side}/{FRESHNESS}" in stages[f"{prefix}spine"]["deps"]
        assert "freshness" in stages[f"{prefix}freshness"]["params"]


def test_the_report_file_has_the_returned_report(tmp_path: Path) -> None:
    checked_job = job(tmp_path, usage=months([100] * 7))
    report = freshness.freshness(checked_job)
    assert report == json.loads((checked_job.folder / FRESHNESS).read_bytes())
    assert report["volume"] == {"month": "2026-11", "rows": 100, "usual": 100, "share": 1.0}
    assert report["notices"] == []
