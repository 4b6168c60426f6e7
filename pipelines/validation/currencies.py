"""Which amounts can be converted to the reporting currency: what cannot is set aside, never counted as if it could.

`features` converts at the newest rate dated on or before a day. A contract runs from its start on, so a rate dated by
then is enough for every later day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

import ibis
import ibis.expr.types as ir

from renewals.features.policy import Money
from renewals.features.tables import Rule

WITHOUT_TABLE = "currency_without_rates_table"
WITHOUT_RATE = "currency_without_rate"
TOO_EARLY = "currency_rate_too_late"
OTHER_BASE = "rate_of_reporting_currency"


def convertible(rates: ir.Table | None, home: str) -> Iterator[Rule]:
    """The rules that the currency of a contract keeps; an empty one is the reporting currency, and keeps them all."""
    if rates is None:
        words = f"currency is not the reporting currency {home}, and there is no rate to convert it (table rates)"
        yield Rule(WITHOUT_TABLE, "currency", words, lambda r: r.currency == home)
        return
    words = f"currency has no row in rates and is not the reporting currency {home}"
    yield Rule(WITHOUT_RATE, "currency", words, lambda r: (r.currency == home) | r.currency.isin(rates.currency))
    words = "start_date lies before the first rate of the currency in rates"
    yield Rule(TOO_EARLY, "start_date", words, lambda r: (r.currency == home) | _quoted_by_then(r, first_days(rates)))


def first_days(rates: ir.Table) -> dict[str, date]:
    """The day of the first rate of each currency."""
    firsts = rates.group_by("currency").agg(first=rates.date.min().date()).order_by("currency")
    return {row["currency"]: row["first"] for row in firsts.to_pyarrow().to_pylist()}


def _quoted_by_then(rows: ir.Table, firsts: Mapping[str, date]) -> ir.BooleanValue:
    first = rows.currency.cases(*((currency, ibis.literal(day)) for currency, day in firsts.items()))
    return rows.start_date.date() >= first


def rate_of_home(home: str) -> Rule:
    """A rate is in units of the reporting currency, so that currency's own rate is one."""
    words = f"rate of the reporting currency {home} is not 1: the rates are for another reporting currency"
    return Rule(OTHER_BASE, "rate", words, lambda r: (r.currency != home) | ((r.rate - 1.0).abs() < 1e-6))


def without_currency(contracts: ir.Table, money: Money) -> Iterator[str]:
    """Say how many amounts are taken to be in the reporting currency, where others name theirs."""
    counts = contracts.agg(rows=contracts.count(), named=contracts.currency.count()).to_pyarrow().to_pylist()[0]
    if 0 < counts["named"] < counts["rows"]:
        yield (
            f"contracts: {counts['rows'] - counts['named']} of {counts['rows']} rows have no currency and count as "
            f"{money.reporting_currency} (money.reporting_currency)"
        )
