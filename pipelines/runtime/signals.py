"""Handling of SIGINT and SIGTERM: a run ends cleanly, also from native code, and publishes no list afterwards."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

SHUTDOWN_SECONDS = 10.0
"""Seconds that a run has for its cleanup after a signal; then the process ends, even inside native code."""
HANDLED_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_received_signals: list[int] = []


class TerminationError(BaseException):
    """SIGTERM was received. A `BaseException`, so that no `except Exception` catches it."""


def raise_if_received() -> None:
    """Raise the exception of a received signal again: DuckDB converts it to its own error, which may get caught."""
    if _received_signals:
        _raise_for_signal(_received_signals[0])


def _raise_for_signal(signum: int) -> NoReturn:
    raise KeyboardInterrupt if signum == signal.SIGINT else TerminationError


@contextmanager
def handle_signals(exit_code_of: Callable[[int], int]) -> Iterator[list[int]]:
    """Raise an exception in the block on SIGINT and SIGTERM; yield the list of the signals received.

    If native code does not return within `SHUTDOWN_SECONDS`, the process ends with the code that `exit_code_of` returns
    for the signal. Outside the main thread, where Python handles no signals, nothing is done.
    """
    _received_signals.clear()
    if threading.current_thread() is not threading.main_thread():
        yield _received_signals
        return
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    wakeup = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    previous_handlers = {number: signal.signal(number, _handle_signal) for number in HANDLED_SIGNALS}
    done = threading.Event()
    threading.Thread(target=_watch_signals, args=(read_fd, done, exit_code_of), daemon=True, name="signals").start()
    try:
        yield _received_signals
    finally:
        done.set()
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(write_fd)


def _handle_signal(signum: int, frame: Any) -> NoReturn:
    _received_signals.append(signum)
    _raise_for_signal(signum)


def _watch_signals(read_fd: int, finished: threading.Event, exit_code_of: Callable[[int], int]) -> None:
    """End the process if the run does not finish in time after a signal.

    This runs in a thread, because the main thread may be inside LightGBM, where Python handles no signals.
    """
    with os.fdopen(read_fd, "rb", buffering=0) as signal_bytes:
        while number := signal_bytes.read(1):
            if number[0] in HANDLED_SIGNALS and not finished.wait(SHUTDOWN_SECONDS):
                os._exit(exit_code_of(number[0]))
