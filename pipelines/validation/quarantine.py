"""Quarantine the rows that break the contract, with their reasons, and stop the run if there are too many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import ibis
import ibis.expr.types as ir

from renewals.features.tables import ID, TABLES, Rule
from renewals.pipelines.runtime.errors import ConfigError, DataContractError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.source_settings import MAX_DEFAULT_SHARE
from renewals.pipelines.storage.engine import warehouse
from renewals.pipelines.storage.notices import Notice
from renewals.pipelines.validation import currencies
from renewals.pipelines.validation.advice import RuleViolation, find_advice
from renewals.pipelines.validation.cast import CastTable
from renewals.pipelines.validation.context import Anomaly, CheckContext, TableReport, ValidatedTable
from renewals.pipelines.validation.duplicates import DUPLICATE_RULE, rank_within

EXAMPLES_PER_RULE = 3


def require_known_limits(job: Job) -> None:
    """Raise `ConfigError` if a limit names an unknown table."""
    settings = job.settings.quarantine
    for key, names in (("limits", settings.limits), ("allow_majority", settings.allow_majority)):
        unknown = [name for name in names if name not in TABLES]
        if unknown:
            raise ConfigError(f"quarantine.{key}: unknown table {unknown[0]!r}; use {', '.join(TABLES)}")


def broken_rows_with_reasons(validated: ValidatedTable, cast_table: CastTable) -> ir.Table:
    """The broken rows as in the source, with the names and messages of all rules they break: one row per broken row."""
    rows, null = validated.rows.filter(validated.is_broken), ibis.null("string")
    names, messages = [], []
    for place, rule in enumerate(validated.rules):
        message = (
            _message_with_value(rows, rule, validated) if rule in cast_table.type_rules else ibis.literal(rule.message)
        )
        names.append(rows[f"breaks_{place}"].ifelse(rule.name, null))
        messages.append(rows[f"breaks_{place}"].ifelse(message, null))
    reason = ibis.array(messages).filter(lambda message: message.notnull()).join("; ")
    return rows.select(*validated.raw_column_names, rules=ibis.array(names), reason=reason)


def _message_with_value(rows: ir.Table, rule: Rule, validated: ValidatedTable) -> ir.StringValue:
    value = rows[validated.raw_columns[rule.column]].cast("string").left(60).fill_null("")
    return ibis.literal(f"{rule.message}: '") + value + ibis.literal("'")


def add_reason(validated: ValidatedTable, rows: ir.Table, rule: Rule) -> ir.Table:
    """The rows as in the source, with the message of one rule as their reason."""
    return rows.select(
        *validated.raw_column_names, rules=ibis.array([ibis.literal(rule.name)]), reason=ibis.literal(rule.message)
    )


def write_quarantine(
    context: CheckContext, validated: ValidatedTable, parts: Sequence[ir.Table], report: TableReport, is_text: bool
) -> None:
    """Write the quarantine: one source row with `reason` per quarantined row; add examples and advice to the report."""
    name = f"{validated.table.name}.parquet"
    combined = ibis.union(*parts) if len(parts) > 1 else parts[0]
    warehouse.write_parquet(
        combined, context.scratch / "aside" / name, order_by=[*validated.raw_column_names, "reason"]
    )
    rows = warehouse.read_parquet(context.con, context.scratch / "aside" / name)
    report.examples = _collect_examples(validated, rows, report)
    report.advice = {
        name: find_advice(RuleViolation(context, validated, report, rule, is_text))
        for name, rule in report.broken_rules.items()
    }
    names = {("reason_given" if name == "reason" else name): column for name, column in validated.raw_columns.items()}
    warehouse.write_parquet(rows.drop("rules").rename(names), context.quarantine_folder / name)


def _collect_examples(
    validated: ValidatedTable, rows: ir.Table, report: TableReport
) -> dict[str, list[dict[str, str]]]:
    """Up to three rows per rule: the columns that identify them, and the value that breaks the rule."""
    ids = [column.name for column in validated.table.columns.values() if column.type == ID]
    identifying = validated.table.key or (*ids, *validated.table.event_time)
    columns_by_rule = {
        rule.name: [c for c in dict.fromkeys((*identifying, rule.column)) if c in validated.raw_columns]
        for rule in report.broken_rules.values()
    }
    texts = {
        column: rows[validated.raw_columns[column]].cast("string")
        for columns in columns_by_rule.values()
        for column in columns
    }
    broken = rows.select(**texts, rules=rows.rules).unnest("rules")
    broken = broken.filter(broken.rules.notnull())
    ranked = broken.mutate(place=rank_within(broken, ["rules"], list(texts)))
    examples = ranked.filter(ranked.place < EXAMPLES_PER_RULE).order_by("rules", "place").to_pyarrow().to_pylist()
    return {
        rule: [{c: row[c] for c in columns if row[c] is not None} for row in examples if row["rules"] == rule]
        for rule, columns in columns_by_rule.items()
    }


def stop_on_problems(reports: Mapping[str, TableReport], problems: Sequence[str], job: Job) -> None:
    """Raise `DataContractError` if problems stop the run: all of them, then rows quarantined within the limits."""
    stops = {name: lines for name, report in reports.items() if (lines := list(_stop_messages(name, report, job)))}
    lines = [*problems, *(line for lines in stops.values() for line in lines)]
    if len(lines) == 1:
        raise DataContractError(lines[0])
    if lines:
        within = [name for name, report in reports.items() if report.rule_counts and name not in stops]
        also = [line for name in within for line in _describe_table(name, reports[name], job)]
        head = "the tables break the data contract; the clean tables were not changed"
        lines += ["also quarantined, but within the limits:", *also] if also else []
        raise DataContractError("\n".join([head, *(f"  {line}" for line in lines)]))


def _stop_messages(name: str, report: TableReport, job: Job) -> Iterator[str]:
    """Yield why a table stops the run, with the rules its rows break and advice; nothing if it does not."""
    required = TABLES[name].required
    if required and not report.rows:
        yield f"{name} has no rows, but is required"
    elif over := _exceeded_limits(name, report, job):
        yield from _describe_table(name, report, job, over)
        if required and not report.clean_rows:
            yield f"  no row of {name} is left; no limit allows an empty required table"
        yield from _limit_advice(name, report)


def _exceeded_limits(name: str, report: TableReport, job: Job) -> list[str]:
    """Reasons why the rows of a table stop the run, one text per exceeded limit."""
    settings, over = job.settings.quarantine, []
    if report.violations > settings.limit_of(name) * report.rows:
        over.append(
            f"{format_percent(report.violations, report.rows)}; limit {format_percent(settings.limit_of(name), 1)}"
        )
    if report.duplicates > settings.duplicate_limit_of(name) * report.rows:
        limit = format_percent(settings.duplicate_limit_of(name), 1)
        over.append(f"{format_percent(report.duplicates, report.rows)} exact duplicates; limit {limit}")
    if currencies.NO_RATES_TABLE in report.rule_counts:
        over.append("no limit allows amounts without an exchange rate")
    if TABLES[name].required and not report.clean_rows:
        over.append("no row is left")
    return over


def _describe_table(name: str, report: TableReport, job: Job, exceeded: Sequence[str] = ()) -> Iterator[str]:
    """Yield the number of quarantined rows, each rule with an example and advice, and the path of the rows."""
    quarantined = report.violations + report.duplicates
    yield f"{name}: {quarantined} of {report.rows} rows quarantined" + (f" ({'; '.join(exceeded)})" if exceeded else "")
    for rule, count in sorted(report.rule_counts.items(), key=lambda item: (-item[1], item[0])):
        rows = "1 row" if count == 1 else f"{count} rows"
        yield f"  {rows}: {report.broken_rules[rule].message} (rule {rule}{_format_example(report.examples[rule])})"
        yield from (f"    {sentence}" for sentence in report.advice[rule])
    yield f"  the rows with their reasons are in {job.data / 'quarantine' / name}.parquet"


MAX_PROPOSED_LIMIT = 0.1
"""A higher limit is suggested up to this share of the rows; above it the table is probably a wrong one."""


def _limit_advice(name: str, report: TableReport) -> Iterator[str]:
    """Advice if no cause was found: a higher limit, only for few rows because it drops them."""
    share = report.violations / report.rows
    advice = [report.advice[rule] for rule in report.rule_counts if rule != DUPLICATE_RULE.name]
    if all(advice):
        return
    if report.clean_rows and share <= MAX_PROPOSED_LIMIT and not any(advice):
        limit = f"--set quarantine.limits.{name}={math.ceil(100 * share) / 100:g}"
        yield f"  correct the source, or run without these rows with {limit}"
    else:
        yield "  correct the rows without advice at the source, or remove them there"


def table_notices(name: str, report: TableReport) -> Iterator[Notice]:
    """Notices for readers of a list: most rows of a table are missing, or anomalies in it."""
    quarantined = report.violations + report.duplicates
    if quarantined > MAX_DEFAULT_SHARE * report.rows:
        share = quarantined / report.rows
        yield Notice(
            "most_rows_quarantined", {"table": name, "aside": quarantined, "rows": report.rows, "share": share}
        )
    yield from anomaly_notices(report.anomalies)


def anomaly_notices(anomalies: Iterable[Anomaly]) -> Iterator[Notice]:
    """Notices for readers of a list among those of anomalies."""
    yield from (anomaly.notice for anomaly in anomalies if anomaly.notice is not None)


def format_percent(part: float, total: float) -> str:
    """A share as a percentage with 3 digits."""
    return f"{100 * part / total:.3g} %"


def _format_example(examples: Sequence[Mapping[str, str]]) -> str:
    return ", for example " + ", ".join(f"{k} {v!r}" for k, v in examples[0].items()) if examples else ""
