"""Measure the speed of the list: accounts per second, CPU seconds and peak memory, by size and by step.

An example company is simulated and its features are built as `renewals learn` builds them; the four targets are
trained with the default hyperparameters (the middle of each list) at the shipped depth. The accounts to be listed are
sampled from the rows of that company; half of each column's values come from other rows, and fractions are scaled a
little, so that no two accounts are equal and most fractions differ. They are stored in files as `assemble` writes them.

Steps, each in its own process; the first rows are not counted (they compile and warm up); reading files is counted:

  predict        probability of renewal
  contributions  contribution of each feature to its margin: linear part and trees
  reasons        peer statistics, selection of reasons, and sentences; the contributions before are not counted
  list           all of `pipelines.stages.act.score.score_accounts`: four probabilities, contributions (written to a
                 file as `renewals score` does), reasons and strengths as sentences, ranks and checks; and Parquet bytes

Then the trees alone, next to other explainers on the same rows; the slow ones on fewer rows. These trees take
categories as numbers, because FastTreeSHAP cannot explain a split on categories.
"""

from __future__ import annotations

import argparse
import json
import logging
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from later import settings
from shap_peers import PEERS

from renewals.examples.company import simulate_company, write_company
from renewals.models.explanation import reasons
from renewals.models.kernels.treeshap import TreeShap
from renewals.models.ranking.expected_value import AvailablePlaybooks
from renewals.models.ranking.playbooks import combine_effects
from renewals.models.training.calibration import SigmoidCalibration
from renewals.models.training.ensemble import EnsembleModel, fit_linear, fit_trees
from renewals.models.training.schema import Schema
from renewals.models.training.splits import observations
from renewals.models.training.walk_forward import default_candidate
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.scoring import predictions
from renewals.pipelines.scoring.champion_models import Champion
from renewals.pipelines.stages.act import score
from renewals.pipelines.stages.sequence import find_stages
from renewals.pipelines.storage.artifacts import read_catalogue, read_training
from renewals.pipelines.storage.features_file import FeatureBlocks
from renewals.pipelines.storage.playbook_library import DEFAULT_LIBRARY, read_library
from renewals.reports import risk_list
from renewals.reports.settings import ListOptions
from renewals.reports.words import Messages

UNTIL, DAY = date(2026, 1, 1), "2026-06-01"
LIBRARY = read_library(DEFAULT_LIBRARY)
PLAYS = AvailablePlaybooks(LIBRARY, combine_effects(LIBRARY, {}), settings().folds.decided_days)
CHUNK, WARM = 50_000, 500
SPREAD = 0.5
"""Standard deviation of the intervals, in log-odds; its value has no effect on the time."""
REPETITIONS = 20
"""Repetitions of our explanation: one takes a few hundredths of a second, too short to be measured."""
ROW_LIMITS = {"shap TreeExplainer": 4000, "LightGBM pred_contrib": 4000, "FastTreeSHAP v2": 4000}
"""Rows that the slow explainers explain."""


# --- the company, its models, its accounts ------------------------------------------------------------


def prepare_company(accounts: int, work: Path) -> Job:
    """Build the training table of a simulated company."""
    job = Job(settings(), str(work / "company"), work, work / "lists", until=UNTIL)
    if not (job.folder / "training.parquet").exists():
        write_company(simulate_company(accounts, months=36, seed=7), work / "company")
        for stage in find_stages("learn"):
            stage(job)
    return job


