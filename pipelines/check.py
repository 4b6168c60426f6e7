"""Certify the raw tables: types, rules, and what was set aside, before anything is computed.

What keeps the contract goes to `clean/`, what breaks it to `quarantine/` with the reason in words, and
`certificate.json` says what there is. Nothing is repaired and nothing is dropped without a word.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import structlog

from features.tables import ID, TABLES, Column, Rule, Table
from pipelines import answers, arrivals, folders, warehouse
from pipelines.errors import Config, DataContract
from pipelines.stage import Job, main, progress
from pipelines.warehouse import Given

log = structlog.get_logger()

FIRST = ("accounts", "rates")
"""Read before the others, whose rows are held against them."""
EXAMPLES = 3
OFFSET = r":\d\d(\.\d+)?[+-]\d\d(:?\d\d){0,2}$|[A-Za-z]+/[A-Za-z_]+$"
"""How an instant ends that names its offset or place; a plain cast would drop it. Letters like CST name several
zones, and are not read."""
WHOLE_UP_TO = 2**53
"""Beyond this a floating-point number no longer tells two whole numbers apart."""


def _holds(rows: ir.Table) -> ir.BooleanValue:
    """The answer of a rule that is not asked of one row alone."""
    return ibis.literal(True)


DUPLICATE = Rule("duplicate", "", "the row is an exact duplicate of another", _holds)


@dataclass
class Report:
    """What became of one table."""

    rows: int
    clean: int = 0
    broken: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rules: dict[str, int] = field(default_factory=dict)
    said: dict[str, Rule] = field(default_factory=dict)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    @property
    def violations(self) -> int:
        """Rows set aside for breaking a rule; an exact duplicate breaks none."""
        return self.broken + self.conflicts


@dataclass(frozen=True)
class Bench:
    """What the work on every table needs."""

    con: Any
    job: Job
    clean: Path
    quarantine: Path
    scratch: Path
    ids: Mapping[str, Mapping[str, dt.DataType]]

    def cleaned(self, name: str) -> ir.Table:
        """A table already gone through in this run."""
        return warehouse.read(self.con, self.clean / f"{name}.parquet")


def check(job: Job) -> dict[str, Any]:
    """Check the raw tables against the contract; write the clean ones, the quarantine and the certificate.

    Raises `InputMissing` for a required table, `DataContract` for a column that is missing or of the wrong
    type, and for a table with more broken rows than its limit: the quarantine is then written, and the
    clean tables of an earlier run stay as they were.
    """
    _known_limits(job)
    clean, quarantine = job.data / "clean", job.data / "quarantine"
    staged = {folder: _emptied(folder.with_name(f"{folder.name}.tmp")) for folder in (clean, quarantine)}
    scratch = _emptied(job.data / "source.tmp")
    try:
        con = warehouse.connect(job.settings.engine)
        given = answers.with_actions(con, job, warehouse.raw_tables(con, job, scratch))
        bench = Bench(con, job, staged[clean], staged[quarantine], scratch, _id_types(given))
        reports = _go_through(bench, given)
        folders.replace_folder(staged[quarantine], quarantine)
        _stop_over_limit(reports, job)
        certificate = _certificate(bench, given, reports)
        folders.replace_folder(staged[clean], clean)
        content = json.dumps(certificate, indent=1, sort_keys=True, ensure_ascii=False)
        warehouse.write_bytes(job.data / "certificate.json", content.encode())
    finally:
        for folder in (*staged.values(), scratch):
            shutil.rmtree(folder, ignore_errors=True)
    return _summary(certificate, job)


def _known_limits(job: Job) -> None:
    unknown = [name for name in job.settings.quarantine.limits if name not in TABLES]
    if unknown:
        raise Config(f"quarantine.limits: there is no table {unknown[0]!r}; there are {', '.join(TABLES)}")


def _emptied(folder: Path) -> Path:
    folders.undo_replace(folder.with_suffix(""))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _go_through(bench: Bench, given: Mapping[str, Given]) -> dict[str, Report]:
    for name, raw in given.items():
        _columns_there(raw, TABLES[name])
    typed = {name: _typed(bench, raw, TABLES[name]) for name, raw in given.items()}
    reports = {}
    with progress(len(typed), "check") as step:
        for name in sorted(typed, key=lambda n: n not in FIRST):
            with warehouse.faults(name):
                reports[name] = _judge(bench, TABLES[name], typed[name], _across(bench, name, typed))
            step(name)
    return {name: reports[name] for name in given}


def _columns_there(raw: Given, table: Table) -> None:
    for rows in raw.parts:
        missing = [c.name for c in table.columns.values() if c.required and c.name not in rows.columns]
        if missing:
            found = ", ".join(rows.columns)
            raise DataContract(f"{table.name}: required column {', '.join(missing)} is missing; found {found}")


# --- types ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Typed:
    """A table with its columns as the contract has them, and each row as it was given beside them."""

    rows: ir.Table
    given: Mapping[str, str]
    """The columns as given: their names, and the names they go by in `rows`."""
    unreadable: tuple[Rule, ...]
    """One rule for each column of which some value may not be of its type."""


def _id_types(given: Mapping[str, Given]) -> dict[str, dict[str, dt.DataType]]:
    """The type of every id column of every table: one for all that name the same thing."""
    places: dict[str, dict[str, dt.DataType]] = {}
    for name, raw in given.items():
        for column, rows, kind in _ids_given(raw, TABLES[name]):
            met = places.setdefault(column.of, {})
            if kind not in met.values() and (raw.text or not _all_null(rows, column.name)):
                met[f"{name}.{column.name}"] = kind
    for met in places.values():
        _of_one_type(met)
    types = {of: next(iter(met.values()), dt.string) for of, met in places.items()}
    return {
        table.name: {c.name: types.get(c.of, dt.string) for c in table.columns.values() if c.type == ID}
        for table in TABLES.values()
    }


def _of_one_type(met: Mapping[str, dt.DataType]) -> None:
    if len(met) > 1:
        (first, one), (second, other) = list(met.items())[:2]
        raise DataContract(
            f"{second} holds {_called(other)} and {first} holds {_called(one)}: "
            "ids of the same thing must be of one type"
        )


def _ids_given(raw: Given, table: Table) -> Iterator[tuple[Column, ir.Table, dt.DataType]]:
    for column in table.columns.values():
        for rows in raw.parts:
            if column.type == ID and column.name in rows.columns:
                kind = _id_type(rows[column.name].type(), column)
                if kind is not None:
                    yield column, rows, kind


def _id_type(kind: dt.DataType, column: Column) -> dt.DataType | None:
    """What an id of this type is kept as; a whole number with gaps has often become a float."""
    if kind.is_string() or kind.is_uuid():
        return dt.string
    if kind.is_integer() or (kind.is_decimal() and kind.scale == 0) or (kind.is_floating() and column.nullable):
        return dt.int64
    return None


def _all_null(rows: ir.Table, column: str) -> bool:
    return bool(rows.filter(rows[column].notnull()).limit(1).count().to_pyarrow().as_py() == 0)


def _typed(bench: Bench, raw: Given, table: Table) -> Typed:
    """The contract's columns beside the row as given: one row per row given."""
    names = list(dict.fromkeys(name for rows in raw.parts for name in rows.columns))
    given = {name: f"given_{place}" for place, name in enumerate(names)}
    kinds = {name: _common_type([rows[name].type() for rows in raw.parts if name in rows.columns]) for name in names}
    types = {c.name: bench.ids[table.name][c.name] if c.type == ID else c.type for c in table.columns.values()}
    parts = []
    for rows in raw.parts:
        kept = {given[name]: _as(rows, name, kind) for name, kind in kinds.items()}
        cast = {c.name: _cast(rows, c, types[c.name], raw) for c in table.columns.values()}
        parts.append(rows.select(**kept, **cast))
    together = ibis.union(*parts) if len(parts) > 1 else parts[0]
    if raw.text:
        rows = warehouse.settled(bench.con, table.name, together, bench.scratch)
    else:
        rows = bench.con.create_view(f"typed_{table.name}", together)
    if answers.MARK in given and table.name == answers.INTERVENTIONS:
        rows = answers.told_once(rows, given[answers.MARK])
    return Typed(rows, given, tuple(_unreadable(raw, table, types, given)))


