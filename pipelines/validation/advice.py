"""Find why rows break a rule of the data contract, and advise what to do.

Each possible cause is searched for in the rows: null markers, time or number formats, other spellings of an id, a key
that identifies something else. Without a cause there is no advice, because a guess would mislead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis import _

from renewals.features.policy import SEVERITIES, TICKET_KINDS
from renewals.features.tables import MONEY_RANGE, ColumnSpec, Rule
from renewals.pipelines.storage.notices import Notice
from renewals.pipelines.validation import currencies
from renewals.pipelines.validation.context import Anomaly, CheckContext, TableReport, ValidatedTable
from renewals.pipelines.validation.duplicates import duplicate_advice, thing_columns
from renewals.pipelines.validation.value_forms import (
    MAX_VALUES_SHOWN,
    drop_null_markers,
    find_null_markers,
    format_count,
    format_values,
    number_format_advice,
    time_format_advice,
)

MAX_DISTINCT_VALUES = 1000
"""Maximum number of distinct values of a column that are examined, the most frequent first."""


@dataclass(frozen=True)
class RuleViolation:
    """The rows of a table that break one rule."""

    context: CheckContext
    validated: ValidatedTable
    report: TableReport
    rule: Rule
    is_text: bool
    """True if the raw table is text, so that `source.null_values` and `source.decimal` apply to it."""

    @property
    def column(self) -> ColumnSpec:
        """The column that the rule checks."""
        return self.validated.table.columns[self.rule.column]

    @property
    def rows(self) -> ir.Table:
        """The rows that break the rule: raw and cast columns."""
        place = next(place for place, rule in enumerate(self.validated.rules) if rule.name == self.rule.name)
        return self.validated.rows.filter(self.validated.rows[f"breaks_{place}"])

    @cached_property
    def values(self) -> dict[str, int]:
        """The distinct raw texts of the column with their row counts, most frequent first."""
        raw_name = self.validated.raw_columns.get(self.rule.column)
        if raw_name is None:
            return {}
        counts = self.rows.group_by(value=_[raw_name].cast("string")).agg(rows=_.count())
        values = counts.filter(_.value.notnull()).order_by(ibis.desc("rows"), "value").limit(MAX_DISTINCT_VALUES)
        return {row["value"]: row["rows"] for row in values.to_pyarrow().to_pylist()}


CauseFinder = Callable[[RuleViolation], Iterator[str]]


def find_advice(violation: RuleViolation) -> list[str]:
    """Advice for the rows that break a rule: one sentence per cause found."""
    suffix = violation.rule.name.removeprefix(f"{violation.rule.column}_")
    causes = CAUSE_FINDERS.get(violation.rule.name) or CAUSE_FINDERS.get(suffix) or ()
    return [sentence for cause in causes for sentence in cause(violation)]


def first_row(rows: ir.Table) -> dict[str, Any]:
    """The first row of a query, by column name."""
    return dict(rows.limit(1).to_pyarrow().to_pylist()[0])


# --- null markers ---------------------------------------------------------------------------------


def _null_marker_advice(violation: RuleViolation) -> Iterator[str]:
    if markers := find_null_markers(violation.values):
        yield _read_as_null_advice(violation, markers, "mean that there is no value")


def _read_as_null_advice(violation: RuleViolation, values: Mapping[str, int], reason: str) -> str:
    """Advice on how to have these values read as null, if the column may be null."""
    if not violation.column.nullable:
        return (
            f"{format_values(values)} {reason}, and {violation.rule.column} is required: fill in the value, or exclude "
            "these rows at the source"
        )
    if not violation.is_text:
        return f"{format_values(values)} {reason}: write NULL instead at the source"
    nulls = list(dict.fromkeys((*violation.context.job.settings.source.null_values, *values)))
    return f"{format_values(values)} {reason}: --set 'source.null_values={json.dumps(nulls, ensure_ascii=False)}'"


def _open_end_advice(violation: RuleViolation) -> Iterator[str]:
    """Advice for infinite or implausible times, which some systems write for an open end or an unknown date."""
    if values := violation.values:
        yield _read_as_null_advice(violation, values, "look like an open end or an unknown date, not like a time")


# --- times and numbers that cannot be read --------------------------------------------------------

THREE_DECIMALS_PATTERN = r"^\d{1,3}\.\d{3}$"


def find_thousands_as_decimals(validated: ValidatedTable) -> Iterator[Anomaly]:
    """Find text amounts that are probably 1000 times too small, because 12.000 means 12 thousand."""
    name = validated.table.name
    for column in validated.table.columns.values():
        if MONEY_RANGE in column.constraints and column.name in validated.raw_columns:
            text = validated.rows[validated.raw_columns[column.name]].strip().nullif("")
            dotted, below = text.re_search(THREE_DECIMALS_PATTERN), text.re_search(r"^\d{1,3}$")
            counts = {"rows": text.count(), "dotted": dotted.sum(), "below": below.sum()}
            counted = first_row(validated.rows.agg(**counts, example=text.max(where=dotted)))
            if (
                counted["dotted"]
                and counted["dotted"] + counted["below"] == counted["rows"]
                and counted["dotted"] >= counted["below"]
            ):
                warning = (
                    f"{name}: every {column.name} is between 0 and 999, and {counted['dotted']} of {counted['rows']} "
                    f"have three decimals, for example {counted['example']!r}: if the dot separates thousands, use "
                    "--set 'source.decimal=\",\"'"
                )
                values = {"table": name, "example": counted["example"]}
                yield Anomaly(warning, Notice("amounts_of_three_decimals", values))


def _unreadable_advice(violation: RuleViolation) -> Iterator[str]:
    yield from _null_marker_advice(violation)
    values, kind = drop_null_markers(violation.values), violation.column.type
    if not values or isinstance(kind, str):
        return
    if kind.is_timestamp():
        yield time_format_advice(values)
    elif kind.is_numeric():
        yield number_format_advice(values, violation.context.job.settings.source.decimal)
    else:
        yield f"{format_values(values)}: write true or false"


# --- values that are not in a fixed list ------------------------------------------------------------

TICKET_SYNONYMS = {
    **dict.fromkeys(("incident", "problem", "defect", "error", "fault"), "bug"),
    **dict.fromkeys(("feature", "feature_request", "enhancement", "task", "change"), "request"),
    **dict.fromkeys(("how-to", "support", "query"), "question"),
    **dict.fromkeys(("urgent", "critical", "blocker", "highest", "p1", "sev1"), "high"),
    **dict.fromkeys(("normal", "standard", "p2", "sev2"), "medium"),
    **dict.fromkeys(("minor", "lowest", "trivial", "p3", "p4", "sev3"), "low"),
}
"""Names of ticket kinds and severities in other help desk systems, as suggestions."""


def _unlisted_value_advice(violation: RuleViolation) -> Iterator[str]:
    if values := drop_null_markers(violation.values):
        proposals = {v: _suggest_value(v, violation) for v in values}
        pairs = ", ".join(f"{v!r} to {p}" for v, p in islice(proposals.items(), MAX_VALUES_SHOWN) if p)
        proposal = f" (for example {pairs})" if pairs else ""
        yield f"the values are {format_values(values)}; no setting maps them: rename them at the source{proposal}"


def _suggest_value(text: str, violation: RuleViolation) -> str | None:
    """The allowed value with the same meaning, or None."""
    normalized = text.strip().casefold()
    allowed = re.findall(r"[^\s,]+", violation.rule.message.partition("none of ")[2])
    by_casefold = {value.casefold(): value for value in allowed}
    synonym = TICKET_SYNONYMS.get(normalized) if violation.rule.column in ("kind", "severity") else None
    return by_casefold.get(normalized) or (
        synonym if synonym in allowed and synonym in (*TICKET_KINDS, *SEVERITIES) else None
    )


# --- unknown account ids ------------------------------------------------------------------------------

Normalization = Callable[[ir.StringValue], ir.StringValue]
ID_NORMALIZATIONS: dict[str, Normalization] = {
    "spaces around them were removed": lambda v: v.strip(),
    "upper and lower case were ignored": lambda v: v.lower(),
    "the ending '.0' were removed": lambda v: v.re_replace(r"\.0+$", ""),
    "leading zeros were removed": lambda v: v.re_replace(r"^0+", ""),
    "only their first 15 characters were compared (Salesforce ids have 15 or 18)": lambda v: v.re_extract(
        r"^([A-Za-z0-9]{15})([A-Z0-5]{3})?$", 1
    ),
    "only their letters and digits were compared, ignoring case": lambda v: v.lower().re_replace(r"[^\p{L}\p{N}]", ""),
}
MIN_EXPLAINED_SHARE = 0.5
"""A normalization is reported as the cause if it explains at least this share of the rows."""


def _unknown_account_advice(violation: RuleViolation) -> Iterator[str]:
    con, table = violation.context.con, violation.validated.table.name
    counts = violation.rows.group_by("account_id").agg(rows=_.count())
    unknown = con.create_table(f"unknown_of_{table}", counts, temp=True, overwrite=True)
    total = unknown.rows.sum().to_pyarrow().as_py() or 0
    broken_accounts = con.table("judged_accounts").select("account_id").distinct()
    quarantined = unknown.semi_join(broken_accounts, "account_id").rows.sum().to_pyarrow().as_py() or 0
    if quarantined:
        yield f"{quarantined} of {total} rows belong to accounts that are quarantined: correct accounts first"
    if quarantined < total:
        yield from _null_marker_advice(violation)
        yield _normalization_advice(unknown, violation.context.clean_table("accounts"), total) or _foreign_ids_advice(
            violation
        )


def _normalization_advice(unknown: ir.Table, accounts: ir.Table, total: int) -> str | None:
    """The single normalization by which most of the unknown ids match an account, as a sentence; None without one."""
    matches = [(change, _count_matches(unknown, accounts, spell)) for change, spell in ID_NORMALIZATIONS.items()]
    change, best = max(matches, key=lambda match: match[1]["rows"] or 0)
    if (best["rows"] or 0) < MIN_EXPLAINED_SHARE * total:
        return None
    return (
        f"{best['rows']} of {total} rows would match if {change} ({best['unknown_id']!r} is {best['known_id']!r} in "
        "accounts): write the ids in one form at the source"
    )


def _count_matches(unknown: ir.Table, accounts: ir.Table, normalize: Normalization) -> dict[str, Any]:
    """Count the rows that match an account after normalizing ids, with one example pair.

    Returns `rows`, `unknown_id` and `known_id`. A normalized id that belongs to several accounts is no match.
    """
    known_keys = accounts.select(known_id=_.account_id.cast("string")).mutate(key=normalize(_.known_id))
    known_keys = known_keys.group_by("key").agg(known_id=_.known_id.min(), accounts=_.known_id.nunique())
    known_keys = known_keys.filter(_.key != "", _.accounts == 1)
    unknown_keys = unknown.select("rows", unknown_id=_.account_id.cast("string")).mutate(key=normalize(_.unknown_id))
    matches = unknown_keys.join(known_keys, "key")
    return first_row(
        matches.agg(rows=_.rows.sum(), unknown_id=_.unknown_id.min(), known_id=_.known_id.argmin(_.unknown_id))
    )


def _foreign_ids_advice(violation: RuleViolation) -> str:
    example = first_row(violation.context.clean_table("accounts").agg(example=_.account_id.min()))["example"]
    return (
        f"the ids are {format_values(violation.values)}, those in accounts look like {example!r}: give all accounts, "
        "also those that have left, with ids of the same system"
    )


# --- money -------------------------------------------------------------------------------------------


def _currency_advice(violation: RuleViolation) -> Iterator[str]:
    yield from _null_marker_advice(violation)
    reporting_currency = violation.context.job.settings.money.reporting_currency
    has_rates = violation.rule.name == currencies.NO_RATE
    rate_days = currencies.first_rate_days(violation.context.clean_table("rates")) if has_rates else {}
    by_casefold = {name.strip().casefold(): name for name in (*rate_days, reporting_currency)}
    values = drop_null_markers(violation.values)
    respelled = {v: n for v, n in values.items() if v.strip().casefold() in by_casefold}
    if respelled:
        pairs = ", ".join(f"{v!r} ({n}) is {by_casefold[v.strip().casefold()]!r}" for v, n in respelled.items())
        yield f"{pairs}: use one spelling of each currency in contracts, rates and money.reporting_currency"
    foreign = {v: n for v, n in values.items() if v not in respelled}
    if foreign:
        yield (
            _missing_rates_advice(violation, foreign, reporting_currency)
            if has_rates
            else _reporting_currency_advice(violation, foreign, reporting_currency)
        )


def _missing_rates_advice(violation: RuleViolation, foreign: Mapping[str, int], reporting_currency: str) -> str:
    first = first_row(violation.rows.agg(first=_.start_date.min()))["first"]
    dated = f", the first one dated {first:%Y-%m-%d} or earlier" if first else ""
    columns = f"currency, date, rate: units of {reporting_currency} per unit"
    return f"{format_values(foreign)}: add their rates ({columns}){dated}"


def _reporting_currency_advice(violation: RuleViolation, foreign: Mapping[str, int], reporting_currency: str) -> str:
    """Advice: set the reporting currency if all rows have the same currency; several currencies need rates."""
    rows, column = violation.validated.rows, violation.validated.rows.currency
    counts = first_row(rows.agg(none=column.isnull().sum(), home=(column == reporting_currency).sum()))
    unnamed = (
        f"{format_count(counts['none'], 'row')} without a currency counted as {reporting_currency}; "
        if counts["none"]
        else ""
    )
    advice = _missing_rates_advice(violation, foreign, reporting_currency)
    with_rates = f"{unnamed}{advice.replace('add their rates', 'add a table rates with their rates')}"
    (currency, *more_currencies) = foreign
    if more_currencies or counts["home"] or not re.fullmatch("[A-Z]{3}", currency):
        return with_rates
    also = ", also those without a currency" if counts["none"] else ""
    return f"if all amounts are in {currency}{also}: --set money.reporting_currency={currency}; if not: {with_rates}"


def _first_rate_advice(violation: RuleViolation) -> Iterator[str]:
    firsts = currencies.first_rate_days(violation.context.clean_table("rates"))
    starts = violation.rows.group_by("currency").agg(start=_.start_date.min(), rows=_.count()).order_by("currency")
    for row in islice(starts.to_pyarrow().to_pylist(), MAX_VALUES_SHOWN):
        yield (
            f"the rates of {row['currency']} start on {firsts[row['currency']]}, after the start of "
            f"{format_count(row['rows'], 'contract')}, the first on {row['start']:%Y-%m-%d}: add a rate of that day or "
            "earlier"
        )


def _base_currency_advice(violation: RuleViolation) -> Iterator[str]:
    unit_rates = (
        violation.validated.rows.group_by("currency")
        .agg(is_one=(_.rate == 1.0).all())
        .filter(_.is_one)
        .order_by("currency")
    )
    bases = [row["currency"] for row in unit_rates.to_pyarrow().to_pylist()]
    reporting_currency = violation.context.job.settings.money.reporting_currency
    if len(bases) == 1:
        yield f"the rates are in units of {bases[0]} (its rate is 1): --set money.reporting_currency={bases[0]}"
    else:
        yield f"give the rates in units of {reporting_currency} per unit of each currency"


def _negative_amount_advice(violation: RuleViolation) -> Iterator[str]:
    if violation.rule.column == "arr":
        yield "a credit or a price change is not a contract: add it to the ARR of its term at the source"


# --- keys and repeated rows ----------------------------------------------------------------------------


def _duplicate_key_advice(violation: RuleViolation) -> Iterator[str]:
    """Advice by the columns in which the rows of one key differ: they show what the key identifies."""
    table, key = violation.validated.table, list(violation.validated.table.key)
    groups = (
        violation.validated.rows.filter(~violation.validated.is_broken).select(*violation.validated.columns).distinct()
    )
    differing = {
        c: groups[c].nunique() + (groups[c].isnull().any()).cast("int64") for c in table.columns if c not in key
    }
    keys = groups.group_by(key).agg(times=_.count(), **differing).filter(_.times > 1)
    sums = {c: (keys[c] > 1).sum() for c in differing}
    worst = first_row(keys.order_by(ibis.desc("times"), *key))
    counts = first_row(keys.agg(keys=_.count(), **sums))
    columns = ", ".join(c for c in differing if counts[c])
    things = thing_columns(table)
    example = ", ".join(_format_key(worst[c]) for c in things)
    versions = (
        f"if they are versions, {table.versions[0]} tells them apart: fill it with the time when each was recorded; if "
        "not, keep one row of each at the source"
        if table.versions
        else "keep one row of each at the source, the newest one if they are versions"
    )
    yield (
        f"each {', '.join(things)} must occur once; repeated: {counts['keys']}, for example {example} with "
        f"{worst['times']} rows. They differ in {columns}: {versions}"
    )


def _format_key(value: Any) -> str:
    return f"{value:%Y-%m-%d}" if isinstance(value, datetime) else repr(value)


def _duplicate_row_advice(violation: RuleViolation) -> Iterator[str]:
    yield duplicate_advice(violation.validated.table.name, violation.report)


def _one_day_term_advice(violation: RuleViolation) -> Iterator[str]:
    """Advice for one-day terms: an end_date that is the last day, not the day after, ends where it starts."""
    if not violation.context.job.settings.source.inclusive_ends:
        yield (
            "end_date is the first day after the term: if it is the last day of every term, --set "
            "source.inclusive_ends=true; if only of these rows, add a day at the source"
        )


def _nps_range_advice(violation: RuleViolation) -> Iterator[str]:
    scores = first_row(violation.rows.agg(low=_.score.min(), high=_.score.max()))
    yield (
        f"these scores are between {scores['low']:g} and {scores['high']:g}: an nps score is one person's answer from "
        f"0 to 10; convert other scales at the source, or set the kind to csat"
    )


CAUSE_FINDERS: dict[str, tuple[CauseFinder, ...]] = {
    "unreadable": (_unreadable_advice,),
    "unlisted": (_null_marker_advice, _unlisted_value_advice),
    "implausible": (_open_end_advice,),
    "zero": (_open_end_advice,),
    "negative": (_negative_amount_advice,),
    "account_id_unknown": (_unknown_account_advice,),
    currencies.NO_RATES_TABLE: (_currency_advice,),
    currencies.NO_RATE: (_currency_advice,),
    currencies.START_BEFORE_FIRST_RATE: (_first_rate_advice,),
    currencies.WRONG_BASE_RATE: (_base_currency_advice,),
    "conflict": (_duplicate_key_advice,),
    "duplicate": (_duplicate_row_advice,),
    "ends_on_first_day": (_one_day_term_advice,),
    "nps_outside_0_to_10": (_nps_range_advice,),
}
"""Functions that search for causes, by rule name or by the part of the name after the column."""
