"""Write the ledger: outcome of every contract and the ARR roll-forward, as known on the day of the run."""

from __future__ import annotations

from itertools import count
from typing import Any

import ibis.expr.types as ir
from renewals.features.revenue.due_groups import renewals

from renewals.features.families.fit import outcomes
from renewals.features.point_in_time import known_rows
from renewals.features.revenue.ledger import RenewalLedger
from renewals.features.spine import month_starts
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage import old_names
from renewals.pipelines.storage.artifacts import LEDGER
from renewals.pipelines.storage.engine import warehouse

STEP = Step(after="windows", commands=("learn", "score", "scorecard"))

SORT_KEYS = {
    "ledger": ["account_id", "contract_id"],
    "renewals": ["account_id", "end_date", "known_at"],
    "outcomes": ["account_id", "matured_at", "renewed", "plan", "size_band"],
    "expansions": ["account_id", "happened_at", "product", "kind", "amount"],
    "roll_forward": ["month", "account_id"],
    "revenue_intervals": ["account_id", "start_day", "contract_id"],
}


def ledger(job: Job) -> dict[str, Any]:
    """Write the ledger, renewals, their outcomes, expansions, and ARR by contract and by month; return the row
    counts."""
    con = warehouse.connect(job.settings.engine)
    tables = warehouse.clean_tables(con, job.data)
    renewal_ledger = open_ledger(con, tables, job)
    renewal_sets = renewal_ledger.materialize(renewals(renewal_ledger.entries))
    ledger_tables = {
        "ledger": renewal_ledger.entries,
        "renewals": renewal_sets,
        "outcomes": outcomes(renewal_sets, renewal_ledger.accounts, renewal_ledger.contracts, job.settings),
        "expansions": renewal_ledger.expansions,
        "roll_forward": _roll_forward(renewal_ledger, tables, job),
        "revenue_intervals": renewal_ledger.revenue_intervals,
    }
    folder = job.folder / LEDGER
    counts = {
        name: warehouse.write_parquet(table, folder / f"{name}.parquet", order_by=SORT_KEYS[name])
        for name, table in ledger_tables.items()
    }
    old_names.remove_old_versions(job.folder, [f"{LEDGER}/revenue_intervals.parquet"])
    return {"rows": counts}


def open_ledger(con: Any, tables: dict[str, ir.Table], job: Job) -> RenewalLedger:
    """Open the renewal ledger with the contracts as known on the day; shared intermediate tables are computed once."""
    names = (name for name in ("contracts", "accounts", "rates") if name in tables)
    known = {name: known_rows(name, tables[name], job.day) for name in names}
    has_payments = bool(known["contracts"].paid_at.notnull().any().to_pyarrow().as_py())
    numbers = count()

    def materialize(table: ir.Table) -> ir.Table:
        return con.create_table(f"book_{next(numbers)}", table, temp=True)

    return RenewalLedger(
        known["contracts"], job.day, job.settings, has_payments, known.get("rates"), known["accounts"], materialize
    )


def _roll_forward(renewal_ledger: RenewalLedger, tables: dict[str, ir.Table], job: Job) -> ir.Table:
    first = tables["contracts"].start_date.min().to_pyarrow().as_py().date().replace(day=1)
    return renewal_ledger.account_roll_forward(month_starts(first, job.day))


if __name__ == "__main__":
    main(ledger)
