"""A list appears whole or not at all: `lists/<as_of>/` is complete, or absent, at every instant.

Files are written beside their place, flushed to the disk, read back and compared, and the whole folder is then
renamed into place. POSIX cannot rename a folder over one that holds files, and removing the old one first would
leave a moment without any; so an earlier list of the same day is first kept under `.revisions/<as_of>/<n>/` (hard
links, no copying) and then exchanged with the new one in one step (Linux `renameat2`, RENAME_EXCHANGE). Where the
system has no such call the old folder is moved away before the new one comes: in between the list is absent, never
half there. Links to the current folder would do the same everywhere, but a link is lost when `lists/` is copied,
zipped, or put under DVC.

A kill at any point leaves at most a `.staging-…` folder, removed by a later run, and a revision that equals the
current list, which the next run finds and uses.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from renewals.pipelines.runtime import errors, json_values
from renewals.pipelines.runtime.job import NAME_PATTERN, Job, parse_date
from renewals.pipelines.runtime.signals import raise_if_received
from renewals.pipelines.storage import folders
from renewals.pipelines.storage.published import hindsight as training_day
from renewals.pipelines.storage.published.manifest import MANIFEST, UNREADABLE, read_manifest

PUBLISHED = "published"
ALREADY_PUBLISHED = "already published"


def publish_folder(
    lists: Path, as_of: date, files: Mapping[str, bytes], manifest: Mapping[str, Any], keep_hours: float = 24.0
) -> dict[str, Any]:
    """Publish the files of one day under `lists/<as_of>/` with their manifest, whole or not at all.

    `manifest["identity"]` says from what the list was made: where a list of the same identity stands there
    already, unharmed, nothing is touched. Returns the state, the folder and, where an earlier list was replaced, the
    number under which it is kept. Raises RunLockedError while another run publishes, OutputError where the disk
    refuses, ConfigError where a list made with hindsight would take the place of one made in its time.
    """
    raise_if_received()
    day = parse_date(as_of.isoformat(), "as_of")
    target = lists / day.isoformat()
    _require_valid_names(files)
    with _translate_disk_errors(lists), _publish_lock(lists):
        _remove_stale_staging(lists, keep_hours)
        if training_day.is_hindsight_list(manifest):
            require_no_original_list(target)
        if require_plain_folder(target).exists() and is_published(target, manifest["identity"]):
            return {"state": ALREADY_PUBLISHED, "folder": str(target), "revision": None}
        staging = lists / f".staging-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            _write_list_files(staging, files, manifest)
            revision = _replace_list(staging, target, lists / ".revisions" / day.isoformat())
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return {"state": PUBLISHED, "folder": str(target), "revision": revision}


def lists_folder(job: Job) -> Path:
    """Where the job publishes: a trial in its own folder, for a look at its list."""
    return job.trial_folder / "lists" if job.trial else job.lists


def require_no_original_list(target: Path) -> None:
    """Raise `ConfigError` where a list made in its time stands: one made with hindsight must not take its place."""
    if training_day.has_original_list(target, read_manifest):
        raise errors.ConfigError(
            f"{target} already holds a list made without hindsight; a list made with --hindsight does not replace it. "
            "Use another folder (--lists)"
        )


def is_published(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether a complete, unharmed list made from the same things stands here."""
    try:
        manifest = read_manifest(folder)
        return bool(manifest["list_key"] == list_key(identity)) and not corrupted_files(folder, manifest)
    except UNREADABLE:
        return False


def corrupted_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """The files of a published list that are missing or other than its manifest says."""
    return [name for name, said in manifest["files"].items() if _file_sha256(folder / name) != said["sha256"]]


