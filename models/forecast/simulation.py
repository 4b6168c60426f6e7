"""Simulated forecast of renewals, retention and growth in the next four quarters, with intervals.

One forecast is a few thousand *draws* of a year. In each draw, the renewals of a quarter share one quarter effect on
their log-odds, and the renewals of an account share one random number (follow-ons have their own). The amounts that a
renewed account keeps and buys are those of a past renewal of its size band, drawn with probability proportional to
money. Growth between renewals is drawn in the same way from past quarters of accounts. The sums of a draw are
converted to the measures of the scorecard (R1, R4, R5); an interval is the central part of the draws.

The schedule of renewals is in `models.forecast.renewal_schedule`, the quarter effect in
`models.forecast.quarter_effect`, and the benchmarks in `models.forecast.benchmarks`.
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
"""Minimum past renewals, or quarters of accounts, of a size band; with fewer it draws from all bands."""
MAX_CELLS = 2_000_000
"""Maximum array elements of one batch of draws."""
BENCHMARKED_MEASURES = ("arr_renewed", "gross_retention", "net_retention")
"""Measures that are compared with the naive forecasts and with the actual values."""


# --- past renewals and growth --------------------------------------------------------------------


@dataclass(frozen=True)
class EmpiricalPool:
    """Past cases of each size band to draw from, as shares of their amount, with probability proportional to it."""

    shares: Floats
    """Cases × columns."""
    case_positions: Mapping[Any, Ints]
    """Row numbers of the cases of each size band; `ALL_BANDS` has all cases."""
    cumulative_odds: Mapping[Any, Floats]
    """Cumulative probability of these cases."""
    default_shares: tuple[float, ...]
    """Shares used if there is no case at all."""

    def draw(self, bands: npt.NDArray[np.object_], uniforms: npt.NDArray[np.float64]) -> Floats:
        """Draw one case per uniform number in [0, 1): draws × rows × columns. `bands` has the size band of each row."""
        drawn = np.tile(np.array(self.default_shares), (*uniforms.shape, 1))
        for band in pd.unique(bands):
            in_band, pool_band = bands == band, band if band in self.case_positions else ALL_BANDS
            if len(self.case_positions[pool_band]):
                position = np.searchsorted(self.cumulative_odds[pool_band], uniforms[:, in_band], side="right")
                drawn[:, in_band] = self.shares[
                    self.case_positions[pool_band][np.minimum(position, len(self.case_positions[pool_band]) - 1)]
                ]
        return drawn


def build_pool(
    cases: pd.DataFrame, weight_column: str, columns: Sequence[str], default_shares: tuple[float, ...]
) -> EmpiricalPool:
    """Build a pool of the cases with a positive `weight_column`, with `columns` as shares of it."""
    valid = cases[cases[weight_column] > 0]
    shares = valid[list(columns)].to_numpy(np.float64) / valid[weight_column].to_numpy(np.float64)[:, None]
    bands = {band: np.flatnonzero(valid["size_band"] == band) for band in valid["size_band"].dropna().unique()}
    case_positions = {
        ALL_BANDS: np.arange(len(valid)),
        **{band: positions for band, positions in bands.items() if len(positions) >= MIN_CASES},
    }
    amounts = valid[weight_column].to_numpy(np.float64)
    cumulative_odds = {
        band: np.cumsum(amounts[positions]) / max(amounts[positions].sum(), EPSILON)
        for band, positions in case_positions.items()
    }
    return EmpiricalPool(shares, case_positions, cumulative_odds, default_shares)


def renewal_pool(inputs: ForecastInputs) -> EmpiricalPool:
    """Pool of past renewals: amount renewed, amount kept and growth, as shares of the amount due."""
    past = matured_renewals(inputs, inputs.final_quarters)
    columns = ("amount_renewed", "amount_kept", "growth")
    return build_pool(past[past["renewed"] == 1], "amount_due", columns, default_shares=(1.0, 1.0, 0.0))


def growth_pool(inputs: ForecastInputs) -> EmpiricalPool:
    """Pool of past account quarters: growth outside renewals, as a share of the opening."""
    renewal_growth = (
        matured_renewals(inputs, inputs.final_quarters)
        .groupby(["quarter", "account_id"], as_index=False)["growth"]
        .sum()
    )
    past = inputs.quarters.query("quarter in @inputs.final_quarters")
    past = past.merge(renewal_growth, on=["quarter", "account_id"], how="left")
    gained = past["gained"] - past["growth"].fillna(0.0)
    return build_pool(past.assign(gained=gained), "opening", ("gained",), default_shares=(0.0,))


# --- simulation ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SegmentMembership:
    """Segments of a forecast, and the accounts that belong to each."""

    names: pd.DataFrame
    """One row per segment: segment_kind, segment."""
    membership: Any
    """Sparse matrix of accounts × segments, 1 if the account belongs to the segment."""


def segment_membership(accounts: pd.DataFrame, kinds: Sequence[str], unknown: str) -> SegmentMembership:
    """Segments of the forecast accounts: the company, and each value of these kinds; missing values are `unknown`."""
    columns = [pd.Series(ALL_BANDS, index=accounts.index), *(accounts[kind].astype(object) for kind in kinds)]
    codes, names, count = [], [], 0
    for kind, column in zip(("company", *kinds), columns, strict=True):
        code, values = pd.factorize(column.where(column.notna(), unknown).astype(str), sort=True)
        codes.append(code + count)
        names.append(pd.DataFrame({"segment_kind": kind, "segment": values}))
        count += len(values)
    rows = np.tile(np.arange(len(accounts)), len(columns))
    membership = sparse.csr_matrix((np.ones(len(rows)), (rows, np.concatenate(codes))), shape=(len(accounts), count))
    return SegmentMembership(pd.concat(names, ignore_index=True), membership)


def simulate_totals(
    inputs: ForecastInputs,
    schedule: pd.DataFrame,
    accounts: pd.DataFrame,
    membership: Any,
    quarter_effect: QuarterEffectPosterior,
    settings: ForecastSettings,
) -> dict[str, Floats]:
    """Simulate `TOTALS`: for each, draws × periods × segments; the last period is the year.

    `schedule` is the output of `build_schedule`, `accounts` of `forecast_accounts`.
    """
    rng = np.random.default_rng(settings.seed)
    sizes = _batch_sizes(settings.draws, max(len(schedule) * 3, len(accounts), 1))
    pools = renewal_pool(inputs), growth_pool(inputs)
    parts = [_simulate_batch(size, rng, schedule, accounts, quarter_effect, pools) for size in sizes]
    return {
        name: np.concatenate([np.stack([amounts @ membership for amounts in part[name]], axis=1) for part in parts])
        for name in TOTALS
    }


def _batch_sizes(count: int, row_width: int) -> list[int]:
    """Split the draws into batches of at most `MAX_CELLS` array elements."""
    max_draws = max(1, MAX_CELLS // row_width)
    return [min(max_draws, count - done) for done in range(0, count, max_draws)]


@dataclass(frozen=True)
class DueRenewals:
    """Simulated amounts of the renewals on the schedule, for one batch of draws."""

    amounts: Mapping[str, Floats]
    """Amounts by name; each draws × rows of the schedule."""
    schedule: pd.DataFrame
    ownership: Any
    """Sparse matrix of schedule rows × accounts, 1 if the renewal is the account's."""

    def account_totals(
        self, name: str, quarter_column: str, number: int, growth_factor: Floats | float = 1.0
    ) -> Floats:
        """Total of one amount in one quarter: draws × accounts.

        Amounts of undecided renewals are multiplied by `growth_factor`, the account's growth since the day.
        """
        in_quarter = (self.schedule[quarter_column] == number).to_numpy()
        decided = self.schedule["decided"].to_numpy(bool)
        decided_totals, open_totals = (
            (self.amounts[name] * (in_quarter & subset)) @ self.ownership for subset in (decided, ~decided)
        )
        return np.asarray(decided_totals + open_totals * growth_factor)


