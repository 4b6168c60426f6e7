"""Parts by month of arrival: old parts do not change, and a late event is in the part of its arrival."""

import json
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest
from structlog.testing import capture_logs

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.storage.engine import usage_partitions, warehouse

COLUMNS = ["account_id", "user_id", "feature", "occurred_at", "duration_s", "quantity", "recorded_at"]


def event(occurred: str, recorded: str | None = None, user: str = "u1", feature: str = "open"):
    known = datetime.fromisoformat(recorded) if recorded else None
    return ("acme", user, feature, datetime.fromisoformat(occurred), 60.0, 1, known)


@pytest.fixture
def company(tmp_path):
    """Function that writes clean usage events, rolls them up and returns the result."""

    def write(*events, **settings):
        rows = pd.DataFrame(events, columns=COLUMNS)
        times = dict.fromkeys(("occurred_at", "recorded_at"), "datetime64[us]")
        clean = tmp_path / "clean"
        clean.mkdir(exist_ok=True)
        for name in ("accounts", "contracts"):
            pd.DataFrame({"account_id": ["acme"]}).to_parquet(clean / f"{name}.parquet")
        con = warehouse.connect()
        events_table = usage_partitions.add_arrival_month(con.create_table("events", rows.astype(times), temp=True))
        warehouse.write_parquet(events_table, clean / "usage_events.parquet")
        usage_partitions.write_digests(events_table, clean)
        return rollup(Job(Settings(**settings), "", tmp_path, tmp_path, until=date(2025, 1, 1)))

    write.folder = tmp_path / "rollup"
    return write


def parts(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.parquet"))}


def days(folder: Path) -> list[tuple]:
    table = warehouse.read_parquet(warehouse.connect(), folder / "person_days")
    return [tuple(r.values()) for r in table.order_by("day", "known_day").to_pyarrow().to_pylist()]


JANUARY = event("2024-01-30T10:00")
FEBRUARY = event("2024-02-03T10:00")
LATE = event("2024-01-30T11:00", recorded="2024-02-05T00:00")


def test_a_second_run_builds_nothing(company):
    assert company(JANUARY, FEBRUARY)["built"] == 2
    assert company(JANUARY, FEBRUARY) == {"parts": 2, "built": 0, "rewritten": 0}


def test_a_new_month_adds_a_part_and_does_not_change_the_old_parts(company):
    company(JANUARY)
    before = parts(company.folder)
    assert company(JANUARY, FEBRUARY) == {"parts": 2, "built": 1, "rewritten": 0}
    after = parts(company.folder)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"person_days/arrived=2024-02/part.parquet"}


def test_a_late_event_is_in_the_part_of_its_arrival(company):
    company(JANUARY)
    before = parts(company.folder)
    company(JANUARY, LATE)
    after = parts(company.folder)
    assert after["person_days/arrived=2024-01/part.parquet"] == before["person_days/arrived=2024-01/part.parquet"]
    assert len(days(company.folder)) == 2


def test_an_event_recorded_before_it_happened_counts_from_its_event_day(company):
    company(event("2024-02-03T10:00", recorded="2024-01-30T00:00"))
    ((_, _, day, known_day, *_),) = days(company.folder)
    assert day == known_day
    assert set(parts(company.folder)) == {"person_days/arrived=2024-02/part.parquet"}


def test_history_rewritten_at_the_source_is_rebuilt(company):
    company(JANUARY, FEBRUARY)
    assert company(event("2024-01-30T10:00", user="u2"), FEBRUARY) == {"parts": 2, "built": 1, "rewritten": 1}


def test_a_changed_definition_of_active_rebuilds_all_parts(company):
    company(JANUARY, FEBRUARY)
    assert company(JANUARY, FEBRUARY, usage={"north_star": ["nothing"]})["built"] == 2


def logged_months(company, *events, **settings) -> dict[str, list[str]]:
    """Months that the log reports as rebuilt, by log event."""
    with capture_logs() as entries:
        company(*events, **settings)
    return {entry["event"]: entry["months"] for entry in entries if "months" in entry}


REWRITTEN = "source changed past usage events; months rebuilt"


