"""Test on OpenStack (must show 5): train until 2021, predict later dates, compare with the outcomes."""

from __future__ import annotations

import argparse
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from later import format_table, later_observations, learn_until, metrics_row, predict_later, settings

from renewals.models.target import EXPANSION_DAYS

SHARED = Path(__file__).parents[2] / "shared" / "data" / "openstack"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, default=SHARED)
    parser.add_argument("--until", type=date.fromisoformat, default=date(2021, 1, 1))
    parser.add_argument("--end", type=date.fromisoformat, default=date(2026, 8, 14))
    parser.add_argument("--lead", type=int, default=90)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="renewals-openstack-"))
    chosen = settings("grace.after_days=180", "targets=[renewal, expansion]")
    job = learn_until(args.tables, work, args.until, chosen)
    later_rows = later_observations(job, args.end)
    rows, predictions = predict_later(job, later_rows, args.end, "renewal", args.lead)
    due = pd.to_datetime(rows["renewal_date"]).between("2021-01-01", "2025-12-31").to_numpy()
    active = due & (rows["days_since_last_use"] <= 90).to_numpy()
    for group, mask in (("all due terms 2021 to 2025", due), ("active in the last 90 days", active)):
        part = rows[mask]
        print(f"\n{group}: {len(part)} renewals, {part['label'].mean():.1%} renewed, lead {args.lead} days")
        print(format_table([metrics_row(name, part, probability[mask]) for name, probability in predictions.items()]))
    rows, predictions = predict_later(job, later_rows, args.end, "expansion", None)
    ending = (rows["days_to_renewal"] <= EXPANSION_DAYS).to_numpy()
    for group, mask in (
        ("all later observations", np.ones(len(rows), dtype=bool)),
        (
            "those with a term that ends in these days (terms grow only at their end: the clock alone predicts much)",
            ending,
        ),
    ):
        part = rows[mask]
        print(f"\nexpansion within {EXPANSION_DAYS} days, {group}: {len(part)}, {part['label'].mean():.1%}")
        print(format_table([metrics_row(name, part, probability[mask]) for name, probability in predictions.items()]))


if __name__ == "__main__":
    main()
