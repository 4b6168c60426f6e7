"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from renewals.pipelines.runtime.errors import OutputError
from renewals.pipelines.storage.engine.engine_errors import translate_engine_errors


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path) as unfinished, translate_engine_errors(f"writing {path.name}"):
        unfinished.write_bytes(content)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to; it becomes `path` when all went well and vanishes otherwise."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        if path.is_dir():  # as Spark left it
            shutil.rmtree(path)
        unfinished.replace(path)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()
