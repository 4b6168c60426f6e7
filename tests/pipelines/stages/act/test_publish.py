"""A list is published completely or not at all, also when a step fails or the process is killed."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from renewals.pipelines.runtime.errors import ConfigError, OutputError, RunLockedError
from renewals.pipelines.storage import folders
from renewals.pipelines.storage.folders import exchange_folders
from renewals.pipelines.storage.published import list_folder
from renewals.pipelines.storage.published.list_folder import corrupted_files, list_key, publish_folder
from renewals.pipelines.storage.published.manifest import MANIFEST, read_manifest

DAY = date(2026, 6, 1)
FORK = multiprocessing.get_context("fork")


def manifest(model: str = "renewal/1") -> dict[str, Any]:
    return {"identity": {"as_of": str(DAY), "model": model}, "rows": {"rows": 2}}


def files(content: str = "one") -> dict[str, bytes]:
    return {"risk_list.csv": f"a,b\n{content}".encode(), "risk_list.parquet": content.encode() * 5_000}


def publish_list(lists: Path, content: str = "one") -> dict[str, Any]:
    return publish_folder(lists, DAY, files(content), manifest(content))


def test_a_manifest_with_nan_is_valid_json(tmp_path: Path) -> None:
    publish_folder(tmp_path, DAY, files("one"), manifest("one") | {"mean_absolute_change": float("nan")})
    text = (tmp_path / str(DAY) / MANIFEST).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["mean_absolute_change"] is None


def published_model(lists: Path) -> str | None:
    """Model name of the published list, or None without a list. Fails on an incomplete list."""
    folder = lists / str(DAY)
    if not folder.exists():
        return None
    content = json.loads((folder / MANIFEST).read_bytes())
    assert {path.name for path in folder.iterdir()} == {*content["files"], MANIFEST}
    assert not corrupted_files(folder, read_manifest(folder))
    return str(content["identity"]["model"])


def staging_folders(lists: Path) -> list[str]:
    return [path.name for path in lists.glob(".staging-*")]


def revisions(lists: Path) -> list[str]:
    folders = sorted((lists / ".revisions" / str(DAY)).glob("*"), key=lambda path: int(path.name))
    return [
        json.loads((folder / MANIFEST).read_bytes())["identity"]["model"]
        for folder in folders
        if not corrupted_files(folder, read_manifest(folder))
    ]


def test_a_list_is_published_with_its_manifest(tmp_path: Path) -> None:
    lists = tmp_path / "not" / "existing"
    assert publish_list(lists) == {"state": "published", "folder": str(lists / "2026-06-01"), "revision": None}
    assert published_model(lists) == "one"
    assert not staging_folders(lists)
    manifest_content = json.loads((lists / "2026-06-01" / MANIFEST).read_bytes())
    csv_bytes = files()["risk_list.csv"]
    assert manifest_content["files"]["risk_list.csv"] == {
        "sha256": hashlib.sha256(csv_bytes).hexdigest(),
        "bytes": len(csv_bytes),
    }
    assert manifest_content["list_key"] == list_key(manifest("one")["identity"])
    assert manifest_content["exit_state"] == "published"
    assert datetime.fromisoformat(manifest_content["ended_at"])
    assert manifest_content["rows"] == {"rows": 2}


def test_publishing_the_same_list_again_changes_no_file(tmp_path: Path) -> None:
    publish_list(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}
    assert publish_list(tmp_path)["state"] == "already published"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"} == before


def test_a_changed_list_replaces_the_old_one_which_becomes_a_revision(tmp_path: Path) -> None:
    revision_numbers = [publish_list(tmp_path, content)["revision"] for content in ("one", "two", "three")]
    assert revision_numbers == [None, 1, 2]
    assert published_model(tmp_path) == "three"
    assert revisions(tmp_path) == ["one", "two"]
    assert not staging_folders(tmp_path)


@pytest.mark.parametrize(
    "corrupt",
    [
        lambda folder: (folder / "risk_list.csv").write_text("edited"),
        lambda folder: (folder / "risk_list.csv").unlink(),
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text("{"),
        lambda folder: (folder / MANIFEST).write_text("[]"),
    ],
)
def test_a_corrupted_list_is_replaced_and_becomes_a_revision(tmp_path: Path, corrupt: Callable[[Path], None]) -> None:
    publish_list(tmp_path)
    corrupt(tmp_path / str(DAY))
    assert publish_list(tmp_path)["state"] == "published"
    assert published_model(tmp_path) == "one"
    assert (tmp_path / ".revisions" / str(DAY) / "1").is_dir()


def test_lists_of_two_days_are_both_published(tmp_path: Path) -> None:
    publish_list(tmp_path)
    publish_folder(tmp_path, date(2026, 7, 1), files("two"), manifest("two"))
    assert published_model(tmp_path) == "one"
    assert (tmp_path / "2026-07-01").is_dir()


def test_a_second_run_stops_with_run_locked_error(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(RunLockedError, match="another run is publishing"):
        publish_list(tmp_path)
    assert published_model(tmp_path) is None
    assert publish_list(tmp_path)["state"] == "published"


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "", MANIFEST, "a\n"])
def test_invalid_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a valid name of a file"):
        publish_folder(tmp_path, DAY, {name: b""}, manifest())


def test_an_instant_is_not_a_day(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a date"):
        publish_folder(tmp_path, datetime(2026, 6, 1, 12), files(), manifest())


def test_a_link_in_place_of_the_list_folder_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / str(DAY)).symlink_to(elsewhere)
    with pytest.raises(OutputError, match="not a folder: move it"):
        publish_list(lists)
    assert not list(elsewhere.iterdir())


def test_old_staging_folders_of_killed_runs_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".staging-1-old", tmp_path / ".staging-2-young"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (time.time() - 90_000,) * 2)
    publish_list(tmp_path)
    assert staging_folders(tmp_path) == [young.name]


def test_a_lists_folder_that_cannot_be_created_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "lists").write_text("a file")
    with pytest.raises(OutputError, match="could not be published"):
        publish_list(tmp_path / "lists")


# --- each step that can fail, in turn ------------------------------------------------------------

STEPS = ("fsync", "rename", "mkdir", "link", "open", "utime")


@contextmanager
def at_step(number: int, action: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Call `action` before the n-th call to the disk; yield the number of calls so far."""
    count = [0]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if count[0] == number:
                action()
            return call(*args, **kwargs)

        return step

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(folders, "exchange_folders", counted(exchange_folders))
        patch.setattr(list_folder, "_write_and_sync", counted(list_folder._write_and_sync))
        patch.setattr(list_folder, "_file_sha256", counted(list_folder._file_sha256))
        yield count


