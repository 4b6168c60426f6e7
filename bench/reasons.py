"""Are the reasons of the list the causes? On the example company, whose causes are known and hidden from the model.

Learns until a day and speaks of later renewals at a lead. Of the renewals that were called high risk and were lost:

* *cause*: how often the theme of the first reason is the planted cause, and how often one of the first three is; beside
  what the order of the themes' sums alone would say, the strongest idea's theme, the commonest cause for everyone, and
  the most that could be known: the order of the hidden states on the day of the list;
* *deletion*: by how much the mean probability of renewal rises where the figures of the first three themes are put to
  the peers' usual ones, beside three themes by lot and the last three;
* *refits*: how alike the first three themes are (Jaccard) when the model is learned again, with other seeds of
  the trees and from accounts drawn anew; the same for ideas;
* *additivity*: how far contributions and base are from the margin at most.

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
from later import afterwards, files, learned, settings, table

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
"""The theme that speaks of each planted cause."""
FIRST, REFITS = 3, 5
Sets = list[frozenset[str]]


@dataclass(frozen=True)
class Case:
    """The later renewals, what the model says of them, and which are to be explained."""

    rows: pd.DataFrame
    model: EnsembleModel
    words: list[dict[str, Any]]
    options: Settings
    peers: PeerStatistics
    asked: np.ndarray[Any, Any]
    """The places of the high-risk losses."""

    @property
    def lost(self) -> pd.DataFrame:
        """The high-risk losses."""
        return self.rows.iloc[self.asked]

    def told(self, model: EnsembleModel, words: list[dict[str, Any]]) -> pd.DataFrame:
        """The reasons of the high-risk losses in the words of a model, as the list would give them."""
        own, listed = self.lost[list(model.schema.names)], self.options.list
        peers = PeerStatistics(self.peers.typical_values, self.peers.group[self.asked])
        phrases = Messages(listed.language).phrases()
        return explain_scores(model.contributions(own)[0], own, words, peers, phrases, listed.min_reason_share)

    def sums(self) -> pd.DataFrame:
        """What each theme adds to the margin of each high-risk loss; rows × themes."""
        theme = {feature["name"]: feature["theme"] for feature in self.words}
        given = self.model.contributions(self.lost)[0].T.groupby(theme).sum().T
        return given.reindex(columns=list(THEMES), fill_value=0.0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--accounts", type=int, default=8000)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--until", type=date.fromisoformat, default=date(2025, 3, 1))
    options.add_argument("--end", type=date.fromisoformat, default=date(2026, 7, 1))
    options.add_argument("--lead", type=int, default=90)
    options.add_argument("--work", type=Path)
    asked = options.parse_args()
    work = asked.work or Path(tempfile.mkdtemp(prefix=f"renewals-reasons-{asked.accounts}-{asked.seed}-"))
    job = prepared(work, asked)
    case = case_of(job, asked)
    print(f"{asked.accounts} accounts, seed {asked.seed}: {len(case.rows)} later renewals {asked.lead} days before, "
          f"{len(case.asked)} of them called high risk and lost")  # fmt: skip
    causes(case)
    deletion(case, np.random.default_rng(asked.seed))
    refits(case, job)
    parts, base = case.model.contributions(case.rows)
    gap = np.abs(base + parts.sum(axis=1) - case.model.margin(case.rows)).max()
    print(f"\nadditivity: |base + contributions - margin| is at most {gap:.1e}")


def prepared(work: Path, asked: argparse.Namespace) -> Job:
    """The company, learned from until the day; what is there already is kept."""
    company, options = work / "company", settings("targets=[renewal]")
    if not (company / "ground_truth").is_dir():
        write_company(simulate_company(asked.accounts, seed=asked.seed), company)
    if not (work / "models" / "renewal" / MODEL_CARD).is_file():
        return learned(company, work, asked.until, options)
    return Job(options, str(company), work, work / "lists", until=asked.until)


def case_of(job: Job, asked: argparse.Namespace) -> Case:
    """The later renewals at the lead, and those to be explained; peers are those of all of them together."""
    kept = job.data / "later" / "learn" / "training.parquet"
    later = pd.read_parquet(kept) if kept.is_file() else afterwards(job, asked.end)
    final = observations(later[pd.to_datetime(later["as_of"]) >= pd.Timestamp(asked.until)], "renewal", asked.end)
    rows = metrics.select_at_lead(final[~final["renewal_signed"].astype(bool)], asked.lead)
    rows = beside_the_truth(rows, Path(job.tables) / "ground_truth").reset_index(drop=True)
    model = EnsembleModel.from_files(files(job.data / "models" / "renewal"))
    catalogue = json.loads((job.data / "learn" / "features.json").read_bytes())["features"]
    words = [feature for feature in catalogue if feature["name"] in model.schema.names]
    listed = job.settings.list
    peers = peer_statistics(rows[list(model.schema.names)], rows["size_band"], rows["stage"], listed.min_peers)
    high = model.probability(rows) <= 1 - listed.bands.high
    return Case(rows, model, words, job.settings, peers, np.flatnonzero(high & (rows["label"] == 0).to_numpy()))


def beside_the_truth(rows: pd.DataFrame, truth: Path) -> pd.DataFrame:
    """The rows the truth speaks of, each with its cause, and the themes in the order of its states on the day."""
    renewals, oracle = (pd.read_parquet(truth / f"{name}.parquet") for name in ("renewals", "oracle"))
    for frame in (rows, renewals, oracle):
        for day in {"as_of", "renewal_date"} & set(frame.columns):
            frame[day] = pd.to_datetime(frame[day]).astype("datetime64[us]")
    hidden = oracle[["account_id", "as_of"]].assign(**oracle[[*STATES, "fit", "first_value"]].add_prefix("true_"))
    rows = rows.merge(renewals[["account_id", "renewal_date", "planted_cause"]], on=["account_id", "renewal_date"])
    rows = rows.merge(hidden, on=["account_id", "as_of"], validate="many_to_one")
    moving = rows[[f"true_{state}" for state in STATES]].to_numpy(np.float64)
    lasting = (rows[f"true_{state}"].to_numpy(np.float64) for state in ("fit", "first_value"))
    pushed = cause_contributions(moving, *lasting, rows["renewals_so_far"].to_numpy(np.int64))
    themes = np.array([THEME_OF[cause] for cause in CAUSES], object)
    return rows.assign(cause=rows["planted_cause"].map(THEME_OF), states=[*themes[np.argsort(pushed, axis=1)]])


def causes(case: Case) -> None:
    """Print how often the planted cause is named first, and among the first three."""
    cause = case.lost["cause"].to_numpy()
    theme = {feature["name"]: feature["theme"] for feature in case.words}
    listed, ideas = case.told(case.model, case.words), case.told(case.model, by_idea(case.words))
    common = case.lost["cause"].value_counts().index.to_numpy(object)
    orders = {
        "reasons of the list": listed[[f"reason_{k}_theme" for k in range(1, FIRST + 1)]].to_numpy(object),
        "sums of the themes alone": np.array(THEMES, object)[np.argsort(case.sums().to_numpy(), axis=1, kind="stable")],
        "themes of the strongest ideas": np.vectorize(theme.get, otypes=[object])(
            ideas[[f"reason_{k}_feature" for k in range(1, FIRST + 1)]].to_numpy(object)
        ),
        "the commonest causes": np.tile(common, (len(cause), 1)),
        "the hidden states on the day": np.stack(case.lost["states"].to_list()),
    }
    lines = []
    for name, order in orders.items():
        hits = order[:, :FIRST] == cause[:, None]
        lines.append(
            {"": name, **share("first", hits[:, 0], case.lost), **share("in three", hits.any(axis=1), case.lost)}
        )
    print("\nthe planted cause, named first and among the first three (90 % intervals, accounts drawn anew)")
    print(table(lines))
    print("\nby cause, the reasons of the list")
    print(table([*by_cause(cause, orders["reasons of the list"])]))


def by_idea(words: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The words with each idea for a theme of its own: what a list without themes would say."""
    return [{**feature, "theme": f"{feature['family']} {base_feature(feature)}"} for feature in words]


