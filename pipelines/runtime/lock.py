"""One writing run at a time in a folder; whoever is refused learns which command holds the lock, and since when."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from renewals.pipelines.runtime.errors import OutputError, RunLockedError

LOCK_FILE, HOLDER_FILE = ".run.lock", ".run.json"


@contextmanager
def exclusive_lock(
    data: Path, command: str, lock_file: str = LOCK_FILE, holder_file: str = HOLDER_FILE
) -> Iterator[None]:
    """Hold the lock of a data folder. Raises `RunLockedError`; the system frees the lock when the process ends, however
    it does.

    Raises `OutputError` where the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    held = FileLock(data / lock_file)
    try:
        data.mkdir(parents=True, exist_ok=True)
        held.acquire(timeout=0)
        _write_holder(data / holder_file, command)
    except Timeout:
        raise RunLockedError(
            f"{_describe_holder(data / holder_file, data)}: wait until it is done, or give another --data"
        ) from None
    except OSError as error:
        held.release()
        raise OutputError(f"{data} cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        with suppress(OSError):
            (data / holder_file).unlink()
        held.release()


def _write_holder(path: Path, command: str) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"command": command, "process": os.getpid(), "host": socket.gethostname(), "since": since}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(about), encoding="utf-8")
    unfinished.replace(path)


def _describe_holder(path: Path, data: Path) -> str:
    """Who holds the lock. The file may be missing or older than the lock for an instant: then nobody is named."""
    try:
        about = json.loads(path.read_bytes())
        since = datetime.fromisoformat(about["since"])
        who = f"`renewals {about['command']}` (process {about['process']} on {about['host']})"
        return f"{who} has been working in {data} since {since:%Y-%m-%d %H:%M} UTC"
    except (OSError, ValueError, KeyError, TypeError):
        return f"another run works in {data}"
