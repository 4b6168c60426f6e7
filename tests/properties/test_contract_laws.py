"""Laws of contracts on random companies (`tests.properties.contract_laws`), and the faults that they have found."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date, datetime
from functools import cache
from typing import Any

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewals.features.policy import Contracts, Policy, Renewal
from renewals.features.revenue.ledger import RenewalLedger, renewals
from renewals.features.revenue.ledger_tables import table_types
from renewals.features.spine import DUE
from renewals.models.target import Outcomes
from renewals.models.targets.renewal import outcome
from tests.properties import contract_laws
from tests.properties.contract_companies import (
    ACCOUNT_COLUMNS,
    CONTRACT_COLUMNS,
    Company,
    draw_company,
)
from tests.properties.contract_laws import AS_OF, LAWS, LEDGER_DAY, Law, Settler
from tests.properties.settled_companies import Row, settle, table

FEW, MANY = range(150), range(3000)
COMPARED = ("entries", "account_months", "pairs", "expansions", "overlaps", "term_states", "term_outcomes")


@cache
def settler(seed: int) -> Settler:
    return Settler(draw_company(seed))


def breaches(law: Law, settlers: Any) -> list[str]:
    """Companies that break a law, with the first breach of each."""
    found = []
    for number, settler in settlers:
        breach = next(law(settler.company, settler), None)
        if breach is not None:
            found.append(f"company {number}: {breach}")
    return found


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law) -> None:
    assert breaches(law, ((seed, settler(seed)) for seed in FEW)) == []


@st.composite
def companies(draw: st.DrawFn) -> Company:
    """Companies of any seed without some of their contracts: a failing one is shown with as few as possible."""
    company = draw_company(draw(st.integers(0, 10**9)))
    ids = sorted({row["contract_id"] for row in company.tables["contracts"]})
    kept = {contract_id for contract_id in ids if draw(st.integers(0, 4))}
    contracts = [row for row in company.tables["contracts"] if row["contract_id"] in kept]
    return replace(company, tables={**company.tables, "contracts": contracts})


POLICIES = st.builds(
    lambda overlap, cancelled_means, payment: Policy(
        contracts=Contracts(overlap=overlap, cancelled_means=cancelled_means), renewal=Renewal(payment=payment)
    ),
    st.sampled_from(["auto", "two", "replace"]),
    st.sampled_from(["end", "request"]),
    st.sampled_from(["auto", "required", "ignored"]),
)


def assert_laws_hold(company: Company, policy: Policy) -> None:
    """Every law holds of a company, with these settings."""
    settler = Settler(company, policy=policy)
    assert {law.__name__: breach for law in LAWS if (breach := next(law(company, settler), None))} == {}


@settings(deadline=None, max_examples=60)
@given(company=companies(), policy=POLICIES)
def test_laws_hold_with_any_settings(company, policy) -> None:
    assert_laws_hold(company, policy)


BROKEN_ONCE = {
    7: "an unpaid renewal of a free contract lost a customer",
    82: "an unpaid renewal of a free contract that still ran lost a customer",
    146: "an unpaid renewal of what another account held lost a customer without a lost contract",
    325: "a deletion took the label of a renewal that was never paid",
    368: "a follow-on that was deleted took the loss of what it continued from the roll-forward",
    369: "a term with a final outcome lapsed when what it continues became known",
}
"""Companies, by seed, that broke a law where payment is required of every renewal."""


@pytest.mark.parametrize("seed", BROKEN_ONCE, ids=BROKEN_ONCE.get)
def test_laws_hold_where_they_were_broken(seed) -> None:
    for overlap in ("auto", "replace"):
        policy = Policy(contracts=Contracts(overlap=overlap), renewal=Renewal(payment="required"))
        assert_laws_hold(draw_company(seed), policy)


@pytest.mark.parametrize("seed", [1448, 1989, 628, 2841])
def test_equal_contracts_are_treated_alike(seed) -> None:
    """Of two equal contracts only one continued an end of that day (rule 4), or only one was amended (rule 1)."""
    assert_laws_hold(draw_company(seed), Policy())


def test_a_deletion_does_not_move_the_day_on_which_a_label_was_final() -> None:
    """A contract was amended, what took its place is renewed, and then the row of the old one is deleted."""
    policy = Policy(
        contracts=Contracts(overlap="replace", cancelled_means="request"), renewal=Renewal(payment="ignored")
    )
    assert_laws_hold(draw_company(158), policy)


@pytest.mark.slow
@settings(deadline=None, max_examples=1500)
@given(company=companies(), policy=POLICIES)
def test_laws_hold_of_many_companies_with_any_settings(company, policy) -> None:
    assert_laws_hold(company, policy)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law_of_many_companies(law) -> None:
    assert breaches(law, ((seed, Settler(draw_company(seed))) for seed in MANY)) == []


# -- the laws speak of the project's tables ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [2, 11, 46, 60, 146, 1013])
def test_the_story_is_that_of_the_ledger(seed) -> None:
    """What the laws read is what `RenewalLedger` computes from the tables."""
    company, day = draw_company(seed), date(2024, 7, 31)
    policy = Policy(contracts=Contracts(renamed_products=company.renamed_products))
    contracts, accounts, rates = (table(company.tables[name]) for name in ("contracts", "accounts", "rates"))
    assert contracts is not None
    ledger = RenewalLedger(contracts, LEDGER_DAY, policy, rates, accounts, day)
    settled = settle(company, LEDGER_DAY, day)
    for name in COMPARED:
        rows, plain = getattr(ledger, name).to_pyarrow().to_pylist(), settled.rows(name)
        assert contract_laws.difference(map(contract_laws.frozen, plain), map(contract_laws.frozen, rows)) == []
        assert len(rows) == len(plain)


@cache
def tables_of_all(ledger_day: date) -> dict[str, Any]:
    """The ledger's tables of all companies, as one company with many accounts."""
    types = table_types({"account_id": pa.string(), "contract_id": pa.string()})
    rows: dict[str, list[Row]] = defaultdict(list)
    terms = 0
    for seed in FEW:
        settled = settler(seed)(settler(seed).company, ledger_day)
        for name in ("entries", "term_states", "term_outcomes"):
            rows[name] += [row | {"term": row["term"] + terms} if "term" in row else row for row in settled.rows(name)]
        terms += sum(len(family.settlement.terms) for family in settled.families)
    return {name: ibis.memtable(pa.Table.from_pylist(rows[name], schema=types[name])) for name in rows}