def train_models(job: Job, depth: int | None, rounds: int | None) -> dict[str, Champion]:
    """Train a model of each target with default hyperparameters."""
    trees = job.settings.lightgbm
    trees = trees.model_copy(update={"max_depth": depth or trees.max_depth})
    hyperparameters = default_candidate(job.settings.linear, trees)
    training, catalogue = read_training(job), read_catalogue(job.folder)
    champions = {}
    for target in job.settings.targets:
        observed = observations(training, target, UNTIL)
        schema = Schema.from_catalogue(catalogue, observed, target, trees.monotone)
        values, truth = schema.values(observed), observed["label"].to_numpy()
        weight = np.ones(len(truth))
        linear = fit_linear(values, truth, weight, schema, [hyperparameters.inverse_penalty], job.settings.linear)[
            hyperparameters.inverse_penalty
        ]
        booster = fit_trees(values, truth, weight, schema, rounds or hyperparameters.num_rounds, trees)
        near = job.settings.linear.near_term_days
        champions[target] = Champion(
            target,
            "1",
            EnsembleModel(schema, linear, booster, hyperparameters.tree_weight, SigmoidCalibration(), near, SPREAD),
        )
    return champions


def write_accounts(job: Job, rows: int, folder: Path) -> None:
    """Write so many accounts to be listed, with their features, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    source = read_training(job)
    spine = pd.read_parquet(job.folder / "spine.parquet")
    names = [feature["name"] for feature in read_catalogue(job.folder)]
    writer = None
    spines = []
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        index = rng.integers(0, len(source), count)
        ids = [f"account-{number:08d}" for number in range(start, start + count)]
        features = {name: _perturb(source[name].iloc[index], rng) for name in names}
        block = pa.Table.from_pandas(
            pd.DataFrame({"account_id": ids, "as_of": date.fromisoformat(DAY)} | features), preserve_index=False
        )
        writer = writer or pq.ParquetWriter(folder / "scoring.parquet", block.schema, compression="zstd")
        writer.write_table(block.cast(writer.schema))
        sampled = spine.iloc[rng.integers(0, len(spine), count)].reset_index(drop=True)
        managers = [f"manager {number}" for number in rng.integers(0, max(1, rows // 200), count)]
        spines.append(
            sampled.assign(
                account_id=ids, account_name=ids, as_of=date.fromisoformat(DAY), csm=managers, account_age=400
            )
        )
    assert writer is not None
    writer.close()
    pd.concat(spines, ignore_index=True).to_parquet(folder / "spine.parquet")


def _perturb(column: pd.Series, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Take half of the values from other rows, and scale fractions by a small random factor."""
    values = column.to_numpy()
    mixed = np.where(rng.random(len(values)) < 0.5, values[rng.permutation(len(values))], values)
    if mixed.dtype.kind != "f":
        return mixed
    unchanged = np.isnan(mixed) | (mixed == np.rint(mixed))
    return np.where(unchanged, mixed, mixed * np.exp(rng.normal(0, 0.02, len(mixed))))


# --- one step, in a process of its own ----------------------------------------------------------------