def _common_type(kinds: Sequence[dt.DataType]) -> dt.DataType:
    return kinds[0] if len(set(kinds)) == 1 else dt.string


def _as(rows: ir.Table, name: str, kind: dt.DataType) -> ir.Value:
    return rows[name].cast(kind) if name in rows.columns else ibis.null(kind)


def _cast(rows: ir.Table, column: Column, wanted: dt.DataType, raw: Given) -> ir.Value:
    """A column as its contract type: null where a value cannot be read as one."""
    if column.name not in rows.columns:
        return ibis.null(wanted)
    value = rows[column.name]
    found = value.type()
    if found == wanted:
        return value
    if raw.text:
        return _read_text(value, wanted)
    if not _fits(found, wanted, column):
        if _all_null(rows, column.name):
            return ibis.null(wanted)
        met = f"found {_called(found)} ({found}), expected {_called(wanted)}"
        raise DataContract(f"{raw.name}.{column.name} is of the wrong type: {met}")
    if wanted.is_integer() and (found.is_floating() or found.is_decimal()):
        return _whole(value.cast("float64"))
    return value.try_cast(wanted) if found.is_unsigned_integer() else value.cast(wanted)


def _fits(found: dt.DataType, wanted: dt.DataType, column: Column) -> bool:
    if column.type == ID:
        return _id_type(found, column) == wanted
    if wanted.is_timestamp():
        return found.is_timestamp() or found.is_date()
    if wanted.is_numeric():
        return found.is_numeric() and not found.is_boolean()
    if wanted.is_string():
        return found.is_string() or found.is_uuid()
    return found == wanted


