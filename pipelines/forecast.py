"""What will be renewed in the four quarters from a day on: JSON with its definitions, and Parquet."""

from __future__ import annotations

import itertools
import json
from datetime import date
from typing import TYPE_CHECKING, Any

import ibis.expr.types as ir

from features import outlook
from features.ledger import Book
from features.windows import known_on
from pipelines import warehouse
from pipelines.stage import Job

if TYPE_CHECKING:
    import pandas as pd

    from models.forecast import Standing


def standing(con: Any, tables: dict[str, ir.Table], day: date, job: Job, later: date | None = None) -> Standing:
    """What was known on the day of past and coming quarters; with `later`, what had come of them by then."""
    from models.forecast import Standing as Known

    import pandas as pd

    policy, known_at = job.settings, later or day
    known = {n: known_on(n, tables[n], known_at) for n in ("contracts", "accounts", "rates") if n in tables}
    paid = bool(known["contracts"].paid_at.notnull().any().to_pyarrow().as_py())
    numbers = itertools.count()
    prefix = f"outlook_{day:%Y%m%d}_{known_at:%Y%m%d}"

    def keep(table: ir.Table) -> ir.Table:
        return con.create_table(f"{prefix}_{next(numbers)}", table, temp=True, overwrite=True)

    at = later or outlook.ahead(day, policy)
    book = Book(known["contracts"], at, policy, paid, known.get("rates"), known["accounts"], keep)
    span = range(1 - outlook.BEHIND, outlook.AHEAD + 1)
    months = [m for number in span for m in outlook.months_of(outlook.quarter_start(day, number))]
    moved = outlook.quarters(book.account_roll_forward(months), day, list(span), policy)
    told = known["accounts"].select("account_id", "industry", "csm")
    edges = {n: pd.Timestamp(outlook.quarter_start(day, n)) for n in (*span, outlook.AHEAD + 1)}
    return Known(
        day=pd.Timestamp(known_at),
        edges=edges,
        grace_days=policy.grace.after_days,
        quarters=_in_units(moved.to_pandas(), "opening", "closing", "lost", "kept"),
        sets=_in_units(outlook.sets_due(book).to_pandas(), "amount_due", "amount_renewed", "amount_kept", "growth"),
        accounts=told.to_pandas(),
    )


def _in_units(table: pd.DataFrame, *money: str) -> pd.DataFrame:
    import pandas as pd

    table = table.assign(**{name: table[name].astype("float64") / 100.0 for name in money})
    days = [n for n in ("end_date", "due_at", "matured_at", "began", "followed_at", "moves_at") if n in table]
    return table.assign(**{name: pd.to_datetime(table[name]) for name in days})


DIVIDED = ("size_band", "industry", "csm")
"""What the forecast is divided by, beside the company (`features.scorecard.SEGMENTS`)."""
