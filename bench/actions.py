"""Measure the effect of a logged action on the score, and the cost of leaving actions out of the features.

First the backtest of three models on the same rows, at 90 days' lead, for the accounts with a playbook started in the
past year and for the others: with every feature; with every feature, but at prediction with the actions set to a
reference (no playbook, contacts at their median), and calibrated and tested so; and without actions, as served.

Then an action of each kind is logged for 200 accounts within the three days before the list: in the input tables,
processed as `renewals score` does. The output is the change of the probabilities in points, for the served model and
for a model trained with the actions.
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
from later import format_table, learn_until, read_model_files, settings

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

STAGES = (check, rollup, ledger, spine, windows, featurize, assemble)
RERUN_STAGES = (check, featurize, assemble)
"""The stages that read a table of actions or its results; the results of the others do not change."""
TREATED = "playbooks_started_365d"
Rows = dict[str, pd.DataFrame]
"""Rows to be added, by table."""
Stage = Callable[[Job], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--logged", type=int, default=200, help="number of accounts for which each action is logged")
    parser.add_argument("--day", type=date.fromisoformat, default=date(2026, 6, 1))
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="renewals-actions-"))
    write_company(simulate_company(args.accounts, seed=args.seed), work / "tables")
    configure_logging()
    job = learn_until(work / "tables", work / "data", args.day, settings())
    print(f"\nbacktest at 90 days, {args.accounts} accounts, seed {args.seed}")
    print(format_table(list(backtest_rows(job))))
    print(f"\nlargest change of a probability when an action is logged for {args.logged} accounts, in points")
    print(format_table(list(probability_changes(job, args.day, args.logged))))


# --- the backtest ---------------------------------------------------------------------------------


def backtest_rows(job: Job) -> Iterator[dict[str, Any]]:
    """Backtest each model on all rows, on treated accounts and on the others; one printed row each."""
    observed = observations(artifacts.read_training(job), RENEWAL, job.day, job.settings.folds.treated_rows)
    treated = observed.set_index(KEY)[TREATED] > 0
    catalogue = artifacts.read_catalogue(job.folder)
    for name, use_actions, at_reference in (("with actions", True, False), ("set to a reference", True, True),
                                   ("without actions", False, False)):  # fmt: skip
        schema = Schema.from_catalogue(catalogue, observed, RENEWAL, monotone=True, actions=use_actions)
        steps = list(fit_origins(job, observed, schema, at_reference))
        predictions = walk_forward.predict_at_origins(
            observed, steps, walk_forward.select_at_origins(observed, steps, job.settings), job.settings
        )
        rows = metrics.select_at_lead(predictions[metrics.is_undecided(predictions)], 90)
        is_treated = treated.reindex(pd.MultiIndex.from_frame(rows[KEY])).to_numpy(bool)
        for group, mask in (("all", is_treated | True), ("treated", is_treated), ("untreated", ~is_treated)):
            yield {"model": name, "accounts": group, **metrics_columns(rows[mask])}


def fit_origins(
    job: Job, observed: pd.DataFrame, schema: Schema, at_reference: bool
) -> Iterator[walk_forward.OriginFit]:
    """Fit the models of each origin; if `at_reference`, with the actions of the test rows set to their reference."""
    values = schema.values(observed)
    for fold in rolling_origin_folds(observed, job.settings.folds):
        model_values = set_actions_to_reference(values, fold.train, fold.test, schema) if at_reference else values
        linear_models = walk_forward.fit_linear_models(observed, model_values, schema, fold, job.settings)
        yield walk_forward.fit_origin(observed, model_values, schema, fold, job.settings, linear_models)


def set_actions_to_reference(values: Any, past: Any, ahead: Any, schema: Schema) -> Any:
    """The values with, in the rows `ahead`, no playbook started, and other actions at the median of the rows `past`."""
    changed = values.copy()
    for column in [column for column, name in enumerate(schema.names) if name in action_features()]:
        is_play = schema.names[column].startswith("playbooks")
        changed[ahead, column] = 0.0 if is_play else np.nanmedian(values[past, column])
    return changed


def metrics_columns(rows: pd.DataFrame) -> dict[str, float]:
    truth, probability = rows["label"].to_numpy(), rows["probability"].to_numpy()
    low, high = metrics.auc_interval(truth, probability, rows["account_id"], metrics.Resampling())
    return {
        "rows": len(rows), "renewed": truth.mean(), "mean predicted": probability.mean(),
        "AUC": metrics.auc(truth, probability), "90 % from": low, "to": high,
        "log loss": metrics.log_loss(truth, probability),
        "slope": metrics.calibration_slope(truth, probability),
    }  # fmt: skip


# --- logging --------------------------------------------------------------------------------------


def probability_changes(job: Job, day: date, count: int) -> Iterator[dict[str, Any]]:
    """Change of the probabilities by each kind of action; one printed row each."""
    models = {
        "served": EnsembleModel.from_files(read_model_files(job.data / "models" / RENEWAL)),
        "with actions": train_with_actions(job),
    }
    more = {
        t: EnsembleModel.from_files(read_model_files(job.data / "models" / t))
        for t in job.settings.targets[1:]
        if is_trained(job, t)
    }
    acting = replace(job, data=job.data / "acting", until=None, as_of=day)
    before = predict(acting, models | more, STAGES)
    ids = before.sample(count, random_state=7).index
    tables = {name: pd.read_parquet(Path(job.tables) / f"{name}.parquet") for name in ("people", "surveys")}
    for name, rows in loggable_actions(job, ids, day, tables):
        with with_rows_logged(acting, rows) as after:
            change = 100 * (predict(after, models | more, RERUN_STAGES) - before).loc[ids].abs()
        largest = {"expansion targets, served": change[list(more)].max().max()} if more else {}
        by_model = {model: change[model].max() for model in models}
        yield {"action": name, **by_model, "with actions, mean": change["with actions"].mean(), **largest}


def is_trained(job: Job, target: str) -> bool:
    return artifacts.untrained_reason(read_model_files(job.data / "models" / target)) is None


def train_with_actions(job: Job) -> EnsembleModel:
    """Train the renewal model with the actions as ordinary features."""
    rows, catalogue = artifacts.read_training(job), artifacts.read_catalogue(job.folder)
    observed = observations(rows, RENEWAL, job.day, job.settings.folds.treated_rows)
    unmarked = [{**feature, "action": False} for feature in catalogue]
    return EnsembleModel.from_files(train.fit_model(observed, rows, unmarked, RENEWAL, job)[0])


@contextmanager
def with_rows_logged(job: Job, rows: Rows) -> Iterator[Job]:
    """Yield the job with rows added to a copy of its tables."""
    with tempfile.TemporaryDirectory(prefix="renewals-actions-") as folder:
        tables = Path(folder) / "tables"
        shutil.copytree(job.tables, tables, ignore=shutil.ignore_patterns("ground_truth"))
        for name, added in rows.items():
            upsert_rows(tables / f"{name}.parquet", added)
        yield replace(job, tables=str(tables))


def predict(job: Job, models: dict[str, EnsembleModel], stages: Sequence[Stage]) -> pd.DataFrame:
    """Run these stages and predict the day's rows; one row per account, a column per model."""
    for stage in stages:
        stage(job)
    scoring = pd.read_parquet(job.folder / "scoring.parquet").set_index("account_id")
    return pd.DataFrame(
        {name: m.probability(mask_infinite(scoring)[0]) for name, m in models.items()}, index=scoring.index
    )


