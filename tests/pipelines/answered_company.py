"""A company of a few accounts with published lists and returned workbooks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from renewals.features.tables import TABLES
from renewals.pipelines.commands.collect import collect
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.storage import feedback_log
from renewals.pipelines.storage.published import list_folder
from tests.reports.returned_books import Answers, returned

JUNE, JULY = date(2026, 6, 1), date(2026, 7, 1)
BANDS = {"acme": ("high", 0.3), "beta": ("low", 0.9), "gamma": ("medium", 0.7), "quiet": (None, None)}
"""Risk band and renewal probability of each account on the list."""


@dataclass(frozen=True)
class Company:
    """A company in a folder; `ids` maps the account names to account ids of any type."""

    root: Path
    ids: Mapping[str, Any]

    def job(self, as_of: date | None = None, **settings: Any) -> Job:
        """A job on the tables of this company."""
        values = {
            "quarantine": {"limit": 1.0, "duplicate_limit": 1.0, "allow_majority": list(TABLES)},
            "engine": {"threads": 1},
        } | settings
        job = Job(Settings.model_validate(values), str(self.root / "tables"), self.root / "data", self.root / "lists")
        return replace(job, as_of=as_of)

    def write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write one raw table."""
        path = self.root / "tables" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_parquet(path)

    def check(self) -> str | None:
        """Certify the tables and return the fingerprint of the interventions."""
        check(self.job())
        tables = json.loads((self.root / "data" / "validation_report.json").read_bytes())["tables"]
        return tables["interventions"]["fingerprint"] if "interventions" in tables else None

    def publish(self, as_of: date, edition: int = 1) -> str:
        """Publish a list of all accounts and return its key."""
        due = date(2026, 9, 1)
        rows = [
            {
                **{"as_of": as_of, "account_id": account_id, "account_name": name, "csm": "Anna", "status": "scored"},
                **{
                    "renewal_id": f"{account_id}:{due}",
                    "is_main": True,
                    "renewal_date": due,
                    "renewal_probability": BANDS[name][1],
                    "risk_band": BANDS[name][0],
                },
            }
            for name, account_id in self.ids.items()
        ]
        identity = {"as_of": as_of.isoformat(), "made": edition}
        manifest = {"identity": identity, "models": {"renewal": {"name": "renewals-renewal", "version": "1"}}}
        table = feedback_log.to_typed_parquet(
            pd.DataFrame(rows),
            {name: pa.date32() if name in ("as_of", "renewal_date") else None for name in rows[0]}
            | {"renewal_probability": pa.float64(), "risk_band": pa.string(), "is_main": pa.bool_()},
        )
        list_folder.publish_folder(self.root / "lists", as_of, {"risk_list.parquet": table}, manifest)
        return list_folder.list_key(identity)

    def book(self, name: str, sheets: Mapping[str, Answers], **options: Any) -> Path:
        """Write a returned workbook to disk; the rows name the accounts."""
        answers = {title: [(self.ids.get(row[0], row[0]), *row[1:]) for row in rows] for title, rows in sheets.items()}
        key = list_folder.list_key({"as_of": options.get("as_of", "2026-06-01"), "made": 1})
        path = self.root / name
        path.write_bytes(returned(answers, **({"key": key} | options)))
        return path

    def collect(self, *files: Path, recorded: str | None = "2026-06-10") -> dict[str, Any]:
        """Run `collect` on these workbooks."""
        return collect(self.job(), files, recorded)

    def stored_files(self) -> dict[str, bytes]:
        """Content of each file in the feedback folder, by file name."""
        folder = self.root / "data" / "feedback"
        return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Rows of one table of the feedback folder."""
        table = pd.read_parquet(self.root / "data" / "feedback" / f"{name}.parquet")
        return list(table.astype(object).where(table.notna(), None).to_dict("records"))


def company(root: Path, ids: Mapping[str, Any] | None = None) -> Company:
    """Create the company, certify its tables and publish the list of June."""
    new = Company(root, ids or {name: name for name in BANDS})
    new.write("accounts", [{"account_id": i, "account_name": name, "csm": "Anna"} for name, i in new.ids.items()])
    terms = [("2025-09-01", "2026-09-01", "c"), ("2024-09-01", "2025-09-01", "b")]
    contracts = [
        {"contract_id": f"{kind}{name}", "account_id": i, "start_date": pd.Timestamp(a), "end_date": pd.Timestamp(b)}
        for name, i in new.ids.items()
        for a, b, kind in terms
    ]
    new.write("contracts", [row | {"arr": 1000.0} for row in contracts])
    day = pd.Timestamp("2026-05-01")
    new.write("usage_events", [{"account_id": i, "feature": "report", "occurred_at": day} for i in new.ids.values()])
    new.check()
    new.publish(JUNE)
    return new