def list_key(identity: Mapping[str, Any]) -> str:
    """One fingerprint for all that a list was made from."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, ensure_ascii=True, default=str).encode()).hexdigest()


def _file_sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _require_valid_names(files: Mapping[str, bytes]) -> None:
    odd = [name for name in files if not NAME_PATTERN.fullmatch(name) or name == MANIFEST]
    if odd:
        raise ValueError(f"not the name of a file to publish: {odd[0]!r}")


def require_plain_folder(target: Path) -> Path:
    """The place of a list. Raises `OutputError` where something else than a folder stands there."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise errors.OutputError(
            f"{target} is a link or a file, not a folder: move it, then run `renewals score` again"
        )
    return target


@contextmanager
def _translate_disk_errors(lists: Path) -> Iterator[None]:
    """Whatever the disk refuses is said as one sentence."""
    try:
        lists.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        words = os.strerror(error.errno) if error.errno else str(error)
        raise errors.OutputError(
            f"the list could not be published: {error.filename or lists}: {words}; nothing was written"
        ) from error


@contextmanager
def _publish_lock(lists: Path) -> Iterator[None]:
    """Hold the lock of the lists folder; it frees itself when its holder dies."""
    lock = FileLock(lists / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise errors.RunLockedError(f"another run is publishing into {lists}: try again when it has ended") from None
    try:
        yield
    finally:
        lock.release()


def _remove_stale_staging(lists: Path, keep_hours: float) -> None:
    """Remove what killed runs left behind, once it is old enough to be nobody's."""
    for left in lists.glob(".staging-*"):
        if time.time() - left.lstat().st_mtime > keep_hours * 3600:
            shutil.rmtree(left, ignore_errors=True)


def _write_list_files(staging: Path, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Write, flush, and read back every file; the manifest last."""
    staging.mkdir()
    sizes = {}
    for name, content in files.items():
        _write_and_sync(staging / name, content)
        sizes[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    ended = {"ended_at": datetime.now(UTC).isoformat(timespec="seconds"), "exit_state": PUBLISHED}
    whole = {**manifest, "list_key": list_key(manifest["identity"]), "files": sizes, **ended}
    text = json.dumps(json_values.nan_to_null(whole), indent=1, sort_keys=True, ensure_ascii=False, default=str)
    _write_and_sync(staging / MANIFEST, text.encode())
    if spoilt := corrupted_files(staging, read_manifest(staging)):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(staging / spoilt[0]))
    _sync_folder(staging)


def _write_and_sync(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace_list(staging: Path, target: Path, revisions: Path) -> int | None:
    """Put the staged folder in its place; an earlier one is kept, and its number returned."""
    if not target.exists():
        os.rename(staging, target)
        _sync_folder(target.parent)
        return None
    number = _save_revision(target, revisions)
    if not folders.exchange_folders(staging, target):
        aside = staging.with_name(f"{staging.name}-old")
        os.rename(target, aside)
        os.rename(staging, target)
        shutil.rmtree(aside, ignore_errors=True)
    _sync_folder(target.parent)
    return number


def _save_revision(target: Path, revisions: Path) -> int:
    """Keep a list as the next revision, unless the newest one is the same list."""
    numbers = sorted(int(kept.name) for kept in revisions.glob("[0-9]*") if kept.name.isdigit())
    if numbers and _is_same_list(target, revisions / str(numbers[-1])):
        return numbers[-1]
    number = numbers[-1] + 1 if numbers else 1
    revisions.mkdir(parents=True, exist_ok=True)
    copy = revisions.parent.parent / f".staging-{os.getpid()}-{secrets.token_hex(4)}-kept"
    try:
        shutil.copytree(target, copy, copy_function=_link_or_copy)
        _sync_folder(copy)
        os.rename(copy, revisions / str(number))
        _sync_folder(revisions)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return number


def _is_same_list(first: Path, second: Path) -> bool:
    names = {path.name for path in first.iterdir()}
    return names == {path.name for path in second.iterdir()} and all(
        _file_sha256(first / name) == _file_sha256(second / name) for name in names if (first / name).is_file()
    )


def _link_or_copy(source: str, copy: str) -> None:
    try:
        os.link(source, copy)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        shutil.copy2(source, copy)
