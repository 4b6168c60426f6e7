"""Measure rankings of the list: ARR really saved within capacity, ranked by worth and by other criteria.

Each seed is another example company, with models and a list as `renewals score` makes it (with default
hyperparameters and no calibration: the order hardly depends on either). Every manager can treat a fifth of the
accounts, so that capacity is a limit. The accounts within it are treated once, on the day of the list. The truth gives
the change of the renewal probability at the decision; that times ARR is what is saved. In the example company an
intervention adds the same to every account's log-odds, whatever the playbook, and fades by 10 % a month; after the
decision it has no effect.

worth          as listed: expansion playbooks compete for the places; an account with one as best playbook saves zero
worth, saving  the same without expansion playbooks
probability    of loss
ARR            and ARR x probability of loss; "in time": the same with decided renewals last
empulse        expected profit of contacting the account, by empulse's measure for B2B churn (EMPB)
truth          the most that can be saved

Column `everybody`: ARR saved by treating all, in thousands; each other figure is a share of it. Then the same with
managers limited by hours: those of the first playbook, a fifth of the hours of all accounts together.

    python bench/ranking.py --keep FOLDER       # lists already in it are not made again
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import structlog
from later import format_table, settings
from scipy.stats import t as student

from renewals.examples.company import simulate_company, truth, write_company
from renewals.examples.company import states as hidden
from renewals.examples.company.customers import EARLIER_MONTHS
from renewals.examples.company.simulation import RANDOM_STREAMS, START
from renewals.examples.company.tables import Extract
from renewals.examples.company.world import World, draw_world
from renewals.models.evaluation.capacity_recall import expected_profit
from renewals.models.ranking.expected_value import NO_PLAY, AvailablePlaybooks, prescribe_playbooks
from renewals.models.ranking.playbooks import combine_effects
from renewals.models.ranking.worklist import SCORED, arr_at_risk, rank_accounts
from renewals.models.training.calibration import SigmoidCalibration
from renewals.models.training.ensemble import EnsembleModel
from renewals.models.training.schema import Schema
from renewals.models.training.splits import observations
from renewals.models.training.walk_forward import SelectedModel, default_candidate, fit_model
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.scoring.champion_models import Champion
from renewals.pipelines.stages.act import score
from renewals.pipelines.stages.prepare.assemble import assemble
from renewals.pipelines.stages.prepare.featurize import featurize
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows
from renewals.pipelines.stages.sequence import find_stages
from renewals.pipelines.storage import artifacts
from renewals.pipelines.storage.artifacts import read_catalogue, read_training
from renewals.pipelines.storage.playbook_library import DEFAULT_LIBRARY, read_library
from renewals.reports.settings import ManagerCapacity

SHARE = 0.2
"""Share of a manager's accounts, or hours, within capacity."""
LIBRARY = read_library(DEFAULT_LIBRARY)
PLAYS = AvailablePlaybooks(LIBRARY, combine_effects(LIBRARY, {}), settings().folds.decided_days)
AVERAGE_HOURS = float(np.mean([play.hours for play in LIBRARY.plays.values()]))
"""Hours of an account without a prescribed playbook, when another ranking treats it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[10], help="number of seeds, or the first and the last seed"
    )
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--months", type=int, default=30)
    parser.add_argument("--keep", type=Path, help="a folder in which each company's list is kept")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    first, last = (1, args.seeds[0]) if len(args.seeds) == 1 else args.seeds
    lines = []
    for seed in range(first, last + 1):
        started = time.process_time()
        rows, without_truth = load_or_make_list(args.accounts, args.months, seed, args.keep)
        for cut, shares in shares_saved(rows).items():
            lines.append(
                {"cut": cut, "seed": seed, "accounts": len(rows), "everybody": rows["saves"].sum() / 1000, **shares}
            )
        print(f"seed {seed}: {len(rows)} accounts, {rows['csm'].nunique()} managers, {without_truth} without truth, "
              f"{time.process_time() - started:.0f} s", flush=True)  # fmt: skip
    for cut, of_cut in pd.DataFrame(lines).groupby("cut"):
        print(f"\nsaved at capacity, a fifth of each manager's {cut}, as a share of what treating everybody would save")
        print(format_table(of_cut.drop(columns="cut").to_dict("records")))
        print(format_table(mean_rows(of_cut.drop(columns=["cut", "seed", "accounts", "everybody"]))))


def mean_rows(shares: pd.DataFrame) -> list[dict[str, object]]:
    """Mean of each ranking, and what `worth, saving` saves more, with its 90 % interval over companies."""
    half_width = student.ppf(0.95, len(shares) - 1) / np.sqrt(len(shares)) if len(shares) > 1 else np.nan
    gains = {name: shares["worth, saving"] - shares[name] for name in shares}
    return [
        {"": name, "mean": shares[name].mean(), "worth, saving, saves more": gain.mean(),
         "+-": half_width * gain.std(ddof=1), "in companies": f"{(gain > 0).sum()} of {len(gain)}"}
        for name, gain in gains.items()
    ]  # fmt: skip


# --- a company, its list, and its truth ---------------------------------------------------------------


def load_or_make_list(accounts: int, months: int, seed: int, keep: Path | None) -> tuple[pd.DataFrame, int]:
    """The scored accounts with the ARR that treating each really saves; and the number of accounts without a truth.

    The truth covers core contracts: an account whose main renewal is an add-on with another end has none.
    """
    file = keep / f"{accounts}-{months}-{seed}.parquet" if keep else None
    if file and file.is_file():
        rows = pd.read_parquet(file)
    else:
        with tempfile.TemporaryDirectory(prefix="renewals-ranking-") as folder:
            rows = make_list(accounts, months, seed, Path(folder))
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            rows.to_parquet(file)
    rows = rows[rows["status"].eq(SCORED)]
    joined = rows.merge(
        true_effect(accounts, months, seed), on=["account_id", "days_to_renewal"], validate="one_to_one"
    )
    return joined.assign(saves=joined["arr"] * joined["rise"]), len(rows) - len(joined)


def make_list(accounts: int, months: int, seed: int, work: Path) -> pd.DataFrame:
    """The risk list of a simulated company, on the day of its extract; one row per account."""
    company = simulate_company(accounts, months, seed)
    write_company(company, work / "company")
    job = Job(settings(), str(work / "company"), work, work / "lists", until=company.extract_date)
    for stage in find_stages("learn"):
        stage(job)
    champions = {
        target: Champion(target, "1", train_default(job, target, company.extract_date))
        for target in job.settings.targets
    }
    act_job = replace(job, until=None, as_of=company.extract_date)
    for stage in (ledger, spine, windows, featurize, assemble):
        stage(act_job)
    rows, figures = score.read_observations(act_job.folder)
    catalogue, options = artifacts.read_catalogue(act_job.folder), act_job.settings.list
    signed = rows[["account_id", "renewal_signed"]]
    risk_list = score.score_accounts(rows, figures, catalogue, champions, options, lambda _: None, PLAYS).listed
    return risk_list.merge(signed, on="account_id", validate="one_to_one")


def train_default(job: Job, target: str, until: date) -> EnsembleModel:
    """Train a target's model with default hyperparameters."""
    observed = observations(read_training(job), target, until, job.settings.folds.treated_rows)
    schema = Schema.from_catalogue(read_catalogue(job.folder), observed, target, job.settings.lightgbm.monotone)
    choice = SelectedModel(
        default_candidate(job.settings.linear, job.settings.lightgbm), SigmoidCalibration(), (), 0, 0
    )
    return fit_model(observed, schema, choice, job.settings)


