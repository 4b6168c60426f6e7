"""Dated extracts written out as text, and the versions that `renewals history` makes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from typer.testing import CliRunner

from renewals.pipelines.cli import app

COLUMNS = {
    "accounts": "account_id,csm,created_at",
    "contracts": "contract_id,account_id,start_date,end_date,arr,seats,plan,signed_at",
    "people": "user_id,account_id,title",
    "members": "member,tier",
}
"""Header of the extracts of each kind."""
KEYS = {"accounts": "account_id", "contracts": "contract_id", "people": "user_id", "members": "member"}


def write_copies(folder: Path, kind: str, copies: Mapping[str, str], header: str = "") -> None:
    """Write one CSV file per day; rows are separated by spaces."""
    folder.mkdir(parents=True, exist_ok=True)
    for day, rows in copies.items():
        lines = [header or COLUMNS[kind], *rows.split()]
        (folder / f"{kind}_{day}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def source(folder: Path, kind: str = "contracts", **settings: Any) -> dict[str, Any]:
    """Settings of a source with the files of a kind in a folder."""
    table = "contracts" if kind == "members" else kind
    files = str(folder / f"{kind}_*")
    return {"table": table, "files": files, "key": [KEYS[kind]], **settings}


def members(folder: Path, period: str = "year", **settings: Any) -> dict[str, Any]:
    """Settings of a list of who is there."""
    fixed = {"columns": {"account_id": "member", "plan": "tier"}, "constants": {"arr": 100.0}, "presence": period}
    return source(folder, "members", **(fixed | settings))


class Run:
    """Result of one run of the command."""

    def __init__(self, code: int, result: dict[str, Any], output: str, folder: Path) -> None:
        self.code, self.result, self.output, self.folder = code, result, output, folder

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Report on a source."""
        found: dict[str, Any] = self.result["sources"][name]
        return found

    def versions(self, table: str = "contracts") -> pd.DataFrame:
        """The versions that were written, with times without a zone."""
        rows = pd.read_parquet(self.folder / f"{table}.parquet")
        zoned = [name for name in rows if isinstance(rows[name].dtype, pd.DatetimeTZDtype)]
        return rows.assign(**{name: rows[name].dt.tz_localize(None) for name in zoned})

    def shown(self, *columns: str, table: str = "contracts") -> list[str]:
        """The versions as text: the columns, separated by spaces, days as such and missing values as a dash."""
        rows = self.versions(table)
        return [" ".join(_shown(value) for value in row) for row in rows[list(columns)].itertuples(index=False)]


def _shown(value: Any) -> str:
    if pd.isna(value):
        return "-"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def run_history(folder: Path, sources: Mapping[str, dict[str, Any]], *overrides: str, **rules: Any) -> Run:
    """Run `renewals history` with these sources; the tables are written to `folder/tables`."""
    params = folder / "params.yaml"
    params.write_text(yaml.safe_dump({"history": {"sources": dict(sources), **rules}}), encoding="utf-8")
    out = folder / "tables"
    settings: Sequence[str] = [option for override in overrides for option in ("--set", override)]
    arguments = ["history", "--out", str(out), "--data", str(folder / "data"), "--params", str(params), *settings]
    outcome = CliRunner().invoke(app, arguments)
    line = next(line for line in reversed(outcome.output.splitlines()) if line.startswith("{"))
    return Run(outcome.exit_code, json.loads(line), outcome.output, out)


def account_for_rows(report: Mapping[str, Any]) -> None:
    """Assert that every row that was read is accounted for, and every version."""
    set_aside = sum(report["rows_set_aside"].values())
    assert report["rows_read"] == report["rows_made_versions"] + report["rows_unchanged"] + set_aside
    assert report["versions_written"] == report["rows_made_versions"] + report["further_versions"]
    assert report["versions_written"] == sum(report["events"].values())
