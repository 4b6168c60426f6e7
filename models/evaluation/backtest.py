"""What the words of the past were worth: the model beside every baseline, on the whole and in parts.

`tested` rows are observations with the outcome `label`, the `term` they belong to, and one column per speaker: the
model and each baseline that could speak, each trained before the observation was made. Figures of a part weigh the rows
of a term one together, as everywhere. Intervals are over resampled accounts, each for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models import metrics
from renewals.models.evaluation.baselines import NAMES
from renewals.models.evaluation.gate import large
from renewals.models.metrics import Resampling
from renewals.models.ranking import worklist
from renewals.models.ranking.expected_value import lifted
from renewals.models.settings import RENEWAL, Gate
from renewals.models.training.splits import KEY, weights
from renewals.models.training.uncertainty import around

Floats = npt.NDArray[np.float64]
Tree = dict[str, Any]

MODEL = "model"
IDLE = "idle_days"
"""Days since anybody did anything."""
SILENT_DAYS = 90
"""Nobody did anything for longer: the account has gone silent, and its loss is seldom news."""
OLD = 13
"""Models in their thirteenth month and older are looked at together."""
KEPT = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
"""The shares of rows that are kept when the strangest are left out."""
TENTHS = 10
EARLY = 0.2
"""The part of each list that is looked at apart, for where everything fits the capacity says nothing."""
OFFER = {"alpha": 6, "beta": 14, "incentive_fraction": 0.05, "contact_cost": 15}
"""What the measure of expected profit takes for granted, as its authors do: three in ten accept 5 % of the revenue."""


@dataclass(frozen=True)
class Asked:
    """What is judged, and how: the target, how intervals are drawn, and what a manager can carry."""

    target: str
    gate: Gate
    capacity: Callable[[str | None], worklist.Portfolio]
    effect: float = 0.0
    """What a play that saves is taken to add to the log-odds of renewing."""
    decided_days: int = 0
    """Decisions have fallen so long before the end."""

    @property
    def resampling(self) -> Resampling:
        """How every interval is resampled."""
        return Resampling(self.gate.bootstrap, self.gate.confidence)


def speakers(tested: pd.DataFrame) -> list[str]:
    """The model and the baselines that could speak."""
    return [name for name in (MODEL, *NAMES) if name in tested.columns]


def at_lead(fair: pd.DataFrame, target: str, gate: Gate) -> pd.DataFrame:
    """The rows that are judged: one per renewal at the gate's lead; every row where growth is asked."""
    rows = metrics.at_lead(fair, gate.lead_days) if target == RENEWAL else fair
    return rows.reset_index(drop=True)


def ranked(truth: Any, chance: Any, target: str) -> tuple[Any, Any]:
    """What is looked for at the top: losses, or for expansion the growing."""
    return (1 - truth, 1 - chance) if target == RENEWAL else (truth, chance)


def scores(rows: pd.DataFrame, speaker: str, target: str, weighted: bool = False) -> dict[str, float]:
    """Every metric of one speaker on these rows. What is found at the top are losses, or for expansion the growing."""
    truth, chance = rows["label"].to_numpy(), rows[speaker].to_numpy()
    weight = weights(rows["term"]) if weighted else None
    top = ranked(truth, chance, target)
    return {
        "auc": metrics.auc(truth, chance, weight),
        "average_precision": metrics.average_precision(*top, weight),
        "log_loss": metrics.log_loss(truth, chance, weight),
        "brier": metrics.brier(truth, chance, weight),
        "promised": metrics.promised(truth, chance, weight),
        "slope": metrics.calibration_slope(truth, chance, weight),
        "intercept": metrics.calibration_intercept(truth, chance, weight),
        "error": metrics.calibration_error(truth, chance, weight),
        "lift_top_tenth": metrics.lift(*top, weight),
        "recall_top_fifth": metrics.recall_at(*top, weight, share=0.2),
    }


