"""The law: what is rebuilt from the extracts up to a day equals what is rebuilt from all of them and cut at the day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import ibis
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from renewals.features.point_in_time import known_rows
from renewals.features.tables import TABLES
from renewals.pipelines.history.column_types import to_arrow
from renewals.pipelines.history.copy_reader import CopyReader
from renewals.pipelines.history.rebuild import HeldRows, RowCounts, TableRebuild
from renewals.pipelines.history.source_watch import SourceWatch
from renewals.pipelines.runtime.history_settings import History, HistorySource
from renewals.pipelines.runtime.source_settings import Source

FIRST = date(2022, 1, 31)
SOURCES = {
    "contracts": {"table": "contracts", "key": ("contract_id",)},
    "deleted": {"table": "contracts", "key": ("contract_id",), "vanished": "deleted"},
    "identity": {"table": "contracts", "key": ("contract_id",), "identity": ("account_id",)},
    "accounts": {"table": "accounts", "key": ("account_id",), "vanished": "deleted"},
    "people": {"table": "people", "key": ("user_id",)},
    "year": {"table": "contracts", "key": ("contract_id",), "presence": "year"},
    "month": {"table": "contracts", "key": ("contract_id",), "presence": "month"},
}
"""Settings of each kind of source."""
COLUMNS = {
    "accounts": ("csm", "employee_count"),
    "contracts": ("account_id", "arr", "seats", "plan", "cancelled_at"),
    "people": ("account_id", "title"),
}
"""Columns that are drawn, of each table."""
VALUES: dict[str, list[Any]] = {
    "account_id": ["A", "B"], "arr": ["100", "200", ""], "seats": ["5", "9"], "plan": ["basic", "pro", ""],
    "cancelled_at": ["", "", "", "2022-06-15"], "csm": ["Ann", "Bob"], "employee_count": ["10", "20"],
    "title": ["x", "y"],
}  # fmt: skip


@st.composite
def drawn_copies(draw: Any, table: str) -> list[tuple[date, pd.DataFrame]]:
    """Copies of a table with a few keys, at uneven distances, some of them cut short or without a column."""
    keys, day, copies = ["k1", "k2", "k3", "k4", "k5"], FIRST, []
    late = draw(st.sampled_from(["", *COLUMNS[table][1:]]))
    for _number in range(draw(st.integers(2, 7))):
        day += timedelta(days=draw(st.sampled_from([1, 28, 31, 59, 150, 400])))
        present = draw(st.lists(st.sampled_from(keys), unique=True, min_size=0 if draw(st.booleans()) else 4))
        rows = [_row(draw, table, key) for key in present]
        frame = pd.DataFrame(rows, columns=[*_fixed(table), *COLUMNS[table]], dtype="str").replace("", None)
        copies.append((day, frame.drop(columns=late) if late and len(copies) < 2 else frame))
    return copies


def _fixed(table: str) -> tuple[str, ...]:
    contract = ("contract_id", "start_date", "end_date", "signed_at")
    return {"contracts": contract, "accounts": ("account_id", "created_at")}.get(table, ("user_id",))


def _row(draw: Any, table: str, key: str) -> list[Any]:
    times = {"contracts": ["2022-01-01", "2023-01-01", "2021-12-15"], "accounts": ["2021-11-01"]}.get(table, [])
    return [key, *times, *(draw(st.sampled_from(VALUES[name])) for name in COLUMNS[table])]


def rebuilt(kind: str, copies: list[tuple[date, pd.DataFrame]], pause: int | None = None) -> pd.DataFrame:
    """Versions of the copies; with `pause` what is held is stored and read again after that many copies."""
    rebuild, parts, counts = _start(kind), [], RowCounts()
    for number, (day, frame) in enumerate(copies):
        if number == pause:
            held = rebuild.held
            watch = SourceWatch.from_json(held.watch.to_json())
            rebuild = _start(kind, HeldRows(held.rows.copy(), list(held.columns), watch))
        part, read = rebuild.add(_reader(kind).map_rows(frame, day, f"{day}.csv"))
        parts.append(part)
        counts.add(read)
    assert counts.read == counts.made_versions + counts.unchanged + sum(counts.set_aside.values())
    assert counts.versions == sum(map(len, parts))
    return pd.concat(parts, ignore_index=True)


def _settings(kind: str) -> HistorySource:
    return HistorySource(files="*", **SOURCES[kind])  # type: ignore[arg-type]


def _start(kind: str, held: HeldRows | None = None) -> TableRebuild:
    return TableRebuild(kind, _settings(kind), History(stopped_share=0.5), held)


def _reader(kind: str) -> CopyReader:
    return CopyReader(kind, _settings(kind), Source())


def as_known(kind: str, versions: pd.DataFrame, day: date) -> pd.DataFrame:
    """The versions as the pipeline sees them on a day: rows known before it, with later facts masked."""
    table = SOURCES[kind]["table"]
    columns = TABLES[table].columns
    missing = {c.name: None for c in columns.values() if c.name not in versions}
    full = versions.assign(**missing)[[*columns]]
    typed = to_arrow(full, table)
    for place, name in enumerate(typed.schema.names):
        kind_of = "string" if columns[name].type == "id" else columns[name].type.to_pyarrow()
        typed = typed.set_column(place, name, typed.column(name).cast(kind_of))
    rows = known_rows(table, ibis.memtable(typed), day).to_pandas()
    return rows.sort_values([*TABLES[table].key], na_position="first", ignore_index=True)


def check_law(kind: str, copies: list[tuple[date, pd.DataFrame]]) -> None:
    """Compare the versions of the copies before each day with those of all copies, cut on it."""
    everything = rebuilt(kind, copies)
    for number in range(1, len(copies) + 1):
        day = copies[number - 1][0] + timedelta(days=1)
        early = rebuilt(kind, copies[:number])
        is_known = everything["recorded_at"].isna() | (everything["recorded_at"] < pd.Timestamp(day))
        columns = [name for name in everything if name in early]
        cut = everything[is_known].reset_index(drop=True)
        assert cut[[name for name in everything if name not in early]].isna().all(axis=None)
        assert_frame_equal(cut[columns].astype("str"), early[columns].astype("str"))
    number = 1 + len(copies) // 2
    assert_frame_equal(rebuilt(kind, copies, pause=number), everything)
    day = copies[number - 1][0] + timedelta(days=1)
    assert_frame_equal(as_known(kind, everything, day), as_known(kind, rebuilt(kind, copies[:number]), day))


EXAMPLES = settings(max_examples=6, deadline=None)


@EXAMPLES
@given(drawn_copies("contracts"))
def test_contracts(copies):
    for kind in ("contracts", "deleted", "identity"):
        check_law(kind, copies)


@EXAMPLES
@given(drawn_copies("contracts"))
def test_terms_by_presence(copies):
    for kind in ("year", "month"):
        check_law(kind, copies)


@EXAMPLES
@given(drawn_copies("accounts"))
def test_accounts(copies):
    check_law("accounts", copies)


@EXAMPLES
@given(drawn_copies("people"))
def test_people(copies):
    check_law("people", copies)


@EXAMPLES
@given(drawn_copies("contracts"))
def test_no_two_versions_have_one_key(copies):
    for kind in ("contracts", "deleted", "identity", "year", "month"):
        key = ["contract_id", "start_date", "recorded_at", "valid_from"]
        assert not rebuilt(kind, copies).duplicated(key).any()
