"""Tests of compiled loops: they need no cache folder, and threads process each row exactly once."""

import numpy as np
import pytest
from numba.core import config

from renewals.models.kernels import jit
from renewals.models.kernels.jit import cached_njit, run_in_blocks


def double(number):
    return number * 2


def test_loop_is_compiled_without_a_cache_folder(monkeypatch):
    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "IPythonCacheLocator")
    loop = cached_njit(double)
    assert loop(21) == 42
    assert "Null" in type(loop._cache).__name__, "the loop was cached"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("rows", [0, 1, 10, 11])
def test_every_row_is_processed_once(monkeypatch, threads, rows):
    monkeypatch.setattr(jit, "ROWS_PER_TASK", 5)
    visits = np.zeros(rows, int)

    def count(first, end):
        visits[first:end] += 1

    run_in_blocks(count, rows, threads)
    assert (visits == 1).all()


def test_error_in_a_thread_is_raised():
    def fail(first, end):
        raise ValueError(f"rows {first} to {end}")

    with pytest.raises(ValueError, match="rows 0 to 4096"):
        run_in_blocks(fail, 9000, 2)
