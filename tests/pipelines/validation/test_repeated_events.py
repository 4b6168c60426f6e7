"""Equal rows of usage events: counted if times are rounded to the day and rows occur unequally often (ADR 5)."""

import math
from collections import Counter
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.validation.duplicates import duplicate_advice
from renewals.pipelines.validation.repeated_events import RepeatedEvents
from tests.pipelines.validation.test_check import certificate, clean, company, job, quarantined_rows

DAY = datetime(2024, 2, 1)
TIMES = pa.timestamp("us")


def event(user: str, day: int = 0, hour: int = 0, **columns):
    at = DAY + timedelta(days=day, hours=hour)
    return {"account_id": "acme", "user_id": user, "feature": "report", "occurred_at": at, **columns}


def events(folder, rows):
    """Write the small company with these usage events and return the folder."""
    company(folder)
    (folder / "usage_events.csv").unlink()
    types = {"occurred_at": TIMES, "recorded_at": TIMES, "quantity": pa.float64(), "event_id": pa.string()}
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {n: pa.array([row.get(n) for row in rows], types.get(n, pa.string())) for n in names}
    pq.write_table(pa.table(columns), folder / "usage_events.parquet")
    return folder


def check_events(tmp_path, rows, setting="auto", **settings):
    """Run `check` on these usage events; return the clean row count of each (user, time) and the result of `check`."""
    result = check(job(events(tmp_path / "in", rows), tmp_path, source={"repeated_events": setting}, **settings))
    counts = Counter((row["user_id"], row["occurred_at"]) for row in clean(tmp_path, "usage_events"))
    return counts, result


def repeated_events_entry(tmp_path):
    return certificate(tmp_path)["tables"]["usage_events"]["repeated_events"]


ROUNDED = [event("u1")] * 3 + [event("u2")] + [event("u1", day=1)] * 2
UNIFORM = [event("u1"), event("u2"), event("u1", day=1)]


# --- detection ----------------------------------------------------------------------------------


def test_rounded_rows_with_unequal_repetition_are_counted(tmp_path):
    counts, result = check_events(tmp_path, ROUNDED)
    assert sorted(counts.values()) == [1, 2, 3]
    assert result["tables"]["usage_events"] == {"rows_in": 6, "rows_clean": 6, "rows_quarantined": 0}
    (warning,) = result["warnings"]
    for part in ("3 of 6 rows", "each is counted", "source.repeated_events: auto", "6 of 6 times are midnight UTC"):
        assert part in warning
    assert (
        repeated_events_entry(tmp_path)["treatment"],
        repeated_events_entry(tmp_path)["repeats"],
        repeated_events_entry(tmp_path)["most"],
    ) == ("counted", 3, 3)


@pytest.mark.parametrize("times", [2, 5, 12])
def test_rows_that_all_occur_equally_often_are_deduplicated(tmp_path, times):
    counts, _ = check_events(tmp_path, UNIFORM * times)
    assert set(counts.values()) == {1}
    assert repeated_events_entry(tmp_path)["treatment"] == "deduplicated"
    assert f"every row occurs {times} times" in repeated_events_entry(tmp_path)["reason"]


def test_a_rounded_table_delivered_twice_is_counted_once(tmp_path):
    counts, result = check_events(tmp_path, ROUNDED * 2)
    assert sorted(counts.values()) == [1, 2, 3]
    assert result["tables"]["usage_events"] == {"rows_in": 12, "rows_clean": 6, "rows_quarantined": 6}
    assert repeated_events_entry(tmp_path)["deliveries"] == 2
    assert any("one of 2 equal rows is counted" in line for line in result["warnings"])


def test_a_rounded_table_delivered_twice_stops_at_the_default_limit(tmp_path):
    with pytest.raises(DataContractError, match="6 of 12 rows"):
        check_events(tmp_path, ROUNDED * 2, quarantine={"limit": 0.01})


def test_repeated_rows_with_exact_times_are_deduplicated(tmp_path):
    exact = [event("u1", hour=9)] * 3 + [event("u2", hour=9)] + [event("u1", day=1, hour=10)] * 2
    counts, result = check_events(tmp_path, exact, quarantine={"limit": 0.01, "duplicate_limit": 0.5})
    assert set(counts.values()) == {1}
    assert repeated_events_entry(tmp_path)["treatment"] == "deduplicated"
    (warning,) = result["warnings"]
    for part in ("3 of 6 rows (50 %)", "0 of 6 times", "`quantity`", "`event_id`", "source.repeated_events=count"):
        assert part in warning


@pytest.mark.parametrize(("exact", "counted"), [(1, True), (2, False)])
def test_times_count_as_rounded_from_95_percent(tmp_path, exact, counted):
    rows = [event("u1")] * 2 + [event("u2", day=day, hour=9 if day < exact else 0) for day in range(18)]
    check_events(tmp_path, rows)
    assert (repeated_events_entry(tmp_path)["rows"], repeated_events_entry(tmp_path)["at_midnight"]) == (20, 20 - exact)
    assert (repeated_events_entry(tmp_path)["treatment"] == "counted") is counted


@pytest.mark.parametrize(("setting", "left"), [("count", [2, 4, 6]), ("deduplicate", [1, 1, 1])])
def test_the_setting_overrides_the_detection(tmp_path, setting, left):
    counts, _ = check_events(tmp_path, ROUNDED * 2, setting)
    assert sorted(counts.values()) == left
    assert f"source.repeated_events is {setting}" in repeated_events_entry(tmp_path)["reason"]


