"""Lock that allows one writing run per folder; the error for a second run names the holder and its start time."""

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
    """Hold the lock of a data folder while the block runs; the system frees it when the process ends in any way.

    Raises `RunLockedError` if another run holds it and `OutputError` if the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(data / lock_file)
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        _write_holder(data / holder_file, command)
    except Timeout:
        raise RunLockedError(
            f"{_describe_holder(data / holder_file, data)}: wait until it ends, or use another --data"
        ) from None
    except OSError as error:
        lock.release()
        raise OutputError(f"{data} cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        with suppress(OSError):
            (data / holder_file).unlink()
        lock.release()


def _write_holder(path: Path, command: str) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"command": command, "process": os.getpid(), "host": socket.gethostname(), "since": since}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(holder), encoding="utf-8")
    unfinished.replace(path)


def _describe_holder(path: Path, data: Path) -> str:
    """Sentence about the run that holds the lock. It names no run if the file is missing, as it can be for an instant
    after locking."""
    try:
        holder = json.loads(path.read_bytes())
        since = datetime.fromisoformat(holder["since"])
        run = f"`renewals {holder['command']}` (process {holder['process']} on {holder['host']})"
        return f"{run} has been working in {data} since {since:%Y-%m-%d %H:%M} UTC"
    except (OSError, ValueError, KeyError, TypeError):
        return f"another run works in {data}"
