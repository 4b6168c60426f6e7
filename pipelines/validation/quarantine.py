"""Set aside the rows that break the contract, with the reason in words, and stop where they are too many."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

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
from renewals.pipelines.validation.context import CheckContext, TableReport, ValidatedTable
from renewals.pipelines.validation.duplicates import DUPLICATE_RULE, rank_within

EXAMPLES_PER_RULE = 3


def require_known_limits(job: Job) -> None:
    """Raise `ConfigError` where a limit names no table of the contract."""
    settings = job.settings.quarantine
    for key, names in (("limits", settings.limits), ("allow_majority", settings.allow_majority)):
        unknown = [name for name in names if name not in TABLES]
        if unknown:
            raise ConfigError(f"quarantine.{key}: there is no table {unknown[0]!r}; there are {', '.join(TABLES)}")


def broken_rows_with_reasons(validated: ValidatedTable, cast_table: CastTable) -> ir.Table:
    """The broken rows as given, with every rule broken and its words: one row per broken row."""
    rows, nothing = validated.rows.filter(validated.is_broken), ibis.null("string")
    names, words = [], []
    for place, rule in enumerate(validated.rules):
        said = (
            _message_with_value(rows, rule, validated) if rule in cast_table.type_rules else ibis.literal(rule.message)
        )
        names.append(rows[f"breaks_{place}"].ifelse(rule.name, nothing))
        words.append(rows[f"breaks_{place}"].ifelse(said, nothing))
    reason = ibis.array(words).filter(lambda one: one.notnull()).join("; ")
    return rows.select(*validated.raw_column_names, rules=ibis.array(names), reason=reason)


def _message_with_value(rows: ir.Table, rule: Rule, validated: ValidatedTable) -> ir.StringValue:
    value = rows[validated.raw_columns[rule.column]].cast("string").left(60).fill_null("")
    return ibis.literal(f"{rule.message}: '") + value + ibis.literal("'")


def add_reason(validated: ValidatedTable, rows: ir.Table, rule: Rule) -> ir.Table:
    """Rows as given with one rule as their reason."""
    return rows.select(
        *validated.raw_column_names, rules=ibis.array([ibis.literal(rule.name)]), reason=ibis.literal(rule.message)
    )


def write_quarantine(
    context: CheckContext, validated: ValidatedTable, parts: Sequence[ir.Table], report: TableReport, is_text: bool
) -> None:
    """Write the quarantine: one row per row set aside, as it was given, with `reason`; note examples and advice."""
    name = f"{validated.table.name}.parquet"
    together = ibis.union(*parts) if len(parts) > 1 else parts[0]
    warehouse.write_parquet(
        together, context.scratch / "aside" / name, order_by=[*validated.raw_column_names, "reason"]
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
    """For each rule up to three rows that break it: what identifies them, and the value."""
    ids = [column.name for column in validated.table.columns.values() if column.type == ID]
    named = validated.table.key or (*ids, *validated.table.event_time)
    shown = {
        rule.name: [c for c in dict.fromkeys((*named, rule.column)) if c in validated.raw_columns]
        for rule in report.broken_rules.values()
    }
    texts = {
        column: rows[validated.raw_columns[column]].cast("string") for columns in shown.values() for column in columns
    }
    broken = rows.select(**texts, rules=rows.rules).unnest("rules")
    broken = broken.filter(broken.rules.notnull())
    first = broken.mutate(place=rank_within(broken, ["rules"], list(texts)))
    found = first.filter(first.place < EXAMPLES_PER_RULE).order_by("rules", "place").to_pyarrow().to_pylist()
    return {
        rule: [{c: row[c] for c in columns if row[c] is not None} for row in found if row["rules"] == rule]
        for rule, columns in shown.items()
    }


def stop_on_problems(reports: Mapping[str, TableReport], problems: Sequence[str], job: Job) -> None:
    """Raise `DataContractError` with all that stops this run, and what else was set aside, if anything does stop it."""
    stops = {name: lines for name, report in reports.items() if (lines := list(_stop_messages(name, report, job)))}
    lines = [*problems, *(line for lines in stops.values() for line in lines)]
    if len(lines) == 1:
        raise DataContractError(lines[0])
    if lines:
        within = [name for name, report in reports.items() if report.rule_counts and name not in stops]
        also = [line for name in within for line in _describe_table(name, reports[name], job)]
        head = "the tables break the data contract; the clean tables were not changed"
        lines += ["set aside too, but within the limits:", *also] if also else []
        raise DataContractError("\n".join([head, *(f"  {line}" for line in lines)]))


def _stop_messages(name: str, report: TableReport, job: Job) -> Iterator[str]:
    """Why a table stops the run, with every rule that its rows break and what to do; nothing where it does not."""
    required = TABLES[name].required
    if required and not report.rows:
        yield f"{name} holds no rows, and is required"
    elif over := _exceeded_limits(name, report, job):
        yield from _describe_table(name, report, job, over)
        if required and not report.clean_rows:
            yield f"  no limit lets a required table be empty: no row of {name} is left"
        yield from _limit_advice(name, report)


def _exceeded_limits(name: str, report: TableReport, job: Job) -> list[str]:
    """What lets the rows of a table stop the run, each in words."""
    settings, over = job.settings.quarantine, []
    if report.violations > settings.limit_of(name) * report.rows:
        over.append(
            f"{format_percent(report.violations, report.rows)}; limit {format_percent(settings.limit_of(name), 1)}"
        )
    if report.duplicates > settings.duplicate_limit_of(name) * report.rows:
        limit = format_percent(settings.duplicate_limit_of(name), 1)
        over.append(f"{format_percent(report.duplicates, report.rows)} exact duplicates; limit {limit}")
    if currencies.NO_RATES_TABLE in report.rule_counts:
        over.append("no limit for amounts that nothing converts")
    if TABLES[name].required and not report.clean_rows:
        over.append("none is left")
    return over


def _describe_table(name: str, report: TableReport, job: Job, exceeded: Sequence[str] = ()) -> Iterator[str]:
    """How many rows of a table were set aside, then each rule with an example and advice, then where the rows are."""
    aside = report.violations + report.duplicates
    yield f"{name}: {aside} of {report.rows} rows set aside" + (f" ({'; '.join(exceeded)})" if exceeded else "")
    for rule, count in sorted(report.rule_counts.items(), key=lambda one: (-one[1], one[0])):
        rows = "1 row" if count == 1 else f"{count} rows"
        yield f"  {rows}: {report.broken_rules[rule].message} (rule {rule}{_format_example(report.examples[rule])})"
        yield from (f"    {sentence}" for sentence in report.advice[rule])
    yield f"  they are in {job.data / 'quarantine' / name}.parquet, each with its reason"


MAX_PROPOSED_LIMIT = 0.1
"""A higher limit is proposed up to this share of the rows: what lacks more of them is another table."""


def _limit_advice(name: str, report: TableReport) -> Iterator[str]:
    """What to do where no cause was found: a higher limit, but only for few rows, for it leaves them out."""
    share = report.violations / report.rows
    advice = [report.advice[rule] for rule in report.rule_counts if rule != DUPLICATE_RULE.name]
    if all(advice):
        return
    if report.clean_rows and share <= MAX_PROPOSED_LIMIT and not any(advice):
        limit = f"--set quarantine.limits.{name}={math.ceil(100 * share) / 100:g}"
        yield f"  mend the source, or go on without these rows with {limit}"
    else:
        yield "  mend the rows without advice at the source, or leave them out of the table there"


def table_notices(name: str, report: TableReport) -> Iterator[Notice]:
    """What readers of a list must know of a table: that most of its rows are missing, or what is suspected of it."""
    aside = report.violations + report.duplicates
    if aside > MAX_DEFAULT_SHARE * report.rows:
        share = aside / report.rows
        yield Notice("most_rows_quarantined", {"table": name, "aside": aside, "rows": report.rows, "share": share})
    yield from (suspicion.notice for suspicion in report.anomalies)


def format_percent(part: float, total: float) -> str:
    """A share in words."""
    return f"{100 * part / total:.3g} %"


def _format_example(examples: Sequence[Mapping[str, str]]) -> str:
    return ", for example " + ", ".join(f"{k} {v!r}" for k, v in examples[0].items()) if examples else ""
