"""SIGINT and SIGTERM end a run in order, also out of native code, and never with a list published afterwards."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

GRACE_SECONDS = 10.0
"""After a signal the run has so long to clean up; native code that does not return is left to the system then."""
NUMBERS = (signal.SIGINT, signal.SIGTERM)

_received: list[int] = []


class Terminated(BaseException):
    """SIGTERM arrived: no `except Exception` may swallow it."""


def raise_if_received() -> None:
    """Raise once more what a signal raised: DuckDB turns it into an error of its own, which somebody may swallow."""
    if _received:
        _raise(_received[0])


def _raise(number: int) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


@contextmanager
def caught(end: Callable[[int], int]) -> Iterator[list[int]]:
    """Raise an exception on SIGINT and SIGTERM; yields the signals received so far.

    Where native code does not return within the time of grace, the process ends with what `end` gives for the signal.
    Outside the main thread, where Python handles no signals, nothing is done.
    """
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        yield _received
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _handle) for number in NUMBERS}
    done = threading.Event()
    threading.Thread(target=_watch, args=(reading, done, end), daemon=True, name="signals").start()
    try:
        yield _received
    finally:
        done.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(writing)


def _handle(number: int, frame: Any) -> NoReturn:
    _received.append(number)
    _raise(number)


def _watch(reading: int, done: threading.Event, end: Callable[[int], int]) -> None:
    """Wait for a signal in a thread: the main one may be deep in LightGBM, where Python sees none."""
    with os.fdopen(reading, "rb", buffering=0) as bytes_of_signals:
        while number := bytes_of_signals.read(1):
            if number[0] in NUMBERS and not done.wait(GRACE_SECONDS):
                os._exit(end(number[0]))
