"""What will be renewed, kept and bought in the four quarters to come, with intervals: values in, values out.

One forecast is a few thousand *draws* of a year. In each, a quarter's renewals share one shock of the log-odds, each
account tosses one coin, and what a renewed account keeps and buys is that of a past renewal of its size, drawn with
odds in proportion to money. Growth between renewals is drawn the same way from past quarters of accounts. The sums of
a draw are measured as the scorecard measures (R1, R4, R5); an interval is the middle part of the draws.

What falls due is in `models.forecast.renewal_schedule`, the shock in `models.forecast.quarter_effect`, what a forecast
is held against in `models.forecast.benchmarks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.special import expit, logit

from renewals.models.forecast.benchmarks import QUARTERS_AHEAD, TOTALS, derive_measures, naive_forecast
from renewals.models.forecast.quarter_effect import SD_GRID, QuarterEffectPosterior
from renewals.models.forecast.renewal_schedule import (
    ALL_BANDS,
    QUARTERS_PER_YEAR,
    ForecastInputs,
    build_schedule,
    forecast_accounts,
    matured_renewals,
)
from renewals.models.metrics import EPSILON
from renewals.models.settings import ForecastSettings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIN_CASES = 30
"""Past renewals, or quarters of accounts, below which a size band draws from all."""
MAX_CELLS = 2_000_000
"""Numbers held at a time while drawing."""
BENCHMARKED_MEASURES = ("arr_renewed", "gross_retention", "net_retention")
"""What is held against the naive forecasts and against what happened."""


# --- what renewed and growing accounts did -------------------------------------------------------


@dataclass(frozen=True)
class EmpiricalPool:
    """Past cases of each size band to draw from: shares of the money at stake, the odds of a case being that money."""

    shares: Floats
    """Cases × what is asked."""
    case_positions: Mapping[Any, Ints]
    """The cases of each size band; `ALL` holds all."""
    cumulative_odds: Mapping[Any, Floats]
    """The odds of these cases, summed up to each."""
    default_shares: tuple[float, ...]
    """What is taken where there is no case at all."""

    def draw(self, bands: npt.NDArray[np.object_], uniforms: npt.NDArray[np.float64]) -> Floats:
        """One case per number in [0, 1): draws × rows × what is asked. `bands` names the band of each row."""
        found = np.tile(np.array(self.default_shares), (*uniforms.shape, 1))
        for band in pd.unique(bands):
            own, known = bands == band, band if band in self.case_positions else ALL_BANDS
            if len(self.case_positions[known]):
                place = np.searchsorted(self.cumulative_odds[known], uniforms[:, own], side="right")
                found[:, own] = self.shares[
                    self.case_positions[known][np.minimum(place, len(self.case_positions[known]) - 1)]
                ]
        return found


def build_pool(
    cases: pd.DataFrame, weight_column: str, columns: Sequence[str], default_shares: tuple[float, ...]
) -> EmpiricalPool:
    """The cases with any `weight_column`, and what is `columns` as shares of it."""
    some = cases[cases[weight_column] > 0]
    shares = some[list(columns)].to_numpy(np.float64) / some[weight_column].to_numpy(np.float64)[:, None]
    bands = {band: np.flatnonzero(some["size_band"] == band) for band in some["size_band"].dropna().unique()}
    places = {ALL_BANDS: np.arange(len(some)), **{band: own for band, own in bands.items() if len(own) >= MIN_CASES}}
    odds = some[weight_column].to_numpy(np.float64)
    reached = {band: np.cumsum(odds[own]) / max(odds[own].sum(), EPSILON) for band, own in places.items()}
    return EmpiricalPool(shares, places, reached, default_shares)


def renewal_pool(inputs: ForecastInputs) -> EmpiricalPool:
    """What renewed accounts bought again, kept and bought on top, as shares of what was due."""
    past = matured_renewals(inputs, inputs.final_quarters)
    asked = ("amount_renewed", "amount_kept", "growth")
    return build_pool(past[past["renewed"] == 1], "amount_due", asked, default_shares=(1.0, 1.0, 0.0))


def growth_pool(inputs: ForecastInputs) -> EmpiricalPool:
    """What accounts gained in a quarter beside their renewals, as a share of the opening."""
    grown = (
        matured_renewals(inputs, inputs.final_quarters)
        .groupby(["quarter", "account_id"], as_index=False)["growth"]
        .sum()
    )
    past = inputs.quarters.query("quarter in @inputs.final_quarters")
    past = past.merge(grown, on=["quarter", "account_id"], how="left")
    gained = past["closing"] - past["opening"] + past["lost"] - past["growth"].fillna(0.0)
    return build_pool(past.assign(gained=gained), "opening", ("gained",), default_shares=(0.0,))


# --- drawing a year ------------------------------------------------------------------------------


@dataclass(frozen=True)
class SegmentMembership:
    """Who belongs where; one row per account of the forecast."""

    names: pd.DataFrame
    """One row per segment: segment_kind, segment."""
    membership: Any
    """Accounts × segments, 1 where an account belongs."""


def segment_membership(accounts: pd.DataFrame, kinds: Sequence[str], unknown: str) -> SegmentMembership:
    """The company and every segment of these kinds."""
    parts = [pd.Series(ALL_BANDS, index=accounts.index), *(accounts[kind].astype(object) for kind in kinds)]
    codes, names, count = [], [], 0
    for kind, part in zip(("company", *kinds), parts, strict=True):
        code, known = pd.factorize(part.where(part.notna(), unknown).astype(str), sort=True)
        codes.append(code + count)
        names.append(pd.DataFrame({"segment_kind": kind, "segment": known}))
        count += len(known)
    rows = np.tile(np.arange(len(accounts)), len(parts))
    member = sparse.csr_matrix((np.ones(len(rows)), (rows, np.concatenate(codes))), shape=(len(accounts), count))
    return SegmentMembership(pd.concat(names, ignore_index=True), member)


def simulate_totals(
    inputs: ForecastInputs,
    schedule: pd.DataFrame,
    accounts: pd.DataFrame,
    membership: Any,
    quarter_effect: QuarterEffectPosterior,
    settings: ForecastSettings,
) -> dict[str, Floats]:
    """Each of `TOTALS` in every draw: draws × periods × segments; the last period is the year.

    `schedule` is the schedule, `accounts` one row per account of it and of the opening.
    """
    dice = np.random.default_rng(settings.seed)
    sizes = _batch_sizes(settings.draws, max(len(schedule) * 3, len(accounts), 1))
    pools = renewal_pool(inputs), growth_pool(inputs)
    parts = [_simulate_batch(size, dice, schedule, accounts, quarter_effect, pools) for size in sizes]
    return {
        name: np.concatenate([np.stack([by @ membership for by in part[name]], axis=1) for part in parts])
        for name in TOTALS
    }


def _batch_sizes(count: int, row_width: int) -> list[int]:
    """How many draws at a time."""
    most = max(1, MAX_CELLS // row_width)
    return [min(most, count - done) for done in range(0, count, most)]


@dataclass(frozen=True)
class DueRenewals:
    """What falls due in a few draws."""

    amounts: Mapping[str, Floats]
    """Each draws × rows of the schedule."""
    schedule: pd.DataFrame
    ownership: Any
    """Rows × accounts, 1 where a renewal is the account's."""

    def account_totals(self, name: str, when: str, number: int, larger: Floats | float = 1.0) -> Floats:
        """What falls due in a quarter, and `growth_factor` by what was bought since where undecided: draws ×
        accounts."""
        now, decided = (self.schedule[when] == number).to_numpy(), self.schedule["decided"].to_numpy(bool)
        facts, others = ((self.amounts[name] * (now & which)) @ self.ownership for which in (decided, ~decided))
        return np.asarray(facts + others * larger)


