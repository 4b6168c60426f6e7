"""`renewals.api` returns the results of the commands and raises errors with their exit codes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from renewals import api
from renewals.examples.company import simulate_company, write_company
from renewals.pipelines.runtime.errors import RunLockedError
from renewals.pipelines.runtime.lock import exclusive_lock


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("company")
    write_company(simulate_company(60, 26, 5), folder)
    return folder


def test_check_returns_the_report_of_the_command(tables: Path, tmp_path: Path) -> None:
    report = api.check(tables, data=tmp_path)
    assert report["tables"]["contracts"]["rows_clean"] > 0
    assert (tmp_path / "validation_report.json").is_file()


def test_settings_override_the_parameter_file(tables: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("grace: {after_days: 30}\n")
    with pytest.raises(api.RunError, match=r"grace\.after_days") as error:
        api.check(tables, data=tmp_path, params=params, settings={"grace.after_days": "soon"})
    assert error.value.exit_code == 78


def test_score_without_a_model_gives_a_list_without_scores(tables: Path, tmp_path: Path) -> None:
    published = api.score(tables, as_of="2025-01-01", data=tmp_path / "data", lists=tmp_path / "lists")
    listed = api.read_list("2025-01-01", tmp_path / "lists")
    assert (published["models"], len(listed)) == ({}, published["rows"])
    assert listed["renewal_probability"].isna().all()
    assert "no_model" in set(listed["status"])


def test_a_run_in_a_locked_folder_stops_at_once(tables: Path, tmp_path: Path) -> None:
    with exclusive_lock(tmp_path, "backtest"), pytest.raises(RunLockedError, match="backtest"):
        api.check(tables, data=tmp_path)


def test_a_list_that_was_not_published_is_missing(tmp_path: Path) -> None:
    with pytest.raises(api.RunError, match="no list of 2026-06-01"):
        api.read_list("2026-06-01", tmp_path)


def test_a_published_list_is_read_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "2026-06-01").mkdir()
    rows = pd.DataFrame({"account_id": ["b", "a"], "rank": [1, 2]})
    rows.to_parquet(tmp_path / "2026-06-01" / "risk_list.parquet")
    pd.testing.assert_frame_equal(api.read_list("2026-06-01", tmp_path), rows)