def test_only_usage_events_are_counted(tmp_path):
    surveys = """
        account_id | user_id | kind | score | sent_at
        acme       | u1      | nps  | 9     | 2024-02-01
        acme       | u1      | nps  | 9     | 2024-02-01
        acme       | u2      | nps  | 9     | 2024-02-01
    """
    check(job(company(tmp_path / "in", surveys=surveys), tmp_path, source={"repeated_events": "count"}))
    assert len(clean(tmp_path, "surveys")) == 2


def test_repeated_events_may_differ_in_an_ignored_column(tmp_path):
    rows = [row | {"loaded": str(number)} for number, row in enumerate(ROUNDED)]
    counts, _ = check_events(tmp_path, rows)
    assert sorted(counts.values()) == [1, 2, 3]


def test_no_warning_without_repeated_rows(tmp_path):
    _, result = check_events(tmp_path, UNIFORM)
    assert result["warnings"] == []
    assert "repeated_events" not in certificate(tmp_path)["tables"]["usage_events"]


def test_the_order_of_rows_does_not_change_the_result(tmp_path):
    for folder, rows in (("one", ROUNDED * 2), ("two", [*reversed(ROUNDED), *ROUNDED])):
        check_events(tmp_path / folder, rows)
    one, two = (tmp_path / folder / "clean" / "usage_events.parquet" for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert repeated_events_entry(tmp_path / "one") == repeated_events_entry(tmp_path / "two")


# --- event ids -----------------------------------------------------------------------------------


def test_equal_rows_with_different_event_ids_are_separate_events(tmp_path):
    counts, result = check_events(tmp_path, [event("u1", hour=9, event_id=str(k)) for k in range(4)])
    assert list(counts.values()) == [4]
    assert result["warnings"] == []


def test_rows_with_the_same_event_id_are_one_event(tmp_path):
    first = event("u1", hour=9, event_id="e1", recorded_at=DAY + timedelta(hours=10))
    again = event("u1", hour=9, event_id="e1", recorded_at=DAY + timedelta(hours=11))
    counts, result = check_events(tmp_path, [again, first, event("u2", event_id="e2"), event("u2", event_id="e3")])
    assert sorted(counts.values()) == [1, 2]
    assert [row["recorded_at"] for row in clean(tmp_path, "usage_events") if row["user_id"] == "u1"] == [
        DAY + timedelta(hours=10)
    ]
    assert [(row["event_id"], row["reason"]) for row in quarantined_rows(tmp_path, "usage_events")] == [
        ("e1", "event_id occurs again; the row known first is kept")
    ]
    assert certificate(tmp_path)["tables"]["usage_events"]["quarantined"]["duplicate"]["rows"] == 1
    assert result["tables"]["usage_events"]["rows_quarantined"] == 1


def test_rows_with_and_without_event_id_are_compared_separately(tmp_path):
    rows = [*ROUNDED, event("u1", event_id="e1"), event("u1", event_id="e1"), event("u9", hour=9, event_id="e2")]
    counts, _ = check_events(tmp_path, rows)
    assert counts[("u1", DAY)] == 4
    assert (repeated_events_entry(tmp_path)["rows"], repeated_events_entry(tmp_path)["at_midnight"]) == (6, 6)


# --- roll-up and advice ---------------------------------------------------------------------------


def rolled_up_actions(tmp_path):
    rolled = sorted((tmp_path / "rollup").rglob("*.parquet"))
    return sum(sum(pq.read_table(part)["actions"].to_pylist()) for part in rolled)


def test_roll_up_counts_repeated_rows_and_detects_additional_rows(tmp_path):
    for rows, built in ((ROUNDED, 1), (ROUNDED, 0), ([*ROUNDED, event("u1"), event("u1")], 1)):
        check_events(tmp_path, rows)
        assert rollup(job(tmp_path / "in", tmp_path))["built"] == built
        assert rolled_up_actions(tmp_path) == len(rows)


def test_roll_up_detects_a_changed_pair_of_equal_rows(tmp_path):
    """Equal rows cancel out in an exclusive or, and the digest of a month must still differ between the two pairs."""
    single = [event(f"u{number}", day=1) for number in range(3)]
    for user, built in (("u1", 1), ("u2", 1), ("u2", 0)):
        check_events(tmp_path, [event(user), event(user), *single], "count")
        assert rollup(job(tmp_path / "in", tmp_path))["built"] == built


def test_advice_names_event_id_quantity_and_setting_but_no_limit():
    repeated = RepeatedEvents("auto", {12: 1800}, at_midnight=21_600)
    report = type("Report", (), {"repeated_events": repeated})()
    advice = duplicate_advice("usage_events", report)
    for part in (
        "every row occurs 12 times",
        "load it once",
        "`event_id`",
        "`quantity`",
        "source.repeated_events=count",
    ):
        assert part in advice
    assert "limit" not in advice
    assert "quantity" not in duplicate_advice("tickets", report)


@pytest.mark.parametrize(
    ("times", "suspected"), [({2: 80, 4: 15, 1: 5}, True), ({1: 80, 2: 20}, False), ({2: 60, 1: 40}, False)]
)
def test_warning_for_a_counted_table_mentions_a_suspected_double_delivery(times, suspected):
    repeated = RepeatedEvents("auto", times, at_midnight=1000)
    assert repeated.is_counted
    assert ("occur a multiple of 2 times, as if delivered that often" in repeated.warning_text()) is suspected
    assert f"{times[1]} of 100 distinct rows occur once" in repeated.warning_text()


def test_times_and_rows_add_up():
    repeated = RepeatedEvents("auto", {2: 3, 6: 1, 4: 2}, at_midnight=20)
    assert (repeated.rows, repeated.distinct, repeated.repeats, repeated.deliveries) == (20, 6, 14, math.gcd(2, 6, 4))
    assert (repeated.is_counted, repeated.divisor) == (True, 2)