def label_rows(ledger_day: date) -> dict[tuple[Any, ...], tuple[int | None, datetime | None]]:
    """Labels of `models.targets.renewal`, by account, day and end of the renewal."""
    tables = tables_of_all(ledger_day)
    keys = [
        {"account_id": account, "renewal_id": f"{account}:{end}", "as_of": as_of, "renewal_state": DUE}
        for seed in FEW
        for as_of in AS_OF
        if as_of <= ledger_day
        for account, end in contract_laws.observed_terms(settler(seed)(settler(seed).company, ledger_day), as_of)
    ]
    schema = {"account_id": "string", "renewal_id": "string", "as_of": "date", "renewal_state": "string"}
    spine = ibis.memtable(keys, schema=ibis.schema(schema))
    outcomes = Outcomes(ledger_day, tables["term_states"], tables["term_outcomes"], ibis.memtable([{"x": 1}]))
    rows = outcome(spine, outcomes).to_pyarrow().to_pylist()
    ends = {row["renewal_id"]: date.fromisoformat(row["renewal_id"].rpartition(":")[2]) for row in rows}
    return {
        (row["account_id"], row["as_of"], ends[row["renewal_id"]]): (row["label"], row["matured_at"]) for row in rows
    }


def test_labels_of_the_target() -> None:
    """The labels that the laws read are those of the target `renewal`; once final they stay."""
    now, then = label_rows(LEDGER_DAY), label_rows(date(2024, 7, 31))
    expected = {
        (account, as_of, end): label
        for seed in FEW
        for as_of in AS_OF
        for (account, end), label in contract_laws.labels(settler(seed)(settler(seed).company), as_of).items()
    }
    assert {key: label[0] for key, label in now.items()} == {key: label[0] for key, label in expected.items()}
    final = {key: label for key, label in then.items() if label[0] is not None}
    assert len(final) > 500
    assert {key: now[key] for key in final} == final


def test_rates_of_renewals() -> None:
    """In each month the contracts of the renewals that came due are those kept and those lost, and so is their ARR."""
    entries = tables_of_all(LEDGER_DAY)["entries"]
    sets = renewals(entries).filter(ibis._.renewed.notnull()).to_pyarrow().to_pylist()
    lost: dict[tuple[Any, ...], int] = defaultdict(int)
    for row in entries.to_pyarrow().to_pylist():
        if row["renewed"] == 0:
            lost[row["account_id"], row["end_date"], row["set_known_at"]] += row["amount_due"] or 0
    assert len(sets) > 300
    for row in sets:
        gone = lost[row["account_id"], row["end_date"], row["known_at"]]
        assert row["amount_renewed"] + gone == row["amount_due"], row
        given_up = row["amount_renewed"] - row["amount_kept"]
        assert 0 <= given_up == row["contraction"] - min(0, row["price_change"]) or row["price_change"] > 0, row
        assert row["renewed"] or row["amount_renewed"] == row["amount_kept"] == 0, row
        assert row["booked_month"] >= row["due_at"].replace(day=1), row


# -- the faults in small ----------------------------------------------------------------------------------------------


def company(*contracts: Row, accounts: tuple[str, ...] = ("acme",)) -> Company:
    """A company with these contracts; what a contract leaves out is null, and it was signed on the day it starts."""
    defaults = dict.fromkeys(CONTRACT_COLUMNS) | {"account_id": accounts[0], "arr": 1200.0}
    rows = [defaults | {"signed_at": row["start_date"]} | row for row in contracts]
    created = {"created_at": datetime(2020, 1, 1)}
    known = [dict.fromkeys(ACCOUNT_COLUMNS) | {"account_id": account} | created for account in accounts]
    return Company({"contracts": rows, "accounts": known, "rates": []}, frozenset())


