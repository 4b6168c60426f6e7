"""Measure the cost of the features from an event log: relative to one scan of it, by size, and next to other tools.

For each size the company is generated (`events.py`); every step runs in its own process, so that its CPU seconds,
wall seconds and peak memory are separate. `scan` reads five columns and counts; `group` is the minimum work of any
result by person and day. The columns of the other tools are compared with ours.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

# Python searches the script's folder first and would import this file as the package `features`: move it to the end.
sys.path.append(sys.path.pop(0))

from events import LAST, accounts_of, make
from peers import KEY, PEERS

from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings, read_settings
from renewals.pipelines.stages.prepare.featurize import featurize
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows
from renewals.pipelines.storage.engine import usage_partitions, warehouse

STAGES = {"rollup": rollup, "ledger": ledger, "spine": spine, "windows": windows, "featurize": featurize}
BUILD = ("rollup", "windows", "featurize")
"""The steps that are compared with the scan; spine and ledger do not read events."""
DATES = 12
SCAN = "SELECT count(account_id), count(user_id), count(feature), count(occurred_at), sum(duration_s) FROM {events}"
GROUP = """SELECT count(*), sum(n) FROM (SELECT account_id, user_id, occurred_at::DATE, recorded_at::DATE, count(*) AS n
FROM {events} GROUP BY ALL)"""
SIZES = (1e6, 10e6)
"""Sizes measured besides the requested one, to estimate the growth of the cost."""


def settings(memory: str) -> Settings:
    return read_settings(None, [f"spine.max_months={DATES}", "engine.threads=2", f"engine.memory={memory}"])


# --- one step, in its own process --------------------------------------------------------------------


def step(name: str, folder: Path, memory: str, as_of: bool, events: int) -> dict[str, Any]:
    """Run one step and return its cost and its result."""
    day: dict[str, date] = {"as_of" if as_of else "until": LAST}
    job = Job(settings(memory), str(folder), folder, folder / "lists", **day)
    before, started = _used(), time.perf_counter()
    result = _execute(name, job, events)
    after = _used()
    return {"cpu": after[0] - before[0], "wall": time.perf_counter() - started, "memory": after[1], "told": result}


def _execute(name: str, job: Job, events: int) -> Any:
    if name in STAGES:
        return STAGES[name](job)
    con = warehouse.connect(job.settings.engine)
    clean = job.data / "clean"
    if name == "make":
        count = make(con, events, clean)
        usage_partitions.write_digests(con.read_parquet(str(clean / "usage_events.parquet")), clean)
        return count
    query = {"scan": SCAN, "group": GROUP}[name].format(events=f"'{clean / 'usage_events.parquet'}'")
    return [int(number) for number in con.raw_sql(query).fetchone()]


def _used() -> tuple[float, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def run_step(name: str, folder: Path, memory: str, as_of: bool = False, events: int = 0) -> dict[str, Any]:
    """Run `step` in a new process."""
    arguments = ["--step", name, "--folder", str(folder), "--memory", memory, "--events", str(events)]
    run = subprocess.run(
        [sys.executable, __file__, *arguments, *(["--act"] if as_of else [])], capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        raise SystemExit(f"{name} failed:\n{run.stderr[-2000:]}")
    return dict(json.loads(run.stdout.splitlines()[-1]))


# --- a size -------------------------------------------------------------------------------------------


def measure_size(events: int, folder: Path, memory: str) -> dict[str, dict[str, Any]]:
    """Cost of every step at a size, of `all` steps of the build together, and of one more `month`."""
    if not (folder / "clean" / f"{usage_partitions.TABLE}.json").exists():
        run_step("make", folder, memory, events=events)
    for results in ("rollup", "learn", "act"):
        shutil.rmtree(folder / results, ignore_errors=True)
    run_step("scan", folder, memory)  # loads the file into the page cache, so that all later steps start equal
    took = {name: run_step(name, folder, memory) for name in ("scan", "group", *STAGES)}
    took["all"] = _sum_steps([took[name] for name in BUILD])
    took["month"] = _one_more_month(folder, memory)
    return took


def _sum_steps(steps: list[dict[str, Any]]) -> dict[str, Any]:
    sums = {key: sum(step[key] for step in steps) for key in ("cpu", "wall")}
    return sums | {"memory": max(step["memory"] for step in steps)}


def _one_more_month(folder: Path, memory: str) -> dict[str, Any]:
    """Cost of the last month of arrival and one more date, on top of existing parts."""
    parts = folder / "rollup" / "parts.json"
    arrivals = json.loads(parts.read_text())
    arrivals.popitem()
    parts.write_text(json.dumps(arrivals))
    took = {name: run_step(name, folder, memory, as_of=name != "rollup") for name in STAGES}
    return _sum_steps([took[name] for name in BUILD])


def format_table(events: int, took: dict[str, dict[str, Any]]) -> str:
    """Format the cost of each step, in seconds and in scans, under a line of the sizes."""
    scan = took["scan"]
    names = {
        "scan": "scan five columns", "group": "group by account, person, day, day known", "rollup": "roll-up",
        "windows": "windows", "featurize": "features", "all": "roll-up, windows and features",
        "month": "one more month",
    }  # fmt: skip
    lines = [
        {
            "": label,
            "CPU s": took[name]["cpu"],
            "wall s": took[name]["wall"],
            "CPU scans": took[name]["cpu"] / scan["cpu"],
            "wall scans": took[name]["wall"] / scan["wall"],
            "peak GB": took[name]["memory"],
        }
        for name, label in names.items()
    ]
    columns = sum(took["featurize"]["told"]["columns"].values())
    rows, people = took["spine"]["told"]["observations"], took["group"]["told"][0]
    header = (
        f"\n{scan['told'][0]:,} events, {accounts_of(events):,} accounts, {people:,} days of people, {DATES} dates, "
        f"{rows:,} observations, {columns} columns\n"
    )
    return header + pd.DataFrame(lines).to_string(index=False, float_format="{:.2f}".format)


def exponent(sizes: dict[int, dict[str, dict[str, Any]]]) -> float:
    """Exponent of the growth of the build's CPU time with the events, between the two largest sizes; 1 is linear."""
    (small, small_costs), (large, large_costs) = sorted(sizes.items())[-2:]
    return math.log(large_costs["all"]["cpu"] / small_costs["all"]["cpu"]) / math.log(large / small)


