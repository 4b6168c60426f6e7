"""`bench/mutations.py` breaks the code on purpose: the code that each of its faults replaces must still exist."""

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
def test_the_code_of_each_fault_exists_once(mutation) -> None:
    assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1


def test_the_test_files_of_the_mutations_exist() -> None:
    assert [name for name in mutations.TESTS if not (ROOT / name).is_file()] == []
    assert len(mutations.MUTATIONS) > 50
