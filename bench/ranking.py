"""Whom to call first: the revenue truly saved at capacity by ranking by worth, and by four other rankings.

Each seed is an example company of its own, learned from and listed as `renewals score` does (with the recipe that is
usual where there is no past to choose by, and no calibration: the order hardly hangs on either). Every manager can
carry a fifth of the accounts, so that capacity bites. Who is within it is treated on the day of the list, once; the
truth says by how much that moves the probability with which the renewal will be decided, and that times ARR is what is
saved. In the example company an intervention adds the same to everybody's log-odds, whatever play it is, and fades by
10 % a month; it comes too late where the decision has fallen.

worth          as listed: growing plays compete for the places, and where one is the best play nothing is saved
worth, saving  the same without growing plays
probability    of loss
ARR            and ARR x probability of loss; "in time": the same with those too late to be saved behind all others
empulse        expected profit of contacting the account, as empulse's measure for B2B churn reckons it (EMPB)
truth          the most that could be saved

Everybody: what treating all would save, in thousands of ARR; each other figure is a share of it. Then the same where
managers are cut by hours instead: the first playbook's, a fifth of what all accounts together would take.

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
from later import settings, table
from scipy.stats import t as student

from renewals.examples.company import simulate_company, truth, write_company
from renewals.examples.company import states as hidden
from renewals.examples.company.customers import EARLIER_MONTHS
from renewals.examples.company.simulation import RANDOM_STREAMS, START
from renewals.examples.company.tables import Extract
from renewals.examples.company.world import World, draw_world
from renewals.models.evaluation.backtest import expected_profit
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
"""Of a manager's accounts, or hours, that can be carried."""
LIBRARY = read_library(DEFAULT_LIBRARY)
PLAYS = AvailablePlaybooks(LIBRARY, combine_effects(LIBRARY, {}), settings().folds.decided_days)
AVERAGE = float(np.mean([play.hours for play in LIBRARY.plays.values()]))
"""Hours taken by an account for which nothing is prescribed, where another ranking treats it all the same."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, nargs="+", default=[10], help="how many, or the first and the last")
    options.add_argument("--accounts", type=int, default=1000)
    options.add_argument("--months", type=int, default=30)
    options.add_argument("--keep", type=Path, help="a folder to keep each company's list in")
    asked = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    first, last = (1, asked.seeds[0]) if len(asked.seeds) == 1 else asked.seeds
    lines = []
    for seed in range(first, last + 1):
        begun = time.process_time()
        rows, left_out = listed(asked.accounts, asked.months, seed, asked.keep)
        for cut, found in saved(rows).items():
            lines.append(
                {"cut": cut, "seed": seed, "accounts": len(rows), "everybody": rows["saves"].sum() / 1000, **found}
            )
        print(f"seed {seed}: {len(rows)} accounts, {rows['csm'].nunique()} managers, {left_out} left out, "
              f"{time.process_time() - begun:.0f} s", flush=True)  # fmt: skip
    for cut, own in pd.DataFrame(lines).groupby("cut"):
        print(f"\nsaved at capacity, a fifth of each manager's {cut}, as a share of what treating everybody would save")
        print(table(own.drop(columns="cut").to_dict("records")))
        print(table(means(own.drop(columns=["cut", "seed", "accounts", "everybody"]))))


def means(found: pd.DataFrame) -> list[dict[str, object]]:
    """The mean of each ranking, and what worth for saving alone saves more, with its 90 % interval over companies."""
    wide = student.ppf(0.95, len(found) - 1) / np.sqrt(len(found)) if len(found) > 1 else np.nan
    apart = {name: found["worth, saving"] - found[name] for name in found}
    return [
        {"": name, "mean": found[name].mean(), "worth, saving, saves more": own.mean(), "+-": wide * own.std(ddof=1),
         "in companies": f"{(own > 0).sum()} of {len(own)}"}
        for name, own in apart.items()
    ]  # fmt: skip


# --- a company, its list, and its truth ---------------------------------------------------------------


def listed(accounts: int, months: int, seed: int, keep: Path | None) -> tuple[pd.DataFrame, int]:
    """The scored accounts with what treating each would truly save; and how many the truth says nothing of.

    The truth is told of core contracts: where add-ons of another end are the main renewal there is none.
    """
    file = keep / f"{accounts}-{months}-{seed}.parquet" if keep else None
    if file and file.is_file():
        rows = pd.read_parquet(file)
    else:
        with tempfile.TemporaryDirectory(prefix="renewals-ranking-") as folder:
            rows = made(accounts, months, seed, Path(folder))
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            rows.to_parquet(file)
    rows = rows[rows["status"].eq(SCORED)]
    told = rows.merge(true_rise(accounts, months, seed), on=["account_id", "days_to_renewal"], validate="one_to_one")
    return told.assign(saves=told["arr"] * told["rise"]), len(rows) - len(told)


def made(accounts: int, months: int, seed: int, work: Path) -> pd.DataFrame:
    """The risk list of a simulated company, on the day of its extract; one row per account."""
    company = simulate_company(accounts, months, seed)
    write_company(company, work / "company")
    job = Job(settings(), str(work / "company"), work, work / "lists", until=company.extract_date)
    for stage in find_stages("learn"):
        stage(job)
    champions = {
        target: Champion(target, "1", model(job, target, company.extract_date)) for target in job.settings.targets
    }
    act = replace(job, until=None, as_of=company.extract_date)
    for stage in (spine, windows, ledger, featurize, assemble):
        stage(act)
    rows, figures = score.read_observations(act.folder)
    catalogue, options = artifacts.read_catalogue(act.folder), act.settings.list
    signed = rows[["account_id", "renewal_signed"]]
    whole = score.score_accounts(rows, figures, catalogue, champions, options, lambda _: None, PLAYS).listed
    return whole.merge(signed, on="account_id", validate="one_to_one")


def model(job: Job, target: str, until: date) -> EnsembleModel:
    """A target's model, by the recipe that is usual where there is no past to choose by."""
    observed = observations(read_training(job), target, until, job.settings.folds.treated_rows)
    schema = Schema.from_catalogue(read_catalogue(job.folder), observed, target, job.settings.lightgbm.monotone)
    choice = SelectedModel(
        default_candidate(job.settings.linear, job.settings.lightgbm), SigmoidCalibration(), (), 0, 0
    )
    return fit_model(observed, schema, choice, job.settings)


