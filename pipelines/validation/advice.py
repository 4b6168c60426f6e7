"""Find why rows break a rule of the data contract, and say what to do about it.

Each cause is looked for in the rows themselves: words that stand for nothing, the form of a time or a number, another
spelling of an id, a key that names something else. No cause found means no advice: a guess would mislead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
from renewals.pipelines.validation.duplicates import duplicate_advice
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
"""So many different values of a column are looked at, the most frequent first."""


@dataclass(frozen=True)
class RuleViolation:
    """The rows of a table that break one rule."""

    context: CheckContext
    validated: ValidatedTable
    report: TableReport
    rule: Rule
    is_text: bool
    """Whether the table was given as text, so that `source.null_values` and `source.decimal` apply to it."""

    @property
    def column(self) -> ColumnSpec:
        """The column that the rule is about."""
        return self.validated.table.columns[self.rule.column]

    @property
    def rows(self) -> ir.Table:
        """The rows as given and as typed."""
        place = next(place for place, rule in enumerate(self.validated.rules) if rule.name == self.rule.name)
        return self.validated.rows.filter(self.validated.rows[f"breaks_{place}"])

    @cached_property
    def values(self) -> dict[str, int]:
        """The texts met in the column, each with its number of rows."""
        given = self.validated.raw_columns.get(self.rule.column)
        if given is None:
            return {}
        counted = self.rows.group_by(value=_[given].cast("string")).agg(rows=_.count())
        found = counted.filter(_.value.notnull()).order_by(ibis.desc("rows"), "value").limit(MAX_DISTINCT_VALUES)
        return {row["value"]: row["rows"] for row in found.to_pyarrow().to_pylist()}


CauseFinder = Callable[[RuleViolation], Iterator[str]]


def find_advice(violation: RuleViolation) -> list[str]:
    """What to do about the rows that break a rule, one sentence for each cause that was found."""
    how = violation.rule.name.removeprefix(f"{violation.rule.column}_")
    causes = CAUSE_FINDERS.get(violation.rule.name) or CAUSE_FINDERS.get(how) or ()
    return [sentence for cause in causes for sentence in cause(violation)]


def first_row(rows: ir.Table) -> dict[str, Any]:
    """The first row of a query."""
    return dict(rows.limit(1).to_pyarrow().to_pylist()[0])


# --- words that stand for nothing ----------------------------------------------------------------


def _null_marker_advice(violation: RuleViolation) -> Iterator[str]:
    if words := find_null_markers(violation.values):
        yield _read_as_null_advice(violation, words, "stand for nothing")


def _read_as_null_advice(violation: RuleViolation, values: Mapping[str, int], reason: str) -> str:
    """How to have these values read as nothing, where the column may hold nothing."""
    if violation.column.required:
        return (
            f"{format_values(values)} {reason}, and {violation.rule.column} is required: fill it, or leave these rows "
            "out of the "
            f"table at the source"
        )
    if not violation.is_text:
        return f"{format_values(values)} {reason}: have the source write NULL in their place"
    nulls = list(dict.fromkeys((*violation.context.job.settings.source.null_values, *values)))
    return f"{format_values(values)} {reason}: --set 'source.null_values={json.dumps(nulls, ensure_ascii=False)}'"


def _open_end_advice(violation: RuleViolation) -> Iterator[str]:
    """An infinite or absurd time is how some systems write an open end or an unknown day."""
    values = violation.values
    if violation.rule.column == "end_date" and values:
        yield f"{format_values(values)}: for a contract without an end write 9999-12-31"
    elif values:
        yield _read_as_null_advice(violation, values, "look like an open end or an unknown day, not like a time")


# --- times and numbers that cannot be read --------------------------------------------------------

THREE_DECIMALS_PATTERN = r"^\d{1,3}\.\d{3}$"


def find_thousands_as_decimals(validated: ValidatedTable) -> Iterator[Anomaly]:
    """Amounts of a text file that are probably a thousand times larger: 12.000 for twelve thousand, throughout."""
    name = validated.table.name
    for column in validated.table.columns.values():
        if MONEY_RANGE in column.constraints and column.name in validated.raw_columns:
            given = validated.rows[validated.raw_columns[column.name]].strip().nullif("")
            dotted, below = given.re_search(THREE_DECIMALS_PATTERN), given.re_search(r"^\d{1,3}$")
            counts = {"rows": given.count(), "dotted": dotted.sum(), "below": below.sum()}
            met = first_row(validated.rows.agg(**counts, example=given.max(where=dotted)))
            if met["dotted"] and met["dotted"] + met["below"] == met["rows"] and met["dotted"] >= met["below"]:
                warning = (
                    f"{name}: every {column.name} lies between 0 and 999 and {met['dotted']} of {met['rows']} have "
                    f"three decimals, such as {met['example']!r}: if that is thousands, --set 'source.decimal=\",\"'"
                )
                values = {"table": name, "example": met["example"]}
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


# --- words outside a closed list -------------------------------------------------------------------

TICKET_SYNONYMS = {
    **dict.fromkeys(("incident", "problem", "defect", "error", "fault"), "bug"),
    **dict.fromkeys(("feature", "feature_request", "enhancement", "task", "change"), "request"),
    **dict.fromkeys(("how-to", "support", "query"), "question"),
    **dict.fromkeys(("urgent", "critical", "blocker", "highest", "p1", "sev1"), "high"),
    **dict.fromkeys(("normal", "standard", "p2", "sev2"), "medium"),
    **dict.fromkeys(("minor", "lowest", "trivial", "p3", "p4", "sev3"), "low"),
}
"""What help desks call the kinds and severities of tickets, as a proposal."""


def _unlisted_value_advice(violation: RuleViolation) -> Iterator[str]:
    if words := drop_null_markers(violation.values):
        proposals = {v: _suggest_value(v, violation) for v in words}
        pairs = ", ".join(f"{v!r} as {p}" for v, p in islice(proposals.items(), MAX_VALUES_SHOWN) if p)
        proposal = f" (for example {pairs})" if pairs else ""
        remedy = "no setting translates them: rename them at the source"
        yield f"the words met are {format_values(words)}; {remedy}{proposal}"


def _suggest_value(text: str, violation: RuleViolation) -> str | None:
    """The listed word that means the same, if any."""
    plain = text.strip().casefold()
    allowed = re.findall(r"[^\s,]+", violation.rule.message.partition("none of ")[2])
    alike = {value.casefold(): value for value in allowed}
    meaning = TICKET_SYNONYMS.get(plain) if violation.rule.column in ("kind", "severity") else None
    return alike.get(plain) or (meaning if meaning in allowed and meaning in (*TICKET_KINDS, *SEVERITIES) else None)


# --- rows that name what is not there ----------------------------------------------------------------

Normalization = Callable[[ir.StringValue], ir.StringValue]
ID_NORMALIZATIONS: dict[str, Normalization] = {
    "spaces around them were removed": lambda v: v.strip(),
    "they were written in one case": lambda v: v.lower(),
    "the ending '.0' were removed": lambda v: v.re_replace(r"\.0+$", ""),
    "leading zeros were removed": lambda v: v.re_replace(r"^0+", ""),
    "only their first 15 characters were compared, as Salesforce has ids of 15 and of 18": lambda v: v.re_extract(
        r"^([A-Za-z0-9]{15})([A-Z0-5]{3})?$", 1
    ),
    "only their letters and digits were compared, in one case": lambda v: v.lower().re_replace(r"[^\p{L}\p{N}]", ""),
}
MIN_EXPLAINED_SHARE = 0.5
"""A spelling is named as the cause where it explains so many of the rows."""


def _unknown_account_advice(violation: RuleViolation) -> Iterator[str]:
    con, table = violation.context.con, violation.validated.table.name
    counted = violation.rows.group_by("account_id").agg(rows=_.count())
    unknown = con.create_table(f"unknown_of_{table}", counted, temp=True, overwrite=True)
    total = unknown.rows.sum().to_pyarrow().as_py() or 0
    broken = con.table("judged_accounts").select("account_id").distinct()
    gone = unknown.semi_join(broken, "account_id").rows.sum().to_pyarrow().as_py() or 0
    if gone:
        yield f"{gone} of {total} rows belong to accounts that were set aside themselves: mend accounts first"
    if gone < total:
        yield from _null_marker_advice(violation)
        yield _normalization_advice(unknown, violation.context.clean_table("accounts"), total) or _foreign_ids_advice(
            violation
        )


def _normalization_advice(unknown: ir.Table, accounts: ir.Table, total: int) -> str | None:
    """The one change of spelling with which most of the unknown ids are found among the accounts."""
    found = [(words, _count_matches(unknown, accounts, spell)) for words, spell in ID_NORMALIZATIONS.items()]
    words, best = max(found, key=lambda one: one[1]["rows"] or 0)
    if (best["rows"] or 0) < MIN_EXPLAINED_SHARE * total:
        return None
    return (
        f"{best['rows']} of {total} rows would match if {words} ({best['here']!r} is {best['there']!r} in accounts): "
        f"write the ids alike at the source"
    )


def _count_matches(unknown: ir.Table, accounts: ir.Table, normalize: Normalization) -> dict[str, Any]:
    """How many rows would be found if ids were spelled so, with one pair; a key of several accounts finds none."""
    theirs = accounts.select(there=_.account_id.cast("string")).mutate(key=normalize(_.there))
    theirs = theirs.group_by("key").agg(there=_.there.min(), accounts=_.there.nunique())
    theirs = theirs.filter(_.key != "", _.accounts == 1)
    mine = unknown.select("rows", here=_.account_id.cast("string")).mutate(key=normalize(_.here))
    found = mine.join(theirs, "key")
    return first_row(found.agg(rows=_.rows.sum(), here=_.here.min(), there=_.there.argmin(_.here)))


def _foreign_ids_advice(violation: RuleViolation) -> str:
    some = first_row(violation.context.clean_table("accounts").agg(some=_.account_id.min()))["some"]
    return (
        f"the ids met are {format_values(violation.values)}, those of accounts look like {some!r}: take accounts "
        "whole, with "
        f"those that have left, and with the ids of the same system"
    )


# --- money -------------------------------------------------------------------------------------------


def _currency_advice(violation: RuleViolation) -> Iterator[str]:
    yield from _null_marker_advice(violation)
    home = violation.context.job.settings.money.reporting_currency
    table = violation.rule.name == currencies.NO_RATE
    quoted = currencies.first_rate_days(violation.context.clean_table("rates")) if table else {}
    alike = {name.strip().casefold(): name for name in (*quoted, home)}
    met = drop_null_markers(violation.values)
    spelled = {v: n for v, n in met.items() if v.strip().casefold() in alike}
    if spelled:
        pairs = ", ".join(f"{v!r} ({n}) is {alike[v.strip().casefold()]!r}" for v, n in spelled.items())
        yield f"{pairs}: write each currency alike in contracts, rates and money.reporting_currency"
    foreign = {v: n for v, n in met.items() if v not in spelled}
    if foreign:
        yield (
            _missing_rates_advice(violation, foreign, home)
            if table
            else _reporting_currency_advice(violation, foreign, home)
        )


def _missing_rates_advice(violation: RuleViolation, foreign: Mapping[str, int], reporting_currency: str) -> str:
    first = first_row(violation.rows.agg(first=_.start_date.min()))["first"]
    dated = f", the first dated {first:%Y-%m-%d} or earlier" if first else ""
    columns = f"currency, date, rate: units of {reporting_currency} for one"
    return f"{format_values(foreign)}: add their rates ({columns}){dated}"


def _reporting_currency_advice(violation: RuleViolation, foreign: Mapping[str, int], reporting_currency: str) -> str:
    """Where all is in one currency it is the reporting currency; several need rates."""
    rows, column = violation.validated.rows, violation.validated.rows.currency
    there = first_row(rows.agg(none=column.isnull().sum(), home=(column == reporting_currency).sum()))
    empty = (
        f"{format_count(there['none'], 'row')} without a currency counted as {reporting_currency}; "
        if there["none"]
        else ""
    )
    advice = _missing_rates_advice(violation, foreign, reporting_currency)
    wanted = f"{empty}{advice.replace('add their rates', 'give a table rates with them')}"
    (currency, *others) = foreign
    if others or there["home"] or not re.fullmatch("[A-Z]{3}", currency):
        return wanted
    also = ", and so are those without one" if there["none"] else ""
    return f"if all is in {currency}{also}: --set money.reporting_currency={currency}; otherwise {wanted}"


def _first_rate_advice(violation: RuleViolation) -> Iterator[str]:
    firsts = currencies.first_rate_days(violation.context.clean_table("rates"))
    starts = violation.rows.group_by("currency").agg(start=_.start_date.min(), rows=_.count()).order_by("currency")
    for row in islice(starts.to_pyarrow().to_pylist(), MAX_VALUES_SHOWN):
        yield (
            f"the rates of {row['currency']} begin on {firsts[row['currency']]}, after the start of "
            f"{format_count(row['rows'], 'contract')}, the first on {row['start']:%Y-%m-%d}: add a rate of then or "
            "earlier"
        )


def _base_currency_advice(violation: RuleViolation) -> Iterator[str]:
    units = (
        violation.validated.rows.group_by("currency").agg(one=(_.rate == 1.0).all()).filter(_.one).order_by("currency")
    )
    bases = [row["currency"] for row in units.to_pyarrow().to_pylist()]
    home = violation.context.job.settings.money.reporting_currency
    if len(bases) == 1:
        yield f"the rates are units of {bases[0]}, whose rate is 1: --set money.reporting_currency={bases[0]}"
    else:
        yield f"give rates in units of {home} for one of each currency"


def _negative_amount_advice(violation: RuleViolation) -> Iterator[str]:
    if violation.rule.column == "arr":
        yield "a credit or a change of price is no contract: add it to the ARR of its term at the source"


# --- keys and repeated rows ----------------------------------------------------------------------------


def _duplicate_key_advice(violation: RuleViolation) -> Iterator[str]:
    """What the rows of one key differ in tells what the key names."""
    table, key = violation.validated.table, list(violation.validated.table.key)
    name = ", ".join(key)
    groups = (
        violation.validated.rows.filter(~violation.validated.is_broken).select(*violation.validated.columns).distinct()
    )
    differing = {
        c: groups[c].nunique() + (groups[c].isnull().any()).cast("int64") for c in table.columns if c not in key
    }
    keys = groups.group_by(key).agg(times=_.count(), **differing).filter(_.times > 1)
    sums = {c: (keys[c] > 1).sum() for c in differing}
    worst = first_row(keys.order_by(ibis.desc("times"), *key))
    counts = first_row(keys.agg(times=_.times.max(), keys=_.count(), **sums))
    columns = ", ".join(c for c in differing if counts[c])
    shown = ", ".join(repr(worst[c]) for c in key)
    if table.name == "contracts" and counts["start_date"]:
        yield (
            f"contract_id must name one term, which does not hold for {format_count(counts['start_date'], 'id')}: "
            f"{shown} "
            f"occurs for {worst['start_date']} different starts, as the id of a subscription does. Give each term its "
            f"own id, for example this one followed by the start_date, and keep this one in a column subscription_id; "
            f"a higher limit would drop the later terms, and their renewals would count as lost"
        )
    else:
        yield (
            f"each {name} must occur once; repeated: {counts['keys']}, such as {shown} with {worst['times']} rows. "
            f"They differ in {columns}: keep one row of each at the source, the newest where they are versions"
        )


def find_dropped_terms(ranked_rows: ir.Table) -> Iterator[Anomaly]:
    """Say how many contracts are set aside as another term of an id that is kept; `ranked_rows` has their `place`."""
    kept = ranked_rows.filter(_.place == 0).select("contract_id", kept=_.start_date)
    again = ranked_rows.filter(_.place > 0).join(kept, "contract_id").filter(_.start_date != _.kept)
    count = again.count().to_pyarrow().as_py()
    if count:
        warning = (
            f"contracts: {format_count(count, 'term')} set aside because contract_id names another term too: a renewal "
            f"among them counts as lost. Give each term its own contract_id"
        )
        yield Anomaly(warning, Notice("contracts_quarantined", {"terms": count}))


def _duplicate_row_advice(violation: RuleViolation) -> Iterator[str]:
    yield duplicate_advice(violation.validated.table.name, violation.report)


def _one_day_term_advice(violation: RuleViolation) -> Iterator[str]:
    """An end that is the last day, not the day after, makes a term of one day end where it starts."""
    if {"start_date", "end_date"} <= set(violation.validated.columns):
        same = violation.rows.filter(_.end_date.date() == _.start_date.date())
        count = same.count().to_pyarrow().as_py()
        if count:
            yield f"{count} of them end on the day they start: end_date is the first day after the term, so add a day"


def _nps_range_advice(violation: RuleViolation) -> Iterator[str]:
    met = first_row(violation.rows.agg(low=_.score.min(), high=_.score.max()))
    yield (
        f"these scores lie between {met['low']:g} and {met['high']:g}: an nps score is one person's answer from 0 to "
        f"10; bring other scales to it at the source, or call the kind csat"
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
    "ends_before_start": (_one_day_term_advice,),
    "nps_outside_0_to_10": (_nps_range_advice,),
}
"""By the name of a rule, or by how it is broken: what may have caused it."""