def _simulate_batch(
    size: int,
    rng: np.random.Generator,
    schedule: pd.DataFrame,
    accounts: pd.DataFrame,
    quarter_effect: QuarterEffectPosterior,
    pools: Any,
) -> dict[str, list[Floats]]:
    """A few draws: each total by period, as draws × accounts.

    What an account buys between renewals is taken to end with its term, and falls due with it.
    """
    owner = pd.Index(accounts["account_id"]).get_indexer(pd.Index(schedule["account_id"]))
    rows = _simulate_renewals(size, rng, schedule, owner, len(accounts), quarter_effect, pools[0])
    belongs = sparse.csr_matrix(
        (np.ones(len(schedule)), (np.arange(len(schedule)), owner)), shape=(len(schedule), len(accounts))
    )
    fall, bands = DueRenewals(rows, schedule, belongs), accounts["size_band"].to_numpy(object)
    told: dict[str, list[Floats]] = {name: [] for name in TOTALS}
    late = (
        fall.account_totals("due", "quarter", 0)
        - fall.account_totals("lost", "quarter", 0)
        + fall.account_totals("growth", "quarter", 0)
    )
    first = now = accounts["opening"].to_numpy() + late
    lost_so_far, larger = np.zeros_like(now), np.ones_like(now)
    for number in QUARTERS_AHEAD:
        lost, grown = (fall.account_totals(name, "moves", number, larger) for name in ("lost", "growth"))
        share = pools[1].draw(bands, rng.random(now.shape))[..., 0]
        end = np.maximum(now - lost + (grown + now * share) * (now > 0), 0.0)
        due_now, renewed, decided = (
            fall.account_totals(n, "quarter", number, larger) for n in ("due", "renewed", "decided")
        )
        quarter = (now, end, np.maximum(now - lost, 0.0), due_now, decided, renewed)
        for name, of in zip(TOTALS, quarter, strict=True):
            told[name].append(of)
        now, lost_so_far, larger = end, lost_so_far + lost, larger * np.maximum(1 + share, 0.0)
    year = {"opening": first, "closing": now, "kept": np.maximum(first - lost_so_far, 0.0)}
    whole = {name: year[name] if name in year else np.sum(parts, axis=0) for name, parts in told.items()}
    return {name: [*parts, whole[name]] for name, parts in told.items()}


