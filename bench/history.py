"""Time and memory of `renewals history` on monthly copies of a large table, beside concatenating all copies in pandas.

The copies are made here: 100 000 contracts, of which each month 2 % change, 1 % vanish and 1 % are new. The baseline
reads all copies and drops repeated rows: it keeps what was seen, but knows neither vanished rows, nor a source that
stopped, nor the time before the first copy, and it reads everything each month.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = ["contract_id", "account_id", "start_date", "end_date", "arr", "seats", "plan", "auto_renew", "signed_at"]
BASELINE = """
import glob, sys
import pandas as pd
copies = [pd.read_{form}(name).assign(day=name[-18:-8]) for name in sorted(glob.glob(sys.argv[1] + "/contracts_*"))]
rows = pd.concat(copies, ignore_index=True)
versions = rows.sort_values("day", kind="stable").drop_duplicates([c for c in rows if c != "day"])
versions.to_parquet(sys.argv[2])
print(len(versions))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of each copy")
    parser.add_argument("--copies", type=int, default=24)
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="renewals-history-") as name:
        folder = Path(name)
        days = write_copies(folder / "copies", args.rows, args.copies, args.format)
        params = folder / "params.yaml"
        files = str(folder / "copies" / "contracts_*")
        source = {"table": "contracts", "files": files, "key": ["contract_id"]}
        params.write_text(json.dumps({"history": {"sources": {"crm": source}}}), encoding="utf-8")
        command = [sys.executable, "-m", "renewals.pipelines.cli", "history", "--params", str(params)]
        command += ["--out", str(folder / "tables"), "--data", str(folder / "data")]
        last = next((folder / "copies").glob(f"contracts_{days[-1]}*"))
        aside = last.rename(folder / last.name)
        print(f"{args.copies} copies of {args.rows:,} rows as {args.format}")
        report(f"history, first {args.copies - 1} copies", *measure(command))
        aside.rename(last)
        report("history, one new copy", *measure(command))
        report("history, nothing new", *measure(command))
        baseline = [sys.executable, "-c", BASELINE.format(form=args.format), str(folder / "copies")]
        seconds, memory, output = measure([*baseline, str(folder / "baseline.parquet")])
        print(f"{'pandas, all copies at once':32} {seconds:7.1f} s {memory:7.0f} MB   {int(output):,} rows kept")


def write_copies(folder: Path, size: int, number: int, form: str) -> list[str]:
    """Write the copies and return their days."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True)
    rows, made = new_rows(rng, 0, size), size
    days = [f"{day:%Y-%m-%d}" for day in pd.date_range("2024-01-31", periods=number, freq="ME")]
    for place, day in enumerate(days):
        if place:
            rows = rows[rng.random(len(rows)) >= 0.01]
            changed = rng.random(len(rows)) < 0.02
            rows = rows.assign(arr=np.where(changed, (rows["arr"] * 1.1).round(2), rows["arr"]))
            rows = pd.concat([rows, new_rows(rng, made, size - len(rows))], ignore_index=True)
            made = int(rows["contract_id"].str[1:].astype(int).max()) + 1
        path = folder / f"contracts_{day}.{form}"
        rows.to_csv(path, index=False) if form == "csv" else rows.to_parquet(path, index=False)
    return days


def new_rows(rng: np.random.Generator, first: int, number: int) -> pd.DataFrame:
    """Contracts with ids from a number on."""
    numbers = np.arange(first, first + number)
    start = np.datetime64("2022-01-01") + rng.integers(0, 700, number)
    values = [
        *(pd.Series(numbers).map("C{:07d}".format), pd.Series(numbers // 3).map("A{:07d}".format)),
        *(start, start + 730, rng.uniform(1e3, 1e5, number).round(2), rng.integers(1, 500, number)),
        *(rng.choice(["basic", "pro", "gold"], number), rng.random(number) < 0.5, start - 20),
    ]
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))


def measure(command: list[str]) -> tuple[float, float, str]:
    """Seconds, peak memory in megabytes and last line of the output of a command."""
    watched = "import resource, subprocess, sys\n"
    watched += "done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True)\n"
    watched += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\nprint(done.stdout.splitlines()[-1])"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", watched, *command], capture_output=True, text=True, check=True)
    memory, line = done.stdout.splitlines()
    return time.perf_counter() - began, int(memory) / 1024, line


def report(label: str, seconds: float, memory: float, line: str) -> None:
    """Print the time and memory of a run, and what became of its rows."""
    source = json.loads(line)["sources"]["crm"]
    rows = f"{source['rows_read']:,} rows read, {source['versions_written']:,} versions written"
    print(f"{label:32} {seconds:7.1f} s {memory:7.0f} MB   {rows}, {source['versions_in_all']:,} in all")


if __name__ == "__main__":
    main()