def full_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


@pytest.mark.parametrize("earlier", [False, True])
def test_a_disk_failure_at_any_step_leaves_a_complete_list_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    number, failed = 0, 0
    while True:
        number += 1
        lists = tmp_path / str(number)
        if earlier:
            publish_list(lists, "old")
        stop = None
        with at_step(number, full_disk, monkeypatch) as count:
            try:
                publish_list(lists, "new")
            except OutputError as error:
                stop = error
        if stop is None:  # only the clean-up failed: the result is still "published"
            assert published_model(lists) == "new"
        else:
            failed += 1
            assert "No space left" in str(stop)
            assert not staging_folders(lists)
            assert published_model(lists) in ("old" if earlier else None, "new")
        if count[0] < number:
            break
        assert publish_list(lists, "new")["state"] in ("published", "already published")
        assert published_model(lists) == "new"
        assert not earlier or "old" in revisions(lists)
    assert failed > 8


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("earlier", "atomic"), [(True, True), (True, False), (False, True)])
def test_a_kill_at_any_step_leaves_a_complete_list_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool, atomic: bool
) -> None:
    """With an earlier list and an atomic exchange of folders, a list is present at every instant."""
    if not atomic:
        monkeypatch.setattr(folders, "exchange_folders", lambda first, second: False)
    number, killed = 0, True
    while killed:
        number += 1
        lists = tmp_path / str(number)
        if earlier:
            publish_list(lists, "old")

        def child(number: int = number, lists: Path = lists) -> None:
            with at_step(number, kill_self, monkeypatch):
                if not atomic:
                    monkeypatch.setattr(folders, "exchange_folders", lambda first, second: False)
                publish_list(lists, "new")

        process = FORK.Process(target=child)
        process.start()
        process.join()
        killed = process.exitcode == -signal.SIGKILL
        assert killed or process.exitcode == 0
        assert published_model(lists) in (("old", "new") if earlier and atomic else ("old", "new", None))
        publish_list(lists, "new")
        assert published_model(lists) == "new"
        assert not earlier or "old" in revisions(lists)
    assert number > 8


def publish_repeatedly(lists: Path, name: str, started: Any) -> None:
    for number in range(1_000_000):
        publish_list(lists, f"{name} {number}")
        started.set()


@contextmanager
def busy_publisher(lists: Path, name: str) -> Iterator[None]:
    """A second process that publishes lists in a loop and is killed at the end."""
    started = FORK.Event()
    process = FORK.Process(target=publish_repeatedly, args=(lists, name, started))
    process.start()
    try:
        assert started.wait(30)
        yield
    finally:
        process.kill()
        process.join()


def test_random_kills_always_leave_a_complete_list(tmp_path: Path) -> None:
    chance = random.Random(11)
    for turn in range(25):
        with busy_publisher(tmp_path, f"publisher {turn}"):
            time.sleep(chance.uniform(0, 0.03))
        assert str(published_model(tmp_path)).startswith(f"publisher {turn} ")
    assert len(revisions(tmp_path)) >= 24
    assert publish_list(tmp_path, "last")["state"] == "published"


def test_readers_always_see_a_list(tmp_path: Path) -> None:
    with busy_publisher(tmp_path, "publisher"):
        looks, before, until = 0, len(revisions(tmp_path)), time.monotonic() + 0.5
        while time.monotonic() < until or len(list((tmp_path / ".revisions" / str(DAY)).glob("*"))) < before + 5:
            assert (tmp_path / str(DAY) / MANIFEST).exists()
            looks += 1
    assert looks > 100


# --- exchange of folders --------------------------------------------------------------------------


def test_folders_are_exchanged_in_one_step(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / folder.name).touch()
    if not exchange_folders(first, second):
        pytest.skip("this system cannot exchange folders in one step")
    assert (first / "second").exists()
    assert (second / "first").exists()
    with pytest.raises(FileNotFoundError):
        exchange_folders(first, tmp_path / "nothing")


def test_without_atomic_exchange_the_old_list_becomes_a_revision_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "exchange_folders", lambda first, second: False)
    publish_list(tmp_path, "old")
    publish_list(tmp_path, "new")
    assert published_model(tmp_path) == "new"
    assert revisions(tmp_path) == ["old"]
    assert not staging_folders(tmp_path)


def test_without_hard_links_the_old_list_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, copy: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    publish_list(tmp_path, "old")
    monkeypatch.setattr(os, "link", refuse)
    publish_list(tmp_path, "new")
    assert published_model(tmp_path) == "new"
    assert revisions(tmp_path) == ["old"]


def test_publish_imports_no_heavy_library() -> None:
    module = "renewals.pipelines.stages.act.publish"
    code = f"import sys, {module}; print({{'pandas', 'lightgbm', 'mlflow', 'ibis'}} & set(sys.modules))"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "set()"
