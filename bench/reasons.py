"""Compare the reasons of the list with the true causes, on the example company, where they are known.

Trains until a day and explains later renewals at a lead. Of the renewals that were rated high risk and were lost:

* *cause*: share with the planted cause as theme of the first reason, and among the first three. Compared with the
  order of the themes' sums alone, the themes of the strongest base features, the most frequent cause for all, and the
  upper limit: the order of the hidden states on the day of the list;
* *deletion*: rise of the mean probability of renewal if the values of the first three themes are replaced by the
  typical values of the peers, compared with three random themes and the last three;
* *refits*: similarity (Jaccard) of the first three themes when the model is trained again, with other seeds of the
  trees and with resampled accounts; the same for base features;
* *additivity*: maximum difference between contributions plus base and the margin.

`--work` keeps company, features and model: a second run starts from them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from later import format_table, later_observations, learn_until, read_model_files, settings

from renewals.examples.company import simulate_company, write_company
from renewals.examples.company.states import CAUSES, STATES, cause_contributions
from renewals.features.family import THEMES
from renewals.models import metrics
from renewals.models.explanation.reasons import PeerStatistics, base_feature, explain_scores, peer_statistics
from renewals.models.training.ensemble import EnsembleModel, Hyperparameters, fit_trees
from renewals.models.training.splits import observations
from renewals.models.training.walk_forward import SelectedModel, fit_model, sample_weights
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.settings import Settings
from renewals.pipelines.storage.artifacts import MODEL_CARD
from renewals.reports.words import Messages

THEME_OF = dict(
    zip(("value", "adoption", "support_pain", "sponsor_change", "fit", "first_value"),
        ("value", "adoption", "support", "sponsor", "fit", "first_value"), strict=True)
)  # fmt: skip
"""Theme that corresponds to each planted cause."""
FIRST, REFITS = 3, 5
Sets = list[frozenset[str]]


@dataclass(frozen=True)
class Case:
    """The later renewals, the model, and the renewals to be explained."""

    rows: pd.DataFrame
    model: EnsembleModel
    features: list[dict[str, Any]]
    options: Settings
    peers: PeerStatistics
    positions: np.ndarray[Any, Any]
    """Positions of the high-risk losses in the rows."""

    @property
    def lost(self) -> pd.DataFrame:
        """The high-risk losses."""
        return self.rows.iloc[self.positions]

    def explain(self, model: EnsembleModel, features: list[dict[str, Any]]) -> pd.DataFrame:
        """Reasons of the high-risk losses by a model, as the list shows them."""
        values, listed = self.lost[list(model.schema.names)], self.options.list
        peers = PeerStatistics(self.peers.typical_values, self.peers.group[self.positions])
        phrases = Messages(listed.language).phrases()
        return explain_scores(model.contributions(values)[0], values, features, peers, phrases, listed.min_reason_share)

    def sums(self) -> pd.DataFrame:
        """Contribution of each theme to the margin of each high-risk loss; rows × themes."""
        theme = {feature["name"]: feature["theme"] for feature in self.features}
        per_theme = self.model.contributions(self.lost)[0].T.groupby(theme).sum().T
        return per_theme.reindex(columns=list(THEMES), fill_value=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--until", type=date.fromisoformat, default=date(2025, 3, 1))
    parser.add_argument("--end", type=date.fromisoformat, default=date(2026, 7, 1))
    parser.add_argument("--lead", type=int, default=90)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix=f"renewals-reasons-{args.accounts}-{args.seed}-"))
    job = prepare_job(work, args)
    case = build_case(job, args)
    print(f"{args.accounts} accounts, seed {args.seed}: {len(case.rows)} later renewals {args.lead} days before, "
          f"{len(case.positions)} of them rated high risk and lost")  # fmt: skip
    print_causes(case)
    print_deletion(case, np.random.default_rng(args.seed))
    print_refits(case, job)
    parts, base = case.model.contributions(case.rows)
    gap = np.abs(base + parts.sum(axis=1) - case.model.margin(case.rows)).max()
    print(f"\nadditivity: |base + contributions - margin| is at most {gap:.1e}")


def prepare_job(work: Path, args: argparse.Namespace) -> Job:
    """Build the company and train until the day; existing files are reused."""
    company, options = work / "company", settings("targets=[renewal]")
    if not (company / "ground_truth").is_dir():
        write_company(simulate_company(args.accounts, seed=args.seed), company)
    if not (work / "models" / "renewal" / MODEL_CARD).is_file():
        return learn_until(company, work, args.until, options)
    return Job(options, str(company), work, work / "lists", until=args.until)


def build_case(job: Job, args: argparse.Namespace) -> Case:
    """Build the case: the later renewals at the lead and those to be explained, with peers from all of them."""
    file = job.data / "later" / "learn" / "training.parquet"
    later_rows = pd.read_parquet(file) if file.is_file() else later_observations(job, args.end)
    matured = observations(
        later_rows[pd.to_datetime(later_rows["as_of"]) >= pd.Timestamp(args.until)], "renewal", args.end
    )
    rows = metrics.select_at_lead(matured[metrics.is_undecided(matured)], args.lead)
    rows = join_truth(rows, Path(job.tables) / "ground_truth").reset_index(drop=True)
    model = EnsembleModel.from_files(read_model_files(job.data / "models" / "renewal"))
    catalogue = json.loads((job.data / "learn" / "features.json").read_bytes())["features"]
    features = [feature for feature in catalogue if feature["name"] in model.schema.names]
    listed = job.settings.list
    peers = peer_statistics(rows[list(model.schema.names)], rows["size_band"], rows["stage"], listed.min_peers)
    high = model.probability(rows) <= 1 - listed.bands.high
    return Case(rows, model, features, job.settings, peers, np.flatnonzero(high & (rows["label"] == 0).to_numpy()))


def join_truth(rows: pd.DataFrame, truth: Path) -> pd.DataFrame:
    """The rows with a truth, each with its cause and the themes in the order of its states on the day."""
    renewals, oracle = (pd.read_parquet(truth / f"{name}.parquet") for name in ("renewals", "oracle"))
    for frame in (rows, renewals, oracle):
        for day in {"as_of", "renewal_date"} & set(frame.columns):
            frame[day] = pd.to_datetime(frame[day]).astype("datetime64[us]")
    hidden = oracle[["account_id", "as_of"]].assign(**oracle[[*STATES, "fit", "first_value"]].add_prefix("true_"))
    rows = rows.merge(renewals[["account_id", "renewal_date", "planted_cause"]], on=["account_id", "renewal_date"])
    rows = rows.merge(hidden, on=["account_id", "as_of"], validate="many_to_one")
    moving = rows[[f"true_{state}" for state in STATES]].to_numpy(np.float64)
    fixed = (rows[f"true_{state}"].to_numpy(np.float64) for state in ("fit", "first_value"))
    contributions = cause_contributions(moving, *fixed, rows["renewals_so_far"].to_numpy(np.int64))
    themes = np.array([THEME_OF[cause] for cause in CAUSES], object)
    return rows.assign(cause=rows["planted_cause"].map(THEME_OF), states=[*themes[np.argsort(contributions, axis=1)]])


def print_causes(case: Case) -> None:
    """Print the share with the planted cause as the first reason, and among the first three."""
    cause = case.lost["cause"].to_numpy()
    theme = {feature["name"]: feature["theme"] for feature in case.features}
    listed, by_feature = (
        case.explain(case.model, case.features),
        case.explain(case.model, theme_per_feature(case.features)),
    )
    most_frequent = case.lost["cause"].value_counts().index.to_numpy(object)
    orders = {
        "reasons of the list": listed[[f"reason_{k}_theme" for k in range(1, FIRST + 1)]].to_numpy(object),
        "sums of the themes alone": np.array(THEMES, object)[np.argsort(case.sums().to_numpy(), axis=1, kind="stable")],
        "themes of the strongest base features": np.vectorize(theme.get, otypes=[object])(
            by_feature[[f"reason_{k}_feature" for k in range(1, FIRST + 1)]].to_numpy(object)
        ),
        "the most frequent causes": np.tile(most_frequent, (len(cause), 1)),
        "the hidden states on the day": np.stack(case.lost["states"].to_list()),
    }
    lines = []
    for name, order in orders.items():
        hits = order[:, :FIRST] == cause[:, None]
        lines.append(
            {
                "": name,
                **share_columns("first", hits[:, 0], case.lost),
                **share_columns("in three", hits.any(axis=1), case.lost),
            }
        )
    print("\nplanted cause as first reason and among the first three (90 % intervals, accounts resampled)")
    print(format_table(lines))
    print("\nby cause, the reasons of the list")
    print(format_table([*cause_rows(cause, orders["reasons of the list"])]))


def theme_per_feature(features: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The features with one theme per base feature, as a list without themes would use them."""
    return [{**feature, "theme": f"{feature['family']} {base_feature(feature)}"} for feature in features]