def true_effect(accounts: int, months: int, seed: int) -> pd.DataFrame:
    """Effect of an intervention on the day of the extract on the oracle's probability; one row per account.

    The oracle is computed again with the lift of the intervention added to the hidden states. The lift starts in the
    month after; if the decision is before that, the probability does not change.
    """
    rng = dict(zip(RANDOM_STREAMS, np.random.default_rng(seed).spawn(len(RANDOM_STREAMS)), strict=True))
    world = draw_world(rng, accounts, months, np.datetime64(START, "M"))
    month, day, terms = EARLIER_MONTHS + months, world.extract_day, truth.decided_terms(world.journal)
    states = world.full_history.copy()
    states[month, :, hidden.LIFT] += hidden.INTERVENTION_EFFECT / hidden.TRANSITION[hidden.LIFT, hidden.LIFT]
    untreated, treated = (
        truth.oracle_rows(version, terms, month, day) for version in (world, replace(world, full_history=states))
    )
    rise = np.where(
        is_decided(world, untreated["account"], untreated["end"]),
        0.0,
        treated["probability"] - untreated["probability"],
    )
    ids = Extract(world).accounts.to_pandas()
    return pd.DataFrame(
        {
            "account_id": ids.iloc[untreated["account"]].to_numpy(),
            "days_to_renewal": untreated["end"] - day,
            "rise": rise,
        }
    ).astype({"days_to_renewal": "Int64"})


