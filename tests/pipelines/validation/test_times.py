"""Instants in UTC, and calendar days as they are in the time zone of the source."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewals.pipelines.runtime.errors import ConfigError
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.storage.notices import load_notices
from tests.pipelines.validation.test_check import VALID_ROW, clean, company, job, quarantined_rows, write_csv

NEW_YEAR = datetime(2024, 1, 1)
MIDNIGHT_AFTER_A_YEAR = datetime(2025, 1, 1)


def contract_dates(tmp_path, start, end, signed, **source):
    """The times of one contract after `check`, written as CSV."""
    row = VALID_ROW["contracts"] | {"start_date": start, "end_date": end, "signed_at": signed}
    write_csv(company(tmp_path / "in") / "contracts.csv", [row])
    check(job(tmp_path / "in", tmp_path, source=source))
    (contract,) = clean(tmp_path, "contracts")
    return contract["start_date"], contract["end_date"], contract["signed_at"]


@pytest.mark.parametrize(
    ("zone", "written", "start", "signed"),
    [
        (None, "2024-01-01", NEW_YEAR, NEW_YEAR),
        (None, "2024-01-01 09:30:00", NEW_YEAR, datetime(2024, 1, 1, 9, 30)),
        (None, "2024-01-01 00:00:00+08:00", datetime(2023, 12, 31), datetime(2023, 12, 31, 16)),
        ("Asia/Shanghai", "2024-01-01", NEW_YEAR, datetime(2023, 12, 31, 16)),
        ("Asia/Shanghai", "2024-01-01 23:59:59", NEW_YEAR, datetime(2024, 1, 1, 15, 59, 59)),
        ("Asia/Shanghai", "2024-01-01 00:00:00+08:00", NEW_YEAR, datetime(2023, 12, 31, 16)),
        ("Asia/Shanghai", "2023-12-31T16:00:00Z", NEW_YEAR, datetime(2023, 12, 31, 16)),
        ("Asia/Shanghai", "2023-12-31 16:00:00 UTC", NEW_YEAR, datetime(2023, 12, 31, 16)),
        ("America/New_York", "2024-01-01", NEW_YEAR, datetime(2024, 1, 1, 5)),
    ],
)
def test_a_start_is_a_calendar_day_and_a_signature_an_instant(tmp_path, zone, written, start, signed):
    dates = contract_dates(tmp_path, written, "2025-01-01", written, time_zone=zone)
    assert dates == (start, MIDNIGHT_AFTER_A_YEAR, signed)


@pytest.mark.parametrize(
    ("kind", "value", "start", "signed"),
    [
        (pa.date32(), date(2024, 1, 1), NEW_YEAR, datetime(2023, 12, 31, 16)),
        (pa.timestamp("ns"), datetime(2024, 1, 1, 1), NEW_YEAR, datetime(2023, 12, 31, 17)),
        (pa.timestamp("us", "UTC"), datetime(2023, 12, 31, 16, tzinfo=UTC), NEW_YEAR, datetime(2023, 12, 31, 16)),
        (pa.timestamp("us", "UTC"), datetime(2024, 1, 1, tzinfo=UTC), NEW_YEAR, NEW_YEAR),
    ],
)
def test_typed_times_are_read_like_texts(tmp_path, kind, value, start, signed):
    (company(tmp_path / "in") / "contracts.csv").unlink()
    columns = {name: pa.array([value], kind) for name in ("start_date", "signed_at")}
    end, arr = pa.array([MIDNIGHT_AFTER_A_YEAR]), pa.array([1.0])
    ids = {"contract_id": pa.array(["c"]), "account_id": pa.array(["acme"])}
    pq.write_table(pa.table(ids | columns | {"end_date": end, "arr": arr}), tmp_path / "in" / "contracts.parquet")
    check(job(tmp_path / "in", tmp_path, source={"time_zone": "Asia/Shanghai"}))
    (contract,) = clean(tmp_path, "contracts")
    assert (contract["start_date"], contract["signed_at"]) == (start, signed)


def test_rates_are_dated_by_calendar_days(tmp_path):
    rates = [VALID_ROW["rates"] | {"date": "2024-02-01"}]
    write_csv(company(tmp_path / "in") / "rates.csv", rates)
    check(job(tmp_path / "in", tmp_path, source={"time_zone": "Asia/Shanghai"}))
    assert [row["date"] for row in clean(tmp_path, "rates")] == [datetime(2024, 2, 1)]
    assert clean(tmp_path, "usage_events")[0]["occurred_at"] == datetime(2024, 2, 1, 1, 30)


@pytest.mark.parametrize(
    ("end", "inclusive", "expected"),
    [
        ("2024-12-31 23:59:59", False, datetime(2024, 12, 31)),
        ("2024-12-31 23:59:59", True, MIDNIGHT_AFTER_A_YEAR),
        ("2024-12-31", True, MIDNIGHT_AFTER_A_YEAR),
        ("9999-12-31", True, datetime(9999, 12, 31)),
        ("", True, None),
    ],
)
def test_an_inclusive_end_is_the_last_day(tmp_path, end, inclusive, expected):
    dates = contract_dates(tmp_path, "2024-01-01", end, "", inclusive_ends=inclusive)
    assert dates == (NEW_YEAR, expected, None)


def test_a_day_pass_is_kept_with_inclusive_ends_and_else_quarantined_with_this_advice(tmp_path):
    rows = [VALID_ROW["contracts"] | {"contract_id": f"c{n}", "end_date": "2024-12-31"} for n in range(3)]
    day_pass = VALID_ROW["contracts"] | {"contract_id": "pass", "end_date": "2024-01-01 23:59:59"}
    write_csv(company(tmp_path / "in") / "contracts.csv", [*rows, day_pass])
    check(job(tmp_path / "in", tmp_path))
    (row,) = quarantined_rows(tmp_path, "contracts")
    assert row["contract_id"] == "pass"
    assert "where it is the last day of the term, set source.inclusive_ends" in row["reason"]
    check(job(tmp_path / "in", tmp_path, source={"inclusive_ends": True}))
    assert quarantined_rows(tmp_path, "contracts") == []
    assert clean(tmp_path, "contracts")[-1]["end_date"] == datetime(2024, 1, 2)


@pytest.mark.parametrize(
    ("last_minutes", "midnights", "zone", "is_warned"),
    [(9, 1, None, True), (8, 2, None, False), (10, 0, "Asia/Shanghai", True)],
)
def test_ends_in_the_last_minute_cause_a_warning(tmp_path, last_minutes, midnights, zone, is_warned):
    ends = ["2024-12-31 23:59:00"] * last_minutes + ["2025-01-01"] * midnights + [""]
    rows = [VALID_ROW["contracts"] | {"contract_id": f"c{n}", "end_date": end} for n, end in enumerate(ends)]
    write_csv(company(tmp_path / "in") / "contracts.csv", rows)
    warnings = check(job(tmp_path / "in", tmp_path, source={"time_zone": zone}))["warnings"]
    codes = [notice.code for notice in load_notices(tmp_path / "validation_report.json", "check")]
    assert codes == ["ends_on_last_day"] * is_warned
    assert ["source.inclusive_ends=true" in warning for warning in warnings] == [True] * is_warned
    settings = {"time_zone": zone, "inclusive_ends": True}
    assert check(job(tmp_path / "in", tmp_path, source=settings))["warnings"] == []


def test_an_unknown_time_zone_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown time zone 'Asia/Shanghigh'"):
        check(job(company(tmp_path / "in"), tmp_path, source={"time_zone": "Asia/Shanghigh"}))
    with pytest.raises(ConfigError, match="write it as Area/City, for example Asia/Shanghai"):
        read_settings(None, ["source.time_zone=CST"])
