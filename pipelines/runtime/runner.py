"""Run one command: one JSON line on standard output, one sentence for the user, and a documented exit code.

Every end of a run is handled here: a `RunError`, an internal error, Ctrl-C, SIGTERM and a closed output.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from renewals.pipelines.runtime import signals
from renewals.pipelines.runtime.errors import ConfigError, DataContractError, MissingInputError, OutputError, RunError
from renewals.pipelines.runtime.json_values import nan_to_null

USAGE_EXIT_CODE, INTERNAL_EXIT_CODE = 2, 70
SIGNAL_EXITS: dict[int, tuple[int, str]] = {signal.SIGINT: (130, "Interrupted"), signal.SIGTERM: (143, "Terminated")}
"""Exit code and state of a run that was ended by a signal."""
LOGS_FOLDER = "logs"
"""Subfolder of the data folder for the tracebacks of unexpected errors."""


def run_command(work: Callable[[], dict[str, Any]], data: Path, command: str) -> int:
    """Call `work`, print its result as one JSON line, and return the exit code.

    The traceback of an unexpected error is written to a file in `data`, with `command` as the name of the run.
    """
    from renewals.pipelines.runtime.console import configure_logging

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    configure_logging()
    try:
        with signals.handle_signals(_report_signal) as received:
            result = work()
    except (Exception, KeyboardInterrupt, signals.TerminationError) as error:
        return _report_signal(received[0]) if received else _report_error(error, data, command)
    print_result(result)
    return 0


def _report_signal(signum: int) -> int:
    code, state = SIGNAL_EXITS[signum]
    return report_failure(
        code, state, f"stopped by {signal.Signals(signum).name}; no partial output. Run the command again"
    )


def _report_error(error: BaseException, data: Path, command: str) -> int:
    """Report the error that ended a run and return the exit code.

    A known error of disk or memory becomes a `RunError`; every other unexpected error is an internal error.
    """
    stop = error if isinstance(error, RunError) else _machine_error(error)
    if stop is not None:
        return report_failure(stop.exit_code, stop.state, str(stop), **stop.details)
    log = write_traceback(error, data, command)
    location = (
        f"is in {log}: please report it with that file" if log else f"could not be written to {data}: please report it"
    )
    message = f"internal error ({type(error).__name__}); the traceback {location}"
    return report_failure(INTERNAL_EXIT_CODE, "InternalError", message, log=str(log) if log else None)


def _machine_error(error: BaseException) -> RunError | None:
    """`RunError` for a full or read-only disk, a missing file or too little memory; None for every other error."""
    if isinstance(error, MemoryError):
        return ConfigError("not enough memory: lower engine.memory and engine.threads, or use less data")
    if "duckdb" in sys.modules and (stop := _engine_error(error)):
        return stop
    if not isinstance(error, OSError) or error.errno is None:
        return None
    file = f"{error.filename}: " if error.filename else ""
    if isinstance(error, FileNotFoundError):
        return MissingInputError(f"{file}does not exist: run the command that writes it, then this one again")
    if error.errno in _DISK_ERRNOS:
        return OutputError(
            f"{file}{os.strerror(error.errno)}: free disk space or correct the permissions, then run it again"
        )
    return None


def _engine_error(error: BaseException) -> RunError | None:
    """`RunError` for a memory or file error of DuckDB; None for its other errors, which are mistakes in a query."""
    import duckdb

    line = (str(error).splitlines() or [""])[0]
    if isinstance(error, duckdb.OutOfMemoryException):
        return ConfigError(f"more memory is needed than engine.memory allows ({line})")
    if isinstance(error, duckdb.IOException | duckdb.SerializationException):
        return DataContractError(
            f"a file in the data folder cannot be read ({line}): remove it and run the command that writes it again"
        )
    return None


_DISK_ERRNOS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE),
    *(errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EFBIG, errno.ESTALE),
}


def report_usage_error(message: str) -> int:
    """Report an invalid command line and return its exit code (2)."""
    return report_failure(USAGE_EXIT_CODE, "Usage", message)


def report_failure(code: int, state: str, message: str, **details: Any) -> int:
    """Print why the run failed, as a sentence on standard error and as JSON on standard output; return `code`."""
    with suppress(OSError):
        print(f"renewals: {message}", file=sys.stderr, flush=True)
    print_result(details | {"exit": code, "state": state, "message": message})
    return code


def print_result(result: dict[str, Any]) -> None:
    """Print the result as one JSON line on standard output; a closed output is not an error."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    line = json.dumps(nan_to_null(result), sort_keys=True, ensure_ascii=not utf8, default=str)
    try:
        print(line, flush=True)
    except OSError:
        _discard_output()


def _discard_output() -> None:
    """Redirect standard output to the null device, so that the flush at exit raises no error."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- the log of an unexpected error --------------------------------------------------------------


def write_traceback(error: BaseException, data: Path, command: str) -> Path | None:
    """Write the traceback of an error to a file in the data folder; return its path, or None if it cannot be written.

    Messages of errors are omitted: those of pandas and DuckDB quote rows, and those of drivers quote passwords.
    """
    now = datetime.now(UTC)
    path = data / LOGS_FOLDER / f"error-{now:%Y%m%dT%H%M%S}-{os.getpid()}.log"
    head = f"{now.isoformat(timespec='seconds')} renewals {command}, Python {platform.python_version()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([head, *_traceback_lines(error)]) + "\n", encoding="utf-8")
    except OSError:
        return None
    return path


def _traceback_lines(error: BaseException) -> Iterator[str]:
    """Lines of a traceback: the frames of the cause, then those of the error, outermost first; code only, no values."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _traceback_lines(cause)
        yield "which led to:"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
    yield f"{type(error).__module__}.{type(error).__qualname__} (its message is omitted: it may quote your data)"