# --- peers --------------------------------------------------------------------------------------------


def peers(folder: Path, limit: float, python: str) -> list[dict[str, Any]]:
    """Cost of each other tool for its sixteen columns, and the share of values that differ from ours."""
    ours = pd.read_parquet(folder / "learn" / "features" / "usage.parquet").set_index(KEY)
    days = sorted({str(pd.Timestamp(as_of).date()) for as_of in ours.index.get_level_values("as_of")})
    return [_peer(name, folder, days, ours, limit, python) for name in PEERS]


def _peer(name: str, folder: Path, days: list[str], ours: pd.DataFrame, limit: float, python: str) -> dict[str, Any]:
    out = folder / "peer.parquet"
    script = Path(__file__).with_name("peers.py")
    try:
        run = subprocess.run(
            [python, str(script), name, str(folder / "clean"), str(out), *days], capture_output=True,
            text=True, check=False, timeout=limit,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"": name, "result": f"not finished after {limit:.0f} s"}
    if run.returncode:
        return {"": name, "result": (run.stderr.strip().splitlines() or ["killed"])[-1][:90]}
    took = json.loads(run.stdout.splitlines()[-1])
    return {
        "": name,
        "CPU s": took["cpu"],
        "wall s": took["wall"],
        "peak GB": took["memory"],
        "result": _compare_values(out, ours),
    }


def _compare_values(out: Path, ours: pd.DataFrame) -> str:
    theirs = pd.read_parquet(out)
    theirs["as_of"] = pd.to_datetime(theirs.as_of).dt.date
    columns = [column for column in theirs.columns if column not in KEY]
    expected = ours[columns].reset_index()
    expected["as_of"] = pd.to_datetime(expected.as_of).dt.date
    joined = expected.merge(theirs, on=KEY, how="left", suffixes=("", "_peer"))
    fill_values = {column: 366 if column == "days_since_last_use" else 0 for column in columns}
    differing = {c: int((joined[c] != joined[f"{c}_peer"].fillna(fill_values[c])).sum()) for c in columns}
    count = sum(differing.values())
    return f"{len(columns)} columns, " + (
        f"{count / joined[columns].size:.1%} of values differ" if count else "all equal"
    )


# --- the command --------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=float, default=100e6)
    parser.add_argument("--memory", default="4GB", help="engine.memory")
    parser.add_argument("--keep", type=Path, help="a folder in which the companies are kept")
    parser.add_argument(
        "--peers", type=float, default=10e6, help="the largest size at which other tools are measured; 0: none"
    )
    parser.add_argument("--limit", type=float, default=900, help="time limit of another tool, in seconds")
    parser.add_argument("--peers-python", default=sys.executable, help="a Python with the other tools installed")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--act", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(step(args.step, args.folder, args.memory, args.act, int(args.events)), default=str))
        return
    work = args.keep or Path(tempfile.mkdtemp(prefix="renewals-features-"))
    sizes: dict[int, dict[str, dict[str, Any]]] = {}
    for events in sorted({*(int(size) for size in SIZES), int(args.events)}):
        folder = work / str(events)
        folder.mkdir(parents=True, exist_ok=True)
        sizes[events] = measure_size(events, folder, args.memory)
        print(format_table(events, sizes[events]), flush=True)
        if events <= args.peers:
            print(
                pd.DataFrame(peers(folder, args.limit, args.peers_python)).to_string(index=False, na_rep=""),
                flush=True,
            )
    print(f"\ngrowth of CPU time with events between the two largest sizes: exponent {exponent(sizes):.2f}")
    last = sizes[int(args.events)]
    print(f"one more month: {last['month']['cpu'] / last['all']['cpu']:.1%} of the full build")


if __name__ == "__main__":
    main()