def share_columns(name: str, hit: np.ndarray[Any, Any], rows: pd.DataFrame) -> dict[str, float]:
    """Mean of a flag with its account-clustered interval, as columns of a printed table."""
    hits = hit.astype(np.float64)
    low, high = metrics.clustered_interval(_weighted_mean, hits, hits, rows["account_id"], metrics.Resampling())
    return {name: float(hits.mean()), f"{name}, from": low, f"{name}, to": high}


def _weighted_mean(hits: Any, _chance: Any, weight: Any) -> float:
    return float(np.average(hits, weights=weight))


def cause_rows(cause: np.ndarray[Any, Any], order: np.ndarray[Any, Any]) -> Iterator[dict[str, Any]]:
    for theme, count in pd.Series(cause).value_counts().items():
        of_theme = order[cause == theme]
        first_shares = pd.Series(of_theme[:, 0]).value_counts(normalize=True)
        yield {"cause": theme, "losses": count, "first": (of_theme[:, 0] == theme).mean(),
               "in three": (of_theme[:, :FIRST] == theme).any(axis=1).mean(),
               "named first": ", ".join(f"{name} {p:.0%}" for name, p in first_shares.head(3).items())}  # fmt: skip


def print_deletion(case: Case, rng: np.random.Generator) -> None:
    """Print the mean probability after replacing themes by the peers' typical values."""
    sums = case.sums()
    present = [theme for theme in THEMES if sums[theme].any()]
    ranked = np.array(present, object)[np.argsort(sums[present].to_numpy(), axis=1, kind="stable")]
    replaced = {
        "the first three": [*map(frozenset, ranked[:, :FIRST])],
        "three at random": [frozenset(rng.choice(present, FIRST, replace=False)) for _ in range(len(ranked))],
        "the last three": [*map(frozenset, ranked[:, -FIRST:])],
    }
    before = case.model.probability(case.lost)
    rise = {name: case.model.probability(replace_by_peers(case, themes)) - before for name, themes in replaced.items()}
    print(f"\ndeletion: the mean probability is {before.mean():.3f}; with the peers' values")
    print(format_table([{"": name, "it rises by": difference.mean()} for name, difference in rise.items()]))
    share_larger = (rise["the first three"] > rise["three at random"]).mean()
    print(f"the first three raise it by more than three at random for {share_larger:.0%} of the accounts")


