"""Publish a list atomically: `lists/<as_of>/` is complete or absent at every moment.

Files are written to a staging folder, flushed to disk, read back and compared; then the folder is renamed to its final
path. POSIX cannot rename a folder over one that contains files, and removing the old one first would leave a moment
without a list. So an earlier list of the same date is first saved under `.revisions/<as_of>/<n>/` (hard links, no
copies) and then exchanged with the new one in one step (Linux `renameat2`, RENAME_EXCHANGE). On systems without this
call the old folder is moved away first: for a moment the list is absent, but never incomplete. A symbolic link to the
current folder would also work everywhere, but it is lost when `lists/` is copied, zipped or put under DVC.

A killed run leaves at most a `.staging-…` folder, which a later run removes, and a revision equal to the current list,
which the next run reuses.
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
    """Publish the files of one date with their manifest under `lists/<as_of>/`, completely or not at all.

    `manifest["identity"]` describes the inputs of the list; if an intact list with the same identity is already there,
    nothing is changed. Returns the state, the folder and the revision number of a replaced list (None without one).
    Staging folders older than `keep_hours` are removed. Raises RunLockedError while another run publishes, OutputError
    on disk errors, ConfigError if a list made with hindsight would replace one made without it.
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
    """Folder to which the job publishes lists; a trial publishes into its own folder, for inspection."""
    return job.trial_folder / "lists" if job.trial else job.lists


def require_no_original_list(target: Path) -> None:
    """Raise `ConfigError` if `target` contains a list made without hindsight, which one with hindsight must not
    replace."""
    if training_day.has_original_list(target, read_manifest):
        raise errors.ConfigError(
            f"{target} already holds a list made without hindsight; a list made with --hindsight does not replace it. "
            "Use another folder (--lists)"
        )


def is_published(folder: Path, identity: Mapping[str, Any]) -> bool:
    """True if the folder contains a complete and intact list with the same identity."""
    try:
        manifest = read_manifest(folder)
        return bool(manifest["list_key"] == list_key(identity)) and not corrupted_files(folder, manifest)
    except UNREADABLE:
        return False


def corrupted_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Names of the files of a published list that are missing or differ from the SHA-256 in its manifest."""
    return [name for name, entry in manifest["files"].items() if _file_sha256(folder / name) != entry["sha256"]]


def list_key(identity: Mapping[str, Any]) -> str:
    """Key of a list: SHA-256 of its identity, which describes all its inputs."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, ensure_ascii=True, default=str).encode()).hexdigest()


def _file_sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _require_valid_names(files: Mapping[str, bytes]) -> None:
    invalid = [name for name in files if not NAME_PATTERN.fullmatch(name) or name == MANIFEST]
    if invalid:
        raise ValueError(f"not a valid name of a file to publish: {invalid[0]!r}")


def require_plain_folder(target: Path) -> Path:
    """Return `target` if it is a folder or does not exist. Raises `OutputError` if it is a link or a file."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise errors.OutputError(
            f"{target} is a link or a file, not a folder: move it, then run `renewals score` again"
        )
    return target


@contextmanager
def _translate_disk_errors(lists: Path) -> Iterator[None]:
    """Create the lists folder, and turn every OSError of the block into an `OutputError` with one sentence."""
    try:
        lists.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise errors.OutputError(
            f"the list could not be published: {error.filename or lists}: {reason}; nothing was written"
        ) from error


@contextmanager
def _publish_lock(lists: Path) -> Iterator[None]:
    """Hold the lock of the lists folder; the system frees it when the process ends. Raises `RunLockedError`."""
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
    """Remove staging folders older than `keep_hours`, which killed runs have left."""
    for folder in lists.glob(".staging-*"):
        if time.time() - folder.lstat().st_mtime > keep_hours * 3600:
            shutil.rmtree(folder, ignore_errors=True)


def _write_list_files(staging: Path, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Write, flush and read back every file, the manifest last. Raises OSError if a file differs when read back."""
    staging.mkdir()
    sizes = {}
    for name, content in files.items():
        _write_and_sync(staging / name, content)
        sizes[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    ended = {"ended_at": datetime.now(UTC).isoformat(timespec="seconds"), "exit_state": PUBLISHED}
    complete = {**manifest, "list_key": list_key(manifest["identity"]), "files": sizes, **ended}
    text = json.dumps(json_values.nan_to_null(complete), indent=1, sort_keys=True, ensure_ascii=False, default=str)
    _write_and_sync(staging / MANIFEST, text.encode())
    if corrupted := corrupted_files(staging, read_manifest(staging)):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(staging / corrupted[0]))
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
    """Move the staged folder to `target`; save an earlier list as a revision and return its number, else None."""
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
    """Save a list as the next revision, unless the newest revision is the same list; return its number."""
    numbers = sorted(int(path.name) for path in revisions.glob("[0-9]*") if path.name.isdigit())
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
