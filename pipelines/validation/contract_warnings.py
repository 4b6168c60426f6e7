"""Warn about contracts that are probably recorded in another way than they are read: mergers, renamed products, dates.

Each finding breaks no rule, but makes customers look lost, or hides what was known. A threshold keeps single slips, and
what is usual in the trade, out of the warnings.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from statistics import median_low
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import Policy
from renewals.features.revenue.contract_lines import USUAL_TERMS
from renewals.features.revenue.known_terms import PAYMENT_SHARE, ROLLING_DAYS
from renewals.features.revenue.valuation import day_date
from renewals.features.tables import TABLES
from renewals.pipelines.storage.notices import Notice
from renewals.pipelines.validation.context import Anomaly, count_rows, known_time
from renewals.pipelines.validation.contract_summary import ContractSummary, EndedTerm, NewTerm, chain_of, shown
from renewals.pipelines.validation.quarantine import format_percent
from renewals.pipelines.validation.value_forms import format_count

MIN_PARENT_SHARE = 0.01
"""Share of the contracts that nothing follows: with fewer, parents may have bought something at that time by chance."""
MIN_RENAMED_CUSTOMERS = 5
"""Fewer customers who go from one product to another may each have decided so for themselves."""
MIN_RENAMED_SHARE = 0.8
"""Where a product is renamed, all customers go over at their renewal except those who are lost then, rarely a fifth."""
MIN_DATED_ROWS = 5
"""Fewer rows with an odd date are typing errors."""
MIN_SIGNED_AFTER_END_SHARE = 0.05
"""Paper may come late, but hardly ever after the whole term: more than one in twenty is a matter of the export."""
CREATED_LATE_DAYS = 90
"""A customer may be entered into the system some weeks after the first contract starts; a quarter later is too late."""
MIN_CREATED_LATE_SHARE = 0.1
"""A few customers may have been bought with another company, and were created on that day."""
MIN_ONE_DAY_SHARE = 0.5
"""Share of the odd dates on one day from which on that day is named as the day of a migration."""
FIRST_PAYMENT_DAYS = 180
"""Contracts are paid within about a quarter of their start: half a year without any payment was not recorded."""
MIN_IGNORED_CANCELLATIONS = 1
"""Each cancellation that is ignored may be a customer who left."""


def find_contract_anomalies(
    summary: ContractSummary, tables: Mapping[str, ir.Table], policy: Policy
) -> Iterator[Anomaly]:
    """Yield what is probably an error in the contracts and accounts, at most one anomaly of each kind and product."""
    yield from _find_parent_contracts(summary, tables["accounts"])
    yield from _find_renamed_products(summary, policy)
    yield from _find_late_signatures(tables["contracts"])
    yield from _find_late_accounts(tables["accounts"], tables["contracts"])
    yield from _find_missing_payments(summary, policy)
    yield from _find_ignored_cancellations(tables["contracts"])
    yield from _find_contracts_that_never_ran(summary)
    yield from _find_rolling_contracts(summary)
    yield from _find_unknown_amounts(tables["contracts"])


# --- mergers and renamed products ------------------------------------------------------------------


def _find_parent_contracts(summary: ContractSummary, accounts: ir.Table) -> Iterator[Anomaly]:
    """Find contracts that nothing follows, while a new contract of the account's parent starts within the grace."""
    parents = _parents(accounts)
    bought: dict[tuple[Any, str], list[NewTerm]] = defaultdict(list)
    for new in summary.bought:
        bought[new.account_id, new.product].append(new)
    found: list[tuple[EndedTerm, NewTerm]] = []
    for term in summary.ended:
        above = [] if term.is_followed else chain_of(term.account_id, parents)[1:]
        of_parents = (new for parent in above for new in bought[parent, term.product])
        found += [(term, new) for new in of_parents if term.first_day <= new.start <= term.last_day][:1]
    in_question = {id(term) for term, _new in found}
    total = sum(
        id(term) in in_question or (not term.is_followed and day_date(term.due) < summary.as_of)
        for term in summary.ended
    )
    if not found or len(found) < MIN_PARENT_SHARE * total:
        return
    term, new = found[0]
    yield Anomaly(
        f"contracts: {_share(len(found), total, 'contract')} that nothing follows end while a new contract of the "
        f"account's parent starts within the grace: {shown(term.contract_id)} of account "
        f"{shown(term.account_id)} ends on {day_date(term.due)}, {shown(new.contract_id)} of {shown(new.account_id)} "
        f"starts on {day_date(new.start)}. They count as lost and the others as new. If the accounts were merged, give "
        "merged_into_account_id (and merged_at) in accounts",
        Notice("contracts_of_parents", {"contracts": len(found)}),
    )


