"""How fast a list is made: accounts a second, CPU seconds and peak memory, at several sizes and step by step.

An example company is simulated and its features are built as `renewals learn` builds them; the four targets are
learnt by the shipped recipe (the middle of each list) at the shipped depth. The accounts to be listed are drawn from
the rows of that company; half of each column's figures come from other rows, and fractions are stretched a little, so
that no two accounts are alike and most fractions differ. They lie in files as `assemble` writes them.

Steps, each in a process of its own, its first rows not counted (they compile and warm up); files are read within:

  predict        probability of renewal
  contributions  what each feature adds to its margin: linear part and trees
  reasons        what is usual among peers, who speaks, and the sentences; contributions made before are not counted
  list           the whole of `pipelines.stages.act.score.score_accounts`: four probabilities, contributions (written to
  a
                 file as `renewals score` does), reasons and strengths in words, ranks and checks; and the Parquet bytes

Then trees alone, beside others on the same rows; the slow ones on fewer. These trees take categories for numbers, for
FastTreeSHAP cannot explain a split of categories.
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
"""Of the intervals, in log-odds: what it is takes no time."""
REPEATED = 20
"""So often the tables explain their rows: once takes a few hundredths of a second, too short to tell the time of."""
FEW = {"shap TreeExplainer": 4000, "LightGBM pred_contrib": 4000, "FastTreeSHAP v2": 4000}
"""Rows that the slow ones explain."""


# --- the company, its models, its accounts ------------------------------------------------------------


def company(accounts: int, work: Path) -> Job:
    """The training table of a simulated company."""
    job = Job(settings(), str(work / "company"), work, work / "lists", until=UNTIL)
    if not (job.folder / "training.parquet").exists():
        write_company(simulate_company(accounts, months=36, seed=7), work / "company")
        for stage in find_stages("learn"):
            stage(job)
    return job


def models(job: Job, depth: int | None, rounds: int | None) -> dict[str, Champion]:
    """A model of each target, by the recipe that is usual where there is no past to choose by."""
    trees = job.settings.lightgbm
    trees = trees.model_copy(update={"max_depth": depth or trees.max_depth})
    recipe = default_candidate(job.settings.linear, trees)
    training, catalogue = read_training(job), read_catalogue(job.folder)
    made = {}
    for target in job.settings.targets:
        observed = observations(training, target, UNTIL)
        schema = Schema.from_catalogue(catalogue, observed, target, trees.monotone)
        values, truth = schema.values(observed), observed["label"].to_numpy()
        weight = np.ones(len(truth))
        line = fit_linear(values, truth, weight, schema, [recipe.inverse_penalty], job.settings.linear)[
            recipe.inverse_penalty
        ]
        booster = fit_trees(values, truth, weight, schema, rounds or recipe.num_rounds, trees)
        near = job.settings.linear.near_term_days
        made[target] = Champion(
            target, "1", EnsembleModel(schema, line, booster, recipe.tree_weight, SigmoidCalibration(), near, SPREAD)
        )
    return made


def drawn(job: Job, rows: int, side: Path) -> None:
    """So many accounts to be listed, and their figures."""
    side.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    source = read_training(job)
    spine = pd.read_parquet(job.folder / "spine.parquet")
    names = [feature["name"] for feature in read_catalogue(job.folder)]
    writer = None
    spines = []
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        whose = rng.integers(0, len(source), count)
        ids = [f"account-{number:08d}" for number in range(start, start + count)]
        figures = {name: _stirred(source[name].iloc[whose], rng) for name in names}
        table = pa.Table.from_pandas(
            pd.DataFrame({"account_id": ids, "as_of": date.fromisoformat(DAY)} | figures), preserve_index=False
        )
        writer = writer or pq.ParquetWriter(side / "scoring.parquet", table.schema, compression="zstd")
        writer.write_table(table.cast(writer.schema))
        own = spine.iloc[rng.integers(0, len(spine), count)].reset_index(drop=True)
        managers = [f"manager {number}" for number in rng.integers(0, max(1, rows // 200), count)]
        spines.append(
            own.assign(account_id=ids, account_name=ids, as_of=date.fromisoformat(DAY), csm=managers, account_age=400)
        )
    assert writer is not None
    writer.close()
    pd.concat(spines, ignore_index=True).to_parquet(side / "spine.parquet")


def _stirred(column: pd.Series, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Half of the figures from other rows; fractions a little longer or shorter."""
    own = column.to_numpy()
    mixed = np.where(rng.random(len(own)) < 0.5, own[rng.permutation(len(own))], own)
    if mixed.dtype.kind != "f":
        return mixed
    whole = np.isnan(mixed) | (mixed == np.rint(mixed))
    return np.where(whole, mixed, mixed * np.exp(rng.normal(0, 0.02, len(mixed))))