def _read_text(value: ir.Value, wanted: dt.DataType) -> ir.Value:
    """A text as a typed value; an instant with an offset becomes UTC, one without is UTC."""
    if wanted.is_timestamp():
        zoned = value.try_cast(dt.Timestamp(timezone="UTC", scale=6)).cast(wanted)
        return value.re_search(OFFSET).ifelse(zoned, value.try_cast(wanted))
    if wanted.is_integer():
        return _whole(value.try_cast("float64"))
    return value.try_cast(wanted)


def _whole(number: ir.Value) -> ir.Value:
    """A number as a whole one; null where it is none, or too large to tell."""
    nothing = ibis.null("float64")
    exact = (number.abs() <= WHOLE_UP_TO).ifelse(number, nothing)
    return (exact == exact.floor()).ifelse(exact, nothing).cast("int64")


def _called(kind: dt.DataType) -> str:
    """What people call a type."""
    names = (
        ("text", kind.is_string()),
        ("true or false", kind.is_boolean()),
        ("whole numbers", kind.is_integer()),
        ("numbers", kind.is_numeric()),
        ("times", kind.is_timestamp()),
        ("dates", kind.is_date()),
    )
    return next((name for name, holds in names if holds), str(kind))


def _unreadable(raw: Given, table: Table, types: Mapping[str, dt.DataType], given: Mapping[str, str]) -> Iterator[Rule]:
    for column in table.columns.values():
        name, wanted = column.name, types[column.name]
        found = [rows[name].type() for rows in raw.parts if name in rows.columns]
        if any(kind != wanted and _may_fail(kind, wanted) for kind in found):
            words = f"{name} cannot be read as {_called(wanted)}"
            yield Rule(f"{name}_unreadable", name, words, _readable(name, given[name]))