def true_rise(accounts: int, months: int, seed: int) -> pd.DataFrame:
    """By how much an intervention on the day of the extract moves the oracle's probability; one row per account.

    The same company with what the intervention leaves behind added to the hidden states. It comes into force in the
    month after; where the decision falls before that, nothing is moved.
    """
    rng = dict(zip(RANDOM_STREAMS, np.random.default_rng(seed).spawn(len(RANDOM_STREAMS)), strict=True))
    world = draw_world(rng, accounts, months, np.datetime64(START, "M"))
    month, day, terms = EARLIER_MONTHS + months, world.extract_day, truth.decided_terms(world.journal)
    states = world.full_history.copy()
    states[month, :, hidden.LIFT] += hidden.INTERVENTION_EFFECT / hidden.TRANSITION[hidden.LIFT, hidden.LIFT]
    same, other = (truth.oracle_rows(one, terms, month, day) for one in (world, replace(world, full_history=states)))
    rise = np.where(late(world, same["account"], same["end"]), 0.0, other["probability"] - same["probability"])
    ids = Extract(world).accounts.to_pandas()
    return pd.DataFrame(
        {"account_id": ids.iloc[same["account"]].to_numpy(), "days_to_renewal": same["end"] - day, "rise": rise}
    ).astype({"days_to_renewal": "Int64"})


def late(world: World, account: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Whether each term is decided in the month of the extract or was before."""
    terms = truth.decided_terms(world.journal)
    fate = pd.DataFrame({name: terms[name] for name in ("account", "end", "decided")})
    found = pd.DataFrame({"account": account, "end": end}).merge(fate, on=["account", "end"], validate="one_to_one")
    return np.asarray(
        truth.month_number(found["decided"].to_numpy()) <= truth.month_number(np.array([world.extract_day]))
    )


# --- rankings ------------------------------------------------------------------------------------------


def saved(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The share saved by each ranking, cut by accounts and by hours."""
    chances = pd.DataFrame(
        {name: rows[f"{name}_probability"] for name in ("renewal", "upsell", "cross_sell", "expansion")}
    )
    whole, saving = (plays_of(rows, own) for own in (chances, chances.drop(columns="expansion")))
    grows = np.array([*(play.expansion is not None for play in LIBRARY.plays.values()), False])
    first = np.where(grows[whole["play_1"]], 0.0, rows["saves"])
    hours = saving["hours"].where(saving["play_1"] != NO_PLAY, AVERAGE)
    orders = {name: (own, rows["saves"], hours) for name, own in rankings(rows).items()}
    orders = {
        "worth": (whole["gain_per_hour"], first, whole["hours"]),
        "worth, saving": (saving["gain_per_hour"], rows["saves"], hours),
    } | orders
    limits = {"accounts": of_accounts(rows), "hours": of_hours(rows, hours)}
    return {
        cut: {name: shared(rows, order, gain, spent, limit) for name, (order, gain, spent) in orders.items()}
        for cut, limit in limits.items()
    }


def plays_of(rows: pd.DataFrame, chances: pd.DataFrame) -> pd.DataFrame:
    return prescribe_playbooks(rows, chances, rows, PLAYS, settings().list.expansion_threshold)


def rankings(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """What each other ranking goes by."""
    chance, arr = rows["renewal_probability"], rows["arr"]
    return {
        "probability": 1 - chance,
        "ARR": arr,
        "ARR x probability": arr_at_risk(arr, chance),
        "in time": arr_at_risk(arr, chance).where(rows["days_to_renewal"] > PLAYS.decided_days, 0.0),
        "empulse": expected_profit(chance, arr),
        "truth": rows["saves"],
    }


def of_accounts(rows: pd.DataFrame) -> Callable[[str | None], ManagerCapacity]:
    """A fifth of each manager's accounts."""
    count = rows["csm"].value_counts()
    return lambda csm: ManagerCapacity(accounts=int(np.ceil(SHARE * count[csm])), arr=float("inf"))


def of_hours(rows: pd.DataFrame, hours: pd.Series) -> Callable[[str | None], ManagerCapacity]:
    """A fifth of the hours that all of a manager's accounts would take."""
    spent = hours.groupby(rows["csm"]).sum()
    return lambda csm: ManagerCapacity(accounts=len(rows), arr=float("inf"), hours=float(SHARE * spent[csm]))


def shared(
    rows: pd.DataFrame,
    order: pd.Series,
    gain: pd.Series,
    hours: pd.Series,
    limit: Callable[[str | None], ManagerCapacity],
) -> float:
    """What is saved within capacity, as a share of all."""
    fits = rank_accounts(order, rows["arr"], rows["csm"], rows["account_id"], limit, hours)["within_capacity"]
    return float(np.asarray(gain)[fits.to_numpy(bool)].sum() / rows["saves"].sum())


if __name__ == "__main__":
    main()
