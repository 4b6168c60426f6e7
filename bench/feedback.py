"""A list that works spoils what it learns from: twelve cycles of retraining on renewals that the list itself has saved.

A company lives by the hidden states of the example company (`examples/company/states.py`), seen through noisy columns.
Four months before its renewal an account is scored; of those scored the riskiest are treated, mostly, and treatment
helps. Every quarter the model learns anew from the outcomes that are final. Each model makes its own lists, each in
a world of its own with the same random numbers:

naive      learns from every outcome as it came (`folds.treated_rows: keep`)
ours       leaves out the renewals that an intervention worked on (`folds.treated_rows: exclude`), and reads no action
actions    as ours, and reads what earlier treatments have left, which a logged action moves
reference  as actions, and has that figure set to no treatment when a list is made
oracle     learns from what would have become of every account had nobody stepped in: nobody can know that

Judged on what would become of the scored accounts if left alone: the AUC to be expected, and by how much the model
overstates the chance of renewal of the accounts it lists, in points. Both per cycle, with 90 % intervals over seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from later import table
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
"""Standard deviation with which each column shows its state; treatments are known as they are."""
LEAD, DECIDED, FINAL = 4, 2, 6
"""Months: scored before the renewal; decided after scoring; final after scoring."""
WARM, QUARTER = 24, 3
"""Months lived before the first list; months of a cycle."""
LISTED, OBEYED, UNASKED = 0.3, 0.9, 0.03
"""Share of the scored that are listed; of the listed that are treated; of the others that are treated all the same."""
ROUNDS, STRENGTH = 200, 0.01
TREATMENT = len(NOISE)
"""The place of the column that shows earlier treatments."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--accounts", type=int, default=4000)
    options.add_argument("--cycles", type=int, default=12)
    options.add_argument("--lift", type=float, default=hidden.INTERVENTION_EFFECT, help="what a treatment adds")
    asked = options.parse_args()
    lines = [
        {"seed": seed, "model": model, **line}
        for seed in range(1, asked.seeds + 1)
        for model in MODELS
        for line in World(seed, asked.accounts, asked.lift).lived(model, asked.cycles)
    ]
    said = pd.DataFrame(lines)
    for figure in ("AUC", "overstated"):
        print(f"\n{figure}, {asked.seeds} companies of {asked.accounts} accounts, treatment adds {asked.lift:g}")
        print(table(by_cycle(said.pivot(index=["cycle", "seed"], columns="model", values=figure))))


def by_cycle(figures: pd.DataFrame) -> list[dict[str, Any]]:
    """The mean of each model, and of naive less ours on the same company with its interval; one row per cycle."""
    rows = []
    for cycle, own in figures.groupby("cycle"):
        apart = own["naive"] - own["ours"]
        wide = student.ppf(0.95, len(own) - 1) * apart.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.nan
        means = {model: own[model].mean() for model in MODELS}
        rows.append({"cycle": cycle, **means, "naive less ours": apart.mean(), "+-": wide})
    return rows


