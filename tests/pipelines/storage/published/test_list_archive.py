"""Archive of published lists: readers need no lock and read the files of one list only."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from renewals.pipelines.commands.explain import explain
from renewals.pipelines.commands.whatif import whatif
from renewals.pipelines.runtime.errors import MissingInputError, RunLockedError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.act.publish import publish
from renewals.pipelines.storage.published import list_archive
from renewals.pipelines.storage.published.list_archive import archive_list, read_archived_list
from tests.pipelines.scored_company import AS_OF, job, publish_company


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return publish_company(tmp_path, monkeypatch)


def test_explain_reads_the_archive_while_another_day_is_scored(company: Path) -> None:
    before = explain(job(company), "a0")
    shutil.rmtree(company / "data" / "act")
    shutil.rmtree(company / "data" / "clean")
    assert explain(job(company), "a0") == before


def test_error_for_a_day_without_a_list_names_the_newest_lists(company: Path) -> None:
    july = replace(job(company), as_of=date(2026, 7, 1))
    for read in (lambda: explain(july, "a0"), lambda: whatif(july, "a0", ["people_28d=1"])):
        with pytest.raises(
            MissingInputError, match=r"newest lists: 2026-06-01\. Run `renewals score --as-of 2026-07-01`"
        ):
            read()


def test_publishing_the_same_list_again_restores_a_lost_archive(company: Path) -> None:
    before = explain(job(company), "a0")
    shutil.rmtree(company / "data" / "list_archive")
    assert publish(job(company))["state"] == "already published"
    assert explain(job(company), "a0") == before


def test_row_counts_contain_rows_known_on_the_day(company: Path) -> None:
    rows = pd.read_parquet(list_archive.archive_folder(job(company), AS_OF) / list_archive.ROW_COUNTS_FILE).set_index(
        "account_id"
    )
    assert rows.loc["a0"].to_dict() == {"accounts": 1, "contracts": 1, "usage_events": 2}
    assert rows.loc["a1"].to_dict() == {"accounts": 1, "contracts": 1, "usage_events": 0}


def reader_with_replacements(company: Path, times: int, seen_keys: list[str]) -> Callable[[Job], str]:
    """Reader that appends the list key to `seen_keys` and replaces the list after reading, up to `times` times."""

    def read(day: Job) -> str:
        key = str(list_archive.read_metadata(day)["key"])
        if len(seen_keys) < times:
            seen_keys.append(key)
            archive_list(job(company), f"key {len(seen_keys)}", None)
            if len(seen_keys) % 2:
                raise FileNotFoundError("removed with the previous list")
        return key

    return read


def test_a_list_replaced_during_reading_is_read_again(company: Path) -> None:
    seen_keys: list[str] = []
    assert read_archived_list(job(company), reader_with_replacements(company, 3, seen_keys)) == "key 3"
    assert seen_keys[1:] == ["key 1", "key 2"]


def test_reading_stops_with_an_error_after_repeated_replacements(company: Path) -> None:
    with pytest.raises(RunLockedError, match="repeatedly"):
        read_archived_list(job(company), reader_with_replacements(company, 99, []))


def test_an_error_in_the_reader_is_not_retried(company: Path) -> None:
    calls = []

    def read(day: Job) -> None:
        calls.append(day)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        read_archived_list(job(company), read)
    assert len(calls) == 1


def test_archive_holds_the_newest_days_and_the_day_just_published(company: Path) -> None:
    for month in range(1, 13):
        archive_list(replace(job(company), as_of=date(2027, month, 1)), "key", None)
    expected = [date(2027, month, 1) for month in range(1, 13)]
    assert list_archive.archived_days(job(company)) == expected
    archive_list(job(company), "key", None)
    assert list_archive.archived_days(job(company)) == [AS_OF, *expected]
