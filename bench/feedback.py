"""Measure the feedback of a list on its training data: twelve cycles of retraining on renewals that the list saved.

The company follows the hidden states of the example company (`examples/company/states.py`), visible through noisy
columns. Four months before its renewal an account is scored; most of the riskiest are treated, and treatment helps.
Every quarter the model is retrained on the final outcomes. Each model makes its own lists, each in a separate world
with the same random numbers:

naive      trains on every outcome as observed (`folds.treated_rows: keep`)
ours       excludes renewals with an intervention (`folds.treated_rows: exclude`), and uses no action feature
actions    as ours, and uses the remaining effect of earlier treatments, which a logged action changes
reference  as actions, with that feature set to no treatment when a list is made
oracle     trains on the outcomes without any intervention, which cannot be known in practice

Compared with the outcomes of the scored accounts without treatment: the expected AUC, and the overstatement of the
renewal probability of listed accounts, in points. Both per cycle, with 90 % intervals over seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from later import format_table
from scipy.special import expit
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from renewals.examples.company import states as hidden
from renewals.models.settings import LightGBMSettings, LinearSettings
from renewals.models.training.ensemble import fit_linear, fit_trees
from renewals.models.training.schema import Schema
from renewals.models.training.splits import observations

MODELS = ("naive", "ours", "actions", "reference", "oracle")
CATALOGUE = [
    {"name": name, "kind": "number", "risk": risk}
    for name, risk in (("value", "low"), ("adoption", "low"), ("pain", "high"), ("sponsor", "high"), ("fit", "low"))
] + [{"name": "treatment", "kind": "number", "risk": "either", "action": True}]
NOISE = np.array([0.5, 0.4, 0.5, 0.3, 0.3])
"""Standard deviation of the noise of each column around its state; treatments are known exactly."""
LEAD, DECIDED, FINAL = 4, 2, 6
"""Months: from scoring to the renewal; from scoring to the decision; from scoring to the final outcome."""
WARM_UP, QUARTER = 24, 3
"""Months simulated before the first list; months of a cycle."""
LISTED_SHARE, TREATED_SHARE, UNLISTED_TREATED_SHARE = 0.3, 0.9, 0.03
"""Share of scored accounts that are listed; of listed ones that are treated; of the others that are treated too."""
ROUNDS, STRENGTH = 200, 0.01
TREATMENT = len(NOISE)
"""Index of the column with the remaining effect of earlier treatments."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--accounts", type=int, default=4000)
    parser.add_argument("--cycles", type=int, default=12)
    parser.add_argument(
        "--lift", type=float, default=hidden.INTERVENTION_EFFECT, help="effect of a treatment on the log-odds"
    )
    args = parser.parse_args()
    lines = [
        {"seed": seed, "model": model, **line}
        for seed in range(1, args.seeds + 1)
        for model in MODELS
        for line in World(seed, args.accounts, args.lift).simulate(model, args.cycles)
    ]
    results = pd.DataFrame(lines)
    for figure in ("AUC", "overstated"):
        print(f"\n{figure}, {args.seeds} companies of {args.accounts} accounts, treatment adds {args.lift:g}")
        print(format_table(cycle_rows(results.pivot(index=["cycle", "seed"], columns="model", values=figure))))


def cycle_rows(figures: pd.DataFrame) -> list[dict[str, Any]]:
    """Mean of each model per cycle, and the difference naive less ours with its 90 % interval over seeds."""
    rows = []
    for cycle, values in figures.groupby("cycle"):
        difference = values["naive"] - values["ours"]
        half_width = (
            student.ppf(0.95, len(values) - 1) * difference.std(ddof=1) / np.sqrt(len(values))
            if len(values) > 1
            else np.nan
        )
        means = {model: values[model].mean() for model in MODELS}
        rows.append({"cycle": cycle, **means, "naive less ours": difference.mean(), "+-": half_width})
    return rows


