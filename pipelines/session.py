"""Start a run: read the settings, run the preflight checks and hold the lock while the run works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path

from renewals.pipelines import preflight
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.lock import exclusive_lock
from renewals.pipelines.runtime.paths import tables_address
from renewals.pipelines.runtime.settings import read_settings

PARAMS_FILE = Path("params.yaml")
LOCK_FREE_COMMANDS = ("example", "history", "explain", "whatif", "publish", "collect", "promote", "rollback")
"""Commands that do not hold the lock of the data folder: they write nothing there, or have a lock of their own."""


@contextmanager
def open_job(
    command: str,
    tables: str | None,
    data: Path,
    lists: Path,
    params: Path | None = None,
    overrides: Iterable[str] = (),
    check: Callable[[Job], None] = lambda job: None,
    as_of: date | None = None,
    until: date | None = None,
) -> Iterator[Job]:
    """Yield the job of a command after its preflight checks; hold the lock of the data folder if it needs it.

    `params` is by default `params.yaml` if that exists. `check` tests the arguments of the command.
    Raises a `RunError` whose `exit_code` is that of the command line.
    """
    file = params or (PARAMS_FILE if PARAMS_FILE.exists() else None)
    settings = read_settings(file, overrides)
    job = Job(settings, tables_address(settings.tables, tables), data, lists, opened={}, as_of=as_of, until=until)
    check(job)
    preflight.run_checks(command, job)
    with nullcontext() if command in LOCK_FREE_COMMANDS else exclusive_lock(data, command):
        yield job
