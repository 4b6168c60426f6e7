"""`check` reports how the contracts are understood, and warns about what is probably read otherwise than it is meant.

Contracts are written as `id account start end arr` with further columns as `name=value`; each is signed on the day
before its start unless it says otherwise.
"""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pytest

from renewals.features.policy import Policy
from renewals.pipelines.runtime.errors import DataContractError
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.validation.contract_summary import (
    ContractSummary,
    contract_facts,
    contract_notes,
    newest_known_day,
    require_decided_overlaps,
    summarize_contracts,
)
from renewals.pipelines.validation.contract_warnings import find_contract_anomalies
from renewals.reports.words import MESSAGES
from tests.pipelines.validation.test_check import COMPANY, company, job, parse_rows, write_csv

TEXTS = ("contract_id", "account_id", "product", "plan", "currency", "kind", "subscription_id", "order_id")
TIMES = ("start_date", "end_date", "signed_at", "paid_at", "cancelled_at", "deleted_at", "recorded_at", "valid_from")
CONTRACTS = pa.schema(
    [
        *((name, pa.string()) for name in (*TEXTS, "replaces_contract_id")),
        *((name, pa.timestamp("us")) for name in TIMES),
        ("arr", pa.float64()),
        ("seats", pa.int64()),
    ]
)
ACCOUNTS = pa.schema(
    [
        *((name, pa.string()) for name in ("account_id", "parent_account_id", "merged_into_account_id")),
        *((name, pa.timestamp("us")) for name in ("created_at", "recorded_at", "merged_at", "valid_from")),
    ]
)
EVENTS = pa.schema(
    [("account_id", pa.string()), ("occurred_at", pa.timestamp("us")), ("recorded_at", pa.timestamp("us"))]
)
DEFAULT = Policy()
END = "2026-01-01"
"""Day on which the summary is told, unless a test says otherwise."""


def contract(line: str) -> dict[str, Any]:
    contract_id, account_id, start, end, arr, *others = line.split()
    amount = None if arr == "unknown" else float(arr)
    row: dict[str, Any] = {"contract_id": contract_id, "account_id": account_id, "start_date": start, "arr": amount}
    row["signed_at"] = (datetime.fromisoformat(start) - timedelta(days=1)).isoformat()
    row["end_date"] = end if end != "open" else None
    row |= {"seats": None} | dict(other.split("=", 1) for other in others)
    times = {name: datetime.fromisoformat(row[name]) if row.get(name) else None for name in TIMES}
    return row | times | {"seats": int(row["seats"]) if row["seats"] else None}


def tables(
    contracts: str | list[str], accounts: list[dict[str, Any]] | None = None, events: dict[str, int] | None = None
) -> dict[str, ir.Table]:
    """Tables of contracts; each of their accounts exists since 2020 unless it is given."""
    if accounts is None:
        accounts = []
    lines = [line for line in (contracts.splitlines() if isinstance(contracts, str) else contracts) if line.strip()]
    rows = [contract(line) for line in lines]
    given = {row["account_id"] for row in accounts}
    known = [
        {"account_id": name, "created_at": datetime(2020, 1, 1)} for name in {r["account_id"] for r in rows} - given
    ]
    uses = [(name, count) for name, count in (events or {}).items()]
    used = [{"account_id": name, "occurred_at": datetime(2023, 2, 1)} for name, count in uses for _ in range(count)]
    return {
        name: ibis.memtable(pa.Table.from_pylist(content, schema=schema))
        for name, content, schema in (
            ("contracts", rows, CONTRACTS),
            ("accounts", [*known, *accounts], ACCOUNTS),
            ("usage_events", used, EVENTS),
        )
    }


def summarize(contracts: str | list[str], as_of: str = END, policy: Policy = DEFAULT, **others: Any) -> ContractSummary:
    return summarize_contracts(tables(contracts, **others), date.fromisoformat(as_of), policy)


def notes(contracts: str | list[str], policy: Policy = DEFAULT, **others: Any) -> list[str]:
    """Notes on the contracts, without that on what is joined."""
    return [
        note for note in contract_notes(summarize(contracts, policy=policy, **others), policy) if " joined " not in note
    ]


