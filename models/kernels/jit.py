"""Numba compilation without the global interpreter lock, and parallel processing of blocks of rows.

Each block of rows is processed by one thread, and each row in a fixed order. So neither the number of threads nor the
block size changes the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba

ROWS_PER_TASK = 4096
"""Rows per block that a thread processes."""


def cached_njit(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function with numba (`nogil`), with a cache on disk where possible.

    The cache is next to the source or in the user's cache folder. In a read-only container without either, each process
    compiles again, which takes some seconds.
    """
    try:
        return numba.njit(nogil=True, cache=True)(loop)
    except RuntimeError:
        return numba.njit(nogil=True)(loop)


def run_in_blocks(loop: Callable[[int, int], Any], rows: int, threads: int) -> None:
    """Call `loop(first, end)` for consecutive blocks that cover all `rows`, on several threads."""
    starts = range(0, rows, ROWS_PER_TASK)
    if threads == 1 or len(starts) < 2:
        return _exhaust(loop(start, min(start + ROWS_PER_TASK, rows)) for start in starts)
    with ThreadPoolExecutor(threads) as pool:
        _exhaust(pool.map(lambda start: loop(start, min(start + ROWS_PER_TASK, rows)), starts))


def _exhaust(results: Iterable[Any]) -> None:
    for _ in results:
        pass
