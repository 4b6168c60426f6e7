"""Checks that stop a command before its work starts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from renewals.features import alert_registry
from renewals.pipelines import preflight
from renewals.pipelines.runtime.errors import ConfigError, OutputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings


@pytest.fixture
def job(tmp_path: Path) -> Job:
    tables = tmp_path / "tables"
    tables.mkdir()
    for name in ("accounts", "contracts", "usage_events"):
        (tables / f"{name}.csv").write_text("account_id\n" + "a" * 2**20)
    return Job(Settings(), str(tables), tmp_path / "data", tmp_path / "lists", as_of=date(2026, 6, 1))


def test_valid_settings_pass_and_leave_no_file(job: Job) -> None:
    for command in ("demo", "check", "scorecard", "stage tables", "no command of ours"):
        preflight.run_checks(command, job)
    assert list(job.data.iterdir()) == list(job.lists.iterdir()) == []


def test_a_full_disk_is_reported_with_the_space_needed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run needs a fixed amount of space plus the size of the tables."""
    free = preflight.WORKING_BYTES + 3 * 2**20
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    with pytest.raises(OutputError, match="103 MiB are free and about 103 MiB are needed"):
        preflight.run_checks("check", job)
    free += 2**20
    preflight.run_checks("check", job)


def test_an_alert_without_translation_is_reported_before_any_work(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_registry, "ALERT_CODES", (*alert_registry.ALERT_CODES, "price_rise"))
    with pytest.raises(ConfigError, match=r"2 texts are missing in the language 'en', for example 'alert\.price_rise'"):
        preflight.run_checks("score", job)


@pytest.mark.parametrize(("folder", "command"), [("data", "check"), ("lists", "demo")])
def test_a_folder_that_cannot_be_written_is_reported(job: Job, folder: str, command: str) -> None:
    (Path(job.data).parent / folder).write_text("a file")
    with pytest.raises(OutputError, match=f"{folder} cannot be written"):
        preflight.run_checks(command, job)


def test_a_file_in_the_place_of_a_list_is_reported(job: Job) -> None:
    job.lists.mkdir()
    (job.lists / "2026-06-01").write_text("a file")
    with pytest.raises(OutputError, match="not a folder: move it"):
        preflight.require_writable_lists(job)
    preflight.require_writable_lists(replace(job, as_of=date(2026, 7, 1)))