def _may_fail(found: dt.DataType, wanted: dt.DataType) -> bool:
    return found.is_string() or found.is_unsigned_integer() or (wanted.is_integer() and not found.is_integer())


def _readable(name: str, as_given: str) -> Any:
    return lambda rows: rows[as_given].isnull() | rows[name].notnull()


# --- rules ---------------------------------------------------------------------------------------


def _across(bench: Bench, name: str, typed: Mapping[str, Typed]) -> Iterator[Rule]:
    """The rules that hold a row against another table."""
    if "account_id" in TABLES[name].columns and name != "accounts":
        accounts = bench.cleaned("accounts")
        words = "account_id is not among the accounts that keep the contract"
        yield Rule("account_id_unknown", "account_id", words, lambda r: r.account_id.isin(accounts.account_id))
    if name == "contracts":
        yield from _convertible(bench, typed)


def _convertible(bench: Bench, typed: Mapping[str, Typed]) -> Iterator[Rule]:
    """Amounts in several currencies need rates; without that table there must be one currency."""
    home = bench.job.settings.money.reporting_currency
    if "rates" in typed:
        rates = bench.cleaned("rates")
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


@dataclass(frozen=True)
class Judged:
    """A table whose rows have been held against every rule."""

    table: Table
    rows: ir.Table
    """The rows as given and as typed, and for each rule the flag `breaks_<place>`."""
    given: Mapping[str, str]
    rules: tuple[Rule, ...]

    @property
    def broken(self) -> ir.BooleanValue:
        """Whether any flag is up."""
        return ibis.or_(*(self.rows[f"breaks_{place}"] for place, _rule in enumerate(self.rules)))

    @property
    def columns(self) -> list[str]:
        """The columns of the contract."""
        return list(self.table.columns)

    @property
    def as_given(self) -> list[str]:
        """The columns as given, by the names they go by in `rows`."""
        return list(self.given.values())


def _judge(bench: Bench, table: Table, typed: Typed, across: Iterator[Rule]) -> Report:
    """Part the rows of a table into clean and quarantined, and count."""
    judged = _judged(bench, table, typed, (*typed.unreadable, *table.rules(bench.job.settings.source.extract), *across))
    report = _counted(judged)
    sound = judged.rows.filter(~judged.broken) if report.broken else judged.rows
    copies = _copies(bench, judged, sound)
    firsts = _firsts(judged, sound, copies)
    clean = (firsts.filter(firsts.place == 0) if table.key else firsts).select(*judged.columns)
    report.clean = _write(bench, table, clean)
    report.duplicates = _count(copies) if copies is not None else 0
    report.conflicts = report.rows - report.broken - report.duplicates - report.clean
    aside = [_with_reasons(judged, typed)] if report.broken else []
    if copies is not None and _note(report, DUPLICATE, report.duplicates):
        aside.append(_with_reason(judged, copies, DUPLICATE))
    if _note(report, _conflict(table), report.conflicts):
        aside.append(_with_reason(judged, firsts.filter(firsts.place > 0), _conflict(table)))
    if aside:
        _set_aside(bench, judged, aside, report)
    return report


def _write(bench: Bench, table: Table, clean: ir.Table) -> int:
    path = bench.clean / f"{table.name}.parquet"
    if table.name != arrivals.TABLE:
        return warehouse.write_parquet(clean, path, order_by=_order(table))
    count = warehouse.write_parquet(arrivals.with_month(clean), path, order_by=["arrived", *_order(table)])
    arrivals.write_digests(warehouse.read(bench.con, path), bench.clean)
    return count


def _judged(bench: Bench, table: Table, typed: Typed, rules: tuple[Rule, ...]) -> Judged:
    """Every row with its flags; a value that cannot be read is not called missing as well."""
    broken = {rule.name: rule.broken(typed.rows) for rule in rules}
    for rule in typed.unreadable:
        missing = f"{rule.column}_missing"
        if missing in broken:
            broken[missing] = broken[missing] & ~broken[rule.name]
    flags = {f"breaks_{place}": flag for place, flag in enumerate(broken.values())}
    rows = bench.con.create_view(f"judged_{table.name}", typed.rows.mutate(**flags))
    return Judged(table, rows, typed.given, rules)