def _parents(accounts: ir.Table) -> dict[Any, Any]:
    """Parent of each account, by the newest of its versions."""
    rows = accounts.mutate(known=known_time(accounts, TABLES["accounts"])).select(
        "account_id", "parent_account_id", "known"
    )
    newest = rows.order_by(_.known.asc(nulls_first=True)).to_pyarrow().to_pylist()
    return {row["account_id"]: row["parent_account_id"] for row in newest}


def _find_renamed_products(summary: ContractSummary, policy: Policy) -> Iterator[Anomaly]:
    """Find products of which nearly all customers went on to one other product when their contracts ended."""
    ended: dict[tuple[str, Any], EndedTerm] = {}
    for term in sorted(summary.ended, key=lambda term: term.due):
        if day_date(term.due) < summary.as_of:
            ended[term.product, term.account_id] = term
    bought: dict[Any, list[NewTerm]] = defaultdict(list)
    for new in summary.bought:
        bought[new.account_id].append(new)
    moves: dict[tuple[str, str], dict[Any, int]] = defaultdict(dict)
    for (product, account), term in ended.items():
        for new in () if term.is_followed else bought[account]:
            if new.product != product and term.first_day <= new.start <= term.last_day:
                moves[product, new.product].setdefault(account, new.start)
    for (old_product, new_product), starts in sorted(moves.items()):
        if len(starts) < MIN_RENAMED_CUSTOMERS:
            continue
        since = median_low(starts.values())
        stayed = {new.account_id for new in summary.bought if new.product == old_product and new.start > since}
        for (product, account), term in ended.items():
            if product == old_product and term.last_day >= since and (term.is_followed or term.is_final):
                stayed.add(account)
        yield from _renamed_product(old_product, new_product, starts, stayed - starts.keys(), policy)


def _renamed_product(
    old: str, new: str, starts: Mapping[Any, int], stayed: Collection[Any], policy: Policy
) -> Iterator[Anomaly]:
    """Yield an anomaly if nearly all customers of `old` went on to `new` since half of those who did so had done so.

    Some may have gone over years before the product was renamed. `starts` is the day on which each customer went over,
    `stayed` are those who were renewed, were lost, or bought `old` anew since.
    """
    since = median_low(starts.values())
    moved = [account for account, start in starts.items() if start >= since]
    if len(moved) < MIN_RENAMED_SHARE * (len(moved) + len(stayed)):
        return
    names = (
        "{"
        + ", ".join(
            f"{json.dumps(k, ensure_ascii=False)}: {json.dumps(v, ensure_ascii=False)}"
            for k, v in {**policy.contracts.renamed_products, old: new}.items()
        )
        + "}"
    )
    yield Anomaly(
        f"contracts: {_share(len(moved), len(moved) + len(stayed), 'customer')} of {shown(old)} since "
        f"{day_date(since)} went on to {shown(new)} when their contract ended ({len(starts):,} in all, for example "
        f"account {shown(moved[0])}): they count as lost for the one product and as cross-sell of the other. If the "
        f"product was only renamed: --set 'contracts.renamed_products={names}'",
        Notice("product_renamed", {"old": old, "new": new, "customers": len(starts)}),
    )


# --- dates -----------------------------------------------------------------------------------------


