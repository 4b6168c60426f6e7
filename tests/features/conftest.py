"""A company small enough to be checked by eye: acme, of which the test tells, and quiet, where nothing happens."""

from __future__ import annotations

import pytest

from tests.oracle.drawn import told


@pytest.fixture(scope="session")
def company():
    """`company(table="drawn rows", ...)(family, *columns)`: what the features say of each account on 2026-03-01."""
    return told