def replace_by_peers(case: Case, themes: Sets) -> pd.DataFrame:
    """The high-risk losses with all values of some themes replaced by their peers' typical ones; one row per loss."""
    group, rows = case.peers.group[case.positions], case.lost.copy()
    for feature in case.features:
        name = feature["name"]
        typical = case.peers.typical_values[name].to_numpy(object)[group]
        replaced = np.array([feature["theme"] in names for names in themes])
        rows[name] = pd.Series(np.where(replaced, typical, rows[name].to_numpy(object)), rows.index).astype(
            rows[name].dtype
        )
    return rows


def print_refits(case: Case, job: Job) -> None:
    """Print the similarity of the first three themes when the model is trained again."""
    past, treated = pd.read_parquet(job.data / "learn" / "training.parquet"), case.options.folds.treated_rows
    training = observations(past, "renewal", job.day, treated)
    models = {
        "other seeds": [*refit_seeds(case, training)],
        "accounts resampled": [*refit_accounts(case, training, job)],
    }
    lines = []
    for grain, features in {"themes": case.features, "base features": theme_per_feature(case.features)}.items():
        first = first_three(case.explain(case.model, features))
        for name, refitted in models.items():
            similarities = [jaccard(first, first_three(case.explain(model, features))) for model in refitted]
            lines.append({"": f"{grain}, {name}", "Jaccard": np.mean(similarities), "lowest": min(similarities)})
    print(f"\nrefits: Jaccard of the first three, mean of {REFITS}")
    print(format_table(lines))


def refit_seeds(case: Case, training: pd.DataFrame) -> Iterator[EnsembleModel]:
    """Yield the model with its trees trained from other seeds; the linear part has none."""
    schema, options = case.model.schema, case.options
    values, truth = schema.values(training), training["label"].to_numpy()
    weight, rounds = sample_weights(training, schema, options.folds), case.model.booster.num_trees()
    for seed in range(101, 101 + REFITS):
        trees = options.lightgbm.model_copy(update={"seed": seed})
        yield replace(case.model, booster=fit_trees(values, truth, weight, schema, rounds, trees))


def refit_accounts(case: Case, training: pd.DataFrame, job: Job) -> Iterator[EnsembleModel]:
    """Yield the model trained on resampled accounts, with the selected hyperparameters."""
    card = json.loads((job.data / "models" / "renewal" / MODEL_CARD).read_bytes())["hyperparameters"]
    hyperparameters = Hyperparameters(card["inverse_penalty"], card["num_rounds"], card["tree_weight"])
    choice = SelectedModel(hyperparameters, case.model.calibration, (), 0, 0)
    for drawn in metrics.Resampling(REFITS, seed=1).draw(training["account_id"]):
        yield fit_model(resample_rows(training, drawn), case.model.schema, choice, case.options)


def resample_rows(training: pd.DataFrame, drawn: np.ndarray[Any, Any]) -> pd.DataFrame:
    """Each row as often as drawn; a copy of a term gets its own number, or the copies would share its weight."""
    parts = [training[drawn > copy].assign(copy=copy) for copy in range(int(drawn.max()))]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(term=rows.groupby(["term", "copy"]).ngroup())


def first_three(reasons: pd.DataFrame) -> Sets:
    """Themes of the first three reasons of each row."""
    names = reasons[[f"reason_{k}_theme" for k in range(1, FIRST + 1)]]
    return [frozenset(name for name in row if name is not None) for row in names.itertuples(index=False)]


def jaccard(first: Sets, second: Sets) -> float:
    """Mean Jaccard index over rows; two empty sets have 1."""
    return float(np.mean([len(a & b) / len(a | b) if a | b else 1.0 for a, b in zip(first, second, strict=True)]))


if __name__ == "__main__":
    main()
