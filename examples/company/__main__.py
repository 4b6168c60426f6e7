"""Write the example company into a folder: `python -m renewals.examples.company --accounts 2000 --out company`."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path

from renewals.examples.company import (
    SEED,
    START,
    ForeignFolderError,
    refuse_foreign_folder,
    simulate_company,
    write_company,
)

FOREIGN_FOLDER_EXIT_CODE = 78
"""Exit code if the folder holds files that the example company did not write."""


def main() -> None:
    """Simulate the company from the command-line options, write it, and print the number of rows per table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--accounts", type=int, default=2_000)
    options.add_argument("--months", type=int, default=42)
    options.add_argument("--seed", type=int, default=SEED)
    options.add_argument("--start", type=date.fromisoformat, default=START, help="the first of a month")
    options.add_argument("--out", type=Path, default=Path("company"))
    chosen = options.parse_args()
    try:
        refuse_foreign_folder(chosen.out)
    except ForeignFolderError as error:
        print(error, file=sys.stderr)
        raise SystemExit(FOREIGN_FOLDER_EXIT_CODE) from None
    company = simulate_company(chosen.accounts, chosen.months, chosen.seed, chosen.start)
    write_company(company, chosen.out)
    rows = {name: table.num_rows for name, table in company.tables.items()}
    print(json.dumps({"folder": str(chosen.out), "until": company.extract_date.isoformat(), "rows": rows}))


if __name__ == "__main__":
    main()