def warnings(contracts: str | list[str], as_of: str = END, policy: Policy = DEFAULT, **others: Any) -> list[str]:
    """Warnings about the contracts; the sentence of each notice exists in every language."""
    raw = tables(contracts, **others)
    summary = summarize_contracts(raw, date.fromisoformat(as_of), policy)
    anomalies = list(find_contract_anomalies(summary, raw, policy))
    for notice in [anomaly.notice for anomaly in anomalies if anomaly.notice]:
        assert all(notice.text(language) for language in MESSAGES)
    return [anomaly.warning for anomaly in anomalies]


def yearly(accounts: int, *years: int, others: str = "") -> list[str]:
    """A contract of the account a<n> for each of the years."""
    return [f"c{n}-{y} a{n} {y}-01-01 {y + 1}-01-01 1000 {others}" for n in range(accounts) for y in years]


# --- the day, and the tables together ----------------------------------------------------------------


def test_contracts_are_summarized_as_of_the_day_after_the_newest_known_day() -> None:
    raw = tables("c1 acme 2024-01-01 2025-01-01 1", events={"acme": 1})
    assert newest_known_day(raw, None) == date(2024, 1, 1)
    assert newest_known_day(raw, datetime(2023, 6, 1)) == date(2023, 6, 2)


def test_a_contract_without_signature_does_not_move_that_day() -> None:
    raw = tables("c1 acme 2030-01-01 2031-01-01 1 signed_at=", events={"acme": 1})
    assert newest_known_day(raw, None) == date(2023, 2, 2)


OVERLAP = """
    contract_id | account_id | start_date | end_date   | arr   | signed_at
    old         | acme       | 2023-01-01 | 2024-01-01 | 12000 | 2022-12-15
    big         | acme       | 2023-07-01 | 2026-07-01 | 36000 | 2023-06-20
    c3          | quiet      | 2024-03-01 | 2025-03-01 | 800   | 2024-02-01
"""


def test_figures_and_notes_are_in_the_report_and_in_the_result(tmp_path: Path) -> None:
    result = check(job(company(tmp_path / "in", contracts=OVERLAP), tmp_path))
    contracts = json.loads((tmp_path / "validation_report.json").read_text())["contracts"]
    assert contracts["as_of"] == "2024-02-03"
    assert contracts["joined"] == {"overlap": {"renewal": 1}}
    assert contracts["overlaps"] == {
        "count": 1,
        "replaced": 1,
        "arr_side_by_side": 48_000.0,
        "arr_replaced": 36_000.0,
    }
    assert result["contracts"] == contracts["notes"]
    assert contracts["notes"][0] == "contracts: 1 joined to what they continue (1 renewal): 1 overlap the old one"
    assert result["warnings"] == []


def test_a_warning_has_a_notice_for_the_list(tmp_path: Path) -> None:
    folder = company(tmp_path / "in", contracts=OVERLAP.replace("2026-07-01", ""))
    check(job(folder, tmp_path))
    report = json.loads((tmp_path / "validation_report.json").read_text())
    assert [notice["code"] for notice in report["notices"]] == ["rolling_contracts"]
    assert "1 of 1 running contract (100 %) roll on" in report["warnings"][0]


def test_a_warning_that_changes_no_list_has_no_notice(tmp_path: Path) -> None:
    before = (
        COMPANY["contracts"]
        .replace("| arr", "| arr | signed_at  | cancelled_at")
        .replace("12000", "1 | 2023-12-01 | 1999-01-01")
    )
    contracts = "\n".join(before.splitlines()[:3])
    (warning,) = check(job(company(tmp_path / "in", contracts=contracts), tmp_path))["warnings"]
    assert "1 of 1 row (100 %) have a cancelled_at before both signature and start" in warning
    assert json.loads((tmp_path / "validation_report.json").read_text())["notices"] == []


