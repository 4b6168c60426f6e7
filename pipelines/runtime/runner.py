"""Run one command to its end: one JSON line on standard output, one sentence for a person, a documented exit code.

Whatever happens (a stop, a fault of ours, Ctrl-C, SIGTERM, a reader who has gone) ends here and in no other way.
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
"""Exit code and state of a run that a signal ended."""
LOGS_FOLDER = "logs"
"""Where the data folder keeps the tracebacks of unexpected errors."""


def run_command(work: Callable[[], dict[str, Any]], data: Path, command: str) -> int:
    """Do the work, print its result as one JSON line, and return the exit code.

    `data` is where the traceback of an unexpected error is written; `command` is how the run is called there.
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
    """End a run that stopped, or met an error nobody foresaw: the machine's, where it is known to be, else ours."""
    stop = error if isinstance(error, RunError) else _machine_error(error)
    if stop is not None:
        return report_failure(stop.exit_code, stop.state, str(stop), **stop.details)
    log = write_traceback(error, data, command)
    kept = (
        f"is in {log}: please report it with that file" if log else f"could not be written to {data}: please report it"
    )
    words = f"internal error ({type(error).__name__}); the traceback {kept}"
    return report_failure(INTERNAL_EXIT_CODE, "InternalError", words, log=str(log) if log else None)


def _machine_error(error: BaseException) -> RunError | None:
    """A disk that is full or refuses, a file that is gone, or memory that is short; None where it is none of these."""
    if isinstance(error, MemoryError):
        return ConfigError(
            "more memory is needed than there is: lower engine.memory and engine.threads, or use less data"
        )
    if "duckdb" in sys.modules and (stop := _engine_error(error)):
        return stop
    if not isinstance(error, OSError) or error.errno is None:
        return None
    place = f"{error.filename}: " if error.filename else ""
    if isinstance(error, FileNotFoundError):
        return MissingInputError(f"{place}is not there (any more): run the command that makes it, then this one again")
    if error.errno in _DISK_ERRNOS:
        return OutputError(f"{place}{os.strerror(error.errno)}: give the folder room or rights, then run it again")
    return None


def _engine_error(error: BaseException) -> RunError | None:
    """What the query engine met in a file or in memory; None for other errors, which are mistakes in a query."""
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
    """End a run whose command line is wrong."""
    return report_failure(USAGE_EXIT_CODE, "Usage", message)


def report_failure(code: int, state: str, message: str, **details: Any) -> int:
    """Say once, on standard error, why the run ended, and once more as JSON on standard output; returns the code."""
    with suppress(OSError):
        print(f"renewals: {message}", file=sys.stderr, flush=True)
    print_result(details | {"exit": code, "state": state, "message": message})
    return code


def print_result(result: dict[str, Any]) -> None:
    """Print the one line of result on standard output; nobody reading it is no fault."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    line = json.dumps(nan_to_null(result), sort_keys=True, ensure_ascii=not utf8, default=str)
    try:
        print(line, flush=True)
    except OSError:
        _discard_output()


def _discard_output() -> None:
    """Let the interpreter flush what is left at its end without a complaint."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- the log of an unexpected error --------------------------------------------------------------


def write_traceback(error: BaseException, data: Path, command: str) -> Path | None:
    """Write where an error happened to a file in the data folder; None where the folder cannot be written.

    The messages of errors are left out: those of pandas and DuckDB quote rows, and those of drivers passwords.
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
    """The frames of an error, outermost first, after those of what caused it; code only, no values."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _traceback_lines(cause)
        yield "which led to:"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
    yield f"{type(error).__module__}.{type(error).__qualname__} (its message is left out: it may quote your data)"