def _counted(judged: Judged) -> Report:
    """The rows and how many break each rule, in one pass."""
    rows = judged.rows
    sums = {f"breaks_{place}": rows[f"breaks_{place}"].sum() for place, _ in enumerate(judged.rules)}
    counts = rows.agg(rows=rows.count(), broken=judged.broken.sum(), **sums).to_pyarrow().to_pylist()[0]
    if judged.table.required and not counts["rows"]:
        raise DataContract(f"{judged.table.name} holds no rows")
    report = Report(rows=counts["rows"], broken=counts["broken"] or 0)
    for place, rule in enumerate(judged.rules):
        _note(report, rule, counts[f"breaks_{place}"] or 0)
    return report


def _note(report: Report, rule: Rule, count: int) -> int:
    if count:
        report.rules[rule.name] = count
        report.said[rule.name] = rule
    return count


def _count(rows: ir.Table) -> int:
    return int(rows.count().to_pyarrow().as_py())


# --- duplicates ----------------------------------------------------------------------------------


def _conflict(table: Table) -> Rule:
    words = f"{', '.join(table.key)} occurs again with different content; the row known first is kept"
    return Rule("conflict", (table.key or ("",))[0], words, _holds)


def _copies(bench: Bench, judged: Judged, sound: ir.Table) -> ir.Table | None:
    """The exact duplicates but for one of each: one row per row too many; `None` where there is none.

    A digest of every row finds the few that may be duplicates, and only those are compared.
    """
    marked = sound.mutate(mark=ibis.struct({name: sound[name] for name in judged.columns}).hash())
    repeated = marked.group_by("mark").agg(times=ibis._.count()).filter(ibis._.times > 1).select("mark")
    settled = bench.con.create_table(f"repeated_{judged.table.name}", repeated, temp=True)
    if bench.con.raw_sql(f"SELECT 1 FROM {settled.get_name()} LIMIT 1").fetchone() is None:
        return None
    suspects = marked.semi_join(settled, "mark")
    copies = suspects.mutate(copy=_place(suspects, judged.columns, judged.as_given))
    return copies.filter(copies.copy > 0)


def _firsts(judged: Judged, sound: ir.Table, copies: ir.Table | None) -> ir.Table:
    """One of each row; where the table has a key, with its `place` among the rows of that key.

    First comes the row known first, so that a row arriving later changes nothing that was known before;
    of rows known at one instant a filled one comes before an empty one.
    """
    key = judged.table.key
    if not key:
        return sound.select(*judged.columns).distinct() if copies is not None else sound
    if copies is not None:
        numbered = sound.mutate(copy=_place(sound, judged.columns, judged.as_given))
        sound = numbered.filter(numbered.copy == 0)
    known = sound.mutate(known=_known(sound, judged.table))
    order = [known.known.asc(nulls_first=True), *(known[name].asc(nulls_first=False) for name in judged.columns)]
    return known.mutate(place=ibis.row_number().over(ibis.window(group_by=list(key), order_by=order)))


def _place(rows: ir.Table, by: Sequence[str], order: Sequence[str]) -> ir.IntegerValue:
    return ibis.row_number().over(ibis.window(group_by=list(by), order_by=list(order)))


def _known(rows: ir.Table, table: Table) -> ir.TimestampValue:
    return ibis.coalesce(*(rows[name] for name in table.known_time))


def _order(table: Table) -> list[str]:
    first = table.key or (*table.event_time, *(c.name for c in table.columns.values() if c.type == ID))
    return list(dict.fromkeys((*first, *table.columns)))


# --- quarantine ----------------------------------------------------------------------------------