def share(name: str, hit: np.ndarray[Any, Any], rows: pd.DataFrame) -> dict[str, float]:
    """A share with its account-clustered interval, as columns of a printed table."""
    hits = hit.astype(np.float64)
    low, high = metrics.clustered_interval(_weighted_mean, hits, hits, rows["account_id"], metrics.Resampling())
    return {name: float(hits.mean()), f"{name}, from": low, f"{name}, to": high}


def _weighted_mean(hits: Any, _chance: Any, weight: Any) -> float:
    return float(np.average(hits, weights=weight))


def by_cause(cause: np.ndarray[Any, Any], order: np.ndarray[Any, Any]) -> Iterator[dict[str, Any]]:
    for theme, count in pd.Series(cause).value_counts().items():
        own = order[cause == theme]
        named = pd.Series(own[:, 0]).value_counts(normalize=True)
        yield {"cause": theme, "losses": count, "first": (own[:, 0] == theme).mean(),
               "in three": (own[:, :FIRST] == theme).any(axis=1).mean(),
               "named first": ", ".join(f"{other} {part:.0%}" for other, part in named.head(3).items())}  # fmt: skip


def deletion(case: Case, rng: np.random.Generator) -> None:
    """Print what putting themes to the peers' usual figures does to the mean probability."""
    sums = case.sums()
    present = [theme for theme in THEMES if sums[theme].any()]
    ranked = np.array(present, object)[np.argsort(sums[present].to_numpy(), axis=1, kind="stable")]
    chosen = {
        "the first three": [*map(frozenset, ranked[:, :FIRST])],
        "three by lot": [frozenset(rng.choice(present, FIRST, replace=False)) for _ in range(len(ranked))],
        "the last three": [*map(frozenset, ranked[:, -FIRST:])],
    }
    before = case.model.probability(case.lost)
    rise = {name: case.model.probability(at_peers(case, themes)) - before for name, themes in chosen.items()}
    print(f"\ndeletion: the mean probability is {before.mean():.3f}; with the peers' figures in")
    print(table([{"": name, "it rises by": own.mean()} for name, own in rise.items()]))
    more = (rise["the first three"] > rise["three by lot"]).mean()
    print(f"the first three raise it by more than three by lot for {more:.0%} of the accounts")


