"""Set aside the rows that break the contract, with the reason in words, and stop where they are too many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import ibis
import ibis.expr.types as ir

from features.tables import ID, TABLES, Rule
from pipelines import warehouse
from pipelines.cast import CastTable
from pipelines.check_context import CheckContext, TableReport, ValidatedTable
from pipelines.duplicates import DUPLICATE, place_among
from pipelines.errors import Config, DataContract
from pipelines.stage import Job

EXAMPLES = 3


def require_known_limits(job: Job) -> None:
    """Raise `Config` where a limit names no table of the contract."""
    unknown = [name for name in job.settings.quarantine.limits if name not in TABLES]
    if unknown:
        raise Config(f"quarantine.limits: there is no table {unknown[0]!r}; there are {', '.join(TABLES)}")


def with_reasons(checked: ValidatedTable, typed: CastTable) -> ir.Table:
    """The broken rows as given, with every rule broken and its words: one row per broken row."""
    rows, nothing = checked.rows.filter(checked.broken), ibis.null("string")
    names, words = [], []
    for place, rule in enumerate(checked.rules):
        said = _with_value(rows, rule, checked) if rule in typed.unreadable else ibis.literal(rule.words)
        names.append(rows[f"breaks_{place}"].ifelse(rule.name, nothing))
        words.append(rows[f"breaks_{place}"].ifelse(said, nothing))
    reason = ibis.array(words).filter(lambda one: one.notnull()).join("; ")
    return rows.select(*checked.as_given, rules=ibis.array(names), reason=reason)


def _with_value(rows: ir.Table, rule: Rule, checked: ValidatedTable) -> ir.StringValue:
    value = rows[checked.given[rule.column]].cast("string").left(60).fill_null("")
    return ibis.literal(f"{rule.words}: '") + value + ibis.literal("'")


def with_reason(checked: ValidatedTable, rows: ir.Table, rule: Rule) -> ir.Table:
    """Rows as given with one rule as their reason."""
    return rows.select(*checked.as_given, rules=ibis.array([ibis.literal(rule.name)]), reason=ibis.literal(rule.words))


def set_aside(context: CheckContext, checked: ValidatedTable, aside: Sequence[ir.Table], report: TableReport) -> None:
    """Write the quarantine: one row per row set aside, as it was given, with `reason`."""
    name = f"{checked.table.name}.parquet"
    together = ibis.union(*aside) if len(aside) > 1 else aside[0]
    warehouse.write_parquet(together, context.scratch / "aside" / name, order_by=[*checked.as_given, "reason"])
    rows = warehouse.read(context.con, context.scratch / "aside" / name)
    report.examples = _examples(checked, rows, report)
    names = {("reason_given" if name == "reason" else name): column for name, column in checked.given.items()}
    warehouse.write_parquet(rows.drop("rules").rename(names), context.quarantine / name)


def _examples(checked: ValidatedTable, rows: ir.Table, report: TableReport) -> dict[str, list[dict[str, str]]]:
    """For each rule up to three rows that break it: what identifies them, and the value."""
    ids = [column.name for column in checked.table.columns.values() if column.type == ID]
    named = checked.table.key or (*ids, *checked.table.event_time)
    shown = {
        rule.name: [c for c in dict.fromkeys((*named, rule.column)) if c in checked.given]
        for rule in report.said.values()
    }
    texts = {column: rows[checked.given[column]].cast("string") for columns in shown.values() for column in columns}
    broken = rows.select(**texts, rules=rows.rules).unnest("rules")
    broken = broken.filter(broken.rules.notnull())
    first = broken.mutate(place=place_among(broken, ["rules"], list(texts)))
    found = first.filter(first.place < EXAMPLES).order_by("rules", "place").to_pyarrow().to_pylist()
    return {
        rule: [{c: row[c] for c in columns if row[c] is not None} for row in found if row["rules"] == rule]
        for rule, columns in shown.items()
    }


def stop_over_limit(reports: Mapping[str, TableReport], job: Job) -> None:
    """Raise `DataContract` where more rows of a table are set aside than its limit allows."""
    said = [line for name, report in reports.items() for line in _over_limit(name, report, job)]
    if said:
        head = "too many rows break the data contract; the clean tables were not changed"
        raise DataContract("\n".join([head, *said]))


def _over_limit(name: str, report: TableReport, job: Job) -> Iterator[str]:
    settings = job.settings.quarantine
    file = job.data / "quarantine" / f"{name}.parquet"
    rules = [rule for rule in report.rules if rule != DUPLICATE.name]
    for count, limit, parameter, these in (
        (report.violations, settings.limit_of(name), f"limits.{name}", rules),
        (report.duplicates, settings.duplicate_limit, "duplicate_limit", [DUPLICATE.name]),
    ):
        if count and count > limit * report.rows:
            worst = max(these, key=lambda rule: report.rules[rule])
            share = f"{percent(count, report.rows)}; limit {percent(limit, 1)}"
            yield (
                f"  {name}: {count} of {report.rows} rows set aside ({share}), "
                f"most often because {report.said[worst].words} ({report.rules[worst]} rows, rule {worst}"
                f"{_for_example(report.examples[worst])}). They are in {file}; mend the source, or allow more with "
                f"--set quarantine.{parameter}={min(1.0, round(count / report.rows + 0.005, 2))}"
            )


def percent(part: float, whole: float) -> str:
    """A share in words."""
    return f"{100 * part / whole:.3g} %"


def _for_example(examples: Sequence[Mapping[str, str]]) -> str:
    return ", for example " + ", ".join(f"{k} {v!r}" for k, v in examples[0].items()) if examples else ""