def test_an_overlap_stops_the_run_if_the_setting_says_so(tmp_path: Path) -> None:
    folder = company(tmp_path / "in")
    check(job(folder, tmp_path))
    before = (tmp_path / "clean" / "contracts.parquet").read_bytes()
    write_csv(folder / "contracts.csv", parse_rows(OVERLAP))
    with pytest.raises(DataContractError) as stopped:
        check(job(folder, tmp_path, contracts={"overlap": "stop"}))
    text = str(stopped.value)
    assert "1 overlap another contract of their account and product" in text
    assert "side by side they are 48,000 USD of ARR, in place of the old ones 36,000 USD" in text
    assert "account 'acme': 'big' starts on 2023-07-01 while 'old' runs" in text
    assert "--set contracts.overlap=two (side by side) or --set contracts.overlap=replace" in text
    assert (tmp_path / "clean" / "contracts.parquet").read_bytes() == before


def test_the_small_company_is_without_warnings(tmp_path: Path) -> None:
    assert check(job(company(tmp_path / "in", **COMPANY), tmp_path))["warnings"] == []


# --- how the contracts are understood ----------------------------------------------------------------


def test_contracts_are_counted_by_the_rule_and_kind_by_which_they_are_joined() -> None:
    summary = summarize(
        """
        a23 a 2023-01-01 2024-01-01 10
        a24 a 2024-01-01 2025-01-01 10
        b23 b 2023-01-01 2024-01-01 10 signed_at=2022-12-01
        b24 b 2024-01-01 2025-01-01 20 signed_at=2022-12-01
        d23 d 2023-01-01 2024-01-01 10
        d23b d 2023-05-01 2024-01-01 30 replaces_contract_id=d23
        """
    )
    joined = {"adjacent": {"renewal": 1}, "ramp": {"ramp": 1}, "replaces": {"amendment": 1}}
    assert contract_facts(summary)["joined"] == joined
    assert next(iter(contract_notes(summary, Policy()))) == (
        "contracts: 3 joined to what they continue (1 renewal, 1 amendment, 1 step of a ramp): 1 named by the new "
        "contract, 1 steps signed together, 1 start where the old one ends"
    )


TWO_OVERLAPS = """
    old a 2023-01-01 2024-01-01 12000 seats=10
    big a 2023-07-01 2026-07-01 36000 seats=30
    base b 2023-01-01 2024-01-01 12000 seats=10
    more b 2023-07-01 2026-07-01 3000 seats=2
"""


@pytest.mark.parametrize(("setting", "replaced"), [("auto", 1), ("two", 0), ("replace", 2), ("stop", 0)])
def test_overlaps_are_reported_with_the_revenue_of_both_readings(setting: str, replaced: int) -> None:
    policy = Policy.model_validate({"contracts": {"overlap": setting}})
    summary = summarize(TWO_OVERLAPS, policy=policy)
    assert contract_facts(summary)["overlaps"] == {
        "count": 2,
        "replaced": replaced,
        "arr_side_by_side": 63_000.0,
        "arr_replaced": 39_000.0,
    }
    (note,) = [note for note in contract_notes(summary, policy) if "overlap another" in note]
    assert f"for example 'big' over 'old': {replaced} take its place, {2 - replaced} run beside it" in note
    assert "63,000 USD if all run side by side, 39,000 USD if all take its place" in note


def test_rows_bought_together_are_one_overlap() -> None:
    summary = summarize(
        """
        old a 2023-01-01 2024-01-01 12000 seats=10
        x a 2023-07-01 2026-07-01 10000 seats=8
        y a 2023-07-01 2026-07-01 8000 seats=7
        """
    )
    (overlap,) = summary.overlaps
    assert (overlap.old_ids, sorted(overlap.new_ids)) == (("old",), ["x", "y"])
    assert (overlap.both_amount, overlap.new_amount) == (3_000_000, 1_800_000)


def test_an_overlap_stops_nothing_unless_the_setting_says_so() -> None:
    require_decided_overlaps(summarize(TWO_OVERLAPS), Policy())
    stop = Policy.model_validate({"contracts": {"overlap": "stop"}})
    require_decided_overlaps(summarize(yearly(2, 2023, 2024)), stop)
    many = summarize([f"c{n} a {2020}-0{n}-01 2023-0{n}-01 1" for n in range(1, 8)], policy=stop)
    with pytest.raises(DataContractError) as stopped:
        require_decided_overlaps(many, stop)
    assert str(stopped.value).count("account 'a'") == 3