def _simulate_batch(
    size: int,
    rng: np.random.Generator,
    schedule: pd.DataFrame,
    accounts: pd.DataFrame,
    quarter_effect: QuarterEffectPosterior,
    pools: Any,
) -> dict[str, list[Floats]]:
    """Simulate one batch of draws: a list of periods for each of `TOTALS`, each period draws × accounts.

    What an account buys between renewals is assumed to end with its term and to come due with it.
    """
    owner = pd.Index(accounts["account_id"]).get_indexer(pd.Index(schedule["account_id"]))
    rows = _simulate_renewals(size, rng, schedule, owner, len(accounts), quarter_effect, pools[0])
    ownership = sparse.csr_matrix(
        (np.ones(len(schedule)), (np.arange(len(schedule)), owner)), shape=(len(schedule), len(accounts))
    )
    due_renewals, bands = DueRenewals(rows, schedule, ownership), accounts["size_band"].to_numpy(object)
    totals: dict[str, list[Floats]] = {name: [] for name in TOTALS}
    pending_change = (
        due_renewals.account_totals("due", "quarter", 0)
        - due_renewals.account_totals("lost", "quarter", 0)
        + due_renewals.account_totals("growth", "quarter", 0)
    )
    opening = current = accounts["opening"].to_numpy() + pending_change
    lost_total, growth_factor = np.zeros_like(current), np.ones_like(current)
    for number in QUARTERS_AHEAD:
        lost, growth = (
            due_renewals.account_totals(name, "moves", number, growth_factor) for name in ("lost", "growth")
        )
        share = pools[1].draw(bands, rng.random(current.shape))[..., 0]
        closing = np.maximum(current - lost + (growth + current * share) * (current > 0), 0.0)
        due_now, renewed, decided = (
            due_renewals.account_totals(name, "quarter", number, growth_factor)
            for name in ("due", "renewed", "decided")
        )
        quarter = (current, closing, np.maximum(current - lost, 0.0), due_now, decided, renewed)
        for name, values in zip(TOTALS, quarter, strict=True):
            totals[name].append(values)
        current, lost_total, growth_factor = closing, lost_total + lost, growth_factor * np.maximum(1 + share, 0.0)
    year = {"opening": opening, "retained": current, "kept": np.maximum(opening - lost_total, 0.0)}
    year_totals = {name: year[name] if name in year else np.sum(parts, axis=0) for name, parts in totals.items()}
    return {name: [*parts, year_totals[name]] for name, parts in totals.items()}


