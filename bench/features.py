"""Features from a log of events: what they cost beside merely reading it, how that grows, and what peers need.

For each size the company is made anew (`events.py`); every step runs in a process of its own, so that its CPU seconds,
wall seconds and peak memory are its own. `scan` reads five columns and counts; `group` does the least that any answer
by person and day must do. The columns of the peers are held against ours.
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

# Python looks beside the script first, where this file itself would be taken for the package `features`.
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

STAGES = {"rollup": rollup, "spine": spine, "windows": windows, "ledger": ledger, "featurize": featurize}
BUILD = ("rollup", "windows", "featurize")
"""What is held against the scan; spine and ledger do not read events."""
DATES = 12
SCAN = "SELECT count(account_id), count(user_id), count(feature), count(occurred_at), sum(duration_s) FROM {events}"
GROUP = """SELECT count(*), sum(n) FROM (SELECT account_id, user_id, occurred_at::DATE, recorded_at::DATE, count(*) AS n
FROM {events} GROUP BY ALL)"""
SIZES = (1e6, 10e6)
"""Measured beside the size asked for, to tell how the cost grows."""


def settings(memory: str) -> Settings:
    return read_settings(None, [f"spine.max_months={DATES}", "engine.threads=2", f"engine.memory={memory}"])


# --- one step, in its own process --------------------------------------------------------------------


def step(name: str, folder: Path, memory: str, as_of: bool, events: int) -> dict[str, Any]:
    """Do one step and tell what it took."""
    day: dict[str, date] = {"as_of" if as_of else "until": LAST}
    job = Job(settings(memory), str(folder), folder, folder / "lists", **day)
    before, begun = _used(), time.perf_counter()
    told = _do(name, job, events)
    after = _used()
    return {"cpu": after[0] - before[0], "wall": time.perf_counter() - begun, "memory": after[1], "told": told}


def _do(name: str, job: Job, events: int) -> Any:
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


def alone(name: str, folder: Path, memory: str, as_of: bool = False, events: int = 0) -> dict[str, Any]:
    """`step` in a process of its own."""
    asked = ["--step", name, "--folder", str(folder), "--memory", memory, "--events", str(events)]
    run = subprocess.run(
        [sys.executable, __file__, *asked, *(["--act"] if as_of else [])], capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        raise SystemExit(f"{name} failed:\n{run.stderr[-2000:]}")
    return dict(json.loads(run.stdout.splitlines()[-1]))


# --- a size -------------------------------------------------------------------------------------------


def measured(events: int, folder: Path, memory: str) -> dict[str, dict[str, Any]]:
    """Every step at a size: what each took, and `all` of the build together."""
    if not (folder / "clean" / f"{usage_partitions.TABLE}.json").exists():
        alone("make", folder, memory, events=events)
    for made in ("rollup", "learn", "act"):
        shutil.rmtree(folder / made, ignore_errors=True)
    alone("scan", folder, memory)  # brings the file into memory, for all that follow alike
    took = {name: alone(name, folder, memory) for name in ("scan", "group", *STAGES)}
    took["all"] = _together([took[name] for name in BUILD])
    took["month"] = _one_more_month(folder, memory)
    return took


def _together(steps: list[dict[str, Any]]) -> dict[str, Any]:
    both = {key: sum(step[key] for step in steps) for key in ("cpu", "wall")}
    return both | {"memory": max(step["memory"] for step in steps)}


def _one_more_month(folder: Path, memory: str) -> dict[str, Any]:
    """The last month of arrival and one more date, from kept parts."""
    parts = folder / "rollup" / "parts.json"
    marks = json.loads(parts.read_text())
    marks.popitem()
    parts.write_text(json.dumps(marks))
    took = {name: alone(name, folder, memory, as_of=name != "rollup") for name in STAGES}
    return _together([took[name] for name in BUILD])


def table(events: int, took: dict[str, dict[str, Any]]) -> str:
    """What each step took, and how many scans that is."""
    scan = took["scan"]
    names = {
        "scan": "scan five columns", "group": "group by account, person, day, day known", "rollup": "roll-up",
        "windows": "windows", "featurize": "features", "all": "roll-up, windows and features",
        "month": "one more month",
    }  # fmt: skip
    lines = [
        {
            "": words,
            "CPU s": took[name]["cpu"],
            "wall s": took[name]["wall"],
            "CPU scans": took[name]["cpu"] / scan["cpu"],
            "wall scans": took[name]["wall"] / scan["wall"],
            "peak GB": took[name]["memory"],
        }
        for name, words in names.items()
    ]
    columns = sum(took["featurize"]["told"]["columns"].values())
    rows, people = took["spine"]["told"]["observations"], took["group"]["told"][0]
    head = (
        f"\n{scan['told'][0]:,} events, {accounts_of(events):,} accounts, {people:,} days of people, {DATES} dates, "
        f"{rows:,} observations, {columns} columns\n"
    )
    return head + pd.DataFrame(lines).to_string(index=False, float_format="{:.2f}".format)


def exponent(sizes: dict[int, dict[str, dict[str, Any]]]) -> float:
    """How the CPU time of the build grows with the events between the two largest sizes; 1 is in proportion."""
    (small, less), (large, more) = sorted(sizes.items())[-2:]
    return math.log(more["all"]["cpu"] / less["all"]["cpu"]) / math.log(large / small)


# --- peers --------------------------------------------------------------------------------------------


def peers(folder: Path, limit: float, python: str) -> list[dict[str, Any]]:
    """What each peer took for its sixteen columns, and in how many of them some value differs from ours."""
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
        return {"": name, "said": f"not done after {limit:.0f} s"}
    if run.returncode:
        return {"": name, "said": (run.stderr.strip().splitlines() or ["killed"])[-1][:90]}
    took = json.loads(run.stdout.splitlines()[-1])
    return {"": name, "CPU s": took["cpu"], "wall s": took["wall"], "peak GB": took["memory"], "said": _held(out, ours)}


def _held(out: Path, ours: pd.DataFrame) -> str:
    found = pd.read_parquet(out)
    found["as_of"] = pd.to_datetime(found.as_of).dt.date
    columns = [column for column in found.columns if column not in KEY]
    mine = ours[columns].reset_index()
    mine["as_of"] = pd.to_datetime(mine.as_of).dt.date
    both = mine.merge(found, on=KEY, how="left", suffixes=("", "_peer"))
    nothing = {column: 366 if column == "days_since_last_use" else 0 for column in columns}
    unlike = {c: int((both[c] != both[f"{c}_peer"].fillna(nothing[c])).sum()) for c in columns}
    differ = sum(unlike.values())
    return f"{len(columns)} columns, " + (
        f"{differ / both[columns].size:.1%} of values differ" if differ else "all equal"
    )


# --- the command --------------------------------------------------------------------------------------


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=float, default=100e6)
    options.add_argument("--memory", default="4GB", help="engine.memory")
    options.add_argument("--keep", type=Path, help="a folder to keep the companies in")
    options.add_argument("--peers", type=float, default=10e6, help="the largest size that peers are tried on; 0: none")
    options.add_argument("--limit", type=float, default=900, help="seconds after which a peer is given up")
    options.add_argument("--peers-python", default=sys.executable, help="a Python that has the peers")
    options.add_argument("--step", help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--act", action="store_true", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.step:
        print(json.dumps(step(asked.step, asked.folder, asked.memory, asked.act, int(asked.events)), default=str))
        return
    work = asked.keep or Path(tempfile.mkdtemp(prefix="renewals-features-"))
    sizes: dict[int, dict[str, dict[str, Any]]] = {}
    for events in sorted({*(int(size) for size in SIZES), int(asked.events)}):
        folder = work / str(events)
        folder.mkdir(parents=True, exist_ok=True)
        sizes[events] = measured(events, folder, asked.memory)
        print(table(events, sizes[events]), flush=True)
        if events <= asked.peers:
            print(
                pd.DataFrame(peers(folder, asked.limit, asked.peers_python)).to_string(index=False, na_rep=""),
                flush=True,
            )
    print(f"\ngrowth of CPU time with events between the two largest sizes: exponent {exponent(sizes):.2f}")
    last = sizes[int(asked.events)]
    print(f"one more month: {last['month']['cpu'] / last['all']['cpu']:.1%} of the full build")


if __name__ == "__main__":
    main()
