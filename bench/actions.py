"""Does a logged action move the score? The probability before and after each, and what leaving actions out costs.

First the back-test of three models on the same rows, at 90 days' lead, for the accounts in whose past year a play was
begun and for the others: with every feature; with every feature, but with the actions set to a reference where a list
is made (no play, contacts as they usually are), and calibrated and tested so; and without actions, as it is served.

Then an action of each kind is logged for 200 accounts within the three days before the list: in the tables, on the way
that `renewals score` takes. Printed is by how much probabilities move, the one that is served and that of a model that
was learned with the actions, in points.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from later import files, learned, settings, table

from renewals.examples.company import simulate_company, write_company
from renewals.features.policy import CONTACT_KINDS
from renewals.features.registry import action_features
from renewals.models import metrics
from renewals.models.settings import RENEWAL
from renewals.models.training import walk_forward
from renewals.models.training.ensemble import EnsembleModel
from renewals.models.training.schema import Schema, mask_infinite
from renewals.models.training.splits import KEY, observations, rolling_origin_folds
from renewals.pipelines.runtime.console import configure_logging
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.stages.learn import train
from renewals.pipelines.stages.prepare.assemble import assemble
from renewals.pipelines.stages.prepare.check import check
from renewals.pipelines.stages.prepare.featurize import featurize
from renewals.pipelines.stages.prepare.ledger import ledger
from renewals.pipelines.stages.prepare.rollup import rollup
from renewals.pipelines.stages.prepare.spine import spine
from renewals.pipelines.stages.prepare.windows import windows
from renewals.pipelines.storage import artifacts, playbook_library

STAGES = (check, rollup, spine, windows, ledger, featurize, assemble)
AGAIN = (check, featurize, assemble)
"""What reads a table of our actions, or anything made of one: the rest is as it was when an action is logged."""
TREATED = "playbooks_started_365d"
Rows = dict[str, pd.DataFrame]
"""Rows to be added, by table."""
Stage = Callable[[Job], Any]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--accounts", type=int, default=2000)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--logged", type=int, default=200, help="for how many accounts each action is logged")
    options.add_argument("--day", type=date.fromisoformat, default=date(2026, 6, 1))
    asked = options.parse_args()
    work = Path(tempfile.mkdtemp(prefix="renewals-actions-"))
    write_company(simulate_company(asked.accounts, seed=asked.seed), work / "tables")
    configure_logging()
    job = learned(work / "tables", work / "data", asked.day, settings())
    print(f"\nback-test at 90 days, {asked.accounts} accounts, seed {asked.seed}")
    print(table(list(compared(job))))
    print(f"\nlargest change of a probability when an action is logged for {asked.logged} accounts, in points")
    print(table(list(moved(job, asked.day, asked.logged))))


# --- the back-test --------------------------------------------------------------------------------


def compared(job: Job) -> Iterator[dict[str, Any]]:
    """Each model on all rows, on those of treated accounts and on the others; one printed row each."""
    observed = observations(artifacts.read_training(job), RENEWAL, job.day, job.settings.folds.treated_rows)
    treated = observed.set_index(KEY)[TREATED] > 0
    catalogue = artifacts.read_catalogue(job.folder)
    for name, actions, neutral in (("with actions", True, False), ("set to a reference", True, True),
                                   ("without actions", False, False)):  # fmt: skip
        schema = Schema.from_catalogue(catalogue, observed, RENEWAL, monotone=True, actions=actions)
        steps = list(walked(job, observed, schema, neutral))
        said = walk_forward.predict_at_origins(
            observed, steps, walk_forward.select_at_origins(observed, steps, job.settings), job.settings
        )
        rows = metrics.select_at_lead(said[~said["renewal_signed"].astype(bool)], 90)
        was = treated.reindex(pd.MultiIndex.from_frame(rows[KEY])).to_numpy(bool)
        for part, where in (("all", was | True), ("treated", was), ("untreated", ~was)):
            yield {"model": name, "accounts": part, **figures(rows[where])}


def walked(job: Job, observed: pd.DataFrame, schema: Schema, neutral: bool) -> Iterator[walk_forward.OriginFit]:
    """What the models of each origin say of the rows after it, where wanted with actions set to their reference."""
    values = schema.values(observed)
    for fold in rolling_origin_folds(observed, job.settings.folds):
        own = neutralised(values, fold.train, fold.test, schema) if neutral else values
        lines = walk_forward.fit_linear_models(observed, own, schema, fold, job.settings)
        yield walk_forward.fit_origin(observed, own, schema, fold, job.settings, lines)


def neutralised(values: Any, past: Any, ahead: Any, schema: Schema) -> Any:
    """The values, in the rows ahead with no play begun, and contacts and the like as they usually were in the past."""
    own = values.copy()
    for place in [place for place, name in enumerate(schema.names) if name in action_features()]:
        is_play = schema.names[place].startswith("playbooks")
        own[ahead, place] = 0.0 if is_play else np.nanmedian(values[past, place])
    return own


def figures(rows: pd.DataFrame) -> dict[str, float]:
    truth, chance = rows["label"].to_numpy(), rows["probability"].to_numpy()
    low, high = metrics.auc_interval(truth, chance, rows["account_id"], metrics.Resampling())
    return {
        "rows": len(rows), "renewed": truth.mean(), "said": chance.mean(), "AUC": metrics.auc(truth, chance),
        "90 % from": low, "to": high, "log loss": metrics.log_loss(truth, chance),
        "slope": metrics.calibration_slope(truth, chance),
    }  # fmt: skip


# --- logging --------------------------------------------------------------------------------------


def moved(job: Job, day: date, count: int) -> Iterator[dict[str, Any]]:
    """By how much each kind of action moves the probabilities; one printed row each."""
    models = {
        "served": EnsembleModel.from_files(files(job.data / "models" / RENEWAL)),
        "with actions": with_actions(job),
    }
    more = {
        t: EnsembleModel.from_files(files(job.data / "models" / t)) for t in job.settings.targets[1:] if trained(job, t)
    }
    acting = replace(job, data=job.data / "acting", until=None, as_of=day)
    before = said(acting, models | more, STAGES)
    ids = before.sample(count, random_state=7).index
    tables = {name: pd.read_parquet(Path(job.tables) / f"{name}.parquet") for name in ("people", "surveys")}
    for name, rows in actions(job, ids, day, tables):
        with logged(acting, rows) as after:
            apart = 100 * (said(after, models | more, AGAIN) - before).loc[ids].abs()
        largest = {"expansion targets, served": apart[list(more)].max().max()} if more else {}
        both = {model: apart[model].max() for model in models}
        yield {"action": name, **both, "with actions, mean": apart["with actions"].mean(), **largest}


def trained(job: Job, target: str) -> bool:
    return artifacts.untrained_reason(files(job.data / "models" / target)) is None


def with_actions(job: Job) -> EnsembleModel:
    """The model of renewal as it is learned where actions count as features like others."""
    rows, catalogue = artifacts.read_training(job), artifacts.read_catalogue(job.folder)
    observed = observations(rows, RENEWAL, job.day, job.settings.folds.treated_rows)
    blind = [{**feature, "action": False} for feature in catalogue]
    return EnsembleModel.from_files(train.fit_model(observed, rows, blind, RENEWAL, job)[0])


@contextmanager
def logged(job: Job, rows: Rows) -> Iterator[Job]:
    """The job with rows added to its tables."""
    with tempfile.TemporaryDirectory(prefix="renewals-actions-") as folder:
        tables = Path(folder) / "tables"
        shutil.copytree(job.tables, tables, ignore=shutil.ignore_patterns("ground_truth"))
        for name, added in rows.items():
            write_more(tables / f"{name}.parquet", added)
        yield replace(job, tables=str(tables))


def said(job: Job, models: dict[str, EnsembleModel], stages: Sequence[Stage]) -> pd.DataFrame:
    """The probabilities of the day, by these stages of a list; one row per account, a column per model."""
    for stage in stages:
        stage(job)
    scoring = pd.read_parquet(job.folder / "scoring.parquet").set_index("account_id")
    return pd.DataFrame(
        {name: m.probability(mask_infinite(scoring)[0]) for name, m in models.items()}, index=scoring.index
    )


def write_more(file: Path, added: pd.DataFrame) -> None:
    """Add rows to a table; where they bear the index of rows that are there, they take their place."""
    there = pd.read_parquet(file)
    new = added.reindex(columns=there.columns).astype(there.dtypes.to_dict())
    pd.concat([there.drop(index=new.index.intersection(there.index)), new]).to_parquet(file, index=False)


def actions(
    job: Job, ids: Iterable[Any], day: date, tables: dict[str, pd.DataFrame]
) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """Every play of the library, every kind of contact, a goal, a survey and a follow-up, for each account."""
    day_before = pd.Timestamp(day) - timedelta(hours=9)
    accounts = pd.DataFrame({"account_id": list(ids)})
    known = tables["people"].drop_duplicates("account_id", keep="last")
    met = accounts.merge(known[["account_id", "user_id"]], on="account_id", how="left")
    for play in playbook_library.load_library(job).plays:
        yield f"play {play}", {"interventions": new(accounts.assign(playbook=play, started_at=day_before))}
    for kind in CONTACT_KINDS:
        touched = met.assign(kind=kind, initiated_by="us", occurred_at=day_before)
        yield f"{kind} with a person", {"touchpoints": new(touched)}
    goal = accounts.assign(goal="save an hour", set_at=day_before, due_at=day_before + timedelta(days=90))
    yield "goal agreed on", {"value_goals": new(goal)}
    yield "survey sent", {"surveys": new(met.assign(kind="nps", sent_at=day_before))}
    given = tables["surveys"].loc[lambda rows: rows["answered_at"].notna() & rows["account_id"].isin(ids)]
    yield "answers followed up", {"surveys": given.assign(followed_up_at=day_before)}


def new(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with an index that no table has."""
    return rows.set_axis(range(-len(rows), 0))


if __name__ == "__main__":
    main()
