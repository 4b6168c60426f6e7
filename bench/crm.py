"""Test on the foreign CRM company (must show 6), with monthly, half-yearly and yearly terms."""

from __future__ import annotations

import argparse
import tempfile
from datetime import date
from pathlib import Path

from later import format_table, later_observations, learn_until, metrics_row, predict_later, settings

SHARED = Path(__file__).parents[2] / "shared" / "data" / "crm"
TERMS = {"monthly": (0, 45, 10), "half-yearly": (100, 250, 60), "yearly": (300, 400, 60)}
"""Range of the term length in days, and the lead in days at which the model is tested."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, default=SHARED)
    parser.add_argument("--until", type=date.fromisoformat, default=date(2024, 1, 1))
    parser.add_argument("--end", type=date.fromisoformat, default=date(2025, 2, 7))
    parser.add_argument("--work", type=Path)
    parser.add_argument("--lead", type=int, help="days before the end at which half-yearly and yearly terms are tested")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="renewals-crm-"))
    job = learn_until(args.tables, work, args.until, settings("targets=[renewal, expansion]"))
    later_rows = later_observations(job, args.end)
    for length, (low, high, usual_lead) in TERMS.items():
        lead = args.lead if args.lead and low else usual_lead
        rows, predictions = predict_later(job, later_rows, args.end, "renewal", lead)
        mask = rows["term_length"].between(low, high).to_numpy()
        part = rows[mask]
        if part.empty:
            print(f"\n{length} terms: no renewals (shorter than 90 days: they roll on, and are in no renewal rate)")
            continue
        print(f"\n{length} terms: {len(part)} renewals, {part['label'].mean():.1%} renewed, lead {lead} days")
        print(format_table([metrics_row(name, part, probability[mask]) for name, probability in predictions.items()]))
    rows, predictions = predict_later(job, later_rows, args.end, "expansion", None)
    print(f"\nexpansion within 180 days, all later observations: {len(rows)}, {rows['label'].mean():.1%} yes")
    print(format_table([metrics_row(name, rows, probability) for name, probability in predictions.items()]))


if __name__ == "__main__":
    main()
