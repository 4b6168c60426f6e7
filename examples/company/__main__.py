"""Write the example company into a folder: `python -m examples.company --accounts 2000 --out company`."""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

from examples.company import SEED, START, simulate, write


def main() -> None:
    """Read the options, draw the company, write it, and print how many rows each table has."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--accounts", type=int, default=2_000)
    options.add_argument("--months", type=int, default=42)
    options.add_argument("--seed", type=int, default=SEED)
    options.add_argument("--start", type=date.fromisoformat, default=START, help="the first of a month")
    options.add_argument("--out", type=Path, default=Path("company"))
    chosen = options.parse_args()
    company = simulate(chosen.accounts, chosen.months, chosen.seed, chosen.start)
    write(company, chosen.out)
    rows = {name: table.num_rows for name, table in company.tables.items()}
    print(json.dumps({"folder": str(chosen.out), "until": company.until.isoformat(), "rows": rows}))


if __name__ == "__main__":
    main()