def _with_reasons(judged: Judged, typed: Typed) -> ir.Table:
    """The broken rows as given, with every rule broken and its words: one row per broken row."""
    rows, nothing = judged.rows.filter(judged.broken), ibis.null("string")
    names, words = [], []
    for place, rule in enumerate(judged.rules):
        said = _with_value(rows, rule, judged) if rule in typed.unreadable else ibis.literal(rule.words)
        names.append(rows[f"breaks_{place}"].ifelse(rule.name, nothing))
        words.append(rows[f"breaks_{place}"].ifelse(said, nothing))
    reason = ibis.array(words).filter(lambda one: one.notnull()).join("; ")
    return rows.select(*judged.as_given, rules=ibis.array(names), reason=reason)


def _with_value(rows: ir.Table, rule: Rule, judged: Judged) -> ir.StringValue:
    value = rows[judged.given[rule.column]].cast("string").left(60).fill_null("")
    return ibis.literal(f"{rule.words}: '") + value + ibis.literal("'")


def _with_reason(judged: Judged, rows: ir.Table, rule: Rule) -> ir.Table:
    return rows.select(*judged.as_given, rules=ibis.array([ibis.literal(rule.name)]), reason=ibis.literal(rule.words))


def _set_aside(bench: Bench, judged: Judged, aside: Sequence[ir.Table], report: Report) -> None:
    """Write the quarantine: one row per row set aside, as it was given, with `reason`."""
    name = f"{judged.table.name}.parquet"
    together = ibis.union(*aside) if len(aside) > 1 else aside[0]
    warehouse.write_parquet(together, bench.scratch / "aside" / name, order_by=[*judged.as_given, "reason"])
    rows = warehouse.read(bench.con, bench.scratch / "aside" / name)
    report.examples = _examples(judged, rows, report)
    names = {("reason_given" if name == "reason" else name): column for name, column in judged.given.items()}
    warehouse.write_parquet(rows.drop("rules").rename(names), bench.quarantine / name)


def _examples(judged: Judged, rows: ir.Table, report: Report) -> dict[str, list[dict[str, str]]]:
    """For each rule up to three rows that break it: what identifies them, and the value."""
    ids = [column.name for column in judged.table.columns.values() if column.type == ID]
    named = judged.table.key or (*ids, *judged.table.event_time)
    shown = {
        rule.name: [c for c in dict.fromkeys((*named, rule.column)) if c in judged.given]
        for rule in report.said.values()
    }
    texts = {column: rows[judged.given[column]].cast("string") for columns in shown.values() for column in columns}
    broken = rows.select(**texts, rules=rows.rules).unnest("rules")
    broken = broken.filter(broken.rules.notnull())
    first = broken.mutate(place=_place(broken, ["rules"], list(texts)))
    found = first.filter(first.place < EXAMPLES).order_by("rules", "place").to_pyarrow().to_pylist()
    return {
        rule: [{c: row[c] for c in columns if row[c] is not None} for row in found if row["rules"] == rule]
        for rule, columns in shown.items()
    }


def _stop_over_limit(reports: Mapping[str, Report], job: Job) -> None:
    said = [line for name, report in reports.items() for line in _over_limit(name, report, job)]
    if said:
        head = "too many rows break the data contract; the clean tables were not changed"
        raise DataContract("\n".join([head, *said]))


def _over_limit(name: str, report: Report, job: Job) -> Iterator[str]:
    settings = job.settings.quarantine
    file = job.data / "quarantine" / f"{name}.parquet"
    rules = [rule for rule in report.rules if rule != DUPLICATE.name]
    for count, limit, parameter, these in (
        (report.violations, settings.limit_of(name), f"limits.{name}", rules),
        (report.duplicates, settings.duplicate_limit, "duplicate_limit", [DUPLICATE.name]),
    ):
        if count and count > limit * report.rows:
            worst = max(these, key=lambda rule: report.rules[rule])
            share = f"{_share(count, report.rows)}; limit {_share(limit, 1)}"
            yield (
                f"  {name}: {count} of {report.rows} rows set aside ({share}), "
                f"most often because {report.said[worst].words} ({report.rules[worst]} rows, rule {worst}"
                f"{_for_example(report.examples[worst])}). They are in {file}; mend the source, or allow more with "
                f"--set quarantine.{parameter}={min(1.0, round(count / report.rows + 0.005, 2))}"
            )


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.3g} %"


