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

NO_RATES_TABLE = "currency_without_rates_table"
NO_RATE = "currency_without_rate"
START_BEFORE_FIRST_RATE = "currency_rate_too_late"
WRONG_BASE_RATE = "rate_of_reporting_currency"


def currency_rules(rates: ir.Table | None, reporting_currency: str) -> Iterator[Rule]:
    """The rules that the currency of a contract keeps; an empty one is the reporting currency, and keeps them all."""
    if rates is None:
        words = (
            f"currency is not the reporting currency {reporting_currency}, "
            "and there is no rate to convert it (table rates)"
        )
        yield Rule(NO_RATES_TABLE, "currency", words, lambda r: r.currency == reporting_currency)
        return
    words = f"currency has no row in rates and is not the reporting currency {reporting_currency}"
    yield Rule(
        NO_RATE, "currency", words, lambda r: (r.currency == reporting_currency) | r.currency.isin(rates.currency)
    )
    words = "start_date lies before the first rate of the currency in rates"
    yield Rule(
        START_BEFORE_FIRST_RATE,
        "start_date",
        words,
        lambda r: (r.currency == reporting_currency) | _has_rate_at_start(r, first_rate_days(rates)),
    )


def first_rate_days(rates: ir.Table) -> dict[str, date]:
    """The day of the first rate of each currency."""
    firsts = rates.group_by("currency").agg(first=rates.date.min().date()).order_by("currency")
    return {row["currency"]: row["first"] for row in firsts.to_pyarrow().to_pylist()}


def _has_rate_at_start(rows: ir.Table, first_days: Mapping[str, date]) -> ir.BooleanValue:
    first = rows.currency.cases(*((currency, ibis.literal(day)) for currency, day in first_days.items()))
    return rows.start_date.date() >= first


def base_rate_rule(reporting_currency: str) -> Rule:
    """A rate is in units of the reporting currency, so that currency's own rate is one."""
    words = (
        f"rate of the reporting currency {reporting_currency} is not 1: the rates are for another reporting currency"
    )
    return Rule(
        WRONG_BASE_RATE, "rate", words, lambda r: (r.currency != reporting_currency) | ((r.rate - 1.0).abs() < 1e-6)
    )


def missing_currency_warnings(contracts: ir.Table, money: Money) -> Iterator[str]:
    """Say how many amounts are taken to be in the reporting currency, where others name theirs."""
    counts = contracts.agg(rows=contracts.count(), named=contracts.currency.count()).to_pyarrow().to_pylist()[0]
    if 0 < counts["named"] < counts["rows"]:
        yield (
            f"contracts: {counts['rows'] - counts['named']} of {counts['rows']} rows have no currency and count as "
            f"{money.reporting_currency} (money.reporting_currency)"
        )
