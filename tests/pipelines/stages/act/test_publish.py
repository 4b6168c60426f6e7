"""A list is there whole or not at all, whatever happens in between."""

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


def put(lists: Path, content: str = "one") -> dict[str, Any]:
    return publish_folder(lists, DAY, files(content), manifest(content))


def test_a_manifest_is_json_whatever_number_stands_in_it(tmp_path: Path) -> None:
    publish_folder(tmp_path, DAY, files("one"), manifest("one") | {"mean_absolute_change": float("nan")})
    text = (tmp_path / str(DAY) / MANIFEST).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["mean_absolute_change"] is None


def stands(lists: Path) -> str | None:
    """Which list stands there; None where none does. Fails on half a list."""
    folder = lists / str(DAY)
    if not folder.exists():
        return None
    said = json.loads((folder / MANIFEST).read_bytes())
    assert {path.name for path in folder.iterdir()} == {*said["files"], MANIFEST}
    assert not corrupted_files(folder, read_manifest(folder))
    return str(said["identity"]["model"])


def left_behind(lists: Path) -> list[str]:
    return [path.name for path in lists.glob(".staging-*")]


def revisions(lists: Path) -> list[str]:
    folders = sorted((lists / ".revisions" / str(DAY)).glob("*"), key=lambda path: int(path.name))
    return [
        json.loads((folder / MANIFEST).read_bytes())["identity"]["model"]
        for folder in folders
        if not corrupted_files(folder, read_manifest(folder))
    ]


def test_a_list_is_published_with_its_manifest(tmp_path: Path) -> None:
    lists = tmp_path / "not" / "there"
    assert put(lists) == {"state": "published", "folder": str(lists / "2026-06-01"), "revision": None}
    assert stands(lists) == "one"
    assert not left_behind(lists)
    said = json.loads((lists / "2026-06-01" / MANIFEST).read_bytes())
    content = files()["risk_list.csv"]
    assert said["files"]["risk_list.csv"] == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert said["list_key"] == list_key(manifest("one")["identity"])
    assert said["exit_state"] == "published"
    assert datetime.fromisoformat(said["ended_at"])
    assert said["rows"] == {"rows": 2}


def test_the_same_again_touches_nothing(tmp_path: Path) -> None:
    put(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}
    assert put(tmp_path)["state"] == "already published"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"} == before


def test_other_inputs_take_the_place_and_the_old_list_is_kept(tmp_path: Path) -> None:
    kept = [put(tmp_path, content)["revision"] for content in ("one", "two", "three")]
    assert kept == [None, 1, 2]
    assert stands(tmp_path) == "three"
    assert revisions(tmp_path) == ["one", "two"]
    assert not left_behind(tmp_path)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "risk_list.csv").write_text("edited"),
        lambda folder: (folder / "risk_list.csv").unlink(),
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text("{"),
        lambda folder: (folder / MANIFEST).write_text("[]"),
    ],
)
def test_a_harmed_list_is_published_anew_and_kept(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    put(tmp_path)
    harm(tmp_path / str(DAY))
    assert put(tmp_path)["state"] == "published"
    assert stands(tmp_path) == "one"
    assert (tmp_path / ".revisions" / str(DAY) / "1").is_dir()


def test_two_days_stand_beside_each_other(tmp_path: Path) -> None:
    put(tmp_path)
    publish_folder(tmp_path, date(2026, 7, 1), files("two"), manifest("two"))
    assert stands(tmp_path) == "one"
    assert (tmp_path / "2026-07-01").is_dir()


def test_another_run_makes_this_one_stop_and_say_so(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(RunLockedError, match="another run is publishing"):
        put(tmp_path)
    assert stands(tmp_path) is None
    assert put(tmp_path)["state"] == "published"


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "", MANIFEST, "a\n"])
def test_odd_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a valid name of a file"):
        publish_folder(tmp_path, DAY, {name: b""}, manifest())


def test_an_instant_is_not_a_day(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a date"):
        publish_folder(tmp_path, datetime(2026, 6, 1, 12), files(), manifest())


def test_a_link_or_file_in_its_place_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / str(DAY)).symlink_to(elsewhere)
    with pytest.raises(OutputError, match="not a folder: move it"):
        put(lists)
    assert not list(elsewhere.iterdir())


def test_what_killed_runs_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    old, young = tmp_path / ".staging-1-old", tmp_path / ".staging-2-young"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (time.time() - 90_000,) * 2)
    put(tmp_path)
    assert left_behind(tmp_path) == [young.name]


def test_the_lists_folder_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "lists").write_text("a file")
    with pytest.raises(OutputError, match="could not be published"):
        put(tmp_path / "lists")


# --- every step that can fail, one after the other ------------------------------------------------

STEPS = ("fsync", "rename", "mkdir", "link", "open", "utime")


