"""Compiled loops: kept where they can be kept, and shared by threads without a row lost or done twice."""

import numpy as np
import pytest
from numba.core import config

from renewals.models.kernels import jit as own
from renewals.models.kernels.jit import cached_njit, run_in_blocks


def doubled(number):
    return number * 2


def test_without_a_place_to_keep_it_a_loop_is_compiled_all_the_same(monkeypatch):
    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "IPythonCacheLocator")
    loop = cached_njit(doubled)
    assert loop(21) == 42
    assert "Null" in type(loop._cache).__name__, "it was kept after all"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("rows", [0, 1, 10, 11])
def test_every_row_is_done_once(monkeypatch, threads, rows):
    monkeypatch.setattr(own, "ROWS_PER_TASK", 5)
    done = np.zeros(rows, int)

    def count(first, end):
        done[first:end] += 1

    run_in_blocks(count, rows, threads)
    assert (done == 1).all()


def test_a_fault_in_a_thread_is_not_lost():
    def fault(first, end):
        raise ValueError(f"rows {first} to {end}")

    with pytest.raises(ValueError, match="rows 0 to 4096"):
        run_in_blocks(fault, 9000, 2)
