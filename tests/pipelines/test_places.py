"""Where the project lies, seen from inside and outside of a DVC experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.places import DVC_ROOT, project_root


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DVC_ROOT, raising=False)


def test_outside_dvc_the_project_is_the_current_folder() -> None:
    assert project_root() == Path()


def test_in_the_workspace_the_project_is_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DVC_ROOT, str(tmp_path))
    assert project_root() == Path()


def test_in_a_temporary_copy_the_project_is_where_dvc_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmpx"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv(DVC_ROOT, str(tmp_path))
    assert project_root() == tmp_path
