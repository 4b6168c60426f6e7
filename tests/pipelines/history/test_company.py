"""24 monthly copies, cut from the true versions of the example company in mid-history, give the truth back.

What copies cannot know: when within a month something happened, and what could change before the first copy.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from renewals.examples.company import simulate_company
from renewals.examples.company.simulation import Company
from renewals.features.point_in_time import known_rows
from renewals.features.policy import Policy
from renewals.features.revenue.ledger import RenewalLedger
from renewals.features.tables import TABLES
from renewals.pipelines.cli import app
from tests.pipelines.history.extracts import Run, account_for_rows, run_history

DAYS = [day.date() for day in pd.date_range("2024-06-30", periods=24, freq="ME")]
AS_OF = DAYS[-1] + timedelta(days=1)
KEYS = {"accounts": "account_id", "contracts": "contract_id"}
CHANGEABLE = {"accounts": ["csm", "employee_count"], "contracts": ["arr", "seats", "plan", "auto_renew"]}


@cache
def example_company() -> Company:
    """The example company, with its other tables."""
    return simulate_company(120, 41)


def true_versions(seed: int = 5) -> dict[str, pd.DataFrame]:
    """Accounts and contracts of the example company with versions: new managers, and seats bought or given up."""
    company = example_company()
    rng = np.random.default_rng(seed)
    tables = {}
    for name, key in KEYS.items():
        rows = company.tables[name].to_pandas()
        if name == "contracts":
            rows["recorded_at"] = rows["signed_at"]
        many = rows.sample(frac=0.5, random_state=seed, replace=True)
        later = many["recorded_at"] + pd.to_timedelta(rng.integers(1, 700, len(many)), unit="D")
        if name == "contracts":
            change = rng.choice([0.8, 1.3], len(many))
            many = many.assign(arr=(many["arr"] * change).round(2), seats=(many["seats"] * change).round())
        else:
            many = many.assign(csm=rng.permutation(many["csm"].to_numpy()))
        rows = pd.concat([rows, many.assign(recorded_at=later)], ignore_index=True)
        rows["recorded_at"] = rows["recorded_at"].astype("datetime64[us]")
        tables[name] = rows.drop_duplicates([key, "recorded_at"]).sort_values("recorded_at", ignore_index=True)
    return tables


def table_of(name: str, rows: pd.DataFrame) -> ibis.Table:
    """Versions as a clean table of the contract."""
    columns = TABLES[name].columns
    kinds = {c.name: pa.string() if c.type == "id" else c.type.to_pyarrow() for c in columns.values()}
    arrays = {
        n: pa.Array.from_pandas(rows[n]).cast(kind) if n in rows else pa.nulls(len(rows), kind)
        for n, kind in kinds.items()
    }
    return ibis.memtable(pa.table(arrays))


def state(name: str, rows: pd.DataFrame, day: date) -> pd.DataFrame:
    """Newest version known before a day, of each account or contract, with later facts masked."""
    known = known_rows(name, table_of(name, rows), day).to_pandas()
    newest = known.sort_values("recorded_at", na_position="first", kind="stable").groupby(KEYS[name]).tail(1)
    return newest.sort_values(KEYS[name], ignore_index=True)


@pytest.fixture(scope="module")
def truth() -> dict[str, pd.DataFrame]:
    return true_versions()


@pytest.fixture(scope="module")
def rebuilt(truth, tmp_path_factory) -> Run:
    folder: Path = tmp_path_factory.mktemp("company")
    for name, rows in truth.items():
        for day in DAYS:
            copy = state(name, rows, day)[[c for c in rows if c != "recorded_at"]]
            copy.to_parquet(folder / f"{name}_{day}.parquet")
    sources = {
        name: {"table": name, "files": str(folder / f"{name}_*.parquet"), "key": [key], "changeable": CHANGEABLE[name]}
        for name, key in KEYS.items()
    }
    run = run_history(folder, sources)
    assert run.code == 0, run.output
    return run


@pytest.mark.parametrize("name", KEYS)
def test_every_copy_is_given_back(name, truth, rebuilt):
    account_for_rows(rebuilt[name])
    columns = [c for c in truth[name] if c != "recorded_at"]
    for day in DAYS:
        known = state(name, rebuilt.versions(name), day + timedelta(days=1))
        pd.testing.assert_frame_equal(known[columns], state(name, truth[name], day)[columns], check_dtype=False)


@pytest.mark.parametrize("name", KEYS)
def test_there_is_a_version_for_each_copy_in_which_a_row_was_new_or_different_and_no_other(name, truth, rebuilt):
    columns = [c for c in truth[name] if c != "recorded_at"]
    copies = pd.concat([state(name, truth[name], day)[columns].assign(day=day) for day in DAYS], ignore_index=True)
    copies = copies.astype("str")
    values = copies.drop(columns=["day", KEYS[name]]).fillna("")
    changed = (values != values.groupby(copies[KEYS[name]]).shift()).any(axis=1)
    expected = copies[changed][[KEYS[name], "day"]].sort_values([KEYS[name], "day"], ignore_index=True)
    versions = rebuilt.versions(name).dropna(subset="recorded_at")
    found = pd.DataFrame({KEYS[name]: versions[KEYS[name]], "day": versions["recorded_at"].dt.date.astype("str")})
    pd.testing.assert_frame_equal(found.sort_values([KEYS[name], "day"], ignore_index=True), expected)
    assert rebuilt[name]["rows_read"] == len(copies)


@pytest.mark.parametrize("name", KEYS)
def test_before_the_first_copy_only_what_can_change_is_unknown(name, truth, rebuilt):
    day = DAYS[0] - timedelta(days=200)
    known = state(name, rebuilt.versions(name), day)
    true = state(name, truth[name], day)
    assert len(known) == len(true) > 20
    assert known[CHANGEABLE[name]].isna().all(axis=None)
    others = [c for c in truth[name] if c not in (*CHANGEABLE[name], "recorded_at")]
    pd.testing.assert_frame_equal(known[others], true[others], check_dtype=False)


def test_check_reads_what_was_written_and_quarantines_nothing(rebuilt, tmp_path):
    event = {"account_id": ["A00001"], "feature": ["report.view"], "occurred_at": [pd.Timestamp(DAYS[-1], tz="UTC")]}
    pd.DataFrame(event).to_parquet(rebuilt.folder / "usage_events.parquet")
    pq.write_table(example_company().tables["rates"], rebuilt.folder / "rates.parquet")
    outcome = CliRunner().invoke(app, ["check", "--tables", str(rebuilt.folder), "--data", str(tmp_path)])
    report = json.loads(next(line for line in outcome.output.splitlines() if line.startswith('{"certificate')))
    assert outcome.exit_code == 0, outcome.output
    for name in KEYS:
        assert report["tables"][name]["rows_clean"] == rebuilt.result["rows"][name] == len(rebuilt.versions(name))
    assert not any("no arr" in warning for warning in report["warnings"])


def outcomes(contracts: pd.DataFrame) -> pd.DataFrame:
    """What became of every term, as known after the last copy."""
    ledger = RenewalLedger(table_of("contracts", contracts), AS_OF, Policy())
    rows = ledger.entries.to_pandas()
    return rows.sort_values(["contract_id", "due_at"], ignore_index=True)


def test_labels_before_and_after_the_first_copy_are_kept(truth, rebuilt):
    true, found = outcomes(truth["contracts"]), outcomes(rebuilt.versions())
    columns = ["contract_id", "due_at", "renewed", "follow_on_id"]
    settled = true["due_at"] < pd.Timestamp(AS_OF - timedelta(days=180))
    before = true["due_at"] < pd.Timestamp(DAYS[0])
    assert before.sum() > 30
    assert true["renewed"][before].nunique() == 2
    merged = true[settled][columns].merge(found[columns], on=["contract_id", "due_at"], how="outer", indicator=True)
    assert (merged["_merge"] == "both").sum() == settled.sum()
    both = merged[merged["_merge"] == "both"]
    assert (both["renewed_x"] == both["renewed_y"]).all()
    assert (both["follow_on_id_x"].fillna("") == both["follow_on_id_y"].fillna("")).all()


def test_an_amount_that_becomes_known_is_no_expansion(rebuilt):
    """The first copy has the amounts of all running contracts: none of them was bought on its day."""
    ledger = RenewalLedger(table_of("contracts", rebuilt.versions()), AS_OF, Policy())
    bought = ledger.expansions.to_pandas()
    assert len(bought) > 5
    assert (pd.to_datetime(bought["known_at"]).dt.date != DAYS[0]).all()