class Clock:
    """Timer that adds up CPU and wall seconds spent in `with` blocks."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def __enter__(self) -> None:
        self.cpu -= time.process_time()
        self.wall -= time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.cpu += time.process_time()
        self.wall += time.perf_counter()


@dataclass(frozen=True)
class Act:
    """Inputs of a step."""

    champions: dict[str, Champion]
    rows: pd.DataFrame
    figures: FeatureBlocks
    catalogue: list[dict[str, Any]]
    threads: int
    side: Path

    @property
    def learned(self) -> EnsembleModel:
        return self.champions["renewal"].model

    def blocks(self) -> Iterator[tuple[slice, pd.DataFrame]]:
        return self.figures.blocks(self.learned.schema.names)

    def first(self, count: int) -> Act:
        return replace(self, rows=self.rows.iloc[:count], figures=replace(self.figures, rows=self.figures.rows[:count]))


def predict(act: Act, clock: Clock) -> None:
    with clock:
        for _ in predictions.map_in_order(lambda _, values: act.learned.probability(values), act.blocks(), act.threads):
            pass


def contributions(act: Act, clock: Clock) -> None:
    with clock:
        for _ in predictions.map_in_order(
            lambda _, values: act.learned.contributions(values), act.blocks(), act.threads
        ):
            pass


def explain(act: Act, clock: Clock) -> None:
    names, options = act.learned.schema.names, ListOptions()
    features = reasons.features_with_sentences(act.catalogue, names)
    with clock:
        columns = predictions.ColumnReader(act.figures, names)
        peers = reasons.peer_statistics(columns, act.rows["size_band"], act.rows["stage"], options.min_peers)
    choices = []
    for block, values in act.blocks():
        contributions, _ = act.learned.contributions(values, act.threads)
        with clock:
            groups = peers.group[block]
            choices.append(
                reasons.select_reasons(
                    contributions, values, features, peers.typical_values, groups, "en", options.min_reason_share
                )
            )
    with clock:
        reasons.render_reasons(
            reasons.concatenate_reasons(choices), act.figures.column, features, peers, Messages("en").phrases()
        )


def make_list(act: Act, clock: Clock) -> None:
    options = ListOptions()
    with clock:
        with predictions.contributions_writer(act.side / "contributions.parquet") as write:
            result = score.score_accounts(
                act.rows, act.figures, act.catalogue, act.champions, options, write, PLAYS, act.threads
            )
        risk_list.to_parquet(result.listed)


STEPS = {"predict": predict, "contributions": contributions, "reasons": explain, "list": make_list}


def step(name: str, work: Path, side: Path, threads: int) -> dict[str, float]:
    """Run a step and return its cost, without its first rows."""
    champions = pickle.loads((work / "models.pickle").read_bytes())
    rows, figures = score.read_observations(side)
    catalogue = json.loads((work / "learn" / "features.json").read_bytes())["features"]
    act, clock = Act(champions, rows, figures, catalogue, threads, side), Clock()
    STEPS[name](act.first(WARM), Clock())
    STEPS[name](act, clock)
    return {"cpu": clock.cpu, "wall": clock.wall, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


# --- the trees alone, next to other explainers --------------------------------------------------------


def train_numeric_trees(job: Job, depth: int | None, rounds: int | None) -> lgb.Booster:
    """Train the trees of renewal with each category as its number."""
    trees = job.settings.lightgbm
    observed = observations(read_training(job), "renewal", UNTIL)
    schema = Schema.from_catalogue(read_catalogue(job.folder), observed, "renewal", trees.monotone)
    values, truth = schema.values(observed), observed["label"].to_numpy()
    options = trees.model_copy(update={"max_depth": depth or trees.max_depth})
    count = rounds or default_candidate(job.settings.linear, trees).num_rounds
    return fit_trees(values, truth, np.ones(len(truth)), replace(schema, categories={}), count, options)


def compare_explainers(
    booster: lgb.Booster, work: Path, side: Path, threads: int, pythons: dict[str, str]
) -> list[dict[str, Any]]:
    """Rows per CPU second and per second of each explainer, and its maximum difference from ours."""
    champions: dict[str, Champion] = pickle.loads((work / "models.pickle").read_bytes())
    model, trees = champions["renewal"].model, TreeShap.of(booster)
    booster.save_model(work / "model.txt")
    _, figures = score.read_observations(side)
    _, first = next(figures.blocks(model.schema.names))
    values = model.schema.values(first)
    trees.contributions(values[:WARM])
    clock = Clock()
    for _ in range(REPETITIONS):
        with clock:
            ours = trees.contributions(values, threads)
    lines = [_line("ours", len(values), clock.cpu / REPETITIONS, clock.wall / REPETITIONS)]
    for name in PEERS:
        count = min(ROW_LIMITS[name], len(values))
        lines.append({"": name} | _peer(name, work, values[:count], ours[:count], pythons.get(name, sys.executable)))
    base = next(line for line in lines if line[""] == "LightGBM pred_contrib")
    return [line | {"x pred_contrib, CPU": line.get("a CPU second", np.nan) / base["a CPU second"]} for line in lines]


def _peer(name: str, work: Path, values: Any, ours: Any, python: str) -> dict[str, Any]:
    values_file, out = work / "values.npy", work / "contributions.npy"
    np.save(values_file, values)
    script = str(Path(__file__).with_name("shap_peers.py"))
    command = [python, script, name, str(work / "model.txt"), str(values_file), str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        return {"result": (run.stderr.strip().splitlines() or ["killed"])[-1][:90]}
    took = json.loads(run.stdout.splitlines()[-1])
    row = _line(name, len(values), took["cpu"], took["wall"])
    return row | {"largest difference": float(np.abs(np.load(out) - ours).max())}


def _line(name: str, rows: int, cpu: float, wall: float) -> dict[str, Any]:
    return {"": name, "rows": rows, "CPU s": cpu, "wall s": wall, "a second": rows / wall, "a CPU second": rows / cpu}


# --- the command --------------------------------------------------------------------------------------


def run_step(name: str, work: Path, side: Path, threads: int) -> dict[str, float]:
    """Run a step in its own process, so that its peak memory is measured separately."""
    command = [sys.executable, __file__, "--step", name, "--keep", str(work), "--side", str(side)]
    run = subprocess.run([*command, "--threads", str(threads)], stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(run.stdout.splitlines()[-1]))


def format_table(lines: list[dict[str, Any]], form: Callable[[float], str] = "{:,.1f}".format) -> str:
    return pd.DataFrame(lines).to_string(index=False, float_format=form, na_rep="")


def measure_steps(rows: int, work: Path, threads: int) -> list[dict[str, Any]]:
    side = work / str(rows)
    took = {name: run_step(name, work, side, threads) for name in STEPS}
    lines = [_line(name, rows, cost["cpu"], cost["wall"]) | {"peak GB": cost["memory"]} for name, cost in took.items()]
    contributions = took["contributions"]["cpu"]
    return [line | {"x contributions, CPU": line["CPU s"] / contributions} for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--accounts", type=int, default=400, help="accounts of the simulated training company")
    parser.add_argument("--depth", type=int, help="depth of the trees; default: the shipped one")
    parser.add_argument("--rounds", type=int, help="number of trees; default: the middle of the shipped list")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder in which the company and its accounts are kept")
    parser.add_argument("--fasttreeshap-python", default=sys.executable, help="a Python with FastTreeSHAP installed")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--side", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(step(args.step, args.keep, args.side, args.threads)))
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    work = args.keep or Path(tempfile.mkdtemp(prefix="renewals-scoring-"))
    job = prepare_company(args.accounts, work)
    champions = train_models(job, args.depth, args.rounds)
    (work / "models.pickle").write_bytes(pickle.dumps(champions))
    _print_model_size(champions["renewal"].model, job)
    sizes = [int(rows) for rows in args.rows]
    for rows in sizes:
        if not (work / str(rows) / "spine.parquet").exists():
            write_accounts(job, rows, work / str(rows))
        print(f"\n{rows:,} accounts\n{format_table(measure_steps(rows, work, args.threads))}", flush=True)
    booster = train_numeric_trees(job, args.depth, args.rounds)
    comparison = compare_explainers(
        booster, work, work / str(min(sizes)), args.threads, {"FastTreeSHAP v2": args.fasttreeshap_python}
    )
    print(f"\nthe trees alone\n{format_table(comparison, lambda x: f'{x:.1e}' if x < 1e-3 else f'{x:,.2f}')}")


def _print_model_size(model: EnsembleModel, job: Job) -> None:
    trees = model.booster.dump_model()["tree_info"]
    leaves = sum(tree["num_leaves"] for tree in trees) / len(trees)
    size = (model.tree_shap.cells.nbytes + model.tree_shap.outputs.nbytes) / 1e6
    print(
        f"{len(model.schema.names)} features, {len(trees)} trees of {leaves:.1f} leaves, tables of {size:.1f} MB, "
        f"{len(model.tree_shap.pieces.first_cell) - 1} pieces; four targets: {', '.join(job.settings.targets)}"
    )


if __name__ == "__main__":
    main()