# --- one step, in a process of its own ----------------------------------------------------------------


class Clock:
    """CPU and wall seconds spent within `with`."""

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
    """What a step works on."""

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
        for _ in score.map_in_order(lambda _, values: act.learned.probability(values), act.blocks(), act.threads):
            pass


def contributions(act: Act, clock: Clock) -> None:
    with clock:
        for _ in score.map_in_order(lambda _, values: act.learned.contributions(values), act.blocks(), act.threads):
            pass


def in_words(act: Act, clock: Clock) -> None:
    names, options = act.learned.schema.names, ListOptions()
    words = reasons.features_with_sentences(act.catalogue, names)
    with clock:
        columns = score.ColumnReader(act.figures, names)
        peers = reasons.peer_statistics(columns, act.rows["size_band"], act.rows["stage"], options.min_peers)
    choices = []
    for own, values in act.blocks():
        pushes, _ = act.learned.contributions(values, act.threads)
        with clock:
            who = peers.group[own]
            choices.append(
                reasons.select_reasons(pushes, values, words, peers.typical_values, who, "en", options.min_reason_share)
            )
    with clock:
        reasons.render_reasons(
            reasons.concatenate_reasons(choices), act.figures.column, words, peers, Messages("en").phrases()
        )


def whole_list(act: Act, clock: Clock) -> None:
    options = ListOptions()
    with clock:
        with score.contributions_writer(act.side / "contributions.parquet") as keep:
            made = score.score_accounts(
                act.rows, act.figures, act.catalogue, act.champions, options, keep, PLAYS, act.threads
            )
        risk_list.to_parquet(made.listed)


STEPS = {"predict": predict, "contributions": contributions, "reasons": in_words, "list": whole_list}