def upsert_rows(file: Path, added: pd.DataFrame) -> None:
    """Add rows to a table; a row with the index of an existing row replaces it."""
    existing = pd.read_parquet(file)
    rows = added.reindex(columns=existing.columns).astype(existing.dtypes.to_dict())
    pd.concat([existing.drop(index=rows.index.intersection(existing.index)), rows]).to_parquet(file, index=False)


def loggable_actions(
    job: Job, ids: Iterable[Any], day: date, tables: dict[str, pd.DataFrame]
) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """Yield every playbook, every kind of contact, a goal, a survey and a follow-up, as rows for each account."""
    day_before = pd.Timestamp(day) - timedelta(hours=9)
    accounts = pd.DataFrame({"account_id": list(ids)})
    known = tables["people"].drop_duplicates("account_id", keep="last")
    with_person = accounts.merge(known[["account_id", "user_id"]], on="account_id", how="left")
    for play in playbook_library.load_library(job).plays:
        yield (
            f"play {play}",
            {"interventions": with_unused_index(accounts.assign(playbook=play, started_at=day_before))},
        )
    for kind in CONTACT_KINDS:
        contacts = with_person.assign(kind=kind, initiated_by="us", occurred_at=day_before)
        yield f"{kind} with a person", {"touchpoints": with_unused_index(contacts)}
    goal = accounts.assign(goal="save an hour", set_at=day_before, due_at=day_before + timedelta(days=90))
    yield "goal agreed on", {"value_goals": with_unused_index(goal)}
    yield "survey sent", {"surveys": with_unused_index(with_person.assign(kind="nps", sent_at=day_before))}
    answered = tables["surveys"].loc[lambda rows: rows["answered_at"].notna() & rows["account_id"].isin(ids)]
    yield "answers followed up", {"surveys": answered.assign(followed_up_at=day_before)}


def with_unused_index(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with an index that no table has."""
    return rows.set_axis(range(-len(rows), 0))


if __name__ == "__main__":
    main()