def test_moved_ends_are_counted_by_what_they_mean() -> None:
    summary = summarize(
        """
        longer a 2023-01-01 2024-01-01 10 recorded_at=2022-12-31
        longer a 2023-01-01 2024-03-01 10 recorded_at=2023-11-01
        nearer b 2023-01-01 2024-01-01 10 recorded_at=2022-12-31
        nearer b 2023-01-01 2023-11-01 10 recorded_at=2023-06-01
        again c 2023-01-01 2024-01-01 10 recorded_at=2022-12-31
        again c 2023-01-01 2025-01-01 10 recorded_at=2023-11-01
        back d 2023-01-01 2024-01-01 10 recorded_at=2022-12-31
        back d 2023-01-01 2025-01-01 10 recorded_at=2024-06-01
        same e 2023-01-01 2024-01-01 10 recorded_at=2022-12-31
        same e 2023-01-01 2024-01-01 20 recorded_at=2023-11-01
        """
    )
    facts = contract_facts(summary)
    assert facts["moved_ends"] == {"extended": 1, "brought_nearer": 1, "renewed_in_place": 1, "begun_again": 1}
    assert facts["joined"] == {"in_place": {"renewal": 1}}
    assert any(
        "1 extended by less than half of their term, 1 end earlier" in note
        for note in contract_notes(summary, Policy())
    )


def test_contracts_of_the_same_dates_under_two_ids_are_named_with_the_revenue_counted_twice() -> None:
    (note,) = notes(
        """
        c1 a 2025-06-01 2026-06-01 12000
        SF-1 a 2025-06-01 2026-06-01 12000
        c2 b 2025-06-01 2026-06-01 5000
        SF-2 b 2025-06-01 2026-06-01 1000
        c3 d 2025-06-01 2026-06-01 5000
        SF-3 d 2025-06-01 2026-06-01 5000 product=reports
        gone e 2025-06-01 2026-06-01 5000
        twin e 2025-06-01 2026-06-01 5000 deleted_at=2025-07-01
        """
    )
    assert note.startswith(
        "contracts: 2 have the account, product and dates of another under a second id, 1 of them also its amount "
        "(12,000 USD of ARR), for example "
    )


def test_currencies_changed_in_mid_contract_are_counted() -> None:
    summary = summarize(
        """
        c1 a 2025-06-01 2026-06-01 100 currency=USD recorded_at=2025-05-01
        c1 a 2025-06-01 2026-06-01 90 currency=EUR recorded_at=2025-07-01
        c2 b 2025-06-01 2026-06-01 100
        c2b b 2025-08-01 2026-06-01 90 currency=EUR replaces_contract_id=c2
        c3 d 2025-06-01 2026-06-01 100 recorded_at=2025-05-01
        c3 d 2025-06-01 2026-06-01 90 currency=USD recorded_at=2025-07-01
        c4 e 2024-01-01 2025-01-01 100
        c5 e 2025-01-01 2026-01-01 90 currency=EUR
        """
    )
    assert sorted(summary.currency_changes) == ["c1", "c2b"]
    assert any(note.startswith("contracts: 2 changed their currency") for note in contract_notes(summary, Policy()))


def test_use_without_a_contract_is_counted_unless_the_account_was_merged_into_one_with_a_contract() -> None:
    accounts = [
        {"account_id": "free"},
        {"account_id": "part", "merged_into_account_id": "old"},
        {"account_id": "old", "merged_into_account_id": "acme"},
        {"account_id": "ring", "merged_into_account_id": "ring2"},
        {"account_id": "ring2", "merged_into_account_id": "ring"},
    ]
    events = {"acme": 5, "free": 3, "part": 7, "ring": 1}
    (note,) = notes("c1 acme 2025-06-01 2026-06-01 100", accounts=accounts, events=events)
    assert note == (
        "usage_events: 4 of 16 events (25 %) are by 2 accounts without any contract, for example 'free': such an "
        "account cannot be on the list"
    )


# --- mergers -----------------------------------------------------------------------------------------

GROUP: list[dict[str, Any]] = [
    {"account_id": "A", "parent_account_id": "B"},
    {"account_id": "B", "parent_account_id": "C"},
    {"account_id": "C"},
]