def step(name: str, work: Path, side: Path, threads: int) -> dict[str, float]:
    """What a step takes, its first rows apart."""
    champions = pickle.loads((work / "models.pickle").read_bytes())
    rows, figures = score.read_observations(side)
    catalogue = json.loads((work / "learn" / "features.json").read_bytes())["features"]
    act, clock = Act(champions, rows, figures, catalogue, threads, side), Clock()
    STEPS[name](act.first(WARM), Clock())
    STEPS[name](act, clock)
    return {"cpu": clock.cpu, "wall": clock.wall, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


# --- the trees alone, beside others -------------------------------------------------------------------


def of_numbers(job: Job, depth: int | None, rounds: int | None) -> lgb.Booster:
    """The trees of renewal, where a category is the number of its place."""
    trees = job.settings.lightgbm
    observed = observations(read_training(job), "renewal", UNTIL)
    schema = Schema.from_catalogue(read_catalogue(job.folder), observed, "renewal", trees.monotone)
    values, truth = schema.values(observed), observed["label"].to_numpy()
    options = trees.model_copy(update={"max_depth": depth or trees.max_depth})
    count = rounds or default_candidate(job.settings.linear, trees).num_rounds
    return fit_trees(values, truth, np.ones(len(truth)), replace(schema, categories={}), count, options)


def explained(
    booster: lgb.Booster, work: Path, side: Path, threads: int, pythons: dict[str, str]
) -> list[dict[str, Any]]:
    """Rows a CPU second and a second of each that explains the booster, and its largest difference from ours."""
    champions: dict[str, Champion] = pickle.loads((work / "models.pickle").read_bytes())
    learned, trees = champions["renewal"].model, TreeShap.of(booster)
    booster.save_model(work / "model.txt")
    _, figures = score.read_observations(side)
    _, first = next(figures.blocks(learned.schema.names))
    values = learned.schema.values(first)
    trees.contributions(values[:WARM])
    clock = Clock()
    for _ in range(REPEATED):
        with clock:
            ours = trees.contributions(values, threads)
    lines = [_line("ours", len(values), clock.cpu / REPEATED, clock.wall / REPEATED)]
    for name in PEERS:
        count = min(FEW[name], len(values))
        lines.append({"": name} | _peer(name, work, values[:count], ours[:count], pythons.get(name, sys.executable)))
    base = next(line for line in lines if line[""] == "LightGBM pred_contrib")
    return [line | {"x pred_contrib, CPU": line.get("a CPU second", np.nan) / base["a CPU second"]} for line in lines]


def _peer(name: str, work: Path, values: Any, ours: Any, python: str) -> dict[str, Any]:
    given, out = work / "values.npy", work / "told.npy"
    np.save(given, values)
    script = str(Path(__file__).with_name("shap_peers.py"))
    command = [python, script, name, str(work / "model.txt"), str(given), str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        return {"said": (run.stderr.strip().splitlines() or ["killed"])[-1][:90]}
    took = json.loads(run.stdout.splitlines()[-1])
    line = _line(name, len(values), took["cpu"], took["wall"])
    return line | {"largest difference": float(np.abs(np.load(out) - ours).max())}


def _line(name: str, rows: int, cpu: float, wall: float) -> dict[str, Any]:
    return {"": name, "rows": rows, "CPU s": cpu, "wall s": wall, "a second": rows / wall, "a CPU second": rows / cpu}


# --- the command --------------------------------------------------------------------------------------


def alone(name: str, work: Path, side: Path, threads: int) -> dict[str, float]:
    """A step in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, __file__, "--step", name, "--keep", str(work), "--side", str(side)]
    run = subprocess.run([*command, "--threads", str(threads)], stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(run.stdout.splitlines()[-1]))


def table(lines: list[dict[str, Any]], form: Callable[[float], str] = "{:,.1f}".format) -> str:
    return pd.DataFrame(lines).to_string(index=False, float_format=form, na_rep="")


def measured(rows: int, work: Path, threads: int) -> list[dict[str, Any]]:
    side = work / str(rows)
    took = {name: alone(name, work, side, threads) for name in STEPS}
    lines = [_line(name, rows, own["cpu"], own["wall"]) | {"peak GB": own["memory"]} for name, own in took.items()]
    contributions = took["contributions"]["cpu"]
    return [line | {"x contributions, CPU": line["CPU s"] / contributions} for line in lines]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=float, nargs="+", default=[10_000, 100_000, 1_000_000])
    options.add_argument("--accounts", type=int, default=400, help="of the simulated company that is learnt from")
    options.add_argument("--depth", type=int, help="of the trees; the shipped one unless given")
    options.add_argument("--rounds", type=int, help="trees; the shipped middle unless given")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--keep", type=Path, help="a folder to keep the company and its accounts in")
    options.add_argument("--fasttreeshap-python", default=sys.executable, help="a Python that has FastTreeSHAP")
    options.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options.add_argument("--side", type=Path, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.step:
        print(json.dumps(step(asked.step, asked.keep, asked.side, asked.threads)))
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    work = asked.keep or Path(tempfile.mkdtemp(prefix="renewals-scoring-"))
    job = company(asked.accounts, work)
    champions = models(job, asked.depth, asked.rounds)
    (work / "models.pickle").write_bytes(pickle.dumps(champions))
    _said(champions["renewal"].model, job)
    sizes = [int(rows) for rows in asked.rows]
    for rows in sizes:
        if not (work / str(rows) / "spine.parquet").exists():
            drawn(job, rows, work / str(rows))
        print(f"\n{rows:,} accounts\n{table(measured(rows, work, asked.threads))}", flush=True)
    booster = of_numbers(job, asked.depth, asked.rounds)
    beside = explained(
        booster, work, work / str(min(sizes)), asked.threads, {"FastTreeSHAP v2": asked.fasttreeshap_python}
    )
    print(f"\nthe trees alone\n{table(beside, lambda x: f'{x:.1e}' if x < 1e-3 else f'{x:,.2f}')}")


def _said(learned: EnsembleModel, job: Job) -> None:
    told = learned.booster.dump_model()["tree_info"]
    leaves = sum(tree["num_leaves"] for tree in told) / len(told)
    size = (learned.tree_shap.cells.nbytes + learned.tree_shap.outputs.nbytes) / 1e6
    print(
        f"{len(learned.schema.names)} features, {len(told)} trees of {leaves:.1f} leaves, tables of {size:.1f} MB, "
        f"{len(learned.tree_shap.pieces.first_cell) - 1} pieces; four targets: {', '.join(job.settings.targets)}"
    )


if __name__ == "__main__":
    main()
