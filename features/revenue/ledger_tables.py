"""Rows and column types of the tables of the ledger.

Each function gives the rows that a settled family adds to one table. Days become dates, money stays in cents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from typing import Any

import pyarrow as pa

from renewals.features.revenue.contract_lines import OPEN_END
from renewals.features.revenue.families import SettledFamily
from renewals.features.revenue.outcomes import booked_month_end
from renewals.features.revenue.roll_forward import MONEY_COLUMNS, MULTI_YEAR_COLUMNS
from renewals.features.revenue.valuation import CHANGE_COLUMNS, day_date, month_start

SUMMED_COLUMNS = (*MONEY_COLUMNS, *MULTI_YEAR_COLUMNS, "lost", "opening_customer", "closing_customer")
"""Columns of the account months that add up over accounts."""


def _instant(day: int | None) -> datetime | None:
    return None if day is None else datetime.combine(day_date(day), time())


def _end_date(day: int | None) -> date | None:
    """Date of a day; None for an open end."""
    return None if day is None or day >= OPEN_END else day_date(day)


def _entry_rows(family: SettledFamily, _first_term: int, reporting_currency: str) -> Iterator[dict[str, Any]]:
    settlement = family.settlement
    for entry in family.entries:
        term, follow_on, version = entry.term, entry.follow_on, entry.version
        first, found = settlement.first_step(term), family.sets.get(term.number)
        loss = term.version
        is_reason_known = loss.loss_recorded is None or loss.loss_recorded <= settlement.rules.last_day
        has_reason = entry.renewed == 0 and is_reason_known
        booked = None if entry.renewed is None else month_start(booked_month_end(settlement, entry))
        yield {
            "contract_id": term.line.contract_id,
            "account_id": entry.account_id,
            "product": version.product,
            "plan": version.plan,
            "start_date": day_date(first.start),
            "end_date": _end_date(term.end),
            "due_at": day_date(entry.due),
            "currency": version.currency or reporting_currency,
            "outcome": entry.outcome,
            "renewed": entry.renewed,
            "rule": entry.rule,
            "follow_on_id": None if follow_on is None else follow_on.line.contract_id,
            "follow_on_start": None if follow_on is None else day_date(follow_on.start),
            "follow_on_end": None if follow_on is None else _end_date(follow_on.end),
            "follow_on_known_at": None if follow_on is None else _instant(follow_on.known),
            "amount_due": entry.amount_due,
            **entry.changes,
            "known_at": _instant(first.known),
            "matured_at": _instant(entry.matured),
            "booked_month": _end_date(booked),
            "rolling": settlement.is_rolling(term),
            "loss_reason": loss.loss_reason if has_reason else None,
            "lost_to": loss.lost_to if has_reason else None,
            "sold_by": version.sold_by,
            "set_known_at": None if found is None else _instant(found.known),
            "set_matured_at": None if found is None else _instant(found.matured),
            "set_closed": None if found is None else found.is_closed,
        }


def _pair_rows(family: SettledFamily, _first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    for pair in family.settlement.pairs:
        if pair.voided is None:
            yield {
                "account_id": family.settlement.account(pair.new),
                "old_id": pair.old.line.contract_id,
                "old_start": day_date(pair.old.start),
                "new_id": pair.new.line.contract_id,
                "new_start": day_date(pair.new.start),
                "rule": pair.rule,
                "kind": pair.kind,
                "known_at": _instant(pair.known),
            }


def _overlap_rows(family: SettledFamily, _first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    settlement = family.settlement
    for old, new, replaces in settlement.overlaps:
        amounts = [term.holding(new.start, settlement.day, settlement.rules.rates).amount for term in (old, new)]
        yield {
            "account_id": settlement.account(new),
            "old_id": old.line.contract_id,
            "new_id": new.line.contract_id,
            "starts": day_date(new.start),
            "replaces": replaces,
            "old_amount": amounts[0],
            "new_amount": amounts[1],
        }


def _expansion_rows(family: SettledFamily, _first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    for purchase in family.settlement.purchases:
        yield {
            "account_id": purchase.account_id,
            "contract_id": purchase.term.line.contract_id,
            "product": purchase.product,
            "kind": purchase.kind,
            "happened_at": day_date(purchase.happened),
            "known_at": _instant(purchase.known),
            "voided_at": _instant(purchase.voided),
            "amount": purchase.amount,
            "sold_by": purchase.term.version.sold_by,
            "signed_at": purchase.term.version.signed_at,
        }


def _interval_rows(family: SettledFamily, _first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    settlement = family.settlement
    for term in settlement.terms:
        end = settlement.revenue_end(term)
        if term.is_live and term.begin < end:
            yield {
                "contract_id": term.line.contract_id,
                "account_id": settlement.account(term),
                "product": term.version.product,
                "plan": term.version.plan,
                "start_day": term.begin,
                "end_day": end,
                "amount": term.holding(term.start, settlement.day, settlement.rules.rates).amount,
            }


def _month_rows(family: SettledFamily, _first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    for row in family.months:
        yield {
            "month": row.month,
            "account_id": row.account_id,
            **row.money,
            **{name: getattr(row, name) for name in MULTI_YEAR_COLUMNS},
            "lost": int(row.is_lost),
            "opening_customer": int(row.was_customer),
            "closing_customer": int(row.is_customer),
            "opening_plan": row.opening_plan,
            "closing_plan": row.closing_plan,
        }


def _state_rows(family: SettledFamily, first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    for term, first, until, state in family.states.rows:
        values = state._asdict()
        dates = ("start_date", "end_date", "renewal_date", "notice_given", "replaced_at")
        yield {
            "term": first_term + term.number,
            "seen_from": first,
            "seen_until": OPEN_END if until is None else until,
            **values,
            **{name: _end_date(values[name]) for name in dates},
        }


def _outcome_rows(family: SettledFamily, first_term: int, _currency: str) -> Iterator[dict[str, Any]]:
    entries = {entry.term.number: entry for entry in family.entries}
    for term in family.settlement.terms:
        entry = entries.get(family.settlement.decisive_term(term).number)
        if not term.is_void:
            yield {
                "term": first_term + term.number,
                "renewed": None if entry is None else entry.renewed,
                "matured_at": None if entry is None else _instant(entry.matured),
            }


ROWS: dict[str, Callable[[SettledFamily, int, str], Iterator[dict[str, Any]]]] = {
    "entries": _entry_rows,
    "pairs": _pair_rows,
    "overlaps": _overlap_rows,
    "expansions": _expansion_rows,
    "revenue_intervals": _interval_rows,
    "account_months": _month_rows,
    "term_states": _state_rows,
    "term_outcomes": _outcome_rows,
}
"""Rows of each table that a family adds, given the number of its first term and the reporting currency."""


def table_types(ids: dict[str, pa.DataType]) -> dict[str, pa.Schema]:
    """Schema of each table."""
    account, contract = ids["account_id"], ids["contract_id"]
    text, day, instant, integer, flag = pa.string(), pa.date32(), pa.timestamp("us"), pa.int64(), pa.bool_()
    schemas: dict[str, list[tuple[str, pa.DataType]]] = {
        "entries": [
            ("contract_id", contract), ("account_id", account), ("product", text), ("plan", text),
            ("start_date", day), ("end_date", day), ("due_at", day), ("currency", text), ("outcome", text),
            ("renewed", pa.int8()), ("rule", text), ("follow_on_id", contract), ("follow_on_start", day),
            ("follow_on_end", day), ("follow_on_known_at", instant), ("amount_due", integer),
            *((name, integer) for name in CHANGE_COLUMNS),
            ("known_at", instant), ("matured_at", instant), ("booked_month", day), ("rolling", flag),
            ("loss_reason", text), ("lost_to", text), ("sold_by", text),
            ("set_known_at", instant), ("set_matured_at", instant), ("set_closed", flag),
        ],
        "pairs": [
            ("account_id", account), ("old_id", contract), ("old_start", day), ("new_id", contract),
            ("new_start", day), ("rule", text), ("kind", text), ("known_at", instant),
        ],
        "overlaps": [
            ("account_id", account), ("old_id", contract), ("new_id", contract), ("starts", day), ("replaces", flag),
            ("old_amount", integer), ("new_amount", integer),
        ],
        "expansions": [
            ("account_id", account), ("contract_id", contract), ("product", text), ("kind", text),
            ("happened_at", day), ("known_at", instant), ("voided_at", instant), ("amount", integer),
            ("sold_by", text), ("signed_at", instant),
        ],
        "revenue_intervals": [
            ("contract_id", contract), ("account_id", account), ("product", text), ("plan", text),
            ("start_day", integer), ("end_day", integer), ("amount", integer),
        ],
        "account_months": [
            ("month", day), ("account_id", account), *((name, integer) for name in SUMMED_COLUMNS),
            ("opening_plan", text), ("closing_plan", text),
        ],
        "term_states": [
            ("term", integer), ("seen_from", pa.int32()), ("seen_until", pa.int32()), ("account_id", account),
            ("contract_id", contract), ("product", text), ("plan", text), ("start_date", day), ("end_date", day),
            ("renewal_date", day), ("arr", pa.float64()), ("currency", text), ("seats", integer),
            ("auto_renew", flag), ("signed_at", instant), ("paid_at", instant), ("cancelled_at", instant),
            ("notice_days", integer), ("notice_given", day), ("replaced_at", day), ("signed_ahead", flag),
            ("rolling", flag), ("is_open", flag),
        ],
        "term_outcomes": [("term", integer), ("renewed", pa.int8()), ("matured_at", instant)],
    }  # fmt: skip
    return {name: pa.schema(fields) for name, fields in schemas.items()}
