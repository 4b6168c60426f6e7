"""Fixture of a company small enough to check by hand: the test draws the tables of acme; quiet does nothing."""

from __future__ import annotations

import pytest

from tests.oracle.drawn import drawn_features


@pytest.fixture(scope="session")
def company():
    """`company(table="drawn rows", ...)(family, *columns)`: features of each account on 2026-03-01."""
    return drawn_features
