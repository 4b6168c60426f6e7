"""Write the ledger: what became of every contract, and the roll-forward of ARR, as known on the day of the run."""

from __future__ import annotations

from datetime import date
from typing import Any

import ibis.expr.types as ir

from renewals.features.families.fit import outcomes
from renewals.features.point_in_time import known_rows
from renewals.features.policy import Policy
from renewals.features.revenue.ledger import RenewalLedger, renewals
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.runtime.stage_order import Step
from renewals.pipelines.storage import old_names
from renewals.pipelines.storage.artifacts import LEDGER
from renewals.pipelines.storage.engine import warehouse

STEP = Step(after="rollup", commands=("learn", "score", "scorecard"))

SORT_KEYS = {
    "ledger": ["account_id", "contract_id", "start_date", "product"],
    "pairs": ["account_id", "new_id", "new_start", "old_id", "old_start"],
    "renewals": ["account_id", "end_date", "known_at"],
    "outcomes": ["account_id", "matured_at", "renewed", "plan", "size_band"],
    "expansions": ["account_id", "happened_at", "product", "kind", "amount"],
    "roll_forward": ["month", "account_id"],
    "revenue_intervals": ["account_id", "start_day", "contract_id"],
    "term_states": ["term", "seen_from"],
    "term_outcomes": ["term"],
}


def ledger(job: Job) -> dict[str, Any]:
    """Write what became of every contract: the ledger, what continues what, renewals and their outcomes, expansions,
    ARR by contract and month, and terms as known on each day; return the row counts."""
    con = warehouse.connect(job.settings.engine)
    tables = warehouse.clean_tables(con, job.data)
    ledger = open_ledger(tables, job.day, job.settings)
    folder = job.folder / LEDGER
    counts = {}

    def write(name: str, table: ir.Table) -> ir.Table:
        path = folder / f"{name}.parquet"
        counts[name] = warehouse.write_parquet(table, path, order_by=SORT_KEYS[name])
        return warehouse.read_parquet(con, path)

    entries = write("ledger", con.create_table("entries", ledger.entries.to_pyarrow(), temp=True))
    renewal_sets = write("renewals", renewals(entries))
    write("outcomes", outcomes(renewal_sets, tables["accounts"], tables["contracts"], job.settings))
    for name, table in {
        "pairs": ledger.pairs,
        "expansions": ledger.expansions,
        "roll_forward": ledger.account_months,
        "revenue_intervals": ledger.revenue_intervals,
        "term_states": ledger.term_states,
        "term_outcomes": ledger.term_outcomes,
    }.items():
        write(name, con.create_table(f"new_{name}", table.to_pyarrow(), temp=True))
    old_names.remove_old_versions(job.folder, [f"{LEDGER}/revenue_intervals.parquet"])
    return {"rows": counts}


def open_ledger(
    tables: dict[str, ir.Table], as_of: date, policy: Policy, known_until: date | None = None
) -> RenewalLedger:
    """Open the ledger of a day, with what was known before `known_until` (default: that day)."""
    rates = known_rows("rates", tables["rates"], known_until or as_of) if "rates" in tables else None
    return RenewalLedger(tables["contracts"], as_of, policy, rates, tables["accounts"], known_until)


if __name__ == "__main__":
    main(ledger)
