"""Detection of tables with most rows known from the night of one load."""

from datetime import datetime, timedelta

import ibis
import pytest

from renewals.features.tables import TABLES
from renewals.pipelines.validation.load_times import find_bulk_loads
from renewals.reports.words import MESSAGES

NIGHT = datetime(2025, 6, 14, 2)
EVENTS = TABLES["usage_events"]


def events(loaded_rows: int, prompt_rows: int, late_by: int = 31):
    """Table of `loaded_rows` rows known from one load, `late_by` days or more after the events, and `prompt_rows` rows
    recorded one day after the events, except that the first of these was recorded 100 days late."""
    loaded = [(NIGHT - timedelta(days=late_by + n), NIGHT) for n in range(loaded_rows)]
    prompt_times = [NIGHT - timedelta(days=n) for n in range(prompt_rows)]
    straggler = (NIGHT - timedelta(days=200), NIGHT - timedelta(days=100))
    rows = [*loaded, straggler, *((at, at + timedelta(days=1)) for at in prompt_times[1:])]
    return ibis.memtable(
        [{"occurred_at": at, "recorded_at": known} for at, known in rows],
        schema={"occurred_at": "timestamp", "recorded_at": "timestamp"},
    )


def test_warning_for_a_load_of_history_names_its_day_and_column():
    (suspicion,) = find_bulk_loads(EVENTS, events(30, 10))
    assert "30 of 40 rows became known on 2025-06-14 (recorded_at)" in suspicion.warning
    assert suspicion.notice.values == {"table": "usage_events", "known_day": "2025-06-14"}
    assert all(suspicion.notice.text(language) for language in MESSAGES)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(events(0, 40), id="recorded as it happened"),
        pytest.param(events(30, 31), id="less than half"),
        pytest.param(events(18, 1), id="too few rows"),
        pytest.param(events(40, 40).filter(ibis._.recorded_at.isnull()), id="no row at all"),
    ],
)
def test_tables_without_a_load_of_history_are_not_suspected(rows):
    assert not list(find_bulk_loads(EVENTS, rows))


def test_a_delivery_of_recent_weeks_is_not_a_load_of_history():
    month = events(30, 1, late_by=0).filter(ibis._.occurred_at > NIGHT - timedelta(days=30))
    assert not list(find_bulk_loads(EVENTS, month))


def test_half_of_the_rows_in_one_load_are_suspected():
    assert list(find_bulk_loads(EVENTS, events(30, 30)))


@pytest.mark.parametrize("column", ["signed_at", "recorded_at"])
def test_contracts_known_from_the_day_of_a_migration_are_suspected(column):
    starts = [datetime(2023, 1, 1) + timedelta(days=n) for n in range(20)]
    rows = ibis.memtable(
        [{"start_date": start, "signed_at": None, "recorded_at": None} | {column: NIGHT} for start in starts],
        schema=dict.fromkeys(("start_date", "signed_at", "recorded_at"), "timestamp"),
    )
    (suspicion,) = find_bulk_loads(TABLES["contracts"], rows)
    assert f"({column})" in suspicion.warning


def test_a_table_without_a_separate_known_time_is_not_suspected():
    rates = ibis.memtable([{"date": NIGHT}], schema={"date": "timestamp"})
    assert not list(find_bulk_loads(TABLES["rates"], rates))
