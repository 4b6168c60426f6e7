"""Parts of arrival: old ones stay, a new month adds one, a late event lies in the part of its arrival."""

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
    """Writes clean usage events and rolls them up; returns the result."""

    def write(*events, **settings):
        rows = pd.DataFrame(events, columns=COLUMNS)
        times = dict.fromkeys(("occurred_at", "recorded_at"), "datetime64[us]")
        clean = tmp_path / "clean"
        clean.mkdir(exist_ok=True)
        for other in ("accounts", "contracts"):
            pd.DataFrame({"account_id": ["acme"]}).to_parquet(clean / f"{other}.parquet")
        con = warehouse.connect()
        given = usage_partitions.add_arrival_month(con.create_table("given", rows.astype(times), temp=True))
        warehouse.write_parquet(given, clean / "usage_events.parquet")
        usage_partitions.write_digests(given, clean)
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


def test_a_new_month_adds_a_part_and_leaves_the_old_ones_alone(company):
    company(JANUARY)
    before = parts(company.folder)
    assert company(JANUARY, FEBRUARY) == {"parts": 2, "built": 1, "rewritten": 0}
    after = parts(company.folder)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"person_days/arrived=2024-02/part.parquet"}


def test_a_late_event_lies_in_the_part_of_its_arrival(company):
    company(JANUARY)
    before = parts(company.folder)
    company(JANUARY, LATE)
    after = parts(company.folder)
    assert after["person_days/arrived=2024-01/part.parquet"] == before["person_days/arrived=2024-01/part.parquet"]
    assert len(days(company.folder)) == 2


def test_an_event_recorded_before_it_happened_counts_from_its_own_day(company):
    company(event("2024-02-03T10:00", recorded="2024-01-30T00:00"))
    ((_, _, day, known_day, *_),) = days(company.folder)
    assert day == known_day
    assert set(parts(company.folder)) == {"person_days/arrived=2024-02/part.parquet"}


def test_history_rewritten_at_the_source_is_built_again(company):
    company(JANUARY, FEBRUARY)
    assert company(event("2024-01-30T10:00", user="u2"), FEBRUARY) == {"parts": 2, "built": 1, "rewritten": 1}


def test_another_meaning_of_active_builds_all_again(company):
    company(JANUARY, FEBRUARY)
    assert company(JANUARY, FEBRUARY, usage={"north_star": ["nothing"]})["built"] == 2


def events_logged(company, *events, **settings) -> dict[str, list[str]]:
    """What the log says of the months that are built again, by event."""
    with capture_logs() as entries:
        company(*events, **settings)
    return {entry["event"]: entry["months"] for entry in entries if "months" in entry}


REWRITTEN = "source changed past usage events; months rebuilt"


def test_only_the_source_rewrites_history(company):
    company(JANUARY, FEBRUARY)
    other = event("2024-01-30T10:00", user="u2")
    assert events_logged(company, other, FEBRUARY) == {REWRITTEN: ["2024-01"]}
    assert events_logged(company, other, FEBRUARY) == {}


@pytest.mark.parametrize("usage", [{"north_star": ["nothing"]}, {"core_workflow": ["open"]}])
def test_other_parameters_of_use_rewrite_no_history(company, usage):
    company(JANUARY, FEBRUARY)
    told = events_logged(company, JANUARY, FEBRUARY, usage=usage)
    assert REWRITTEN not in told
    assert list(told.values()) == [["2024-01", "2024-02"]]
    assert company(JANUARY, FEBRUARY)["rewritten"] == 0


@pytest.mark.parametrize("settings", [{"quarantine": {"limit": 0.5}}, {"source": {"encoding": "latin-1"}}])
def test_events_that_other_parameters_read_otherwise_were_not_rewritten_at_the_source(company, settings):
    company(JANUARY, FEBRUARY)
    other = event("2024-01-30T10:00", user="u2")
    told = events_logged(company, other, FEBRUARY, **settings)
    assert REWRITTEN not in told
    assert list(told.values()) == [["2024-01"]]


def test_another_day_of_extract_reads_the_same_events_alike(company):
    company(JANUARY, FEBRUARY, source={"extracted_at": "2024-03-01"})
    other = event("2024-01-30T10:00", user="u2")
    assert REWRITTEN in events_logged(company, other, FEBRUARY, source={"extracted_at": "2024-03-02"})


def test_both_at_once_are_told_apart(company):
    company(JANUARY, FEBRUARY)
    other = event("2024-01-30T10:00", user="u2")
    told = events_logged(company, other, FEBRUARY, usage={"north_star": ["nothing"]})
    assert told.pop(REWRITTEN) == ["2024-01"]
    assert list(told.values()) == [["2024-02"]]


def test_parts_of_an_earlier_release_are_built_again_without_a_word(company):
    company(JANUARY, FEBRUARY)
    marks = json.loads((company.folder / "parts.json").read_text())
    (company.folder / "parts.json").write_text(json.dumps(dict.fromkeys(marks, "0" * 64)))
    assert events_logged(company, JANUARY, FEBRUARY) == {}
    assert company(JANUARY, FEBRUARY)["built"] == 0


def test_a_month_that_vanished_leaves_no_part(company):
    company(JANUARY, FEBRUARY)
    company(FEBRUARY)
    assert {name.split("/")[1] for name in parts(company.folder)} == {"arrived=2024-02"}


def test_a_lost_part_is_built_again(company):
    company(JANUARY, FEBRUARY)
    (company.folder / "person_days" / "arrived=2024-01" / "part.parquet").unlink()
    assert company(JANUARY, FEBRUARY)["built"] == 1


def test_a_feature_keeps_its_number_when_others_come(company):
    """The numbers of a part that stays must mean the same after a month that brought new features."""
    company(event("2024-01-30T10:00", feature="send"))
    before = parts(company.folder)
    company(event("2024-01-30T10:00", feature="send"), event("2024-02-03T10:00", feature="archive"))
    assert json.loads((company.folder / "product_features.json").read_text()) == ["send", "archive"]
    assert {name: content for name, content in parts(company.folder).items() if name in before} == before


def test_features_beyond_the_bits_of_a_number_fill_another_block(company):
    company(*(event("2024-01-30T10:00", feature=f"tool_{k:03d}") for k in range(130)))
    used = warehouse.read_parquet(warehouse.connect(), company.folder / "person_days").order_by("block")
    found = [(row["block"], row["used"].bit_count(), row["actions"]) for row in used.to_pyarrow().to_pylist()]
    assert found == [(0, 62, 62.0), (1, 62, 62.0), (2, 6, 6.0)]