def at_peers(case: Case, themes: Sets) -> pd.DataFrame:
    """The high-risk losses with all figures of some themes put to their peers' usual ones; one row per loss."""
    group, own = case.peers.group[case.asked], case.lost.copy()
    for feature in case.words:
        name = feature["name"]
        usual = case.peers.typical_values[name].to_numpy(object)[group]
        moved = np.array([feature["theme"] in put for put in themes])
        own[name] = pd.Series(np.where(moved, usual, own[name].to_numpy(object)), own.index).astype(own[name].dtype)
    return own


def refits(case: Case, job: Job) -> None:
    """Print how alike the first three are when the model is learned again."""
    past, treated = pd.read_parquet(job.data / "learn" / "training.parquet"), case.options.folds.treated_rows
    training = observations(past, "renewal", job.day, treated)
    models = {
        "other seeds": [*other_seeds(case, training)],
        "accounts drawn anew": [*other_accounts(case, training, job)],
    }
    lines = []
    for grain, words in {"themes": case.words, "ideas": by_idea(case.words)}.items():
        first = first_three(case.told(case.model, words))
        for name, learned_again in models.items():
            alike = [jaccard(first, first_three(case.told(model, words))) for model in learned_again]
            lines.append({"": f"{grain}, {name}", "alike": np.mean(alike), "least alike": min(alike)})
    print(f"\nrefits: Jaccard of the first three, mean of {REFITS}")
    print(table(lines))


def other_seeds(case: Case, training: pd.DataFrame) -> Iterator[EnsembleModel]:
    """The model with its trees grown from other seeds; the linear part has none."""
    schema, options = case.model.schema, case.options
    values, truth = schema.values(training), training["label"].to_numpy()
    weight, rounds = sample_weights(training, schema, options.folds), case.model.booster.num_trees()
    for seed in range(101, 101 + REFITS):
        trees = options.lightgbm.model_copy(update={"seed": seed})
        yield replace(case.model, booster=fit_trees(values, truth, weight, schema, rounds, trees))


def other_accounts(case: Case, training: pd.DataFrame, job: Job) -> Iterator[EnsembleModel]:
    """The model learned from accounts drawn anew, with the recipe that was chosen."""
    card = json.loads((job.data / "models" / "renewal" / MODEL_CARD).read_bytes())["hyperparameters"]
    recipe = Hyperparameters(card["inverse_penalty"], card["num_rounds"], card["tree_weight"])
    choice = SelectedModel(recipe, case.model.calibration, (), 0, 0)
    for drawn in metrics.Resampling(REFITS, seed=1).draw(training["account_id"]):
        yield fit_model(drawn_anew(training, drawn), case.model.schema, choice, case.options)


def drawn_anew(training: pd.DataFrame, drawn: np.ndarray[Any, Any]) -> pd.DataFrame:
    """Each row as often as it was drawn; copies of a term are terms of their own, or they would share its weight."""
    parts = [training[drawn > copy].assign(copy=copy) for copy in range(int(drawn.max()))]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(term=rows.groupby(["term", "copy"]).ngroup())


def first_three(said: pd.DataFrame) -> Sets:
    """What the first three reasons of each row are about."""
    names = said[[f"reason_{k}_theme" for k in range(1, FIRST + 1)]]
    return [frozenset(name for name in row if name is not None) for row in names.itertuples(index=False)]


def jaccard(some: Sets, others: Sets) -> float:
    """The mean over rows of what two sets have in common over what is in either; two empty ones are alike."""
    return float(np.mean([len(a & b) / len(a | b) if a | b else 1.0 for a, b in zip(some, others, strict=True)]))


if __name__ == "__main__":
    main()
