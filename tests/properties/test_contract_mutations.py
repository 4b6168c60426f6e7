"""The laws and the golden cases of contracts notice the faults of `tests.properties.contract_mutations`.

`pytest -s -m slow tests/properties/test_contract_mutations.py` prints the table of the faults and what notices each.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml

from tests.docs_pages import load_page
from tests.properties.contract_companies import ACCOUNT_COLUMNS, CONTRACT_COLUMNS, Company, draw_company
from tests.properties.contract_laws import LAWS, Settler
from tests.properties.contract_mutations import MUTATIONS, Mutation
from tests.properties.settled_companies import INSTANTS, REVENUE, Revenue, Row, changed_copy, settle, with_known_times
from tests.root import ROOT

PAGE = load_page("contracts_page")
CASES = {case["name"]: case for case in PAGE.load_cases()}
ANSWERS = yaml.safe_load((ROOT / "tests" / "golden" / "contracts_answers.yaml").read_text(encoding="utf-8"))
WORKED = {worked["name"]: worked for worked in ANSWERS}
LAWS_BY_NAME = {law.__name__: law for law in LAWS}
COMPANIES = range(60)
CLAUSES = (
    *("R9", "R10 (1)", "R10 (2)", "R10 (3)", "R10 (4)", "R10 (5)", "R10 (6)", "R10 amendment", "R10 early renewal"),
    *("R10 extension", "R10 in place", "R10 trial", "R10 paid then free", "R10 pause", "R10 mergers", "R1 asked"),
    *("R1 not asked", "R1 deadline", "R1 lapse", "R1 pending", "R12", "R15"),
)


@cache
def company_of(name: str) -> Company:
    """Company of a golden case."""

    def complete(row: Row, columns: tuple[str, ...]) -> Row:
        days = {k: PAGE.instant(v) for k, v in row.items() if k in INSTANTS and v is not None}
        return dict.fromkeys(columns) | row | days

    case = CASES[name]
    contracts = [complete(row, CONTRACT_COLUMNS) for row in PAGE.contract_rows(case)]
    accounts = [complete(row, ACCOUNT_COLUMNS) for row in PAGE.account_rows(case)]
    rates = [complete(row, ()) for row in case.get("rates") or ()]
    return Company({"contracts": contracts, "accounts": accounts, "rates": rates}, frozenset())


def is_as_worked(name: str, revenue: Revenue) -> bool:
    """True if the code gives a golden case the answer worked by hand; an error is another answer."""
    company, case = company_of(name), CASES[name]
    try:
        settled = settle(company, PAGE.AS_OF, revenue=revenue, policy=PAGE.case_policy(case))
        tables = PAGE.LedgerRows(
            sorted(settled.entries, key=lambda row: (row["due_at"], row["contract_id"], row["start_date"])),
            settled.months,
            settled.states,
            {row["term"]: row["renewed"] for row in settled.outcomes},
            settled.rows("pairs"),
            [(row["contract_id"], row["known_at"].date()) for row in with_known_times(company.tables["contracts"])],
        )
        answer = PAGE.answer_of(case, tables)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError):
        return False
    worked: dict[str, Any] = WORKED[name]
    return all(answer[part] == worked[part] for part in ("ledger", "months", "labels", "status"))


def holds(killer: str, revenue: Revenue) -> bool:
    """True if the code keeps a law on all companies, or gives a golden case the answer worked by hand."""
    law = LAWS_BY_NAME.get(killer)
    if law is None:
        return is_as_worked(case_name(killer), revenue)
    return not any(list(law(company, Settler(company, revenue))) for company in map(drawn, COMPANIES))


def case_name(beginning: str) -> str:
    """Name of the one golden case that begins so."""
    (name,) = (name for name in CASES if name.startswith(beginning))
    return name


@cache
def drawn(seed: int) -> Company:
    return draw_company(seed)


@pytest.fixture(scope="module")
def killed() -> Iterator[list[Mutation]]:
    found: list[Mutation] = []
    yield found
    print("\n| clause | fault | noticed by |\n|---|---|---|")
    for mutation in found:
        names = (killer if killer in LAWS_BY_NAME else case_name(killer) for killer in mutation.killers)
        print(f"| {mutation.clause} | {mutation.fault} | {'; '.join(names)} |")


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.clause}: {mutation.fault}")
def test_each_named_law_and_case_notices_the_fault(mutation, killed) -> None:
    changed = changed_copy(mutation.module, mutation.old, mutation.new)
    assert mutation.killers
    assert [killer for killer in mutation.killers if holds(killer, changed)] == []
    killed.append(mutation)


@pytest.mark.slow
def test_what_notices_the_faults_finds_none_in_the_code() -> None:
    killers = {killer for mutation in MUTATIONS for killer in mutation.killers}
    assert [killer for killer in sorted(killers) if not holds(killer, REVENUE)] == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.clause}: {mutation.fault}")
def test_the_code_of_each_fault_exists_once(mutation) -> None:
    code = (ROOT / "features" / "revenue" / f"{mutation.module}.py").read_text(encoding="utf-8")
    assert code.count(mutation.old) == 1


def test_each_clause_has_a_fault() -> None:
    """R12 moves only what ends a contract and when a notice is known: lead times are no matter of this package."""
    broken = {mutation.clause for mutation in MUTATIONS}
    assert [clause for clause in CLAUSES if not any(name.startswith(clause) for name in broken)] == []
    assert len(MUTATIONS) == len({mutation.fault for mutation in MUTATIONS}) > 50
