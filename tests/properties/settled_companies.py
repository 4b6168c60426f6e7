"""Settle the contracts of a small company from plain rows, without a query: a query takes longer than the rest.

Only the reading of the tables is replaced (`test_the_story_is_that_of_the_ledger` compares both); everything else is
`features.revenue`, or a changed copy of it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from itertools import count
from types import ModuleType
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from renewals.features.policy import Contracts, Policy
from tests.properties.contract_companies import Company
from tests.root import ROOT

Row = dict[str, Any]

PACKAGE = "renewals.features.revenue"
MODULES = (
    *("valuation", "contract_lines", "terms", "known_terms", "follow_ons", "purchases", "settlement", "outcomes"),
    *("roll_forward", "states", "families", "ledger_tables", "ledger"),
)
"""The modules of `features/revenue`, each after those that it imports."""
INSTANTS = frozenset(
    {
        *("start_date", "end_date", "signed_at", "paid_at", "cancelled_at", "recorded_at", "valid_from", "created_at"),
        *("notice_given_at", "deleted_at", "loss_recorded_at", "merged_at", "date", "go_live_at"),
    }
)
NUMBERS = {"arr": pa.float64(), "rate": pa.float64(), "auto_renew": pa.bool_()} | dict.fromkeys(
    ("seats", "notice_days", "employee_count"), pa.int64()
)


@dataclass(frozen=True)
class Revenue:
    """The modules of `features/revenue`, or of a changed copy."""

    modules: Mapping[str, ModuleType]

    def __getattr__(self, name: str) -> ModuleType:
        try:
            return self.modules[name]
        except KeyError as error:
            raise AttributeError(name) from error


REVENUE = Revenue({name: importlib.import_module(f"{PACKAGE}.{name}") for name in MODULES})
COPIES = count(1)


def changed_copy(module: str, old: str, new: str) -> Revenue:
    """A copy of `features/revenue` in which a piece of code of one module, that stands there once, is another."""
    package = f"changed_revenue_{next(COPIES)}"
    modules = {}
    for name in MODULES:
        code = (ROOT / "features" / "revenue" / f"{name}.py").read_text(encoding="utf-8")
        if name == module:
            if code.count(old) != 1:
                raise ValueError(f"{module}: {code.count(old)} times in the code: {old}")
            code = code.replace(old, new)
        modules[name] = sys.modules[f"{package}.{name}"] = ModuleType(f"{package}.{name}")
        exec(compile(code.replace(f"{PACKAGE}.", f"{package}."), f"{package}/{name}.py", "exec"), vars(modules[name]))
    return Revenue(modules)


@dataclass(frozen=True)
class SettledCompany:
    """The settled families of a company, and the rows of the ledger's tables."""

    revenue: Revenue
    families: tuple[Any, ...]

    def rows(self, table: str) -> list[Row]:
        """Rows of a table of the ledger."""
        make = self.revenue.ledger_tables.ROWS[table]
        found: list[Row] = []
        terms = 0
        for family in self.families:
            found += make(family, terms, "USD")
            terms += len(family.settlement.terms)
        return found

    @cached_property
    def entries(self) -> list[Row]:
        """Ledger entries."""
        return self.rows("entries")

    @cached_property
    def months(self) -> list[Row]:
        """Roll-forward by account and month, with whether the account was and is a customer."""
        return [
            row | {"was_customer": month.was_customer, "is_customer": month.is_customer}
            for family in self.families
            for row, month in zip(
                self.revenue.ledger_tables.ROWS["account_months"](family, 0, "USD"), family.months, strict=True
            )
        ]

    @cached_property
    def states(self) -> list[Row]:
        """Terms as known on each day."""
        return self.rows("term_states")

    @cached_property
    def outcomes(self) -> list[Row]:
        """Outcome of each term."""
        return self.rows("term_outcomes")

    def heir(self, account_id: Any) -> Any:
        """Account in which an account has gone on, as known at the end."""
        for family in self.families:
            heir = family.settlement.owner(account_id, 10**7)
            if heir != account_id:
                return heir
        return account_id


def settle(
    company: Company,
    ledger_day: date,
    known_until: date | None = None,
    revenue: Revenue = REVENUE,
    policy: Policy | None = None,
) -> SettledCompany:
    """A company's contracts, settled as known before `ledger_day`, from the rows known before `known_until`."""
    policy = policy or Policy(contracts=Contracts(renamed_products=company.renamed_products))
    tables, lines_module = company.tables, revenue.contract_lines
    until = revenue.valuation.day_number(known_until or ledger_day)
    versions = [lines_module._version(row, policy) for row in with_known_times(tables["contracts"])]
    by_id: dict[Any, list[Any]] = {}
    for version in sorted((v for v in versions if v.known < until), key=lines_module._version_order):
        lines_module._add_version(by_id.setdefault(version.contract_id, []), version)
    lines = sorted((line for group in by_id.values() for line in group), key=lambda line: line.key)
    ledger = revenue.ledger.RenewalLedger(None, ledger_day, policy)
    ledger.__dict__["_lines"] = lines
    quotes = [(r["currency"], revenue.valuation.day_number(r["date"]), r["rate"]) for r in tables["rates"]]
    rules = revenue.terms.SettlementRules(
        policy,
        revenue.valuation.Rates(quotes, policy.money.reporting_currency),
        lines_module.PaymentShare(lines),
        revenue.valuation.day_number(ledger_day) - 1,
    )
    mergers = revenue.families.read_mergers(_Accounts(tables["accounts"]), until)
    families = revenue.families.group_families(lines, mergers)
    return SettledCompany(
        revenue,
        tuple(revenue.families.settle_family(family, merged, rules, ledger.months) for family, merged in families),
    )


def with_known_times(contracts: Iterable[Row]) -> list[Row]:
    """Rows of contracts with `known_at`, as `features.tables` defines it for the whole table."""
    rows = list(contracts)

    def paper(row: Row) -> datetime | None:
        signed, recorded = row["signed_at"], row["recorded_at"]
        return signed if signed is None or recorded is None else max(signed, recorded)

    first = min((paper(row) for row in rows if paper(row) is not None), default=None)

    def known(row: Row) -> datetime:
        recorded, start = row["recorded_at"], row["start_date"]
        is_draft = recorded is not None and first is not None and first <= recorded and start > recorded
        return paper(row) or (start if is_draft else recorded) or start

    return [row | {"known_at": known(row)} for row in rows]


class _Accounts:
    """Accounts with the one query that `read_mergers` makes: those that name another account as their heir."""

    def __init__(self, rows: list[Row]) -> None:
        self.columns = list(rows[0]) if rows else []
        self._rows = rows

    def filter(self, *_conditions: Any) -> _Accounts:
        heirs = [row for row in self._rows if row["merged_into_account_id"] not in (None, row["account_id"])]
        return _Accounts(heirs)

    def select(self, *columns: str) -> _Accounts:
        return _Accounts([{name: row[name] for name in columns} for row in self._rows])

    def to_pyarrow(self) -> _Accounts:
        return self

    def to_pylist(self) -> list[Row]:
        return self._rows


def table(rows: list[Row]) -> ir.Table | None:
    """Rows as a table of the data contract; None where there are none."""
    if not rows:
        return None
    columns = {}
    for name in rows[0]:
        kind = pa.timestamp("us") if name in INSTANTS else NUMBERS.get(name, pa.string())
        columns[name] = pa.array([row[name] for row in rows], type=kind)
    return ibis.memtable(pa.table(columns))
