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

from features.tables import ID, TABLES, Rule, Table
from pipelines import answers, arrivals, coverage, folders, grading, quarantine, warehouse
from pipelines.cast import CastTable, cast_table, id_types, require_columns
from pipelines.check_context import CheckContext, TableReport, ValidatedTable, count_rows, known_time, note
from pipelines.duplicates import DUPLICATE, conflict, copies_of, duplicate_advice, first_of_each
from pipelines.errors import DataContract
from pipelines.quarantine import (
    percent,
    set_aside,
    stop_over_limit,
    with_reason,
    with_reasons,
)
from pipelines.stage import Job, main, progress
from pipelines.warehouse import Given

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
        given = answers.with_actions(con, job, warehouse.raw_tables(con, job, scratch))
        ids = id_types(given)
        context = CheckContext(con, job, staged[clean], staged[aside], scratch, ids.types, ids.warnings)
        reports = _go_through(context, given)
        folders.replace_folder(staged[aside], aside)
        stop_over_limit(reports, job)
        certificate = _certificate(context, given, reports)
        folders.replace_folder(staged[clean], clean)
        content = json.dumps(certificate, indent=1, sort_keys=True, ensure_ascii=False)
        warehouse.write_bytes(job.data / "certificate.json", content.encode())
    finally:
        for folder in (*staged.values(), scratch):
            shutil.rmtree(folder, ignore_errors=True)
    return _summary(certificate, job)


def _emptied(folder: Path) -> Path:
    folders.undo_replace(folder.with_suffix(""))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _go_through(context: CheckContext, given: Mapping[str, Given]) -> dict[str, TableReport]:
    for name, raw in given.items():
        require_columns(raw, TABLES[name])
    typed = {name: cast_table(context, raw, TABLES[name]) for name, raw in given.items()}
    reports = {}
    with progress(len(typed), "check") as step:
        for name in sorted(typed, key=lambda n: n not in FIRST):
            with warehouse.faults(name):
                rules = cross_table_rules(context, name, typed)
                reports[name] = _check_table(context, TABLES[name], typed[name], rules)
            step(name)
    return {name: reports[name] for name in given}


# --- rules ---------------------------------------------------------------------------------------


def cross_table_rules(context: CheckContext, name: str, typed: Mapping[str, CastTable]) -> Iterator[Rule]:
    """The rules that hold a row against another table."""
    if "account_id" in TABLES[name].columns and name != "accounts":
        accounts = context.clean_table("accounts")
        words = "account_id is not among the accounts that keep the contract"
        yield Rule("account_id_unknown", "account_id", words, lambda r: r.account_id.isin(accounts.account_id))
    if name == "contracts":
        yield from _convertible(context, typed)


def _convertible(context: CheckContext, typed: Mapping[str, CastTable]) -> Iterator[Rule]:
    """Amounts in several currencies need rates; without that table there must be one currency."""
    home = context.job.settings.money.reporting_currency
    if "rates" in typed:
        rates = context.clean_table("rates")
        words = f"currency has no row in rates and is not the reporting currency {home}"
        yield Rule(
            "currency_without_rate", "currency", words, lambda r: (r.currency == home) | r.currency.isin(rates.currency)
        )
        return
    currency = typed["contracts"].rows.currency.fill_null(home)
    met = sorted(
        row["currency"] for row in typed["contracts"].rows.select(currency=currency).distinct().to_pyarrow().to_pylist()
    )
    if len(met) > 1:
        raise DataContract(
            f"contracts.currency: amounts are in {len(met)} currencies ({', '.join(met[:5])}) and there is no table "
            f"rates to convert them to {home}; a missing currency counts as {home} (money.reporting_currency)"
        )


def _check_table(context: CheckContext, table: Table, typed: CastTable, across: Iterator[Rule]) -> TableReport:
    """Part the rows of a table into clean and quarantined, and count."""
    rules = (*typed.unreadable, *table.rules(context.job.settings.source.extract), *across)
    checked = _validate(context, table, typed, rules)
    report = _counted(checked)
    sound = checked.rows.filter(~checked.broken) if report.broken else checked.rows
    copies = copies_of(context, checked, sound, report)
    firsts = first_of_each(checked, copies.kept if copies else sound)
    clean = (firsts.filter(firsts.place == 0) if table.key else firsts).select(*checked.columns)
    report.clean = _write(context, table, clean)
    again = {rule: rows for rule, rows in copies.aside.items() if count_rows(rows)} if copies else {}
    report.duplicates = sum(count_rows(rows) for rows in again.values())
    report.conflicts = report.rows - report.broken - report.duplicates - report.clean
    note(report, DUPLICATE, report.duplicates)
    aside = [with_reasons(checked, typed)] if report.broken else []
    aside += [with_reason(checked, rows, rule) for rule, rows in again.items()]
    if note(report, conflict(table), report.conflicts):
        aside.append(with_reason(checked, firsts.filter(firsts.place > 0), conflict(table)))
    if aside:
        set_aside(context, checked, aside, report)
    return report


def _write(context: CheckContext, table: Table, clean: ir.Table) -> int:
    path = context.clean / f"{table.name}.parquet"
    if table.name == grading.TABLE:
        clean = grading.with_tier(context, clean)
    if table.name != arrivals.TABLE:
        return warehouse.write_parquet(clean, path, order_by=_order(table))
    count = warehouse.write_parquet(arrivals.with_month(clean), path, order_by=["arrived", *_order(table)])
    arrivals.write_digests(warehouse.read(context.con, path), context.clean)
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
    if checked.table.required and not counts["rows"]:
        raise DataContract(f"{checked.table.name} holds no rows")
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
    return {
        "tables": tables,
        "absent": [name for name in TABLES if name not in given],
        "payments_given": tables["contracts"]["columns"]["paid_at"]["filled"] > 0,
        "extract": _iso(context.job.settings.source.extract),
        "reporting_currency": context.job.settings.money.reporting_currency,
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
            name: {"reason": rule.words, "rows": report.rules[name], "examples": report.examples[name]}
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
    if report.repeated and report.repeated.counted:
        yield report.repeated.warning()
    if report.duplicates > context.job.settings.quarantine.limit_of(table.name) * report.rows:
        share = percent(report.duplicates, report.rows)
        why = f": {duplicate_advice(table.name, report)}" if report.repeated and not report.repeated.counted else ""
        aside = f"{report.duplicates} of {report.rows} rows ({share}) are exact duplicates, now set aside"
        yield f"{table.name}: {aside}{why}"
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
        "tables": {name: {count: part[count] for count in counts} for name, part in certificate["tables"].items()},
        "absent": certificate["absent"],
        "warnings": certificate["warnings"],
        "coverage": certificate["coverage"]["notes"],
        "certificate": str(job.data / "certificate.json"),
        "quarantine": str(job.data / "quarantine"),
    }


if __name__ == "__main__":
    main(check)
