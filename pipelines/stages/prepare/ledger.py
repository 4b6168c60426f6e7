"""What became of every contract, and recurring revenue rolled forward, as known on the day the run stands on."""

from __future__ import annotations

from itertools import count
from typing import Any

import ibis.expr.types as ir

from renewals.features.families.fit import outcomes
from renewals.features.point_in_time import known_on
from renewals.features.revenue.due_groups import renewals
from renewals.features.revenue.ledger import Book
from renewals.features.spine import month_starts
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.stage_main import main
from renewals.pipelines.storage.artifacts import LEDGER
from renewals.pipelines.storage.engine import warehouse

ORDER = {
    "ledger": ["account_id", "contract_id"],
    "renewals": ["account_id", "end_date", "known_at"],
    "outcomes": ["account_id", "matured_at", "renewed", "plan", "size_band"],
    "expansions": ["account_id", "happened_at", "product", "kind", "amount"],
    "roll_forward": ["month", "account_id"],
    "carried": ["account_id", "begin", "contract_id"],
}


def ledger(job: Job) -> dict[str, Any]:
    """Write the ledger, renewals, their outcomes, expansions, and recurring revenue by contract and by month."""
    con = warehouse.connect(job.settings.engine)
    tables = warehouse.clean_tables(con, job.data)
    book = opened(con, tables, job)
    sets = book.keep(renewals(book.ledger))
    made = {
        "ledger": book.ledger,
        "renewals": sets,
        "outcomes": outcomes(sets, book.accounts, book.contracts, job.settings),
        "expansions": book.expansions,
        "roll_forward": _rolled(book, tables, job),
        "carried": book.carried,
    }
    folder = job.side / LEDGER
    counts = {n: warehouse.write_parquet(t, folder / f"{n}.parquet", order_by=ORDER[n]) for n, t in made.items()}
    return {"rows": counts}


def opened(con: Any, tables: dict[str, ir.Table], job: Job) -> Book:
    """The contracts as known on the day, with each table that others build on computed once."""
    names = (name for name in ("contracts", "accounts", "rates") if name in tables)
    known = {name: known_on(name, tables[name], job.day) for name in names}
    paid = bool(known["contracts"].paid_at.notnull().any().to_pyarrow().as_py())
    numbers = count()

    def keep(table: ir.Table) -> ir.Table:
        return con.create_table(f"book_{next(numbers)}", table, temp=True)

    return Book(known["contracts"], job.day, job.settings, paid, known.get("rates"), known["accounts"], keep)


def _rolled(book: Book, tables: dict[str, ir.Table], job: Job) -> ir.Table:
    first = tables["contracts"].start_date.min().to_pyarrow().as_py().date().replace(day=1)
    return book.account_roll_forward(month_starts(first, job.day))


if __name__ == "__main__":
    main(ledger)