@contextmanager
def at_step(number: int, happens: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let something happen before the n-th call to the disk; yields the count of calls."""
    count = [0]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any, **named: Any) -> Any:
            count[0] += 1
            if count[0] == number:
                happens()
            return call(*given, **named)

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
def test_a_disk_that_fails_at_any_step_leaves_a_whole_list_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    number, failed = 0, 0
    while True:
        number += 1
        lists = tmp_path / str(number)
        if earlier:
            put(lists, "old")
        stop = None
        with at_step(number, full_disk, monkeypatch) as count:
            try:
                put(lists, "new")
            except OutputError as error:
                stop = error
        if stop is None:  # where only the tidying up failed, the list is published and said to be
            assert stands(lists) == "new"
        else:
            failed += 1
            assert "No space left" in str(stop)
            assert not left_behind(lists)
            assert stands(lists) in ("old" if earlier else None, "new")
        if count[0] < number:
            break
        assert put(lists, "new")["state"] in ("published", "already published")
        assert stands(lists) == "new"
        assert not earlier or "old" in revisions(lists)
    assert failed > 8


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("earlier", "atomic"), [(True, True), (True, False), (False, True)])
def test_a_kill_at_any_step_leaves_a_whole_list_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool, atomic: bool
) -> None:
    """Where an earlier list is in place and folders can be exchanged, there is one at every instant."""
    if not atomic:
        monkeypatch.setattr(folders, "exchange_folders", lambda one, other: False)
    number, killed = 0, True
    while killed:
        number += 1
        lists = tmp_path / str(number)
        if earlier:
            put(lists, "old")

        def child(number: int = number, lists: Path = lists) -> None:
            with at_step(number, kill_self, monkeypatch):
                if not atomic:
                    monkeypatch.setattr(folders, "exchange_folders", lambda one, other: False)
                put(lists, "new")

        process = FORK.Process(target=child)
        process.start()
        process.join()
        killed = process.exitcode == -signal.SIGKILL
        assert killed or process.exitcode == 0
        assert stands(lists) in (("old", "new") if earlier and atomic else ("old", "new", None))
        put(lists, "new")
        assert stands(lists) == "new"
        assert not earlier or "old" in revisions(lists)
    assert number > 8


def publish_for_ever(lists: Path, name: str, begun: Any) -> None:
    for turn in range(1_000_000):
        put(lists, f"{name} {turn}")
        begun.set()


@contextmanager
def busy_publisher(lists: Path, name: str) -> Iterator[None]:
    """Another process that publishes one list after the other, and is killed at the end."""
    begun = FORK.Event()
    process = FORK.Process(target=publish_for_ever, args=(lists, name, begun))
    process.start()
    try:
        assert begun.wait(30)
        yield
    finally:
        process.kill()
        process.join()


def test_killed_at_random_there_is_always_a_whole_list(tmp_path: Path) -> None:
    chance = random.Random(11)
    for turn in range(25):
        with busy_publisher(tmp_path, f"publisher {turn}"):
            time.sleep(chance.uniform(0, 0.03))
        assert str(stands(tmp_path)).startswith(f"publisher {turn} ")
    assert len(revisions(tmp_path)) >= 24
    assert put(tmp_path, "last")["state"] == "published"


def test_a_reader_never_finds_it_absent(tmp_path: Path) -> None:
    with busy_publisher(tmp_path, "publisher"):
        looks, before, until = 0, len(revisions(tmp_path)), time.monotonic() + 0.5
        while time.monotonic() < until or len(list((tmp_path / ".revisions" / str(DAY)).glob("*"))) < before + 5:
            assert (tmp_path / str(DAY) / MANIFEST).exists()
            looks += 1
    assert looks > 100


# --- folders that change places -------------------------------------------------------------------


def test_folders_change_places_in_one_step(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / folder.name).touch()
    if not exchange_folders(one, other):
        pytest.skip("this system cannot exchange folders in one step")
    assert (one / "other").exists()
    assert (other / "one").exists()
    with pytest.raises(FileNotFoundError):
        exchange_folders(one, tmp_path / "nothing")


def test_without_an_exchange_the_old_list_is_moved_away_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "exchange_folders", lambda one, other: False)
    put(tmp_path, "old")
    put(tmp_path, "new")
    assert stands(tmp_path) == "new"
    assert revisions(tmp_path) == ["old"]
    assert not left_behind(tmp_path)


def test_where_links_are_refused_the_old_list_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, copy: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    put(tmp_path, "old")
    monkeypatch.setattr(os, "link", refuse)
    put(tmp_path, "new")
    assert stands(tmp_path) == "new"
    assert revisions(tmp_path) == ["old"]


def test_publishing_is_light_to_import() -> None:
    module = "renewals.pipelines.stages.act.publish"
    heavy = f"import sys, {module}; print({{'pandas', 'lightgbm', 'mlflow', 'ibis'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