def is_decided(world: World, account: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Flag of the terms that are decided in the month of the extract or before."""
    terms = truth.decided_terms(world.journal)
    decisions = pd.DataFrame({name: terms[name] for name in ("account", "end", "decided")})
    joined = pd.DataFrame({"account": account, "end": end}).merge(
        decisions, on=["account", "end"], validate="one_to_one"
    )
    return np.asarray(
        truth.month_number(joined["decided"].to_numpy()) <= truth.month_number(np.array([world.extract_day]))
    )


# --- rankings ------------------------------------------------------------------------------------------


def shares_saved(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Share saved by each ranking, limited by accounts and by hours."""
    chances = pd.DataFrame(
        {name: rows[f"{name}_probability"] for name in ("renewal", "upsell", "cross_sell", "expansion")}
    )
    all_plays, saving_plays = (prescribe(rows, used) for used in (chances, chances.drop(columns="expansion")))
    is_expansion = np.array([*(play.expansion is not None for play in LIBRARY.plays.values()), False])
    saved_by_worth = np.where(is_expansion[all_plays["play_1"]], 0.0, rows["saves"])
    hours = saving_plays["hours"].where(saving_plays["play_1"] != NO_PLAY, AVERAGE_HOURS)
    orders = {name: (key, rows["saves"], hours) for name, key in sort_keys(rows).items()}
    orders = {
        "worth": (all_plays["gain_per_hour"], saved_by_worth, all_plays["hours"]),
        "worth, saving": (saving_plays["gain_per_hour"], rows["saves"], hours),
    } | orders
    limits = {"accounts": account_limit(rows), "hours": hour_limit(rows, hours)}
    return {
        cut: {
            name: share_within_capacity(rows, order, gain, needed, limit)
            for name, (order, gain, needed) in orders.items()
        }
        for cut, limit in limits.items()
    }


def prescribe(rows: pd.DataFrame, chances: pd.DataFrame) -> pd.DataFrame:
    return prescribe_playbooks(rows, chances, rows, PLAYS, settings().list.expansion_threshold)


def sort_keys(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Sort key of each other ranking; the highest value is first."""
    chance, arr = rows["renewal_probability"], rows["arr"]
    return {
        "probability": 1 - chance,
        "ARR": arr,
        "ARR x probability": arr_at_risk(arr, chance),
        "in time": arr_at_risk(arr, chance).where(rows["days_to_renewal"] > PLAYS.decided_days, 0.0),
        "empulse": expected_profit(chance, arr),
        "truth": rows["saves"],
    }


def account_limit(rows: pd.DataFrame) -> Callable[[str | None], ManagerCapacity]:
    """Capacity of a fifth of each manager's accounts."""
    count = rows["csm"].value_counts()
    return lambda csm: ManagerCapacity(accounts=int(np.ceil(SHARE * count[csm])), arr=float("inf"))


def hour_limit(rows: pd.DataFrame, hours: pd.Series) -> Callable[[str | None], ManagerCapacity]:
    """Capacity of a fifth of the hours of all of a manager's accounts."""
    spent = hours.groupby(rows["csm"]).sum()
    return lambda csm: ManagerCapacity(accounts=len(rows), arr=float("inf"), hours=float(SHARE * spent[csm]))


def share_within_capacity(
    rows: pd.DataFrame,
    order: pd.Series,
    gain: pd.Series,
    hours: pd.Series,
    limit: Callable[[str | None], ManagerCapacity],
) -> float:
    """ARR saved within capacity, as a share of the ARR saved by treating all."""
    fits = rank_accounts(order, rows["arr"], rows["csm"], rows["account_id"], limit, hours)["within_capacity"]
    return float(np.asarray(gain)[fits.to_numpy(bool)].sum() / rows["saves"].sum())


if __name__ == "__main__":
    main()
