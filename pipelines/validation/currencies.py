"""Rules for currencies: quarantine rows with an amount that cannot be converted to the reporting currency.

`features` converts at the newest rate dated on or before a day. A contract runs from its start, so a rate dated by its
start is enough for every later day.
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
    """Rules for the currency of a contract; a missing currency means the reporting currency and breaks no rule."""
    if rates is None:
        message = (
            f"currency is not the reporting currency {reporting_currency}, "
            "and there is no rate to convert it (table rates)"
        )
        yield Rule(NO_RATES_TABLE, "currency", message, lambda r: r.currency == reporting_currency)
        return
    message = f"currency has no row in rates and is not the reporting currency {reporting_currency}"
    yield Rule(
        NO_RATE, "currency", message, lambda r: (r.currency == reporting_currency) | r.currency.isin(rates.currency)
    )
    message = "start_date is before the first rate of the currency in rates"
    yield Rule(
        START_BEFORE_FIRST_RATE,
        "start_date",
        message,
        lambda r: (r.currency == reporting_currency) | _has_rate_at_start(r, first_rate_days(rates)),
    )


def first_rate_days(rates: ir.Table) -> dict[str, date]:
    """Date of the first rate, by currency."""
    firsts = rates.group_by("currency").agg(first=rates.date.min().date()).order_by("currency")
    return {row["currency"]: row["first"] for row in firsts.to_pyarrow().to_pylist()}


def _has_rate_at_start(rows: ir.Table, first_days: Mapping[str, date]) -> ir.BooleanValue:
    first_day = rows.currency.cases(*((currency, ibis.literal(day)) for currency, day in first_days.items()))
    return rows.start_date.date() >= first_day


def base_rate_rule(reporting_currency: str) -> Rule:
    """The rule that the rate of the reporting currency itself is 1, because rates are in its units."""
    message = (
        f"rate of the reporting currency {reporting_currency} is not 1: the rates are for another reporting currency"
    )
    return Rule(
        WRONG_BASE_RATE, "rate", message, lambda r: (r.currency != reporting_currency) | ((r.rate - 1.0).abs() < 1e-6)
    )


def missing_currency_warnings(contracts: ir.Table, money: Money) -> Iterator[str]:
    """Warn about contracts without a currency if other contracts have one."""
    counts = contracts.agg(rows=contracts.count(), named=contracts.currency.count()).to_pyarrow().to_pylist()[0]
    if 0 < counts["named"] < counts["rows"]:
        yield (
            f"contracts: {counts['rows'] - counts['named']} of {counts['rows']} rows have no currency and count as "
            f"{money.reporting_currency} (money.reporting_currency)"
        )
