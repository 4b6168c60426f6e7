"""Must show 6: the foreign CRM company, with monthly, half-yearly and yearly terms."""

from __future__ import annotations

import argparse
import tempfile
from datetime import date
from pathlib import Path

from later import afterwards, learned, line, settings, table, tested

SHARED = Path(__file__).parents[2] / "shared" / "data" / "crm"
TERMS = {"monthly": (0, 45, 10), "half-yearly": (100, 250, 60), "yearly": (300, 400, 60)}
"""Length of the term in days, from and to, and the lead at which it is judged."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tables", type=Path, default=SHARED)
    options.add_argument("--until", type=date.fromisoformat, default=date(2024, 1, 1))
    options.add_argument("--end", type=date.fromisoformat, default=date(2025, 2, 7))
    options.add_argument("--work", type=Path)
    asked = options.parse_args()
    work = asked.work or Path(tempfile.mkdtemp(prefix="renewals-crm-"))
    job = learned(asked.tables, work, asked.until, settings("targets=[renewal, expansion]"))
    later = afterwards(job, asked.end)
    for words, (low, high, lead) in TERMS.items():
        rows, said = tested(job, later, asked.end, "renewal", lead)
        where = rows["term_length"].between(low, high).to_numpy()
        chosen = rows[where]
        print(f"\n{words} terms: {len(chosen)} renewals, {chosen['label'].mean():.1%} renewed, lead {lead} days")
        print(table([line(name, chosen, chance[where]) for name, chance in said.items()]))
    rows, said = tested(job, later, asked.end, "expansion", None)
    print(f"\nexpansion within 180 days, all later observations: {len(rows)}, {rows['label'].mean():.1%} yes")
    print(table([line(name, rows, chance) for name, chance in said.items()]))


if __name__ == "__main__":
    main()
