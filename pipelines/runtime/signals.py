"""SIGINT and SIGTERM end a run in order, also out of native code, and never with a list published afterwards."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

SHUTDOWN_SECONDS = 10.0
"""After a signal the run has so long to clean up; native code that does not return is left to the system then."""
HANDLED_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_received_signals: list[int] = []


class TerminationError(BaseException):
    """SIGTERM arrived: no `except Exception` may swallow it."""


def raise_if_received() -> None:
    """Raise once more what a signal raised: DuckDB turns it into an error of its own, which somebody may swallow."""
    if _received_signals:
        _raise_for_signal(_received_signals[0])


def _raise_for_signal(signum: int) -> NoReturn:
    raise KeyboardInterrupt if signum == signal.SIGINT else TerminationError


@contextmanager
def handle_signals(exit_code_of: Callable[[int], int]) -> Iterator[list[int]]:
    """Raise an exception on SIGINT and SIGTERM; yields the signals received so far.

    Where native code does not return within the time of grace, the process ends with what `exit_code_of` gives for the
    signal. Outside the main thread, where Python handles no signals, nothing is done.
    """
    _received_signals.clear()
    if threading.current_thread() is not threading.main_thread():
        yield _received_signals
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _handle_signal) for number in HANDLED_SIGNALS}
    done = threading.Event()
    threading.Thread(target=_watch_signals, args=(reading, done, exit_code_of), daemon=True, name="signals").start()
    try:
        yield _received_signals
    finally:
        done.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(writing)


def _handle_signal(signum: int, frame: Any) -> NoReturn:
    _received_signals.append(signum)
    _raise_for_signal(signum)


def _watch_signals(read_fd: int, finished: threading.Event, exit_code_of: Callable[[int], int]) -> None:
    """Wait for a signal in a thread: the main one may be deep in LightGBM, where Python sees none."""
    with os.fdopen(read_fd, "rb", buffering=0) as bytes_of_signals:
        while number := bytes_of_signals.read(1):
            if number[0] in HANDLED_SIGNALS and not finished.wait(SHUTDOWN_SECONDS):
                os._exit(exit_code_of(number[0]))