def _for_example(examples: Sequence[Mapping[str, str]]) -> str:
    return ", for example " + ", ".join(f"{k} {v!r}" for k, v in examples[0].items()) if examples else ""


# --- certificate ---------------------------------------------------------------------------------


def _certificate(bench: Bench, given: Mapping[str, Given], reports: Mapping[str, Report]) -> dict[str, Any]:
    """What there is, by table; the same input gives the same certificate."""
    tables = {name: _certified(bench, TABLES[name], given[name], reports[name]) for name in given}
    return {
        "tables": tables,
        "absent": [name for name in TABLES if name not in given],
        "payments_given": tables["contracts"]["columns"]["paid_at"]["filled"] > 0,
        "extract": _iso(bench.job.settings.source.extract),
        "reporting_currency": bench.job.settings.money.reporting_currency,
        "warnings": [line for name in given for line in _warnings(bench, TABLES[name], reports[name])],
    }


def _certified(bench: Bench, table: Table, raw: Given, report: Report) -> dict[str, Any]:
    clean = bench.cleaned(table.name)
    if report.clean:  # of no rows pandera says that they break every rule
        _assert_clean(bench, table, clean)
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
    known = _known(clean, table)
    filled = {f"filled_{place}": clean[name].count() for place, name in enumerate(table.columns)}
    months = clean.group_by(month=known.truncate("M").cast("date")).agg(
        rows=clean.count(), first=event.min(), last=event.max(), watermark=known.max(), **filled
    )
    return list(months.to_pyarrow().to_pylist())


def _assert_clean(bench: Bench, table: Table, clean: ir.Table) -> None:
    """What was written keeps the contract, says pandera; if not, the fault is in this program."""
    from pandera.errors import SchemaErrors

    extract = bench.job.settings.source.extract
    try:
        table.schema(bench.ids[table.name], extract).validate(clean, lazy=True)
    except SchemaErrors as errors:
        broken = [rule.words for rule in table.rules(extract) if _count(clean.filter(rule.broken(clean)))]
        said = broken or [str(error.check) for error in errors.schema_errors]
        raise RuntimeError(f"clean {table.name} breaks its own contract: {'; '.join(said)}") from errors


def _warnings(bench: Bench, table: Table, report: Report) -> Iterator[str]:
    if report.duplicates > bench.job.settings.quarantine.limit_of(table.name) * report.rows:
        share = _share(report.duplicates, report.rows)
        yield f"{table.name}: {report.duplicates} of {report.rows} rows ({share}) are exact duplicates, now set aside"
    for column in table.columns.values():
        if column.known in table.columns:
            clean = bench.cleaned(table.name)
            unseen = _count(clean.filter(clean[column.name].notnull() & clean[column.known].isnull()))
            if unseen:
                yield f"{table.name}: {unseen} values of {column.name} have no {column.known} and are never seen"


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat(sep=" ") if instant else None


def _summary(certificate: Mapping[str, Any], job: Job) -> dict[str, Any]:
    for line in certificate["warnings"]:
        log.warning(line)
    counts = ("rows_in", "rows_clean", "rows_quarantined")
    return {
        "tables": {name: {count: part[count] for count in counts} for name, part in certificate["tables"].items()},
        "absent": certificate["absent"],
        "warnings": certificate["warnings"],
        "certificate": str(job.data / "certificate.json"),
        "quarantine": str(job.data / "quarantine"),
    }


if __name__ == "__main__":
    main(check)