def report(tested: pd.DataFrame, aged: pd.DataFrame, spread: float, asked: Asked) -> Tree:
    """Everything that is told of one target.

    `tested` rows are not yet decided; `aged` are the words of models of every age
    (`models.training.walk_forward.aged`); `spread` is how far the accounts' own chances lie about what is said
    (`models.training.uncertainty`).
    """
    judged = at_lead(tested, asked.target, asked.gate)
    told = {
        "whole": part(judged, asked),
        "segments": [{"segment": name, **part(rows, asked)} for name, rows in segments(judged, asked.gate)],
        "activity": [{"activity": name, **part(rows, asked)} for name, rows in by_activity(judged)],
        "quarters": by_period(judged, asked.target, "Q"),
        "months": by_period(judged, asked.target, "M"),
        "staleness": staleness(judged, aged, asked),
        "abstention": abstention(judged, aged),
        "calibration": tenths(judged),
    }
    if asked.target != RENEWAL:
        return told
    leads = {days: metrics.at_lead(tested, days).reset_index(drop=True) for days in metrics.LEADS}
    return {
        **told,
        "leads": [{"lead_days": days, **part(rows, asked)} for days, rows in leads.items() if len(rows)],
        "capacity": capacity(tested, asked),
        "coverage": coverage(judged, spread),
        "profit": profit(judged),
    }


# --- the model beside the baselines ----------------------------------------------------------------


def part(rows: pd.DataFrame, asked: Asked) -> Tree:
    """How every speaker did on some rows, with intervals, and by how much the model did better than each baseline."""
    weight, names = _weight(rows), speakers(rows)
    told: Tree = {
        "rows": len(rows),
        "terms": int(rows["term"].nunique()),
        "accounts": int(rows["account_id"].nunique()),
        "seen": metrics.rate(rows["label"], rows[MODEL], weight),
        "speakers": {name: _speaker(rows, name, weight, asked) for name in names},
    }
    if not len(rows):
        return {**told, "gain_over": {}}
    return {**told, "gain_over": {name: _gain(rows, name, weight, asked.resampling) for name in names[1:]}}


def _speaker(rows: pd.DataFrame, name: str, weight: Floats, asked: Asked) -> Tree:
    found: Tree = dict(scores(rows, name, asked.target, weighted=True)) if len(rows) else {}
    if not len(rows):
        return found
    about = (rows["label"].to_numpy(), rows[name].to_numpy(), rows["account_id"], asked.resampling, weight)
    return {
        **found,
        "error_by_chance": metrics.chance_error(rows[name], weight),
        "auc_interval": list(metrics.auc_interval(*about)),
        "log_loss_interval": list(metrics.loss_interval(*about)),
    }


def _gain(rows: pd.DataFrame, other: str, weight: Floats, resampling: Resampling) -> Tree:
    value, low, high = metrics.gain(rows["label"], rows[MODEL], rows[other], rows["account_id"], resampling, weight)
    return {"value": value, "low": low, "high": high, "verdict": verdict(low, high)}


def verdict(low: float, high: float) -> str:
    """`better` or `worse` where the interval of the gain lies wholly on one side of nought; else `alike`."""
    return "better" if low > 0 else "worse" if high < 0 else "alike"


def _weight(rows: pd.DataFrame) -> Floats:
    return weights(rows["term"]) if len(rows) else np.zeros(0)


# --- parts ----------------------------------------------------------------------------------------


def segments(judged: pd.DataFrame, gate: Gate) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """The segments that are large enough to judge, as [column, value], with their rows."""
    for column in (name for name in gate.segments if name in judged.columns):
        one = gate.model_copy(update={"segments": (column,)})
        for name, rows in large(judged, one):
            yield [column, name.removeprefix(f"{column} ")], rows.reset_index(drop=True)