def _simulate_renewals(
    size: int,
    rng: np.random.Generator,
    schedule: pd.DataFrame,
    owner: Ints,
    count: int,
    quarter_effect: QuarterEffectPosterior,
    outcomes: EmpiricalPool,
) -> dict[str, Floats]:
    """Simulate the amounts due, renewed, decided, lost and growth; each draws × rows of the schedule."""
    quarter_effects = rng.choice(SD_GRID, size, p=quarter_effect.weights)[:, None] * rng.standard_normal(
        (size, QUARTERS_PER_YEAR + 1)
    )
    decided, after = schedule["decided"].to_numpy(), schedule["after"].to_numpy()
    probability = np.clip(schedule["probability"].to_numpy(np.float64), EPSILON, 1 - EPSILON)
    log_odds = logit(probability) + quarter_effects[:, schedule["quarter"].to_numpy()]
    uniforms = np.where(after < 0, rng.random((size, count))[:, owner], rng.random((size, len(schedule))))
    has_length = rng.random((size, len(schedule))) < schedule["share"].to_numpy()
    renewed = (uniforms < expit(log_odds)) | decided
    shares = outcomes.draw(schedule["size_band"].to_numpy(object), rng.random((size, len(schedule))))
    amount = np.tile(schedule["amount_due"].to_numpy(np.float64), (size, 1))
    generation = schedule["generation"].to_numpy()
    for number in range(1, int(generation.max(initial=0)) + 1):
        later = np.flatnonzero(generation == number)
        previous = after[later]
        follows = renewed[:, previous] & has_length[:, later]
        amount[:, later] = amount[:, previous] * follows * shares[:, previous, 1:].sum(axis=2)
    sums = np.where(renewed[..., None], amount[..., None] * shares, 0.0)
    for position, name in enumerate(("amount_renewed", "amount_kept", "growth")):
        sums[:, decided, position] = schedule[name].to_numpy(np.float64)[decided]
    amount_renewed, amount_kept, growth = np.moveaxis(sums, 2, 0)
    return {
        "due": amount,
        "renewed": amount_renewed,
        "decided": amount_renewed * decided,
        "lost": amount - amount_kept,
        "growth": growth,
    }


# --- measures ------------------------------------------------------------------------------------


def forecast_measures(
    inputs: ForecastInputs,
    day_scores: pd.DataFrame,
    quarter_effect: QuarterEffectPosterior,
    settings: ForecastSettings,
    kinds: Sequence[str],
    unknown: str,
) -> pd.DataFrame:
    """Forecast of the day, one row per (quarter, segment_kind, segment, measure); quarter 5 is the year.

    `expected` is the mean of the draws, and a share `settings.confidence` of them is between `low` and `high`.
    `by_last_year` and `by_size` are the two naive forecasts. Measures that are undefined for a segment are NaN.
    """
    schedule = build_schedule(inputs, day_scores)
    accounts = forecast_accounts(inputs, schedule)
    segments = segment_membership(accounts, kinds, unknown)
    measures = derive_measures(
        simulate_totals(inputs, schedule, accounts, segments.membership, quarter_effect, settings)
    )
    company, bands = (
        derive_measures(naive_forecast(inputs, schedule, accounts, segments.membership, rates_by))
        for rates_by in (None, "size_band")
    )
    rows = []
    for name, values in measures.items():
        low, expected, high = _interval_and_mean(values, settings.confidence)
        benchmarks = {"by_last_year": company[name], "by_size": bands[name]} if name in BENCHMARKED_MEASURES else {}
        rows.append(to_rows(name, segments.names, expected=expected, low=low, high=high, **benchmarks))
    return pd.concat(rows, ignore_index=True)


def _interval_and_mean(values: Floats, confidence: float) -> tuple[Floats, Floats, Floats]:
    """Low end, mean and high end over the draws that have a value; NaN if none has."""
    flat = values.reshape(len(values), -1)
    has_value = np.isfinite(flat).any(axis=0)
    summary = np.full((3, flat.shape[1]), np.nan)
    summary[0, has_value], summary[2, has_value] = np.nanquantile(
        flat[:, has_value], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0
    )
    summary[1, has_value] = np.nanmean(flat[:, has_value], axis=0)
    low, mean, high = (row.reshape(values.shape[1:]) for row in summary)
    return low, mean, high


def to_rows(name: str, names: pd.DataFrame, **values: Floats) -> pd.DataFrame:
    """Convert arrays of periods × segments to rows: one row per (segment, quarter), one column per array."""
    periods = np.repeat([*QUARTERS_AHEAD, QUARTERS_PER_YEAR + 1], len(names))
    flat = {column: array.ravel() for column, array in values.items()}
    return pd.concat([names] * (QUARTERS_PER_YEAR + 1), ignore_index=True).assign(quarter=periods, measure=name, **flat)