def test_a_contract_that_goes_on_under_the_parent_is_reported() -> None:
    (warning,) = warnings("A23 A 2023-01-01 2024-01-01 1\nC24 C 2024-01-15 2025-01-15 1", accounts=GROUP)
    assert "1 of 2 contracts (50 %) that nothing follows end while a new contract of the account's parent" in warning
    assert "'A23' of account 'A' ends on 2024-01-01, 'C24' of 'C' starts on 2024-01-15" in warning
    assert "merged_into_account_id" in warning


def test_the_advice_on_mergers_leads_to_a_renewal() -> None:
    merged = [row | {"merged_into_account_id": row.get("parent_account_id")} for row in GROUP]
    contracts = "A23 A 2023-01-01 2024-01-01 1\nC24 C 2024-01-15 2025-01-15 1"
    assert warnings(contracts, accounts=merged) == []
    assert summarize(contracts, accounts=merged).joined == {("grace", "renewal"): 1}


@pytest.mark.parametrize(
    "contracts",
    [
        pytest.param("A23 A 2023-01-01 2024-01-01 1\nC24 C 2024-03-02 2025-01-15 1", id="after the grace"),
        pytest.param("A23 A 2023-01-01 2024-01-01 1\nC24 C 2023-09-15 2025-01-15 1", id="long before the end"),
        pytest.param("A23 A 2023-01-01 2024-01-01 1\nC24 C 2024-01-15 2025-01-15 1 product=x", id="another product"),
        pytest.param("C23 C 2023-01-01 2024-01-01 1\nA24 A 2024-01-15 2025-01-15 1", id="under the child"),
        pytest.param(
            "A23 A 2023-01-01 2024-01-01 1\nC23 C 2023-01-01 2024-01-01 1\nC24 C 2024-01-01 2025-01-01 1",
            id="the parent's own renewal",
        ),
        pytest.param(
            "A23 A 2023-01-01 2024-01-01 1\nA24 A 2024-01-01 2028-01-01 1\nC24 C 2024-01-01 2025-01-01 1",
            id="renewed",
        ),
    ],
)
def test_other_contracts_of_parents_are_not_reported(contracts: str) -> None:
    assert warnings(contracts, accounts=GROUP) == []


def test_a_purchase_of_a_parent_among_many_losses_is_chance() -> None:
    contracts = ["A23 A 2023-01-01 2024-01-01 1", "C24 C 2024-01-15 2028-01-15 1"]
    assert len(warnings([*contracts, *yearly(99, 2023)], accounts=GROUP)) == 1
    assert warnings([*contracts, *yearly(100, 2023)], accounts=GROUP) == []


def test_accounts_that_name_each_other_as_parents_do_no_harm() -> None:
    ring = [{"account_id": a, "parent_account_id": b} for a, b in (("x", "y"), ("y", "x"), ("z", "z"))]
    assert warnings("x23 x 2023-01-01 2024-01-01 1\nz24 z 2024-01-01 2025-01-01 1", accounts=ring) == []


# --- renamed products --------------------------------------------------------------------------------


def moved(customers: int, stayed: int = 0, lost: int = 0, year: int = 2025) -> list[str]:
    """Customers of core who go on to platform, stay with core, or are lost, in a year."""
    before = yearly(customers + stayed + lost, year - 1, others="product=core")
    after = yearly(customers, year, others="product=platform")
    renewed = list(yearly(customers + stayed, year, others="product=core"))[customers:]
    return [*before, *after, *renewed]


def test_a_renamed_product_is_reported_with_the_setting() -> None:
    (warning,) = warnings(moved(8, lost=2), "2025-12-01")
    assert "8 of 10 customers (80 %) of 'core' since 2025-01-01 went on to 'platform'" in warning
    assert """--set 'contracts.renamed_products={"core": "platform"}'""" in warning


def test_the_setting_keeps_what_was_renamed_before() -> None:
    policy = Policy.model_validate({"contracts": {"renamed_products": {"basic": "core"}}})
    (warning,) = warnings(moved(5), "2025-12-01", policy)
    assert """renamed_products={"basic": "core", "core": "platform"}'""" in warning


