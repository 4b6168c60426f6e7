"""Certify the raw tables: types, rules, and what was set aside, before anything is computed.

What keeps the contract goes to `clean/`, what breaks it to `quarantine/` with the reason in words, and
`certificate.json` says what there is. Nothing is repaired and nothing is dropped without a word.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import structlog

from renewals.features.tables import ID, TABLES, Rule, Table
from renewals.pipelines.runtime.console import progress
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage import feedback_log, folders
from renewals.pipelines.storage.artifacts import CERTIFICATE
from renewals.pipelines.storage.engine import atomic, engine_errors, usage_partitions, warehouse
from renewals.pipelines.storage.engine.raw import raw_tables
from renewals.pipelines.storage.engine.raw.raw_table import Given
from renewals.pipelines.validation import coverage, currencies, grading, quarantine
from renewals.pipelines.validation.advice import dropped_terms, thousands_as_decimals
from renewals.pipelines.validation.cast import CastTable, IdTypes, cast_table, id_types, require_columns, require_types
from renewals.pipelines.validation.context import (
    CheckContext,
    TableReport,
    ValidatedTable,
    count_rows,
    known_time,
    note,
)
from renewals.pipelines.validation.duplicates import DUPLICATE, conflict, copies_of, duplicate_advice, first_of_each
from renewals.pipelines.validation.load_times import loaded_at_once
from renewals.pipelines.validation.problems import Problems
from renewals.pipelines.validation.quarantine import (
    notices_of,
    percent,
    set_aside,
    stop_on_problems,
    with_reason,
    with_reasons,
)

log = structlog.get_logger()

FIRST = ("accounts", "rates")
"""Read before the others, whose rows are held against them."""


def check(job: Job) -> dict[str, Any]:
    """Check the raw tables against the contract; write the clean ones, the quarantine and the certificate.

    Raises `InputMissing` for a required table, `DataContract` for a column that is missing or of the wrong
    type, and for a table with more broken rows than its limit: the quarantine is then written, and the
    clean tables of an earlier run stay as they were.
    """
    quarantine.require_known_limits(job)
    clean, aside = job.data / "clean", job.data / "quarantine"
    staged = {folder: _emptied(folder.with_name(f"{folder.name}.tmp")) for folder in (clean, aside)}
    scratch = _emptied(job.data / "source.tmp")
    try:
        con = warehouse.connect(job.settings.engine)
        given = feedback_log.with_actions(con, job, raw_tables.raw_tables(con, job, scratch))
        problems = Problems()
        ids = _require_structure(given, problems)
        context = CheckContext(con, job, staged[clean], staged[aside], scratch, ids.types, ids.warnings)
        reports = _go_through(context, given, problems)
        folders.replace_folder(staged[aside], aside)
        stop_on_problems(reports, problems.lines, job)
        certificate = _certificate(context, given, reports)
        folders.replace_folder(staged[clean], clean)
        content = json.dumps(certificate, indent=1, sort_keys=True, ensure_ascii=False)
        atomic.write_bytes(job.data / CERTIFICATE, content.encode())
    finally:
        for folder in (*staged.values(), scratch):
            shutil.rmtree(folder, ignore_errors=True)
    return _summary(certificate, job)


def _emptied(folder: Path) -> Path:
    folders.undo_replace(folder.with_suffix(""))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _require_structure(given: Mapping[str, Given], problems: Problems) -> IdTypes:
    """The types of the ids, once the columns and types of every table have been looked at; none where they disagree."""
    ids = IdTypes({}, ())
    with problems.collect(""):
        ids = id_types(given)
    for name, raw in given.items():
        with problems.collect(name):
            require_columns(raw, TABLES[name])
        with problems.collect(name):
            require_types(raw, TABLES[name], ids.types.get(name, {}))
    return ids


def _go_through(context: CheckContext, given: Mapping[str, Given], problems: Problems) -> dict[str, TableReport]:
    """Check the rows of every table whose columns are sound, and report on each."""
    sound = [name for name in given if context.ids and name not in problems.found]
    typed = {}
    for name in sound:
        with problems.collect(name):
            typed[name] = cast_table(context, given[name], TABLES[name])
    reports: dict[str, TableReport] = {}
    with progress(len(typed), "check") as step:
        for name in sorted(typed, key=lambda n: n not in FIRST):
            with problems.collect(name), engine_errors.faults(name):
                reports[name] = _check_table(context, TABLES[name], typed[name], reports)
            step(name)
    return {name: reports[name] for name in given if name in reports}


# --- rules ---------------------------------------------------------------------------------------


def cross_table_rules(context: CheckContext, name: str, reports: Mapping[str, TableReport]) -> Iterator[Rule]:
    """The rules that hold a row against the tables checked before; one of which no row is left tells nothing."""
    if "account_id" in TABLES[name].columns and name != "accounts" and _has_rows("accounts", reports):
        accounts = context.clean_table("accounts")
        words = "account_id is not among the accounts that keep the contract"
        yield Rule("account_id_unknown", "account_id", words, lambda r: r.account_id.isin(accounts.account_id))
    if name == "rates":
        yield currencies.rate_of_home(context.job.settings.money.reporting_currency)
    if name == "contracts":
        rates = context.clean_table("rates") if _has_rows("rates", reports) else None
        yield from currencies.convertible(rates, context.job.settings.money.reporting_currency)


def _has_rows(name: str, reports: Mapping[str, TableReport]) -> bool:
    return name in reports and reports[name].clean > 0


def _check_table(
    context: CheckContext, table: Table, typed: CastTable, reports: Mapping[str, TableReport]
) -> TableReport:
    """Part the rows of a table into clean and quarantined, and count."""
    across = cross_table_rules(context, table.name, reports)
    rules = (*typed.unreadable, *table.rules(context.job.settings.source.extract), *across)
    checked = _validate(context, table, typed, rules)
    report = _counted(checked)
    if typed.text and context.job.settings.source.decimal == ".":
        report.suspicions += thousands_as_decimals(checked)
    sound = checked.rows.filter(~checked.broken) if report.broken else checked.rows
    copies = copies_of(context, checked, sound, report)
    firsts = first_of_each(checked, copies.kept if copies else sound)
    clean = (firsts.filter(firsts.place == 0) if table.key else firsts).select(*checked.columns)
    report.clean = _write(context, table, clean)
    report.suspicions += loaded_at_once(table, context.clean_table(table.name))
    again = {rule: rows for rule, rows in copies.aside.items() if count_rows(rows)} if copies else {}
    report.duplicates = sum(count_rows(rows) for rows in again.values())
    report.conflicts = report.rows - report.broken - report.duplicates - report.clean
    note(report, DUPLICATE, report.duplicates)
    if report.conflicts and table.name == "contracts":
        report.suspicions += dropped_terms(firsts)
    aside = [with_reasons(checked, typed)] if report.broken else []
    aside += [with_reason(checked, rows, rule) for rule, rows in again.items()]
    if note(report, conflict(table), report.conflicts):
        aside.append(with_reason(checked, firsts.filter(firsts.place > 0), conflict(table)))
    if aside:
        set_aside(context, checked, aside, report, typed.text)
    return report


def _write(context: CheckContext, table: Table, clean: ir.Table) -> int:
    path = context.clean / f"{table.name}.parquet"
    if table.name == grading.TABLE:
        clean = grading.with_tier(context, clean)
    if table.name != usage_partitions.TABLE:
        return warehouse.write_parquet(clean, path, order_by=_order(table))
    count = warehouse.write_parquet(usage_partitions.with_month(clean), path, order_by=["arrived", *_order(table)])
    usage_partitions.write_digests(warehouse.read(context.con, path), context.clean)
    return count


def _validate(context: CheckContext, table: Table, typed: CastTable, rules: tuple[Rule, ...]) -> ValidatedTable:
    """Every row with its flags; a value that cannot be read is not called missing as well."""
    broken = {rule.name: rule.broken(typed.rows) for rule in rules}
    for rule in typed.unreadable:
        missing = f"{rule.column}_missing"
        if missing in broken:
            broken[missing] = broken[missing] & ~broken[rule.name]
    flags = {f"breaks_{place}": flag for place, flag in enumerate(broken.values())}
    rows = context.con.create_view(f"judged_{table.name}", typed.rows.mutate(**flags))
    return ValidatedTable(table, rows, typed.given, rules)


def _counted(checked: ValidatedTable) -> TableReport:
    """The rows and how many break each rule, in one pass."""
    rows = checked.rows
    sums = {f"breaks_{place}": rows[f"breaks_{place}"].sum() for place, _ in enumerate(checked.rules)}
    counts = rows.agg(rows=rows.count(), broken=checked.broken.sum(), **sums).to_pyarrow().to_pylist()[0]
    report = TableReport(rows=counts["rows"], broken=counts["broken"] or 0)
    for place, rule in enumerate(checked.rules):
        note(report, rule, counts[f"breaks_{place}"] or 0)
    return report


def _order(table: Table) -> list[str]:
    first = table.key or (*table.event_time, *(c.name for c in table.columns.values() if c.type == ID))
    return list(dict.fromkeys((*first, *table.columns)))


# --- certificate ---------------------------------------------------------------------------------


def _certificate(
    context: CheckContext, given: Mapping[str, Given], reports: Mapping[str, TableReport]
) -> dict[str, Any]:
    """What there is, by table; the same input gives the same certificate."""
    tables = {name: _certified(context, TABLES[name], given[name], reports[name]) for name in given}
    gaps = coverage.find_gaps(context, given)
    of_tables = [notice for name in given for notice in notices_of(name, reports[name])]
    return {
        "tables": tables,
        "absent": [name for name in TABLES if name not in given],
        "payments_given": tables["contracts"]["columns"]["paid_at"]["filled"] > 0,
        "extract": _iso(context.job.settings.source.extract),
        "reporting_currency": context.job.settings.money.reporting_currency,
        "notices": [notice.as_dict() for notice in (*gaps.notices, *of_tables)],
        "coverage": gaps.facts | {"notes": gaps.notes},
        "warnings": [
            *context.id_warnings,
            *(line for name in given for line in _warnings(context, TABLES[name], reports[name])),
            *gaps.warnings,
        ],
    }


def _certified(context: CheckContext, table: Table, raw: Given, report: TableReport) -> dict[str, Any]:
    clean = context.clean_table(table.name)
    if report.clean:  # of no rows pandera says that they break every rule
        _assert_clean(context, table, clean)
    months = _months(table, clean)
    there = {name for rows in raw.parts for name in rows.columns}
    return {
        "fingerprint": raw.fingerprint,
        "columns": {
            name: {
                "type": str(clean[name].type()),
                "given": name in there,
                "filled": sum(month[f"filled_{place}"] for month in months),
            }
            for place, name in enumerate(table.columns)
        },
        "rows_in": report.rows,
        "rows_clean": report.clean,
        "rows_quarantined": report.violations + report.duplicates,
        **({"repeated_events": report.repeated.certified()} if report.repeated else {}),
        "quarantined": {
            name: {
                "reason": rule.words,
                "rows": report.rules[name],
                "examples": report.examples[name],
                "advice": report.advice[name],
            }
            for name, rule in report.said.items()
        },
        "first_event": _iso(min((m["first"] for m in months if m["first"]), default=None)),
        "last_event": _iso(max((m["last"] for m in months if m["last"]), default=None)),
        "watermark": _iso(max((m["watermark"] for m in months if m["watermark"]), default=None)),
        "known_per_month": {f"{m['month']:%Y-%m}" if m["month"] else "always": m["rows"] for m in months},
    }


def _months(table: Table, clean: ir.Table) -> list[dict[str, Any]]:
    """What became known in each month: one row per month, and one for what was known always."""
    event = ibis.coalesce(*(clean[name] for name in table.event_time))
    known = known_time(clean, table)
    filled = {f"filled_{place}": clean[name].count() for place, name in enumerate(table.columns)}
    months = clean.group_by(month=known.truncate("M").cast("date")).agg(
        rows=clean.count(), first=event.min(), last=event.max(), watermark=known.max(), **filled
    )
    return list(months.to_pyarrow().to_pylist())


def _assert_clean(context: CheckContext, table: Table, clean: ir.Table) -> None:
    """What was written keeps the contract, says pandera; if not, the fault is in this program."""
    from pandera.errors import SchemaErrors

    extract = context.job.settings.source.extract
    try:
        table.schema(context.ids[table.name], extract).validate(clean, lazy=True)
    except SchemaErrors as errors:
        broken = [rule.words for rule in table.rules(extract) if count_rows(clean.filter(rule.broken(clean)))]
        said = broken or [str(error.check) for error in errors.schema_errors]
        raise RuntimeError(f"clean {table.name} breaks its own contract: {'; '.join(said)}") from errors


def _warnings(context: CheckContext, table: Table, report: TableReport) -> Iterator[str]:
    yield from (suspicion.warning for suspicion in report.suspicions)
    if report.repeated and report.repeated.counted:
        yield report.repeated.warning()
    if report.duplicates > context.job.settings.quarantine.limit_of(table.name) * report.rows:
        share = percent(report.duplicates, report.rows)
        why = f": {duplicate_advice(table.name, report)}" if report.repeated and not report.repeated.counted else ""
        aside = f"{report.duplicates} of {report.rows} rows ({share}) are exact duplicates, now set aside"
        yield f"{table.name}: {aside}{why}"
    if table.name == "contracts":
        yield from currencies.without_currency(context.clean_table("contracts"), context.job.settings.money)
    for column in table.columns.values():
        if column.known in table.columns:
            clean = context.clean_table(table.name)
            unseen = count_rows(clean.filter(clean[column.name].notnull() & clean[column.known].isnull()))
            if unseen:
                yield f"{table.name}: {unseen} values of {column.name} have no {column.known} and are never seen"


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat(sep=" ") if instant else None


def _summary(certificate: Mapping[str, Any], job: Job) -> dict[str, Any]:
    for line in certificate["warnings"]:
        log.warning(line)
    for line in certificate["coverage"]["notes"]:
        log.info(line)
    counts = ("rows_in", "rows_clean", "rows_quarantined")
    return {
        "newest_days": {name: _newest_day(part) for name, part in certificate["tables"].items()},
        "tables": {name: {count: part[count] for count in counts} for name, part in certificate["tables"].items()},
        "absent": certificate["absent"],
        "warnings": certificate["warnings"],
        "coverage": certificate["coverage"]["notes"],
        "certificate": str(job.data / CERTIFICATE),
        "quarantine": str(job.data / "quarantine"),
    }


def _newest_day(part: Mapping[str, Any]) -> str | None:
    """The day of a table's newest event, or that on which it was known, where the event is only planned."""
    ends = [end[:10] for end in (part["last_event"], part["watermark"]) if end]
    return min(ends) if ends else None


if __name__ == "__main__":
    main(check)
