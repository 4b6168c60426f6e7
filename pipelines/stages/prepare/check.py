"""Validate the raw tables against the data contract (types and rules) before anything is computed from them.

Valid rows are written to `clean/`, invalid rows to `quarantine/` with the reason, and counts, coverage, the reading of
the contracts and warnings to `validation_report.json`. No value is repaired, and no row is dropped without a record.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import structlog

from renewals.features.tables import ID, TABLES, Rule, TableSpec
from renewals.pipelines.runtime.console import progress
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage import current_state, feedback_log, folders, old_names
from renewals.pipelines.storage.artifacts import VALIDATION_REPORT
from renewals.pipelines.storage.engine import atomic, engine_errors, usage_partitions, warehouse
from renewals.pipelines.storage.engine.raw import raw_tables
from renewals.pipelines.storage.engine.raw.raw_table import RawTable
from renewals.pipelines.validation import contract_summary, coverage, currencies, grading, quarantine, times
from renewals.pipelines.validation.advice import find_thousands_as_decimals
from renewals.pipelines.validation.cast import CastTable, IdTypes, cast_table, id_types, require_columns, require_types
from renewals.pipelines.validation.context import (
    Anomaly,
    CheckContext,
    TableReport,
    ValidatedTable,
    count_rows,
    known_time,
    record_violation,
)
from renewals.pipelines.validation.contract_warnings import find_contract_anomalies
from renewals.pipelines.validation.duplicates import (
    DUPLICATE_RULE,
    conflict_rule,
    duplicate_advice,
    rank_within_key,
    split_duplicates,
)
from renewals.pipelines.validation.load_times import find_bulk_loads
from renewals.pipelines.validation.problems import Problems
from renewals.pipelines.validation.quarantine import (
    add_reason,
    anomaly_notices,
    broken_rows_with_reasons,
    format_percent,
    stop_on_problems,
    table_notices,
    write_quarantine,
)

STEP = Step(after=None, commands=("learn", "score", "scorecard"))

log = structlog.get_logger()

CHECKED_FIRST = ("accounts", "rates")
"""Checked before the other tables, which refer to them."""


def check(job: Job) -> dict[str, Any]:
    """Validate the raw tables; write the clean tables, the quarantine and the validation report; return a summary.

    Raises `MissingInputError` if a required table is missing, `DataContractError` if a column is missing or has the
    wrong type, if a table has more broken rows than its limit, or if contracts overlap and `contracts.overlap` is
    `stop`. The quarantine is then still written, and the clean tables of an earlier run stay unchanged.
    """
    quarantine.require_known_limits(job)
    current_state.require_optional_columns(job.settings.source)
    clean, quarantine_folder = job.data / "clean", job.data / "quarantine"
    staged = {folder: _empty_folder(folder.with_name(f"{folder.name}.tmp")) for folder in (clean, quarantine_folder)}
    scratch = _empty_folder(job.data / "source.tmp")
    try:
        con = warehouse.connect(job.settings.engine)
        times.require_known_zone(con, job.settings.source)
        tables = feedback_log.add_collected_actions(con, job, raw_tables.raw_tables(con, job, scratch))
        problems = Problems()
        ids = _require_structure(tables, problems)
        context = CheckContext(con, job, staged[clean], staged[quarantine_folder], scratch, ids.types, ids.warnings)
        reports = _check_all_tables(context, tables, problems)
        folders.replace_folder(staged[quarantine_folder], quarantine_folder)
        stop_on_problems(reports, problems.lines, job)
        report = _validation_report(context, tables, reports)
        folders.replace_folder(staged[clean], clean)
        content = json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False)
        atomic.write_bytes(job.data / VALIDATION_REPORT, content.encode())
        old_names.remove_old_versions(job.data, [VALIDATION_REPORT])
    finally:
        for folder in (*staged.values(), scratch):
            shutil.rmtree(folder, ignore_errors=True)
    return _summarize(report, job)


def _empty_folder(folder: Path) -> Path:
    folders.undo_replace(folder.with_suffix(""))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _require_structure(raw_tables: Mapping[str, RawTable], problems: Problems) -> IdTypes:
    """Check columns and types of every table; return the id types, empty if they disagree. Errors go to `problems`."""
    ids = IdTypes({}, ())
    with problems.collect(""):
        ids = id_types(raw_tables)
    for name, raw in raw_tables.items():
        with problems.collect(name):
            require_columns(raw, TABLES[name])
        with problems.collect(name):
            require_types(raw, TABLES[name], ids.types.get(name, {}))
    return ids


def _check_all_tables(
    context: CheckContext, raw_tables: Mapping[str, RawTable], problems: Problems
) -> dict[str, TableReport]:
    """Check the rows of every table with valid columns; return a report by table name. Errors go to `problems`."""
    valid = [name for name in raw_tables if context.id_types and name not in problems.messages]
    typed = {}
    for name in valid:
        with problems.collect(name):
            typed[name] = cast_table(context, raw_tables[name], TABLES[name])
    reports: dict[str, TableReport] = {}
    with progress(len(typed), "check") as step:
        for name in sorted(typed, key=lambda table_name: table_name not in CHECKED_FIRST):
            with problems.collect(name), engine_errors.translate_engine_errors(name):
                reports[name] = _check_table(context, TABLES[name], typed[name], reports)
            step(name)
    return {name: reports[name] for name in raw_tables if name in reports}


# --- rules ---------------------------------------------------------------------------------------


def cross_table_rules(context: CheckContext, name: str, reports: Mapping[str, TableReport]) -> Iterator[Rule]:
    """Yield the rules that compare a table's rows with tables checked before; a table without clean rows gives no
    rule."""
    if "account_id" in TABLES[name].columns and name != "accounts" and _has_rows("accounts", reports):
        accounts = context.clean_table("accounts")
        message = "account_id is not in table accounts, or its row there is quarantined"
        yield Rule("account_id_unknown", "account_id", message, lambda row: row.account_id.isin(accounts.account_id))
    if name == "rates":
        yield currencies.base_rate_rule(context.job.settings.money.reporting_currency)
    if name == "contracts":
        rates = context.clean_table("rates") if _has_rows("rates", reports) else None
        yield from currencies.currency_rules(rates, context.job.settings.money.reporting_currency)


def merger_rules(table: TableSpec, rows: ir.Table) -> Iterator[Rule]:
    """Yield the rule that an account was merged into an account of the same table."""
    if table.name == "accounts":
        heirs = rows.select("account_id").distinct()
        message = "merged_into_account_id is not in table accounts"
        yield Rule(
            "merged_into_unknown",
            "merged_into_account_id",
            message,
            lambda row: row.merged_into_account_id.isnull() | row.merged_into_account_id.isin(heirs.account_id),
        )


def _has_rows(name: str, reports: Mapping[str, TableReport]) -> bool:
    return name in reports and reports[name].clean_rows > 0


def _check_table(
    context: CheckContext, table: TableSpec, typed: CastTable, reports: Mapping[str, TableReport]
) -> TableReport:
    """Split the rows of a table into clean and quarantined ones, write both and return the counts."""
    cross_rules = (*merger_rules(table, typed.rows), *cross_table_rules(context, table.name, reports))
    rules = (*typed.type_rules, *table.rules(context.job.settings.source.extracted_at), *cross_rules)
    checked = _validate_rows(context, table, typed, rules)
    report = _count_violations(checked)
    if typed.is_text and context.job.settings.source.decimal == ".":
        report.anomalies += find_thousands_as_decimals(checked)
    report.anomalies += times.find_inclusive_ends(checked, context.job.settings.source)
    valid = checked.rows.filter(~checked.is_broken) if report.broken_rows else checked.rows
    duplicates = split_duplicates(context, checked, valid, report)
    ranked = rank_within_key(checked, duplicates.remaining_rows if duplicates else valid)
    clean = (ranked.filter(ranked.place == 0) if table.key else ranked).select(*checked.columns)
    report.clean_rows = _write_clean(context, table, clean)
    report.anomalies += find_bulk_loads(table, context.clean_table(table.name))
    duplicate_rows = (
        {rule: rows for rule, rows in duplicates.duplicate_rows.items() if count_rows(rows)} if duplicates else {}
    )
    report.duplicates = sum(count_rows(rows) for rows in duplicate_rows.values())
    report.conflicts = report.rows - report.broken_rows - report.duplicates - report.clean_rows
    record_violation(report, DUPLICATE_RULE, report.duplicates)
    quarantined = [broken_rows_with_reasons(checked, typed)] if report.broken_rows else []
    quarantined += [add_reason(checked, rows, rule) for rule, rows in duplicate_rows.items()]
    if record_violation(report, conflict_rule(table), report.conflicts):
        quarantined.append(add_reason(checked, ranked.filter(ranked.place > 0), conflict_rule(table)))
    if quarantined:
        write_quarantine(context, checked, quarantined, report, typed.is_text)
    return report


def _write_clean(context: CheckContext, table: TableSpec, clean: ir.Table) -> int:
    path = context.clean_folder / f"{table.name}.parquet"
    if table.name == grading.TABLE:
        clean = grading.add_tier(context, clean)
    if table.name != usage_partitions.TABLE:
        return warehouse.write_parquet(clean, path, order_by=_sort_columns(table))
    count = warehouse.write_parquet(
        usage_partitions.add_arrival_month(clean), path, order_by=["arrival_month", *_sort_columns(table)]
    )
    usage_partitions.write_digests(warehouse.read_parquet(context.con, path), context.clean_folder)
    return count


def _validate_rows(
    context: CheckContext, table: TableSpec, typed: CastTable, rules: tuple[Rule, ...]
) -> ValidatedTable:
    """Add one flag per rule to every row; a value that cannot be read is not counted as missing as well."""
    broken = {rule.name: rule.is_broken(typed.rows) for rule in rules}
    for rule in typed.type_rules:
        missing = f"{rule.column}_missing"
        if missing in broken:
            broken[missing] = broken[missing] & ~broken[rule.name]
    flags = {f"breaks_{place}": flag for place, flag in enumerate(broken.values())}
    rows = context.con.create_view(f"judged_{table.name}", typed.rows.mutate(**flags))
    return ValidatedTable(table, rows, typed.raw_columns, rules)


def _count_violations(checked: ValidatedTable) -> TableReport:
    """Count the rows, the broken rows and the violations of each rule, in one pass."""
    rows = checked.rows
    sums = {f"breaks_{place}": rows[f"breaks_{place}"].sum() for place, _ in enumerate(checked.rules)}
    counts = rows.agg(rows=rows.count(), broken=checked.is_broken.sum(), **sums).to_pyarrow().to_pylist()[0]
    report = TableReport(rows=counts["rows"], broken_rows=counts["broken"] or 0)
    for place, rule in enumerate(checked.rules):
        record_violation(report, rule, counts[f"breaks_{place}"] or 0)
    return report


def _sort_columns(table: TableSpec) -> list[str]:
    first = table.key or (*table.event_time, *(column.name for column in table.columns.values() if column.type == ID))
    return list(dict.fromkeys((*first, *table.columns)))


# --- validation report ---------------------------------------------------------------------------


def _validation_report(
    context: CheckContext, raw_tables: Mapping[str, RawTable], reports: Mapping[str, TableReport]
) -> dict[str, Any]:
    """Build the validation report: tables, coverage, notices and warnings; the same input gives the same report."""
    tables = {name: _table_entry(context, TABLES[name], raw_tables[name], reports[name]) for name in raw_tables}
    gaps = coverage.find_gaps(context, raw_tables)
    contracts, anomalies = _contract_report(context, raw_tables)
    notices = [notice for name in raw_tables for notice in table_notices(name, reports[name])]
    return {
        "tables": tables,
        "missing_tables": [name for name in TABLES if name not in raw_tables],
        "payments_given": tables["contracts"]["columns"]["paid_at"]["filled"] > 0,
        "extracted_at": _iso_time(context.job.settings.source.extracted_at),
        "reporting_currency": context.job.settings.money.reporting_currency,
        "notices": [notice.as_dict() for notice in (*gaps.notices, *notices, *anomaly_notices(anomalies))],
        "contracts": contracts,
        "coverage": gaps.facts | {"notes": gaps.notes},
        "warnings": [
            *context.id_warnings,
            *(line for name in raw_tables for line in _warnings(context, TABLES[name], reports[name])),
            *gaps.warnings,
            *(anomaly.warning for anomaly in anomalies),
        ],
    }


def _contract_report(context: CheckContext, names: Iterable[str]) -> tuple[dict[str, Any], list[Anomaly]]:
    """Figures and notes on how the contracts are understood, and what is probably an error in them.

    Raises `DataContractError` if contracts overlap and `contracts.overlap` is `stop`.
    """
    settings = context.job.settings
    tables = {name: context.clean_table(name) for name in names}
    as_of = contract_summary.newest_known_day(tables, settings.source.extracted_at)
    summary = contract_summary.summarize_contracts(tables, as_of, settings)
    contract_summary.require_decided_overlaps(summary, settings)
    notes = list(contract_summary.contract_notes(summary, settings))
    return contract_summary.contract_facts(summary) | {"notes": notes}, list(
        find_contract_anomalies(summary, tables, settings)
    )


def _table_entry(context: CheckContext, table: TableSpec, raw_table: RawTable, report: TableReport) -> dict[str, Any]:
    clean = context.clean_table(table.name)
    if report.clean_rows:  # pandera reports an empty table as breaking every rule
        _assert_clean(context, table, clean)
    months = _monthly_counts(table, clean)
    present = {name for rows in raw_table.parts for name in rows.columns}
    return {
        "fingerprint": raw_table.fingerprint,
        "columns": {
            name: {
                "type": str(clean[name].type()),
                "present": name in present,
                "filled": sum(month[f"filled_{place}"] for month in months),
            }
            for place, name in enumerate(table.columns)
        },
        "rows_in": report.rows,
        "rows_clean": report.clean_rows,
        "rows_quarantined": report.violations + report.duplicates,
        **({"repeated_events": report.repeated_events.as_dict()} if report.repeated_events else {}),
        "quarantined": {
            name: {
                "reason": rule.message,
                "rows": report.rule_counts[name],
                "examples": report.examples[name],
                "advice": report.advice[name],
            }
            for name, rule in report.broken_rules.items()
        },
        "first_event": _iso_time(min((m["first"] for m in months if m["first"]), default=None)),
        "last_event": _iso_time(max((m["last"] for m in months if m["last"]), default=None)),
        "watermark": _iso_time(max((m["watermark"] for m in months if m["watermark"]), default=None)),
        "known_per_month": {f"{m['month']:%Y-%m}" if m["month"] else "always": m["rows"] for m in months},
    }


def _monthly_counts(table: TableSpec, clean: ir.Table) -> list[dict[str, Any]]:
    """Counts and times of the rows that became known in each month.

    One row per month, and one with `month` missing for rows without a known time, which count as always known.
    """
    event = ibis.coalesce(*(clean[name] for name in table.event_time))
    known = known_time(clean, table)
    filled = {f"filled_{place}": clean[name].count() for place, name in enumerate(table.columns)}
    months = clean.group_by(month=known.truncate("M").cast("date")).agg(
        rows=clean.count(), first=event.min(), last=event.max(), watermark=known.max(), **filled
    )
    return list(months.to_pyarrow().to_pylist())


def _assert_clean(context: CheckContext, table: TableSpec, clean: ir.Table) -> None:
    """Validate a written clean table with pandera. Raises RuntimeError if it breaks the contract: an internal error."""
    from pandera.errors import SchemaErrors

    extracted_at = context.job.settings.source.extracted_at
    try:
        table.schema(context.id_types[table.name], extracted_at).validate(clean, lazy=True)
    except SchemaErrors as errors:
        broken = [rule.message for rule in table.rules(extracted_at) if count_rows(clean.filter(rule.is_broken(clean)))]
        violations = broken or [str(error.check) for error in errors.schema_errors]
        raise RuntimeError(f"clean {table.name} breaks its own contract: {'; '.join(violations)}") from errors


def _warnings(context: CheckContext, table: TableSpec, report: TableReport) -> Iterator[str]:
    yield from (anomaly.warning for anomaly in report.anomalies)
    if report.repeated_events and report.repeated_events.is_counted:
        yield report.repeated_events.warning_text()
    if report.duplicates > context.job.settings.quarantine.limit_of(table.name) * report.rows:
        share = format_percent(report.duplicates, report.rows)
        advice = (
            f": {duplicate_advice(table.name, report)}"
            if report.repeated_events and not report.repeated_events.is_counted
            else ""
        )
        message = f"{report.duplicates} of {report.rows} rows ({share}) are exact duplicates and are quarantined"
        yield f"{table.name}: {message}{advice}"
    if table.name == "contracts":
        yield from currencies.missing_currency_warnings(context.clean_table("contracts"), context.job.settings.money)
    for column in table.columns.values():
        if column.known in table.columns and not column.else_with_row:
            clean = context.clean_table(table.name)
            ignored = count_rows(clean.filter(clean[column.name].notnull() & clean[column.known].isnull()))
            if ignored:
                yield f"{table.name}: {ignored} values of {column.name} have no {column.known} and are ignored"


def _iso_time(instant: datetime | None) -> str | None:
    return instant.isoformat(sep=" ") if instant else None


def _summarize(report: Mapping[str, Any], job: Job) -> dict[str, Any]:
    for line in report["warnings"]:
        log.warning(line)
    for line in (*report["contracts"]["notes"], *report["coverage"]["notes"]):
        log.info(line)
    counts = ("rows_in", "rows_clean", "rows_quarantined")
    return {
        "newest_days": {name: _newest_day(part) for name, part in report["tables"].items()},
        "tables": {name: {count: part[count] for count in counts} for name, part in report["tables"].items()},
        "missing_tables": report["missing_tables"],
        "warnings": report["warnings"],
        "contracts": report["contracts"]["notes"],
        "coverage": report["coverage"]["notes"],
        "certificate": str(job.data / VALIDATION_REPORT),
        "quarantine": str(job.data / "quarantine"),
    }


def _newest_day(entry: Mapping[str, Any]) -> str | None:
    """The day of a table's newest event, or its newest known time if that is earlier (the event is planned)."""
    ends = [end[:10] for end in (entry["last_event"], entry["watermark"]) if end]
    return min(ends) if ends else None


if __name__ == "__main__":
    main(check)