def _find_late_signatures(contracts: ir.Table) -> Iterator[Anomaly]:
    """Find contracts signed after they had ended."""
    late = _rows(contracts.filter(_.signed_at.date() > _.end_date.date()), "contract_id", "end_date", "signed_at")
    total = count_rows(contracts) if late else 0
    if len(late) < MIN_DATED_ROWS or len(late) < MIN_SIGNED_AFTER_END_SHARE * total:
        return
    first = late[0]
    yield Anomaly(
        f"contracts: {_share(len(late), total, 'row')} have a signed_at after the end of the term"
        f"{_one_day_text(late, 'signed_at')}, for example {shown(first['contract_id'])}: ended "
        f"on {first['end_date']:%Y-%m-%d}, signed on {first['signed_at']:%Y-%m-%d}. A contract is known from its "
        "signature, so these were in no renewal while they ran. Give the original dates of signature, or leave the "
        "column out",
        Notice("signed_after_end", {"contracts": len(late)}),
    )


def _find_late_accounts(accounts: ir.Table, contracts: ir.Table) -> Iterator[Anomaly]:
    """Find accounts created long after their first contract started."""
    first = contracts.group_by("account_id").agg(first_start=_.start_date.min())
    created = accounts.group_by("account_id").agg(created_at=_.created_at.min()).filter(_.created_at.notnull())
    customers = created.inner_join(first, "account_id")
    late_by = ibis.interval(days=CREATED_LATE_DAYS)
    late = _rows(customers.filter(_.created_at > _.first_start + late_by), "account_id", "first_start", "created_at")
    total = count_rows(customers) if late else 0
    if len(late) < MIN_DATED_ROWS or len(late) < MIN_CREATED_LATE_SHARE * total:
        return
    example = late[0]
    yield Anomaly(
        f"accounts: {_share(len(late), total, 'customer')} have a created_at more than {CREATED_LATE_DAYS} days after "
        f"their first contract started{_one_day_text(late, 'created_at')}, for example "
        f"{shown(example['account_id'])}: first contract on {example['first_start']:%Y-%m-%d}, created on "
        f"{example['created_at']:%Y-%m-%d}. Without recorded_at, what the row says of an account counts as unknown "
        "before that day. Give the original dates of creation, or leave the column out",
        Notice("accounts_created_late", {"accounts": len(late)}),
    )


def _one_day_text(rows: list[dict[str, Any]], column: str) -> str:
    """Name the day on which most of the times in a column are, if at least half of them are."""
    day, count = max(sorted(Counter(row[column].date() for row in rows).items()), key=lambda item: item[1])
    if count < MIN_ONE_DAY_SHARE * len(rows):
        return ""
    return f" ({count:,} of them on {day}, as after a migration)"


def _find_missing_payments(summary: ContractSummary, policy: Policy) -> Iterator[Anomaly]:
    """Find payment dates that were not recorded from the start, or only of a few contracts (R1)."""
    payments, setting = summary.payments, policy.renewal.payment
    if setting == "ignored" or not payments.terms:
        return
    paid = _share(payments.paid_terms, payments.terms, "contract")
    is_rare = payments.paid_terms < PAYMENT_SHARE * payments.terms
    remedy = "Give paid_at of all contracts that were paid, or --set renewal.payment=ignored"
    if setting == "required":
        if is_rare and payments.lapsed_renewals:
            yield Anomaly(
                f"contracts: a payment date is given for only {paid}, but renewal.payment is required: "
                f"{payments.lapsed_renewals:,} of {payments.renewals:,} renewals were not paid within "
                f"{policy.renewal.payment_days} days of their start and count as lost. {remedy}",
                Notice("renewals_unpaid", {"paid": payments.paid_terms, "terms": payments.terms}),
            )
        return
    if not payments.paid_terms:
        return
    first_paid = day_date(payments.first_paid)
    if is_rare and not payments.asked_renewals:
        yield Anomaly(
            f"contracts: a payment date is given for only {paid}, the first of {first_paid}, so no renewal is asked "
            f"for its payment: it is asked only where at least {format_percent(PAYMENT_SHARE, 1)} of the contracts of "
            f"the year before it, and of the last {USUAL_TERMS}, have one. {remedy}",
            Notice("payments_missing", {"paid": payments.paid_terms, "terms": payments.terms}),
        )
    elif payments.first_paid - payments.first_start > FIRST_PAYMENT_DAYS:
        asked = (
            f"those from {day_date(payments.first_asked_start)} on ({payments.asked_renewals:,} of "
            f"{payments.renewals:,}) only if paid within {policy.renewal.payment_days} days of their start"
            if payments.asked_renewals
            else "no renewal is asked for its payment yet"
        )
        yield Anomaly(
            f"contracts: no payment date before {first_paid}, while the first contract started on "
            f"{day_date(payments.first_start)} (given for {paid}): renewals of the time before count without payment, "
            f"{asked}. If payments were not recorded before that day, nothing needs to be done; else: "
            f"{remedy[0].lower()}{remedy[1:]}",
            None,
        )


