"""The random companies show what they say they show, keep the data contract, and follow from their seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise, product
from typing import Any

import pytest

from tests.properties.contract_companies import (
    ACCOUNT_COLUMNS,
    CONTRACT_COLUMNS,
    FACTS,
    FIRST_DAY,
    LAST_START,
    RATE_COLUMNS,
    TOLD_UNTIL,
    TRAITS,
    Company,
    cents_of,
    day_month_closes,
    draw_company,
    known_at,
    relabel,
    split_in_half,
    splittable_contracts,
    trait_shares,
)

Row = dict[str, Any]
SEEDS = range(2000)


@pytest.fixture(scope="module")
def companies() -> list[Company]:
    return [draw_company(seed) for seed in SEEDS]


def contracts(company: Company) -> list[Row]:
    return company.tables["contracts"]


def versions(company: Company) -> list[list[Row]]:
    """The rows of each contract, as they became known."""
    found = defaultdict(list)
    for row in contracts(company):
        found[row["contract_id"]].append(row)
    return list(found.values())


def amendments(company: Company) -> Iterator[tuple[Row, Row]]:
    """Two versions of one term, one after the other."""
    for rows in versions(company):
        yield from ((old, new) for old, new in pairwise(rows) if old["start_date"] == new["start_date"])


def pairs(company: Company) -> Iterator[tuple[Row, Row]]:
    """Any two rows with an end, of different terms, in either order; products as they are called today."""
    rows = [row | {"product": present_product(company, row)} for row in contracts(company) if row["end_date"]]
    yield from ((a, b) for a, b in product(rows, rows) if term(a) != term(b))


def present_product(company: Company, row: Row) -> str | None:
    return company.renamed_products.get(row["product"], row["product"])


def term(row: Row) -> tuple[str, datetime]:
    return row["contract_id"], row["start_date"]


def alike(one: Row, other: Row) -> bool:
    return one["account_id"] == other["account_id"] and one["product"] == other["product"]


def gap(old: Row, new: Row) -> int:
    return (new["start_date"] - old["end_date"]).days


def length(row: Row) -> int:
    return (row["end_date"] - row["start_date"]).days


def overlaps(one: Row, other: Row) -> bool:
    return one["start_date"] < other["start_date"] < one["end_date"]


def lag(row: Row) -> timedelta:
    return known_at(row) - row["start_date"]


def late(row: Row, days: int) -> bool:
    """Known so many days after the start, in its first version."""
    return (row["signed_at"] or row["recorded_at"]) is not None and lag(row) >= timedelta(days=days)


def firsts(company: Company) -> list[Row]:
    return [rows[0] for rows in versions(company)]


def merged_accounts(company: Company) -> dict[str, str]:
    rows = company.tables["accounts"]
    return {row["account_id"]: row["merged_into_account_id"] for row in rows if row["merged_into_account_id"]}


def moved_rates(company: Company) -> bool:
    rates = defaultdict(set)
    for row in company.tables["rates"]:
        rates[row["currency"]].add(row["rate"])
    return sum(len(values) > 12 for values in rates.values()) == 2


def ramp(company: Company) -> bool:
    return any(
        alike(a, b) and gap(a, b) == 0 and a["signed_at"] == b["signed_at"] and a["signed_at"] is not None
        for a, b in pairs(company)
        if known_at(a) <= a["start_date"] + timedelta(days=1) or b["order_id"]
    )


def rise(old: Row, new: Row) -> bool:
    same = old["seats"] == new["seats"] and old["currency"] == new["currency"] and old["arr"]
    return bool(same) and 1.025 < new["arr"] / old["arr"] < 1.125


def free_after_paid(company: Company) -> bool:
    """A free year of a product that the account has paid for."""
    return any(
        a["arr"] and b["arr"] == 0 and length(b) > 91 and alike(a, b) and gap(a, b) >= 0 for a, b in pairs(company)
    )


def is_rolling(row: Row) -> bool:
    return row["end_date"] is None or (bool(row["arr"]) and length(row) < 90 and row["kind"] != "one_off")


def common_end(company: Company) -> bool:
    """Two contracts of an account end on a day on which one starts, or start on a day on which one ends."""
    rows = [row for row in contracts(company) if row["end_date"] and row["arr"]]
    ends = Counter((row["account_id"], row["end_date"]) for row in rows)
    starts = Counter((row["account_id"], row["start_date"]) for row in rows)
    return any(n + starts[key] > 2 for key, n in ends.items() if starts[key])


def split_across(company: Company) -> bool:
    """Contracts of two accounts and one product start on one day on which another contract runs or has just ended."""
    rows = [(a, b) for a, b in pairs(company) if a["product"] == b["product"]]
    begun_together = [(a, b) for a, b in rows if a["start_date"] == b["start_date"] and not alike(a, b)]
    return any(alike(old, a) and gap(old, a) <= 0 for old, new in rows for a, _ in begun_together if new == a)


def merge_across(company: Company) -> bool:
    """Contracts of two accounts and one product end within 61 days, and one of the accounts buys again."""
    rows = [(a, b) for a, b in pairs(company) if a["product"] == b["product"]]
    ended_together = [a for a, b in rows if not alike(a, b) and abs((a["end_date"] - b["end_date"]).days) <= 61]
    return any(alike(old, new) and 0 <= gap(old, new) <= 30 for old, new in rows if old in ended_together)


def cancelled_after(row: Row) -> timedelta:
    return (row["cancelled_at"] or datetime.max) - row["start_date"]


SIGNS: dict[str, Callable[[Company], bool]] = {
    "versions": lambda c: any(cents_of(a) != cents_of(b) for a, b in amendments(c)),
    "moving_rates": moved_rates,
    "late_papers": lambda c: any(late(row, 1) for row in contracts(c)),
    "back_dated": lambda c: any(late(row, 120) for row in contracts(c)),
    "moved_ends": lambda c: any(a["end_date"] != b["end_date"] for a, b in amendments(c)),
    "unmarked_overlaps": lambda c: any(
        alike(a, b) and overlaps(a, b) and b["replaces_contract_id"] is None and b["subscription_id"] is None
        for a, b in pairs(c)
    ),
    "two_streams": lambda c: any(
        alike(a, b) and min(length(a), length(b)) >= 365 and a["start_date"] <= b["start_date"] < a["end_date"]
        for a, b in pairs(c)
    ),
    "ramps": ramp,
    "trials": lambda c: any(row["arr"] == 0 and row["kind"] != "pause" for row in contracts(c)),
    "pauses": lambda c: any(row["kind"] == "pause" for row in contracts(c)),
    "mergers": lambda c: bool(merged_accounts(c)),
    "refunds": lambda c: any(cancelled_after(row) < timedelta(days=62) for row in contracts(c)),
    "price_indexation": lambda c: (
        any(rise(a, b) for a, b in amendments(c)) or any(rise(a, b) and alike(a, b) for a, b in pairs(c))
    ),
    "amendment_in_other_currency": lambda c: (
        any(a["currency"] != b["currency"] for a, b in amendments(c))
        or any(
            b["replaces_contract_id"] == a["contract_id"] and a["currency"] != b["currency"]
            for a, b in product(contracts(c), repeat=2)
        )
    ),
    "split_across_accounts": split_across,
    "merge_across_accounts": merge_across,
    "same_end_amendments": lambda c: any(a["end_date"] == b["end_date"] and overlaps(a, b) for a, b in pairs(c)),
    "subscription_ids": lambda c: any(row["subscription_id"] for row in contracts(c)),
    "replaces_ids": lambda c: any(row["replaces_contract_id"] for row in contracts(c)),
    "one_id_for_all_terms": lambda c: any(len({row["start_date"] for row in rows}) > 1 for rows in versions(c)),
    "payments": lambda c: any(row["paid_at"] for row in contracts(c)),
    "rolling": lambda c: any(is_rolling(row) for row in contracts(c)),
    "free_terms": free_after_paid,
    "notice": lambda c: any(row["notice_days"] for row in contracts(c)),
    "deleted": lambda c: any(row["deleted_at"] for row in contracts(c)),
    "cancelled_early": lambda c: any(
        row["cancelled_at"] and row["end_date"] and row["start_date"] < row["cancelled_at"] < row["end_date"]
        for row in contracts(c)
    ),
    "one_off": lambda c: any(row["kind"] == "one_off" for row in contracts(c)),
    "coterminous": common_end,
    "renamed_products": lambda c: (
        bool(c.renamed_products)
        and {*c.renamed_products, *c.renamed_products.values()} <= {row["product"] for row in contracts(c)}
    ),
    "zero_gap_edges": lambda c: any(
        gap(a, b) in (-91, -90, 60, 61, 3, 4) or abs(gap(a, b) + length(a) // 2) <= 1
        for a, b in pairs(c)
        if alike(a, b)
    ),
}
"""For each trait, what is seen in the rows of every company that has it (and of some others, by chance)."""


def given_notice(row: Row) -> timedelta | None:
    """How long after the notice date the notice was given."""
    if row["notice_given_at"] is None or row["end_date"] is None:
        return None
    return row["notice_given_at"] - (row["end_date"] - timedelta(days=row["notice_days"]))


def days_to_payment(company: Company) -> set[int]:
    return {(row["paid_at"] - row["start_date"]).days for row in contracts(company) if row["paid_at"]}


def unpaid_terms(company: Company) -> list[Row]:
    return [row for row in contracts(company) if row["arr"] and row["paid_at"] is None]


def has_gap(days: int) -> Callable[[Company], bool]:
    return lambda company: any(gap(a, b) == days and alike(a, b) for a, b in pairs(company))


def has_kind(kind: str | None) -> Callable[[Company], bool]:
    return lambda company: any(row["arr"] == 0 and row["kind"] == kind for row in contracts(company))


def recorded_late(fact: str) -> Callable[[Company], bool]:
    """The fact came with a version that was recorded later than it happened."""
    return lambda company: any(
        a[fact] is None and b[fact] and b["recorded_at"] > b[fact] for a, b in amendments(company)
    )


CASES: dict[str, Callable[[Company], bool]] = {
    **{f"a gap of {days} days": has_gap(days) for days in (-91, -90, 0, 1, 3, 4, 60, 61)},
    "a gap of half of a short term": lambda c: any(
        alike(a, b) and length(a) < 182 and gap(a, b) == -(length(a) // 2) for a, b in pairs(c)
    ),
    "papers within the grace": lambda c: any(0 < lag(row).days <= 60 for row in firsts(c)),
    "papers after the grace": lambda c: any(lag(row).days > 60 for row in firsts(c)),
    "papers after the month has closed": lambda c: any(
        known_at(row) >= day_month_closes(row["start_date"]) for row in firsts(c)
    ),
    "a start on the leap day": lambda c: any(row["start_date"] == datetime(2024, 2, 29) for row in contracts(c)),
    "an end on the leap day": lambda c: any(row["end_date"] == datetime(2024, 2, 29) for row in contracts(c)),
    "a start on a month's last day": lambda c: any(
        (row["start_date"] + timedelta(days=1)).day == 1 for row in contracts(c)
    ),
    "a chain of mergers": lambda c: any(heir in merged_accounts(c) for heir in merged_accounts(c).values()),
    "a merger recorded after its month closed": lambda c: any(
        row["merged_at"] and row["recorded_at"] and row["recorded_at"] >= day_month_closes(row["merged_at"])
        for row in c.tables["accounts"]
    ),
    "a parent that is no heir": lambda c: any(row["parent_account_id"] for row in c.tables["accounts"]),
    "an end moved by a year": lambda c: any(
        a["end_date"] and 365 <= (b["end_date"] - a["end_date"]).days <= 366 for a, b in amendments(c)
    ),
    "an end moved forward by less than half the term": lambda c: any(
        a["end_date"] and 0 < (b["end_date"] - a["end_date"]).days * 2 < length(a) for a, b in amendments(c)
    ),
    "an end moved after it has passed": lambda c: any(
        a["end_date"] and a["end_date"] != b["end_date"] and b["recorded_at"] > a["end_date"] for a, b in amendments(c)
    ),
    "an end moved back": lambda c: any(a["end_date"] and b["end_date"] < a["end_date"] for a, b in amendments(c)),
    "fewer seats in mid-term": lambda c: any(a["seats"] and b["seats"] < a["seats"] for a, b in amendments(c)),
    "more seats in mid-term": lambda c: any(a["seats"] and b["seats"] > a["seats"] for a, b in amendments(c)),
    "a version valid before it was recorded": lambda c: any(
        b["valid_from"] < b["recorded_at"] - timedelta(days=1) for _, b in amendments(c)
    ),
    "a version recorded before it is valid": lambda c: any(
        b["valid_from"] > b["recorded_at"] for _, b in amendments(c)
    ),
    "a ramp with an order": lambda c: any(row["order_id"] for row in contracts(c)),
    "a marked trial": has_kind("trial"),
    "a pilot": has_kind("pilot"),
    "an unmarked free row": has_kind(None),
    "cancelled before the start": lambda c: any(cancelled_after(row) < timedelta(0) for row in contracts(c)),
    "cancelled on the first day": lambda c: any(cancelled_after(row) == timedelta(0) for row in contracts(c)),
    "a cancellation recorded late": recorded_late("cancelled_at"),
    "a notice recorded late": recorded_late("notice_given_at"),
    "a notice after the notice date": lambda c: any(
        late_by > timedelta(days=1) for row in contracts(c) if (late_by := given_notice(row)) is not None
    ),
    "no end and no cancellation": lambda c: any(
        row["end_date"] is None and row["cancelled_at"] is None for row in contracts(c)
    ),
    "no end but a cancellation": lambda c: any(row["end_date"] is None and row["cancelled_at"] for row in contracts(c)),
    **{f"paid on day {day}": (lambda c, day=day: day in days_to_payment(c)) for day in (60, 61, 90, 91)},
    "a single payment": lambda c: bool(days_to_payment(c)) and len({r["paid_at"] for r in contracts(c)} - {None}) == 1,
    "payments from a day on": lambda c: (
        bool(days_to_payment(c))
        and any(
            row["start_date"] < min(r["start_date"] for r in contracts(c) if r["paid_at"]) for row in unpaid_terms(c)
        )
    ),
    "unsigned contracts only": lambda c: all(row["signed_at"] is None for row in contracts(c)),
    "a subscription from a later term on": lambda c: any(
        a["subscription_id"] is None and b["subscription_id"] and alike(a, b) and gap(a, b) == 0 for a, b in pairs(c)
    ),
    "no product": lambda c: all(row["product"] is None for row in contracts(c)),
    "no trait": lambda c: not c.traits,
}
"""Corners that the laws of the ledger need, and how they are seen in the rows."""


# -- traits -----------------------------------------------------------------------------------------------------------


def test_every_trait_has_its_share() -> None:
    shares = trait_shares(len(SEEDS))
    assert set(shares) == set(SIGNS) == set(TRAITS)
    assert {trait: share for trait, share in shares.items() if not 0.05 <= share <= 0.25} == {}


@pytest.mark.parametrize("trait", TRAITS)
def test_a_trait_is_seen_in_the_rows(companies: list[Company], trait: str) -> None:
    assert [seed for seed in SEEDS if trait in companies[seed].traits and not SIGNS[trait](companies[seed])] == []


@pytest.mark.parametrize("case", CASES)
def test_every_corner_is_met_often_enough(companies: list[Company], case: str) -> None:
    assert sum(CASES[case](company) for company in companies) / len(companies) >= 0.01


def test_a_company_follows_from_its_seed(companies: list[Company]) -> None:
    assert [draw_company(seed) for seed in SEEDS] == companies
    assert len({str(contracts(company)) for company in companies}) == len(companies)


# -- the data contract ------------------------------------------------------------------------------------------------


def test_companies_are_small_and_have_every_column(companies: list[Company]) -> None:
    columns = {"contracts": CONTRACT_COLUMNS, "accounts": ACCOUNT_COLUMNS, "rates": RATE_COLUMNS}
    for seed, company in zip(SEEDS, companies, strict=True):
        assert list(company.tables) == list(columns)
        for table, rows in company.tables.items():
            assert all(tuple(row) == columns[table] for row in rows), seed
        names = [row["contract_id"] for row in contracts(company)]
        accounts = [row["account_id"] for row in company.tables["accounts"]]
        assert 1 <= len(set(names)) <= 10, seed
        assert 1 <= len(set(accounts)) <= 4, seed
        assert all(name.startswith(f"{seed}/c") for name in names), seed
        assert all(name.startswith(f"{seed}/a") for name in accounts), seed


def test_contracts_are_valid(companies: list[Company]) -> None:
    for seed, company in zip(SEEDS, companies, strict=True):
        for row in contracts(company):
            start, end = row["start_date"], row["end_date"]
            assert FIRST_DAY <= start <= LAST_START, seed
            assert end is None or end > start, seed
            assert all(day.time() == datetime.min.time() for day in (start, end) if day), seed
            assert row["arr"] >= 0, seed
            assert row["arr"] == round(row["arr"], 2), seed
            assert row["seats"] is None or row["seats"] > 0, seed
            assert row["notice_given_at"] is None or row["notice_days"], seed


def test_every_fact_is_told_in_time(companies: list[Company]) -> None:
    for seed, company in zip(SEEDS, companies, strict=True):
        for row in contracts(company):
            assert known_at(row) < TOLD_UNTIL, seed
            assert all(row[fact] is None or row[fact] < TOLD_UNTIL for fact in FACTS), seed
            assert (row["loss_reason"] is None) == (row["loss_recorded_at"] is None), seed
            instants = [value for value in row.values() if isinstance(value, datetime)]
            assert all(instant.tzinfo is None for instant in instants), seed


def test_versions_of_a_contract_are_known_one_after_the_other(companies: list[Company]) -> None:
    for seed, company in zip(SEEDS, companies, strict=True):
        for rows in versions(company):
            assert all(old["account_id"] == new["account_id"] for old, new in pairwise(rows)), seed
            assert all(known_at(old) < known_at(new) for old, new in pairwise(rows)), seed
            if len(rows) > 1:
                assert all(row["recorded_at"] and row["valid_from"] for row in rows), seed
                assert all(row["valid_from"] >= row["start_date"] for row in rows), seed


def test_references_are_to_rows_of_the_company(companies: list[Company]) -> None:
    for seed, company in zip(SEEDS, companies, strict=True):
        accounts = {row["account_id"] for row in company.tables["accounts"]}
        names = {row["contract_id"] for row in contracts(company)}
        for row in contracts(company):
            assert row["account_id"] in accounts, seed
            assert row["replaces_contract_id"] in {None, *names} - {row["contract_id"]}, seed
        for row in company.tables["accounts"]:
            for column in ("merged_into_account_id", "parent_account_id"):
                assert row[column] in {None, *accounts} - {row["account_id"]}, seed


def test_accounts_are_known_before_their_contracts_and_merge_without_circles(companies: list[Company]) -> None:
    for seed, company in zip(SEEDS, companies, strict=True):
        created, heirs = {}, merged_accounts(company)
        versions_of = defaultdict(list)
        for row in company.tables["accounts"]:
            versions_of[row["account_id"]].append(row)
            created.setdefault(row["account_id"], row["recorded_at"] or row["created_at"])
            assert (row["merged_at"] is None) == (row["merged_into_account_id"] is None), seed
            assert row["merged_at"] is None or row["merged_at"] < TOLD_UNTIL, seed
        for rows in versions_of.values():
            assert len(rows) == 1 or rows[0]["recorded_at"] < rows[1]["recorded_at"] < TOLD_UNTIL, seed
        assert all(created[row["account_id"]] <= known_at(row) for row in contracts(company)), seed
        for account in heirs:
            path = [account]
            while path[-1] in heirs:
                path.append(heirs[path[-1]])
                assert len(path) == len(set(path)), seed


def test_every_currency_has_a_rate_from_before_the_first_contract_on(companies: list[Company]) -> None:
    for seed, company in zip(SEEDS, companies, strict=True):
        rates = company.tables["rates"]
        currencies = {row["currency"] for row in contracts(company)} - {None}
        first = min(min(known_at(row), row["start_date"]) for row in contracts(company))
        assert rates or currencies <= {"USD"}, seed
        assert not rates or currencies <= {row["currency"] for row in rates if row["date"] <= first}, seed
        assert len({(row["currency"], row["date"]) for row in rates}) == len(rates), seed
        assert all(row["rate"] > 0 and row["date"] < TOLD_UNTIL for row in rates), seed


# -- changes that must not matter -------------------------------------------------------------------------------------


def sorted_rows(rows: list[Row]) -> list[str]:
    return sorted(str(row) for row in rows)


def test_relabel_changes_ids_and_order_only(companies: list[Company]) -> None:
    reordered = 0
    for company in companies[:500]:
        other, maps = relabel(company, salt=7)
        back = {
            **dict.fromkeys(("contract_id", "replaces_contract_id"), maps.contracts),
            **dict.fromkeys(("account_id", "parent_account_id", "merged_into_account_id"), maps.accounts),
            "subscription_id": maps.subscriptions,
            "order_id": maps.orders,
        }
        old_ids = {column: {new: old for old, new in ids.items()} for column, ids in back.items()}
        assert all(len(old_ids[column]) == len(ids) for column, ids in back.items())
        assert not set(maps.contracts.values()) & set(maps.contracts)
        for table, rows in other.tables.items():
            restored = [
                {column: old_ids[column].get(value) if column in back else value for column, value in row.items()}
                for row in rows
            ]
            assert sorted_rows(restored) == sorted_rows(company.tables[table])
        assert (other.traits, other.renamed_products) == (company.traits, company.renamed_products)
        assert relabel(company, salt=7) == (other, maps)
        reordered += sorted(maps.contracts) != sorted(maps.contracts, key=maps.contracts.__getitem__)
    assert reordered > 250


def test_relabel_leaves_the_company_as_it_was(companies: list[Company]) -> None:
    for seed in SEEDS[:100]:
        relabel(companies[seed], salt=seed)
        assert companies[seed] == draw_company(seed)


def test_split_in_half_keeps_money_seats_and_references(companies: list[Company]) -> None:
    splits = 0
    for seed in SEEDS[:500]:
        company = companies[seed]
        for name in splittable_contracts(company):
            splits += 1
            other = split_in_half(company, name)
            halves, twins = (
                [row for row in contracts(other) if row["contract_id"] == half] for half in (name, f"{name}~2")
            )
            olds = [row for row in contracts(company) if row["contract_id"] == name]
            for old, half, twin in zip(olds, halves, twins, strict=True):
                assert half == twin | {"contract_id": name}
                assert cents_of(half) * 2 == cents_of(old)
                assert half["seats"] == (None if old["seats"] is None else old["seats"] / 2)
                kept = {"arr": old["arr"], "seats": old["seats"]}
                assert half | kept == old
            rest = [row for row in contracts(other) if row["contract_id"] not in (name, f"{name}~2")]
            assert rest == [row for row in contracts(company) if row["contract_id"] != name]
            assert other.tables | {"contracts": None} == company.tables | {"contracts": None}
        assert company == draw_company(seed)
    assert splits > 500


def test_a_contract_that_cannot_be_halved_is_refused(companies: list[Company]) -> None:
    odd = 0
    for company in companies[:500]:
        for name in {row["contract_id"] for row in contracts(company)} - set(splittable_contracts(company)):
            odd += 1
            with pytest.raises(ValueError, match="odd seats or cents"):
                split_in_half(company, name)
    assert odd > 50
