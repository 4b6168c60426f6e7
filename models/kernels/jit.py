"""Loops over numbers, compiled: without Python's lock, so that threads may share the rows of a table.

Threads share whole blocks of rows and nothing else; each row is worked out by one of them, in one order. So neither
the number of threads nor the size of a block shows in the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba

ROWS_PER_TASK = 4096
"""Rows a thread takes at a time."""


def cached_njit(loop: Callable[..., Any]) -> Callable[..., Any]:
    """The loop as machine code, kept on disk for the next process where there is a place to keep it.

    The place is beside the source, or the user's cache; in a read-only container without either, each process
    compiles anew, which takes some seconds.
    """
    try:
        return numba.njit(nogil=True, cache=True)(loop)
    except RuntimeError:
        return numba.njit(nogil=True)(loop)


def run_in_blocks(loop: Callable[[int, int], Any], rows: int, threads: int) -> None:
    """Call `loop(first, end)` for stretches that make up `rows`, by several threads."""
    starts = range(0, rows, ROWS_PER_TASK)
    if threads == 1 or len(starts) < 2:
        return _exhaust(loop(start, min(start + ROWS_PER_TASK, rows)) for start in starts)
    with ThreadPoolExecutor(threads) as pool:
        _exhaust(pool.map(lambda start: loop(start, min(start + ROWS_PER_TASK, rows)), starts))


def _exhaust(results: Iterable[Any]) -> None:
    for _ in results:
        pass