def test_the_advice_on_renamed_products_leads_to_renewals() -> None:
    policy = Policy.model_validate({"contracts": {"renamed_products": {"core": "platform"}}})
    assert warnings(moved(8, lost=2), "2025-12-01", policy) == []
    assert summarize(moved(8, lost=2), "2025-12-01", policy).joined == {("adjacent", "renewal"): 8}


@pytest.mark.parametrize(
    "contracts",
    [
        pytest.param(moved(4), id="too few"),
        pytest.param(moved(7, lost=2), id="others were lost"),
        pytest.param(moved(7, stayed=2), id="others stayed"),
        pytest.param(
            [*moved(8), *(f"n{n} new{n} 2025-02-01 2026-06-01 1 product=core" for n in range(3))], id="still sold"
        ),
        pytest.param(
            [line.replace("2025-01-01 2026-01-01", "2025-03-03 2026-03-03") for line in moved(8)], id="after the grace"
        ),
    ],
)
def test_other_moves_between_products_are_not_reported(contracts: list[str]) -> None:
    assert warnings(contracts, "2025-12-01") == []


def test_customers_who_moved_years_before_do_not_hide_a_renamed_product() -> None:
    early = [line.replace("c0", "e0").replace("a0", "early") for line in moved(1, year=2022)]
    years = yearly(12, 2022, 2023, others="product=core")
    (warning,) = [text for text in warnings([*early, *years, *moved(12)], "2025-12-01") if "went on" in text]
    assert "12 of 12 customers (100 %)" in warning
    assert "(13 in all" in warning


# --- dates -------------------------------------------------------------------------------------------


def test_dates_of_a_migration_are_reported() -> None:
    contracts = yearly(5, 2023, others="signed_at=2025-06-14") + yearly(5, 2025, others="signed_at=2025-06-14")
    accounts = [{"account_id": f"a{n}", "created_at": datetime(2025, 6, 14)} for n in range(5)]
    signed, created = warnings(contracts, accounts=accounts)
    assert "5 of 10 rows (50 %) have a signed_at after the end of the term (5 of them on 2025-06-14" in signed
    assert "'c0-2023': ended on 2024-01-01, signed on 2025-06-14" in signed
    assert "5 of 5 customers (100 %) have a created_at more than 90 days after" in created
    assert "'a0': first contract on 2023-01-01, created on 2025-06-14" in created


def test_late_dates_on_many_days_name_no_migration() -> None:
    accounts = [{"account_id": f"a{n}", "created_at": datetime(2023, 6, 1 + n)} for n in range(6)]
    (created,) = warnings(yearly(6, 2023), "2023-12-01", accounts=accounts)
    assert "migration" not in created


@pytest.mark.parametrize(
    ("late", "others"), [pytest.param(4, 0, id="too few"), pytest.param(5, 96, id="a small share of the contracts")]
)
def test_single_late_signatures_are_slips(late: int, others: int) -> None:
    contracts = yearly(late, 2023, others="signed_at=2024-06-14")
    contracts += [line.replace("a", "b").replace("c", "d") for line in yearly(others, 2023)]
    assert [text for text in warnings(contracts) if "signed_at" in text] == []


@pytest.mark.parametrize(
    ("created", "customers"),
    [
        pytest.param("2023-04-01", 5, id="within a quarter"),
        pytest.param("2023-04-02", 4, id="too few"),
        pytest.param("2023-04-02", 51, id="a small share of the customers"),
    ],
)
def test_accounts_created_soon_enough_are_not_reported(created: str, customers: int) -> None:
    late = [{"account_id": f"a{n}", "created_at": datetime.fromisoformat(created)} for n in range(min(customers, 5))]
    assert warnings(yearly(customers, 2023), "2023-12-01", accounts=late) == []


# --- payments ----------------------------------------------------------------------------------------

PAID_2025 = [*yearly(20, 2023, 2024), *yearly(20, 2025, others="paid_at=2025-01-21"), *yearly(20, 2026)]


def test_payment_dates_since_a_day_tell_of_whom_payment_is_asked() -> None:
    (warning,) = warnings(PAID_2025, "2026-02-01")
    assert "no payment date before 2025-01-21, while the first contract started on 2023-01-01" in warning
    assert "those from 2026-01-01 on (20 of 60) only if paid within 90 days of their start" in warning


