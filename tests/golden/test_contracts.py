"""Contracts case by case: the ledger of small companies, against answers that were worked by hand."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import yaml

from tests.docs_pages import load_page
from tests.root import ROOT

PAGE = load_page("contracts_page")
CASES = PAGE.load_cases()
ANSWERS = yaml.safe_load((ROOT / "tests" / "golden" / "contracts_answers.yaml").read_text(encoding="utf-8"))
RULES = 30
"""Rules of docs/contracts.md."""
PARTS = ("ledger", "months", "labels", "status")


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: CASES[number]["name"])
def test_the_case_is_as_worked_by_hand(number) -> None:
    answer, worked = PAGE.case_answer(CASES[number]), ANSWERS[number]
    assert {part: answer[part] for part in PARTS} == {part: worked[part] for part in PARTS}


@pytest.mark.parametrize("worked", ANSWERS, ids=lambda worked: worked["name"])
def test_the_worked_months_add_up(worked) -> None:
    """Opening and movements of each account make its closing, with which the next month opens."""
    closings: dict[str, float] = {}
    for number, accounts in enumerate(worked["months"].values()):
        for account, money in accounts.items():
            moved = {name: -amount if name in ("contraction", "churn") else amount for name, amount in money.items()}
            closing = moved.pop("closing", 0)
            assert sum(moved.values()) == pytest.approx(closing, abs=0.005)
            assert number == 0 or money.get("opening", 0) == closings.get(account, 0)
        assert all(money == 0 for account, money in closings.items() if account not in accounts)
        closings = {account: money.get("closing", 0) for account, money in accounts.items()}


def test_every_case_has_an_answer_and_every_decision_a_rule() -> None:
    assert [worked["name"] for worked in ANSWERS] == [case["name"] for case in CASES]
    assert min(Counter(case["kind"] for case in CASES).values()) >= 2
    for worked in ANSWERS:
        for reason in worked.get("decided", []):
            named = re.match(r"(page (\d+)|domain R\d+): ", reason)
            assert named is not None, reason
            assert named[2] is None or 1 <= int(named[2]) <= RULES, reason


def test_the_page_has_these_rules() -> None:
    text = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8").split("## Cases")[0]
    assert [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)] == list(range(1, RULES + 1))