def _find_ignored_cancellations(contracts: ir.Table) -> Iterator[Anomaly]:
    """Find cancellations dated before both signature and start, which are ignored (rule 5 of docs/contracts.md)."""
    first_day = ibis.least(_.signed_at.date(), _.start_date.date())
    rows = contracts.filter(_.signed_at.notnull(), _.cancelled_at.date() < first_day)
    ignored = _rows(rows, "contract_id", "signed_at", "cancelled_at")
    if len(ignored) < MIN_IGNORED_CANCELLATIONS:
        return
    first = ignored[0]
    yield Anomaly(
        f"contracts: {_share(len(ignored), count_rows(contracts), 'row')} have a cancelled_at before both signature "
        f"and start, which is ignored, for example {shown(first['contract_id'])}: cancelled on "
        f"{first['cancelled_at']:%Y-%m-%d}, signed on {first['signed_at']:%Y-%m-%d}. If such a date stands for 'not "
        "cancelled', leave it empty (source.null_values names texts that mean empty); else correct it",
        None,
    )


def _find_contracts_that_never_ran(summary: ContractSummary) -> Iterator[Anomaly]:
    """Find out whether many contracts were cancelled on or before their start."""
    if not summary.have_many_never_run:
        return
    count = len(summary.never_ran)
    yield Anomaly(
        f"contracts: {_share(count, summary.contracts, 'contract')} were cancelled on or before their start and never "
        f"ran, for example {shown(summary.never_ran[0])}: they follow nothing, and are in no rate and no revenue. If "
        "cancelled_at is the day on which notice was given: --set contracts.cancelled_means=request; if it stands for "
        "'not cancelled', leave it empty",
        Notice("contracts_never_ran", {"contracts": count}),
    )


def _find_rolling_contracts(summary: ContractSummary) -> Iterator[Anomaly]:
    """Find out whether much of the business rolls on without a renewal (R15)."""
    if not summary.do_many_roll_on:
        return
    count = len(summary.rolling)
    yield Anomaly(
        f"contracts: {_share(count, summary.running, 'running contract')} roll on (no end, or terms under "
        f"{ROLLING_DAYS} days), for example {shown(summary.rolling[0])}: they are in no renewal rate, and "
        f"{format_count(summary.rolling_accounts, 'account')} without any other contract cannot be on the list. They "
        "count in churn and ARR. If they have a longer term, give its end_date",
        Notice("rolling_contracts", {"share": count / summary.running}),
    )


def _find_unknown_amounts(contracts: ir.Table) -> Iterator[Anomaly]:
    """Find terms of which no version has an amount; earlier versions of dated extracts have none, which is right."""
    terms = contracts.group_by("contract_id", "start_date").agg(amounts=_.arr.count())
    unknown = _rows(terms.filter(_.amounts == 0), "contract_id", "start_date")
    if not unknown:
        return
    yield Anomaly(
        f"contracts: {_share(len(unknown), count_rows(terms), 'term')} have no arr, for example "
        f"{shown(unknown[0]['contract_id'])}, which starts on {unknown[0]['start_date']:%Y-%m-%d}. Their amount is "
        "unknown: it is in no sum of money, and they count only as renewed or not. Give the amount; where nothing is "
        "paid, write 0",
        Notice("unknown_amounts", {"contracts": len(unknown)}),
    )


def _rows(rows: ir.Table, key: str, *columns: str) -> list[dict[str, Any]]:
    """Some columns of rows, ordered by key."""
    return list(rows.select(key, *columns).order_by(key, *columns).to_pyarrow().to_pylist())


def _share(count: int, total: int, noun: str) -> str:
    """A number of things, of how many, with the share."""
    return f"{count:,} of {total:,} {noun}{'s' if total != 1 else ''} ({format_percent(count, total)})"