def test_a_few_payment_dates_are_asked_of_nobody() -> None:
    contracts = yearly(10, 2023, 2024)
    contracts[0] += "paid_at=2023-01-21"
    (warning,) = warnings(contracts, "2024-12-01")
    assert "a payment date is given for only 1 of 20 contracts (5 %), the first of 2023-01-21" in warning
    assert "no renewal is asked for its payment" in warning


def test_payment_asked_without_payment_dates_is_reported() -> None:
    policy = Policy.model_validate({"renewal": {"payment": "required"}})
    (warning,) = warnings(yearly(5, 2023, 2024), "2024-12-01", policy)
    assert "5 of 5 renewals were not paid within 90 days of their start and count as lost" in warning


@pytest.mark.parametrize(
    ("contracts", "payment"),
    [
        pytest.param(PAID_2025, "ignored", id="ignored"),
        pytest.param(yearly(5, 2023, 2024), "auto", id="no payment date at all"),
        pytest.param(yearly(5, 2023, 2024, others="paid_at=2023-06-01"), "auto", id="payments from the start"),
    ],
)
def test_other_payment_dates_are_not_reported(contracts: list[str], payment: str) -> None:
    assert warnings(contracts, "2024-12-01", Policy.model_validate({"renewal": {"payment": payment}})) == []


# --- cancellations and rolling contracts -------------------------------------------------------------


def test_cancellations_before_signature_and_start_are_reported() -> None:
    (warning,) = warnings(["c1 a 2025-01-01 2026-06-01 1 cancelled_at=1999-12-31", *yearly(1, 2023)], "2024-02-01")
    assert "1 of 2 rows (50 %) have a cancelled_at before both signature and start, which is ignored" in warning
    assert "'c1': cancelled on 1999-12-31, signed on 2024-12-31" in warning


def test_many_contracts_that_never_ran_are_reported() -> None:
    contracts = [*yearly(5, 2025, others="cancelled_at=2025-01-01"), "c x 2025-01-01 2027-01-01 1"]
    (warning,) = warnings(contracts)
    assert "5 of 6 contracts (83.3 %) were cancelled on or before their start and never ran" in warning
    assert "--set contracts.cancelled_means=request" in warning
    assert notes(contracts) == []


def test_a_few_contracts_that_never_ran_are_a_note() -> None:
    contracts = [*yearly(4, 2025, others="cancelled_at=2025-01-01"), "c x 2025-01-01 2027-01-01 1"]
    assert warnings(contracts) == []
    (note,) = notes(contracts)
    assert note.startswith("contracts: 4 were cancelled on or before their start and never ran")


def test_much_rolling_business_is_reported() -> None:
    contracts = [
        "roll a 2025-01-01 open 1",
        "monthly b 2025-12-15 2026-01-15 1 product=x",
        "long b 2025-01-01 2027-01-01 1",
    ]
    (warning,) = warnings(contracts)
    assert "2 of 3 running contracts (66.7 %) roll on (no end, or terms under 90 days)" in warning
    assert "1 account without any other contract cannot be on the list" in warning
    assert notes(contracts) == []


def test_terms_that_never_have_an_amount_are_reported() -> None:
    contracts = [
        "known a 2025-01-01 2027-01-01 unknown",
        "known a 2025-01-01 2027-01-01 12 recorded_at=2025-06-01",
        "never b 2025-02-01 2027-01-01 unknown",
    ]
    (warning,) = warnings(contracts)
    assert warning.startswith(
        "contracts: 1 of 2 terms (50 %) have no arr, for example 'never', which starts on 2025-02"
    )


def test_a_few_rolling_contracts_are_a_note() -> None:
    contracts = ["roll a 2025-01-01 open 1", *(f"c{n} b{n} 2025-01-01 2027-01-01 1" for n in range(5))]
    assert warnings(contracts) == []
    (note,) = notes(contracts)
    assert note.startswith(
        "contracts: 1 of 6 running contracts roll on, for example 'roll': they are in no renewal rate"
    )