@dataclass
class World:
    """One company: its hidden states move from month to month, and its renewals come once a year."""

    seed: int
    accounts: int
    lift: float
    scored: list[pd.DataFrame] = field(default_factory=list)

    def lived(self, model: str, cycles: int) -> list[dict[str, float]]:
        """Live through the warm-up and all cycles with the lists of one model; one row of figures per cycle."""
        rng = np.random.default_rng(self.seed)
        self.fit, self.due = rng.standard_normal(self.accounts), rng.integers(0, 12, self.accounts)
        self.temper = hidden.draw_traits(rng, self.fit)
        now, said = hidden.initial_states(rng, self.temper), None
        now[:, hidden.LIFT], self.treatment = 0.0, np.zeros(self.accounts)
        for month in range(WARM + cycles * QUARTER + DECIDED):
            if month >= WARM and (month - WARM) % QUARTER == 0:
                said = learned(pd.concat(self.scored), model, month)
            self.scored.append(self.score(rng, now, month, said))
            if month >= DECIDED:
                self.decide(rng, now, self.scored[month - DECIDED])
            now = hidden.next_states(rng, now, self.temper, hidden.Shocks.draw(rng, self.temper))
            self.treatment *= hidden.TRANSITION[hidden.LIFT, hidden.LIFT]
        ends = range(WARM, WARM + cycles * QUARTER, QUARTER)
        return [judged(pd.concat(self.scored[m : m + QUARTER]), n) for n, m in enumerate(ends, start=1)]

    def score(self, rng: np.random.Generator, now: np.ndarray[Any, Any], month: int, said: Any) -> pd.DataFrame:
        """The accounts whose renewal is `LEAD` months away, as seen, scored and treated; one row per account."""
        who = np.flatnonzero(self.due == month % 12)
        seen = np.column_stack([now[who, :4], self.fit[who]]) + NOISE * rng.standard_normal((len(who), 5))
        seen = np.column_stack([seen, self.treatment[who]])
        chance = said(seen) if said else np.full(len(who), np.nan)
        listed = np.argsort(np.argsort(chance)) < LISTED * len(who) if said else np.zeros(len(who), dtype=bool)
        treated = rng.random(len(who)) < np.where(listed, OBEYED, UNASKED)
        rows = pd.DataFrame(seen, columns=[feature["name"] for feature in CATALOGUE])
        return rows.assign(who=who, month=month, chance=chance, listed=listed, treated=treated.astype(np.int8))

    def decide(self, rng: np.random.Generator, now: np.ndarray[Any, Any], rows: pd.DataFrame) -> None:
        """Adds `alone`, the chance of renewal if left alone, `renewed`, and what would have become of it `alone`."""
        who = rows["who"].to_numpy()
        lasting = hidden.fixed_log_odds(
            self.fit[who], self.temper.first_value[who], np.full(len(who), 2), np.ones(len(who), dtype=bool)
        )
        odds = lasting + now[who] @ hidden.WEIGHTS
        added = self.lift * hidden.TRANSITION[hidden.LIFT, hidden.LIFT] * rows["treated"].to_numpy()
        lot = rng.random(len(who))
        rows["alone"], rows["renewed"] = expit(odds), (lot < expit(odds + added)).astype(np.int8)
        rows["renewed_alone"] = (lot < expit(odds)).astype(np.int8)
        now[who, hidden.LIFT] += added
        self.treatment[who] += rows["treated"].to_numpy()


def learned(scored: pd.DataFrame, model: str, month: int) -> Any:
    """What the model standing in a month says: chances of renewal of rows of columns."""
    seen = scored.dropna(subset="alone")
    known = seen.assign(
        account_id=seen["who"], as_of=[day_of(m) for m in seen["month"]],
        renewal_date=[day_of(m + LEAD) for m in seen["month"]], term_start=[day_of(m - 8) for m in seen["month"]],
        days_to_renewal=120.0, renewal_signed=False, renewal=seen["renewed_alone" if model == "oracle" else "renewed"],
        renewal_matured_at=[day_of(m + FINAL) for m in seen["month"]],
    )  # fmt: skip
    until: date = day_of(month).date()
    rows = observations(known, "renewal", until, "keep" if model in ("naive", "oracle") else "exclude")
    schema = Schema.from_catalogue(CATALOGUE, rows, "renewal", monotone=True, actions=model in ("actions", "reference"))
    values, truth, weight = schema.values(rows), rows["label"].to_numpy(), np.ones(len(rows))
    line = fit_linear(values, truth, weight, schema, [STRENGTH], LinearSettings())[STRENGTH]
    trees = fit_trees(values, truth, weight, schema, ROUNDS, LightGBMSettings(parallel_fits=1))

    def said(columns: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        columns = np.where(np.arange(columns.shape[1]) == TREATMENT, 0.0, columns) if model == "reference" else columns
        columns = columns[:, : len(schema.names)]
        return np.asarray(expit((line.margin(columns) + trees.predict(columns, raw_score=True)) / 2))

    return said


def day_of(month: int) -> pd.Timestamp:
    """The first of a month of the simulation."""
    return pd.Timestamp(2020 + month // 12, month % 12 + 1, 1)


def judged(rows: pd.DataFrame, cycle: int) -> dict[str, float]:
    """One cycle's lists against what would become of the accounts if left alone."""
    alone, chance = rows["alone"].to_numpy(), rows["chance"].to_numpy()
    both, ones = np.tile(chance, 2), np.repeat([1, 0], len(rows))
    listed = rows["listed"].to_numpy()
    return {
        "cycle": cycle,
        "AUC": float(roc_auc_score(ones, both, sample_weight=np.concatenate([alone, 1 - alone]))),
        "overstated": 100 * float((chance - alone)[listed].mean()),
    }


if __name__ == "__main__":
    main()