def test_only_the_source_rewrites_history(company):
    company(JANUARY, FEBRUARY)
    changed_event = event("2024-01-30T10:00", user="u2")
    assert logged_months(company, changed_event, FEBRUARY) == {REWRITTEN: ["2024-01"]}
    assert logged_months(company, changed_event, FEBRUARY) == {}


@pytest.mark.parametrize("usage", [{"north_star": ["nothing"]}, {"core_workflow": ["open"]}])
def test_changed_usage_settings_are_not_reported_as_a_changed_source(company, usage):
    company(JANUARY, FEBRUARY)
    logged = logged_months(company, JANUARY, FEBRUARY, usage=usage)
    assert REWRITTEN not in logged
    assert list(logged.values()) == [["2024-01", "2024-02"]]
    assert company(JANUARY, FEBRUARY)["rewritten"] == 0


@pytest.mark.parametrize("settings", [{"quarantine": {"limit": 0.5}}, {"source": {"encoding": "latin-1"}}])
def test_changed_reader_settings_are_not_reported_as_a_changed_source(company, settings):
    company(JANUARY, FEBRUARY)
    changed_event = event("2024-01-30T10:00", user="u2")
    logged = logged_months(company, changed_event, FEBRUARY, **settings)
    assert REWRITTEN not in logged
    assert list(logged.values()) == [["2024-01"]]


def test_a_changed_extract_date_does_not_hide_a_changed_source(company):
    company(JANUARY, FEBRUARY, source={"extracted_at": "2024-03-01"})
    changed_event = event("2024-01-30T10:00", user="u2")
    assert REWRITTEN in logged_months(company, changed_event, FEBRUARY, source={"extracted_at": "2024-03-02"})


def test_a_changed_source_and_changed_settings_are_reported_separately(company):
    company(JANUARY, FEBRUARY)
    changed_event = event("2024-01-30T10:00", user="u2")
    logged = logged_months(company, changed_event, FEBRUARY, usage={"north_star": ["nothing"]})
    assert logged.pop(REWRITTEN) == ["2024-01"]
    assert list(logged.values()) == [["2024-02"]]


def test_parts_of_an_earlier_release_are_rebuilt_without_a_log_line(company):
    company(JANUARY, FEBRUARY)
    digests = json.loads((company.folder / "parts.json").read_text())
    (company.folder / "parts.json").write_text(json.dumps(dict.fromkeys(digests, "0" * 64)))
    assert logged_months(company, JANUARY, FEBRUARY) == {}
    assert company(JANUARY, FEBRUARY)["built"] == 0


def test_a_month_that_disappeared_leaves_no_part(company):
    company(JANUARY, FEBRUARY)
    company(FEBRUARY)
    assert {name.split("/")[1] for name in parts(company.folder)} == {"arrived=2024-02"}


def test_a_missing_part_is_rebuilt(company):
    company(JANUARY, FEBRUARY)
    (company.folder / "person_days" / "arrived=2024-01" / "part.parquet").unlink()
    assert company(JANUARY, FEBRUARY)["built"] == 1


def test_a_feature_keeps_its_number_when_features_are_added(company):
    """The numbers in an unchanged part must keep their meaning after a month with new features."""
    company(event("2024-01-30T10:00", feature="send"))
    before = parts(company.folder)
    company(event("2024-01-30T10:00", feature="send"), event("2024-02-03T10:00", feature="archive"))
    assert json.loads((company.folder / "product_features.json").read_text()) == ["send", "archive"]
    assert {name: content for name, content in parts(company.folder).items() if name in before} == before


def test_features_beyond_the_bits_of_a_number_fill_a_further_block(company):
    company(*(event("2024-01-30T10:00", feature=f"tool_{k:03d}") for k in range(130)))
    days_by_block = warehouse.read_parquet(warehouse.connect(), company.folder / "person_days").order_by("block")
    blocks = [(row["block"], row["used"].bit_count(), row["actions"]) for row in days_by_block.to_pyarrow().to_pylist()]
    assert blocks == [(0, 62, 62.0), (1, 62, 62.0), (2, 6, 6.0)]
