"""`bench/mutations.py` breaks the code on purpose: each of its faults must still find the code that it breaks."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from tests.root import ROOT

SPEC = importlib.util.spec_from_file_location("mutations", ROOT / "bench" / "mutations.py")
assert SPEC is not None
assert SPEC.loader is not None
mutations = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = mutations
SPEC.loader.exec_module(mutations)


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda mutation: mutation.fault)
def test_a_fault_finds_the_code_that_it_breaks(mutation) -> None:
    assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1


def test_the_tests_that_should_notice_are_there() -> None:
    assert [name for name in mutations.TESTS if not (ROOT / name).is_file()] == []
    assert len(mutations.MUTATIONS) > 50