@dataclass
class World:
    """One company: its hidden states change from month to month, and its renewals are due once a year."""

    seed: int
    accounts: int
    lift: float
    scored: list[pd.DataFrame] = field(default_factory=list)

    def simulate(self, model: str, cycles: int) -> list[dict[str, float]]:
        """Simulate the warm-up and all cycles with the lists of one model; one row of figures per cycle."""
        rng = np.random.default_rng(self.seed)
        self.fit, self.due = rng.standard_normal(self.accounts), rng.integers(0, 12, self.accounts)
        self.traits = hidden.draw_traits(rng, self.fit)
        now, predict = hidden.initial_states(rng, self.traits), None
        now[:, hidden.LIFT], self.treatment = 0.0, np.zeros(self.accounts)
        for month in range(WARM_UP + cycles * QUARTER + DECIDED):
            if month >= WARM_UP and (month - WARM_UP) % QUARTER == 0:
                predict = train_model(pd.concat(self.scored), model, month)
            self.scored.append(self.score(rng, now, month, predict))
            if month >= DECIDED:
                self.decide(rng, now, self.scored[month - DECIDED])
            now = hidden.next_states(rng, now, self.traits, hidden.Shocks.draw(rng, self.traits))
            self.treatment *= hidden.TRANSITION[hidden.LIFT, hidden.LIFT]
        ends = range(WARM_UP, WARM_UP + cycles * QUARTER, QUARTER)
        return [cycle_metrics(pd.concat(self.scored[m : m + QUARTER]), n) for n, m in enumerate(ends, start=1)]

    def score(self, rng: np.random.Generator, now: np.ndarray[Any, Any], month: int, predict: Any) -> pd.DataFrame:
        """Draw, score and treat the accounts with a renewal `LEAD` months away; one row per account."""
        due = np.flatnonzero(self.due == month % 12)
        observed = np.column_stack([now[due, :4], self.fit[due]]) + NOISE * rng.standard_normal((len(due), 5))
        observed = np.column_stack([observed, self.treatment[due]])
        chance = predict(observed) if predict else np.full(len(due), np.nan)
        listed = np.argsort(np.argsort(chance)) < LISTED_SHARE * len(due) if predict else np.zeros(len(due), dtype=bool)
        treated = rng.random(len(due)) < np.where(listed, TREATED_SHARE, UNLISTED_TREATED_SHARE)
        rows = pd.DataFrame(observed, columns=[feature["name"] for feature in CATALOGUE])
        return rows.assign(who=due, month=month, chance=chance, listed=listed, treated=treated.astype(np.int8))

    def decide(self, rng: np.random.Generator, now: np.ndarray[Any, Any], rows: pd.DataFrame) -> None:
        """Add columns to `rows`: `alone` (renewal probability without treatment), `renewed` and `renewed_alone`."""
        accounts = rows["who"].to_numpy()
        fixed = hidden.fixed_log_odds(
            self.fit[accounts],
            self.traits.first_value[accounts],
            np.full(len(accounts), 2),
            np.ones(len(accounts), dtype=bool),
        )
        odds = fixed + now[accounts] @ hidden.WEIGHTS
        added = self.lift * hidden.TRANSITION[hidden.LIFT, hidden.LIFT] * rows["treated"].to_numpy()
        draw = rng.random(len(accounts))
        rows["alone"], rows["renewed"] = expit(odds), (draw < expit(odds + added)).astype(np.int8)
        rows["renewed_alone"] = (draw < expit(odds)).astype(np.int8)
        now[accounts, hidden.LIFT] += added
        self.treatment[accounts] += rows["treated"].to_numpy()


def train_model(scored: pd.DataFrame, model: str, month: int) -> Any:
    """Train the model of a month; returns a function from rows of columns to renewal probabilities."""
    decided = scored.dropna(subset="alone")
    training = decided.assign(
        account_id=decided["who"], as_of=[day_of(m) for m in decided["month"]],
        renewal_date=[day_of(m + LEAD) for m in decided["month"]], term_start=[day_of(m - 8) for m in decided["month"]],
        days_to_renewal=120.0, renewal_signed=False,
        renewal=decided["renewed_alone" if model == "oracle" else "renewed"],
        renewal_matured_at=[day_of(m + FINAL) for m in decided["month"]],
    )  # fmt: skip
    until: date = day_of(month).date()
    rows = observations(training, "renewal", until, "keep" if model in ("naive", "oracle") else "exclude")
    schema = Schema.from_catalogue(CATALOGUE, rows, "renewal", monotone=True, actions=model in ("actions", "reference"))
    values, truth, weight = schema.values(rows), rows["label"].to_numpy(), np.ones(len(rows))
    linear = fit_linear(values, truth, weight, schema, [STRENGTH], LinearSettings())[STRENGTH]
    trees = fit_trees(values, truth, weight, schema, ROUNDS, LightGBMSettings(parallel_fits=1))

    def predict(columns: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        columns = np.where(np.arange(columns.shape[1]) == TREATMENT, 0.0, columns) if model == "reference" else columns
        columns = columns[:, : len(schema.names)]
        return np.asarray(expit((linear.margin(columns) + trees.predict(columns, raw_score=True)) / 2))

    return predict


def day_of(month: int) -> pd.Timestamp:
    """First day of a month of the simulation."""
    return pd.Timestamp(2020 + month // 12, month % 12 + 1, 1)


def cycle_metrics(rows: pd.DataFrame, cycle: int) -> dict[str, float]:
    """Metrics of one cycle's lists against the renewal probability without treatment."""
    alone, predicted = rows["alone"].to_numpy(), rows["chance"].to_numpy()
    doubled, outcomes = np.tile(predicted, 2), np.repeat([1, 0], len(rows))
    listed = rows["listed"].to_numpy()
    return {
        "cycle": cycle,
        "AUC": float(roc_auc_score(outcomes, doubled, sample_weight=np.concatenate([alone, 1 - alone]))),
        "overstated": 100 * float((predicted - alone)[listed].mean()),
    }


if __name__ == "__main__":
    main()
