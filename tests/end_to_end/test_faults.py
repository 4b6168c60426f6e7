"""Every fault ends in the exit code that is documented, one JSON line, one sentence, and no traceback."""

from __future__ import annotations

import pytest

from tests.end_to_end.faults import FAULTS, Fault, copied, run


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, id=fault.name, marks=[pytest.mark.slow] * fault.slow) for fault in FAULTS]
)
def test_a_fault_ends_as_documented(fault: Fault, published, tmp_path, monkeypatch):
    job, _ = published
    monkeypatch.chdir(tmp_path)
    code, told, complaint = run(fault, copied(job.data, job.lists, job.tables, tmp_path / "place"))
    assert (code, told["exit"]) == (fault.code, fault.code), told
    assert fault.says in told["message"]
    assert complaint.count(f"renewals: {told['message']}\n") == 1
    assert "Traceback" not in complaint
    assert "pa55" not in complaint + str(told)


def test_there_is_a_fault_for_every_exit_code():
    assert {fault.code for fault in FAULTS} == {2, 65, 66, 69, 74, 75, 78, 80}
    assert len(FAULTS) >= 40