def _simulate_renewals(
    size: int,
    rng: np.random.Generator,
    schedule: pd.DataFrame,
    owner: Ints,
    count: int,
    quarter_effect: QuarterEffectPosterior,
    outcomes: EmpiricalPool,
) -> dict[str, Floats]:
    """What falls due, is bought again, lost and bought on top: each draws × rows of the schedule."""
    shocks = rng.choice(SD_GRID, size, p=quarter_effect.weights)[:, None] * rng.standard_normal(
        (size, QUARTERS_PER_YEAR + 1)
    )
    decided, after = schedule["decided"].to_numpy(), schedule["after"].to_numpy()
    chance = np.clip(schedule["probability"].to_numpy(np.float64), EPSILON, 1 - EPSILON)
    odds = logit(chance) + shocks[:, schedule["quarter"].to_numpy()]
    coin = np.where(after < 0, rng.random((size, count))[:, owner], rng.random((size, len(schedule))))
    falls_due = rng.random((size, len(schedule))) < schedule["share"].to_numpy()
    renewed = (coin < expit(odds)) | decided
    shares = outcomes.draw(schedule["size_band"].to_numpy(object), rng.random((size, len(schedule))))
    amount = np.tile(schedule["amount_due"].to_numpy(np.float64), (size, 1))
    generation = schedule["generation"].to_numpy()
    for number in range(1, int(generation.max(initial=0)) + 1):
        later = np.flatnonzero(generation == number)
        before = after[later]
        follows = renewed[:, before] & falls_due[:, later]
        amount[:, later] = amount[:, before] * follows * shares[:, before, 1:].sum(axis=2)
    sums = np.where(renewed[..., None], amount[..., None] * shares, 0.0)
    for place, name in enumerate(("amount_renewed", "amount_kept", "growth")):
        sums[:, decided, place] = schedule[name].to_numpy(np.float64)[decided]
    bought, kept, growth = np.moveaxis(sums, 2, 0)
    return {"due": amount, "renewed": bought, "decided": bought * decided, "lost": amount - kept, "growth": growth}


# --- what is said --------------------------------------------------------------------------------


def forecast_measures(
    inputs: ForecastInputs,
    day_scores: pd.DataFrame,
    quarter_effect: QuarterEffectPosterior,
    settings: ForecastSettings,
    kinds: Sequence[str],
    unknown: str,
) -> pd.DataFrame:
    """The forecast of the day, one row per (quarter, segment_kind, segment, measure); quarter 5 is the year.

    `expected` is the mean of the draws, `low` and `high` hold `options.confidence` of them; `by_last_year` and
    `by_size` are what the two naive forecasts say. What a segment has nothing of is NaN.
    """
    due = build_schedule(inputs, day_scores)
    accounts = forecast_accounts(inputs, due)
    parts = segment_membership(accounts, kinds, unknown)
    told = derive_measures(simulate_totals(inputs, due, accounts, parts.membership, quarter_effect, settings))
    company, bands = (
        derive_measures(naive_forecast(inputs, due, accounts, parts.membership, by)) for by in (None, "size_band")
    )
    rows = []
    for name, values in told.items():
        low, expected, high = _interval_and_mean(values, settings.confidence)
        beside = {"by_last_year": company[name], "by_size": bands[name]} if name in BENCHMARKED_MEASURES else {}
        rows.append(to_rows(name, parts.names, expected=expected, low=low, high=high, **beside))
    return pd.concat(rows, ignore_index=True)


def _interval_and_mean(values: Floats, confidence: float) -> tuple[Floats, Floats, Floats]:
    """Low end, mean and high end over the draws that have a value; NaN where none has."""
    flat = values.reshape(len(values), -1)
    some = np.isfinite(flat).any(axis=0)
    found = np.full((3, flat.shape[1]), np.nan)
    found[0, some], found[2, some] = np.nanquantile(flat[:, some], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    found[1, some] = np.nanmean(flat[:, some], axis=0)
    low, mean, high = (one.reshape(values.shape[1:]) for one in found)
    return low, mean, high


def to_rows(name: str, names: pd.DataFrame, **values: Floats) -> pd.DataFrame:
    """Arrays of periods × segments as rows."""
    periods = np.repeat([*QUARTERS_AHEAD, QUARTERS_PER_YEAR + 1], len(names))
    flat = {column: array.ravel() for column, array in values.items()}
    return pd.concat([names] * (QUARTERS_PER_YEAR + 1), ignore_index=True).assign(quarter=periods, measure=name, **flat)
