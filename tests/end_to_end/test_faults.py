"""Every fault ends with its documented exit code, one JSON line, one message and no traceback."""

from __future__ import annotations

import pytest

from tests.end_to_end.faults import FAULTS, Fault, copy_company, run


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, id=fault.name, marks=[pytest.mark.slow] * fault.slow) for fault in FAULTS]
)
def test_a_fault_ends_as_documented(fault: Fault, published, tmp_path, monkeypatch):
    job, _ = published
    monkeypatch.chdir(tmp_path)
    code, output, errors = run(fault, copy_company(job.data, job.lists, job.tables, tmp_path / "place"))
    assert (code, output["exit"]) == (fault.code, fault.code), output
    assert fault.message in output["message"]
    assert errors.count(f"renewals: {output['message']}\n") == 1
    assert "Traceback" not in errors
    assert "pa55" not in errors + str(output)


def test_every_exit_code_has_a_fault():
    assert {fault.code for fault in FAULTS} == {2, 65, 66, 69, 74, 75, 78, 80}
    assert len(FAULTS) >= 40