def term(contract_id: str, start: str, end: str, **more: Any) -> Row:
    """A contract; days are written as text."""
    days = {"start_date": start, "end_date": end} | {k: v for k, v in more.items() if k.endswith(("_at", "_from"))}
    return {"contract_id": contract_id} | more | {name: datetime.fromisoformat(day) for name, day in days.items()}


def keeps(law: Law, broken: Company) -> bool:
    return list(law(broken, Settler(broken))) == []


def test_a_customer_is_lost_although_another_account_goes_on() -> None:
    """One contract becomes two, in two accounts that are not merged, and one of the two is lost."""
    split = company(
        term("old", "2023-01-01", "2024-01-01"),
        term("one", "2024-01-01", "2025-01-01", replaces_contract_id="old"),
        term("two", "2024-01-01", "2025-01-01", replaces_contract_id="old", account_id="other"),
        term("one25", "2025-01-01", "2026-01-01", replaces_contract_id="one"),
        accounts=("acme", "other"),
    )
    assert keeps(contract_laws.a_customer_without_contracts_is_lost, split)


def test_a_customer_lost_in_a_pause_is_lost_in_the_month_in_which_the_ledger_has_it() -> None:
    """While a contract is paused, papers say that it ended before the pause."""
    paused = company(
        term("c", "2025-04-01", "2026-04-01", recorded_at="2025-04-01"),
        term("c", "2025-04-01", "2025-10-01", recorded_at="2026-03-02"),
        term("pause", "2025-12-01", "2026-03-31", kind="pause", arr=0.0),
    )
    assert keeps(contract_laws.a_lost_customer_has_a_lost_contract, paused)


def test_a_lost_contract_does_not_come_back_with_a_pause() -> None:
    """A pause that began within the grace, and became known only after the contract was lost for good."""
    lost = company(
        term("c", "2024-03-21", "2025-03-21"),
        term("pause", "2025-05-01", "2025-07-01", kind="pause", arr=0.0, signed_at="2025-06-01"),
    )
    assert sum(row["churn"] for row in settle(lost, LEDGER_DAY).months) == 120_000


def test_a_label_stays_when_a_lapsed_renewal_is_paid() -> None:
    """A label that was final when the renewal lapsed must not become that of the term that was paid in the end."""
    paid_late = company(
        term("old", "2023-01-01", "2024-01-01"),
        term("new", "2024-01-01", "2025-01-01", paid_at="2024-08-15"),
        term("next", "2025-01-01", "2026-01-01", paid_at="2025-01-01"),
    )
    required = Policy(renewal=Renewal(payment="required"))
    then, now = (settle(paid_late, day, policy=required) for day in (date(2024, 7, 31), LEDGER_DAY))
    observed = date(2024, 2, 29)
    assert contract_laws.labels(then, observed)["acme", date(2025, 1, 1)][0] == 0
    assert contract_laws.labels(now, observed) == contract_laws.labels(then, observed)


def test_a_renewal_that_was_never_paid_is_not_lost_beside_what_it_followed() -> None:
    """Cancelled a day after its start and never paid: one contract was lost, not two."""
    refunded = company(
        term("old", "2023-01-01", "2024-01-01"),
        term("new", "2024-01-01", "2025-01-01", cancelled_at="2024-01-02"),
    )
    settled = settle(refunded, LEDGER_DAY, policy=Policy(renewal=Renewal(payment="required")))
    assert [row["contract_id"] for row in settled.entries] == ["old"]


def test_a_final_entry_keeps_its_plan() -> None:
    """A rate by plan of a final month must not change when another plan is recorded later."""
    renamed = company(
        term("c", "2023-01-01", "2024-01-01", plan="basic", recorded_at="2023-01-01"),
        term("c", "2023-01-01", "2024-01-01", plan="pro", recorded_at="2025-03-01"),
    )
    plans = [[row["plan"] for row in settle(renamed, day).entries] for day in (date(2024, 7, 31), LEDGER_DAY)]
    assert plans == [["basic"], ["basic"]]


def test_an_upsell_does_not_depend_on_ids() -> None:
    """One contract becomes two equal and together larger ones, of which one is another account's."""

    def upsold(one: str, two: str) -> list[str]:
        split = company(
            term("old", "2023-01-01", "2024-01-01"),
            term(one, "2024-01-01", "2025-01-01", replaces_contract_id="old", arr=1000.0),
            term(two, "2024-01-01", "2025-01-01", replaces_contract_id="old", arr=1000.0, account_id="other"),
            accounts=("acme", "other"),
        )
        return [row["account_id"] for row in settle(split, LEDGER_DAY).rows("expansions")]

    assert upsold("c1", "c2") == upsold("c2", "c1")