def by_activity(judged: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Accounts that were still in use, and those already silent; nothing where use is not known."""
    if IDLE not in judged.columns:
        return
    silent = ~(judged[IDLE] <= SILENT_DAYS)
    for name, where in (("active", ~silent), ("silent", silent)):
        if where.any():
            yield name, judged[where].reset_index(drop=True)


def by_period(judged: pd.DataFrame, target: str, length: Literal["M", "Q"]) -> list[Tree]:
    """What was promised and what came, by the renewal's month or quarter; the observation's where growth is asked."""
    day = judged["renewal_date" if target == RENEWAL else "as_of"]
    return [_period(str(name), rows) for name, rows in judged.groupby(day.dt.to_period(length), sort=True)]


def _period(name: str, rows: pd.DataFrame) -> Tree:
    weight, truth = _weight(rows), rows["label"].to_numpy()
    both = {
        speaker: {
            "auc": metrics.auc(truth, rows[speaker], weight),
            "log_loss": metrics.log_loss(truth, rows[speaker], weight),
        }
        for speaker in speakers(rows)
    }
    return {
        "period": name,
        "terms": int(rows["term"].nunique()),
        "seen": metrics.rate(truth, truth, weight),
        "promised": metrics.promised(truth, rows[MODEL], weight),
        "speakers": both,
    }


def tenths(judged: pd.DataFrame) -> list[Tree]:
    """What was promised and what was seen, by tenth of the promises."""
    if not len(judged):
        return []
    return _records(metrics.bins(judged["label"], judged[MODEL], _weight(judged)))


# --- what a manager would have found ----------------------------------------------------------------


def capacity(tested: pd.DataFrame, asked: Asked) -> Tree:
    """Of the revenue that was lost, how much stood among the accounts a manager could carry.

    Each month's list is ranked by ARR x (1 - p) for each manager and cut at that manager's capacity. An account that is
    lost counts on every list it stands on before. `listed` is the share of all ARR that fits, whoever ranks: what would
    be found by chance. `orders` are other rankings of the model's own words; `in_time` is what could still be saved
    when it was listed.
    """
    if not {"arr", "csm"} <= set(tested.columns) or not len(tested):
        return {"speakers": {}, "managers": [], "orders": {}}
    arr = tested["arr"].fillna(0.0)
    lost = arr.to_numpy(np.float64) * (1 - tested["label"].to_numpy())
    in_time = lost * (tested["days_to_renewal"] > asked.decided_days).to_numpy(bool)
    fits = {name: placed(tested, worklist.arr_at_risk(arr, tested[name]), asked.capacity) for name in speakers(tested)}
    ordered = {name: placed(tested, worth, asked.capacity) for name, worth in orders(tested, asked).items()}
    return {
        "lists": int(tested["as_of"].nunique()),
        "lost_arr": float(lost.sum()),
        "decided_days": asked.decided_days,
        "lost_in_time": float(in_time.sum()),
        "accounts_listed": float(fits[MODEL]["kept"].mean()),
        "speakers": {name: _found(tested, own, lost) for name, own in fits.items()},
        "orders": {
            name: _found(tested, own, lost)
            | {f"in_time_{part}": figure for part, figure in _found(tested, own, in_time).items() if part != "listed"}
            for name, own in ordered.items()
        },
        "managers": _by_manager(tested.assign(**fits[MODEL], lost=lost)),
    }


def orders(tested: pd.DataFrame, asked: Asked) -> dict[str, pd.Series]:
    """What the model's lists might be ranked by; one entry per row each.

    `worth` is what a play of the usual effect is expected to save, nothing once the decision has fallen: no reasons are
    told of the past, so it is not known which play would have been prescribed, nor the hours it takes.
    """
    chance, arr = tested[MODEL], tested["arr"].fillna(0.0)
    rise = lifted(chance.to_numpy(np.float64), np.full(len(chance), asked.effect)) - chance
    return {
        "worth": (arr * rise).where(tested["days_to_renewal"] > asked.decided_days, 0.0),
        "probability": 1 - chance,
        "arr": arr,
        "arr_at_risk": worklist.arr_at_risk(arr, chance),
        "contact": contacted(chance, arr),
    }


def contacted(chance: pd.Series, arr: pd.Series) -> pd.Series:
    """The expected profit of contacting an account, by the costs behind EMPB (Janssens and others 2022).

    Who is about to leave accepts with the mean of Beta(alpha, beta) and then brings the ARR less the incentive; who is
    not takes the incentive all the same.
    """
    accepts = OFFER["alpha"] / (OFFER["alpha"] + OFFER["beta"])
    share, cost = OFFER["incentive_fraction"], OFFER["contact_cost"]
    leaving = accepts * ((1 - share) * arr - cost) - (1 - accepts) * cost
    return (1 - chance) * leaving - chance * (share * arr + cost)


def placed(tested: pd.DataFrame, worth: pd.Series, limit: Callable[[str | None], worklist.Portfolio]) -> pd.DataFrame:
    """Where each row stood on its month's list, ranked by worth; one row per row given.

    `kept` tells whether it was within its manager's capacity, `early` whether it was in the first fifth of the list.
    """
    ranks = pd.concat(
        worklist.ranked(worth[rows.index], rows["arr"], rows["csm"], rows["account_id"], limit)
        for _, rows in tested.groupby("as_of", sort=True)
    ).reindex(tested.index)
    length = tested.groupby(["as_of", "csm"], dropna=False)["account_id"].transform("size")
    early = ranks["rank"] <= np.ceil(length * EARLY)
    return pd.DataFrame({"kept": ranks["within_capacity"].astype(bool), "early": early.astype(bool)})


def _found(tested: pd.DataFrame, own: pd.DataFrame, lost: Floats) -> Tree:
    arr, kept = tested["arr"].fillna(0.0).to_numpy(np.float64), own["kept"].to_numpy()
    return {
        "recall": _share(lost[kept].sum(), lost.sum()),
        "listed": _share(arr[kept].sum(), arr.sum()),
        "recall_early": _share(lost[own["early"].to_numpy()].sum(), lost.sum()),
    }


def _by_manager(rows: pd.DataFrame) -> list[Tree]:
    return [
        {
            "csm": None if pd.isna(csm) else str(csm),
            "rows": len(own),
            "lost_arr": float(own["lost"].sum()),
            "recall": _share(own.loc[own["kept"], "lost"].sum(), own["lost"].sum()),
            "recall_early": _share(own.loc[own["early"], "lost"].sum(), own["lost"].sum()),
            "accounts_listed": float(own["kept"].mean()),
        }
        for csm, own in rows.groupby("csm", dropna=False, sort=True)
    ]


def _share(some: float, every: float) -> float | None:
    return float(some / every) if every else None


# --- how words age ------------------------------------------------------------------------------------


def staleness(judged: pd.DataFrame, aged: pd.DataFrame, asked: Asked) -> list[Tree]:
    """Models in their 1st, 2nd, … month, beside the youngest model there was, on the same rows; one entry per month.

    A model is in its first month on the day it was trained. Ages are those that the origins allow. Where a younger one
    spoke of some of the rows of an age, only those count; where of none, there is nothing to compare.
    """
    youngest = judged[[*KEY, "label", "term", MODEL, "origin"]].rename(columns={"origin": "newest"})
    rows = aged[[*KEY, "origin", "probability"]].merge(youngest, on=KEY, validate="many_to_one")
    if not len(rows):
        return []
    age = (_month(rows["as_of"]) - _month(rows["origin"]) + 1).clip(upper=OLD)
    return [{"month": month, **_aged(rows[age == month], asked)} for month in sorted(set(age.tolist()))]


def _month(day: pd.Series) -> pd.Series:
    return day.dt.year * 12 + day.dt.month


def _aged(rows: pd.DataFrame, asked: Asked) -> Tree:
    rows = rows.sort_values("origin", kind="stable").drop_duplicates(KEY, keep="last")
    older = rows[rows["origin"] < rows["newest"]]
    told = _younger(older, asked) if len(older) else dict.fromkeys(YOUNGER)
    rows = older if len(older) else rows
    truth, weight = rows["label"].to_numpy(), _weight(rows)
    return {
        "rows": len(rows),
        "models": int(rows["origin"].nunique()),
        "auc": metrics.auc(truth, rows["probability"], weight),
        "log_loss": metrics.log_loss(truth, rows["probability"], weight),
        **told,
    }


YOUNGER = ("newest_auc", "newest_log_loss", "newest_month", "gain")


def _younger(rows: pd.DataFrame, asked: Asked) -> Tree:
    """What the youngest models said of rows that older ones spoke of, and what the older ones gain over them."""
    truth, weight = rows["label"].to_numpy(), _weight(rows)
    gain = metrics.gain(truth, rows["probability"], rows[MODEL], rows["account_id"], asked.resampling, weight)
    return {
        "newest_auc": metrics.auc(truth, rows[MODEL], weight),
        "newest_log_loss": metrics.log_loss(truth, rows[MODEL], weight),
        "newest_month": float((_month(rows["as_of"]) - _month(rows["newest"]) + 1).mean()),
        "gain": dict(zip(("value", "low", "high"), gain, strict=True)),
    }


# --- when to be silent, and how sure ------------------------------------------------------------------


def abstention(judged: pd.DataFrame, aged: pd.DataFrame) -> list[Tree]:
    """How true the words are that remain when those on the strangest rows are left out; one entry per share kept.

    Rows that are equally strange stay or go together, so a little more may be kept than was asked for.
    """
    strange = judged.merge(aged[[*KEY, "origin", "strangeness"]], on=[*KEY, "origin"], validate="one_to_one")
    found: list[Tree] = []
    for share in KEPT if len(strange) else ():
        limit = float(strange["strangeness"].quantile(share, interpolation="higher"))
        kept = strange[strange["strangeness"] <= limit]
        if found and len(kept) == found[-1]["rows"]:
            continue
        truth, chance, weight = kept["label"], kept[MODEL], _weight(kept)
        found.append(
            {
                "kept": len(kept) / len(strange),
                "rows": len(kept),
                "strangeness": limit,
                "log_loss": metrics.log_loss(truth, chance, weight),
                "auc": metrics.auc(truth, chance, weight),
            }
        )
    return found


def profit(judged: pd.DataFrame) -> Tree:
    """What each speaker's order would bring at its best cut: EMPB, in money per account (Janssens and others 2022).

    Whoever stands above the cut is contacted, for `contact_cost`, and offered `incentive_fraction` of the ARR; of those
    about to leave a share drawn from Beta(alpha, beta) stays. The cut is the best in hindsight, so this compares orders
    and promises no money.
    """
    if "arr" not in judged.columns or not len(judged):
        return {"skipped": "no_arr"}
    from empulse.metrics import empb_score  # slow to import

    loss, arr = 1 - judged["label"].to_numpy(), judged["arr"].fillna(0.0).to_numpy(np.float64)
    found = {name: float(empb_score(loss, 1 - judged[name].to_numpy(), clv=arr, **OFFER)) for name in speakers(judged)}
    return {**OFFER, "speakers": found}


def coverage(judged: pd.DataFrame, spread: float, confidence: float = 0.8) -> Tree:
    """Whether the share seen in each tenth lies within the mean interval of its accounts.

    An interval is for the account's own chance, which a single outcome does not show: of the chances only their mean
    over many rows can be seen. So this finds intervals that lie in the wrong place, and not those that are too wide.
    The spread is the one of the model that serves now, for every row.
    """
    low, high = around(judged[MODEL].to_numpy(np.float64), spread, confidence)
    rows = pd.DataFrame({"promised": judged[MODEL], "low": low, "high": high, "seen": judged["label"]})
    order = rows["promised"].rank(method="first", pct=True)
    groups = rows.groupby(np.ceil(order * TENTHS).astype(int)).mean()
    groups["held"] = (groups["low"] <= groups["seen"]) & (groups["seen"] <= groups["high"])
    held = _share(groups["held"].sum(), len(groups))
    return {"confidence": confidence, "spread": spread, "held": held, "groups": _records(groups)}


def _records(table: pd.DataFrame) -> list[Tree]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
