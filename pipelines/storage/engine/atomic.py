"""Atomic writing of files: a file is complete or absent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from renewals.pipelines.runtime.errors import OutputError
from renewals.pipelines.storage.engine.engine_errors import translate_engine_errors


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file completely or not at all. Raises `OutputError`."""
    with atomic_path(path) as unfinished, translate_engine_errors(f"writing {path.name}"):
        unfinished.write_bytes(content)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; it is renamed to `path` if the block succeeds, else deleted.

    Raises `OutputError` if it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        if path.is_dir():  # Spark writes folders
            shutil.rmtree(path)
        unfinished.replace(path)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()
