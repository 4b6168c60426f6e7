"""Must show 5: learn on OpenStack until 2021, score later dates, judge on what happened."""

from __future__ import annotations

import argparse
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from later import afterwards, learned, line, settings, table, tested

from renewals.models.target import EXPANSION_DAYS

SHARED = Path(__file__).parents[2] / "shared" / "data" / "openstack"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tables", type=Path, default=SHARED)
    options.add_argument("--until", type=date.fromisoformat, default=date(2021, 1, 1))
    options.add_argument("--end", type=date.fromisoformat, default=date(2026, 8, 14))
    options.add_argument("--lead", type=int, default=90)
    options.add_argument("--work", type=Path)
    asked = options.parse_args()
    work = asked.work or Path(tempfile.mkdtemp(prefix="renewals-openstack-"))
    chosen = settings("grace.after_days=180", "targets=[renewal, expansion]")
    job = learned(asked.tables, work, asked.until, chosen)
    later = afterwards(job, asked.end)
    rows, said = tested(job, later, asked.end, "renewal", asked.lead)
    due = pd.to_datetime(rows["renewal_date"]).between("2021-01-01", "2025-12-31").to_numpy()
    active = due & (rows["days_since_last_use"] <= 90).to_numpy()
    for words, where in (("all due terms 2021 to 2025", due), ("active in the last 90 days", active)):
        chosen_rows = rows[where]
        print(
            f"\n{words}: {len(chosen_rows)} renewals, {chosen_rows['label'].mean():.1%} renewed, lead {asked.lead} days"
        )
        print(table([line(name, chosen_rows, chance[where]) for name, chance in said.items()]))
    rows, said = tested(job, later, asked.end, "expansion", None)
    ending = (rows["days_to_renewal"] <= EXPANSION_DAYS).to_numpy()
    for words, where in (
        ("all later observations", np.ones(len(rows), dtype=bool)),
        ("those whose term ends within them (these terms grow only where they end: the clock alone says much)", ending),
    ):
        chosen_rows = rows[where]
        print(
            f"\nexpansion within {EXPANSION_DAYS} days, {words}: {len(chosen_rows)}, {chosen_rows['label'].mean():.1%}"
        )
        print(table([line(name, chosen_rows, chance[where]) for name, chance in said.items()]))


if __name__ == "__main__":
    main()
