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

from renewals.models.forecast.benchmarks import AHEAD, TOTALS, measured, naive
from renewals.models.forecast.quarter_effect import SPREADS, Spread
from renewals.models.forecast.renewal_schedule import ALL, YEAR, Standing, customers, past_sets, schedule
from renewals.models.metrics import EDGE
from renewals.models.settings import Forecast

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

ENOUGH = 30
"""Past renewals, or quarters of accounts, below which a size band draws from all."""
CELLS = 2_000_000
"""Numbers held at a time while drawing."""
JUDGED = ("arr_renewed", "gross_retention", "net_retention")
"""What is held against the naive forecasts and against what happened."""


# --- what renewed and growing accounts did -------------------------------------------------------


@dataclass(frozen=True)
class Pool:
    """Past cases of each size band to draw from: shares of the money at stake, the odds of a case being that money."""

    shares: Floats
    """Cases × what is asked."""
    places: Mapping[Any, Places]
    """The cases of each size band; `ALL` holds all."""
    reached: Mapping[Any, Floats]
    """The odds of these cases, summed up to each."""
    otherwise: tuple[float, ...]
    """What is taken where there is no case at all."""

    def draw(self, bands: npt.NDArray[np.object_], dice: npt.NDArray[np.float64]) -> Floats:
        """One case per number in [0, 1): draws × rows × what is asked. `bands` names the band of each row."""
        found = np.tile(np.array(self.otherwise), (*dice.shape, 1))
        for band in pd.unique(bands):
            own, known = bands == band, band if band in self.places else ALL
            if len(self.places[known]):
                place = np.searchsorted(self.reached[known], dice[:, own], side="right")
                found[:, own] = self.shares[self.places[known][np.minimum(place, len(self.places[known]) - 1)]]
        return found


def pool(cases: pd.DataFrame, money: str, asked: Sequence[str], otherwise: tuple[float, ...]) -> Pool:
    """The cases with any `money`, and what is `asked` as shares of it."""
    some = cases[cases[money] > 0]
    shares = some[list(asked)].to_numpy(np.float64) / some[money].to_numpy(np.float64)[:, None]
    bands = {band: np.flatnonzero(some["size_band"] == band) for band in some["size_band"].dropna().unique()}
    places = {ALL: np.arange(len(some)), **{band: own for band, own in bands.items() if len(own) >= ENOUGH}}
    odds = some[money].to_numpy(np.float64)
    reached = {band: np.cumsum(odds[own]) / max(odds[own].sum(), EDGE) for band, own in places.items()}
    return Pool(shares, places, reached, otherwise)


def renewed_pool(standing: Standing) -> Pool:
    """What renewed accounts bought again, kept and bought on top, as shares of what was due."""
    past = past_sets(standing, standing.final)
    asked = ("amount_renewed", "amount_kept", "growth")
    return pool(past[past["renewed"] == 1], "amount_due", asked, otherwise=(1.0, 1.0, 0.0))


def growth_pool(standing: Standing) -> Pool:
    """What accounts gained in a quarter beside their renewals, as a share of the opening."""
    grown = past_sets(standing, standing.final).groupby(["quarter", "account_id"], as_index=False)["growth"].sum()
    past = standing.quarters.query("quarter in @standing.final")
    past = past.merge(grown, on=["quarter", "account_id"], how="left")
    gained = past["closing"] - past["opening"] + past["lost"] - past["growth"].fillna(0.0)
    return pool(past.assign(gained=gained), "opening", ("gained",), otherwise=(0.0,))


# --- drawing a year ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Segments:
    """Who belongs where; one row per account of the forecast."""

    names: pd.DataFrame
    """One row per segment: segment_kind, segment."""
    member: Any
    """Accounts × segments, 1 where an account belongs."""


def segments(accounts: pd.DataFrame, kinds: Sequence[str], unknown: str) -> Segments:
    """The company and every segment of these kinds."""
    parts = [pd.Series(ALL, index=accounts.index), *(accounts[kind].astype(object) for kind in kinds)]
    codes, names, count = [], [], 0
    for kind, part in zip(("company", *kinds), parts, strict=True):
        code, known = pd.factorize(part.where(part.notna(), unknown).astype(str), sort=True)
        codes.append(code + count)
        names.append(pd.DataFrame({"segment_kind": kind, "segment": known}))
        count += len(known)
    rows = np.tile(np.arange(len(accounts)), len(parts))
    member = sparse.csr_matrix((np.ones(len(rows)), (rows, np.concatenate(codes))), shape=(len(accounts), count))
    return Segments(pd.concat(names, ignore_index=True), member)


def draws(
    standing: Standing, due: pd.DataFrame, accounts: pd.DataFrame, member: Any, shock: Spread, options: Forecast
) -> dict[str, Floats]:
    """Each of `TOTALS` in every draw: draws × periods × segments; the last period is the year.

    `due` is the schedule, `accounts` one row per account of it and of the opening.
    """
    dice = np.random.default_rng(options.seed)
    sizes = _sizes(options.draws, max(len(due) * 3, len(accounts), 1))
    pools = renewed_pool(standing), growth_pool(standing)
    parts = [_drawn(size, dice, due, accounts, shock, pools) for size in sizes]
    return {
        name: np.concatenate([np.stack([by @ member for by in part[name]], axis=1) for part in parts])
        for name in TOTALS
    }


def _sizes(count: int, wide: int) -> list[int]:
    """How many draws at a time."""
    most = max(1, CELLS // wide)
    return [min(most, count - done) for done in range(0, count, most)]


@dataclass(frozen=True)
class Falling:
    """What falls due in a few draws."""

    rows: Mapping[str, Floats]
    """Each draws × rows of the schedule."""
    due: pd.DataFrame
    belongs: Any
    """Rows × accounts, 1 where a renewal is the account's."""

    def of(self, name: str, when: str, number: int, larger: Floats | float = 1.0) -> Floats:
        """What falls due in a quarter, and `larger` by what was bought since where undecided: draws × accounts."""
        now, decided = (self.due[when] == number).to_numpy(), self.due["decided"].to_numpy(bool)
        facts, others = ((self.rows[name] * (now & which)) @ self.belongs for which in (decided, ~decided))
        return np.asarray(facts + others * larger)


def _drawn(
    size: int, dice: np.random.Generator, due: pd.DataFrame, accounts: pd.DataFrame, shock: Spread, pools: Any
) -> dict[str, list[Floats]]:
    """A few draws: each total by period, as draws × accounts.

    What an account buys between renewals is taken to end with its term, and falls due with it.
    """
    owner = pd.Index(accounts["account_id"]).get_indexer(pd.Index(due["account_id"]))
    rows = _renewals(size, dice, due, owner, len(accounts), shock, pools[0])
    belongs = sparse.csr_matrix((np.ones(len(due)), (np.arange(len(due)), owner)), shape=(len(due), len(accounts)))
    fall, bands = Falling(rows, due, belongs), accounts["size_band"].to_numpy(object)
    told: dict[str, list[Floats]] = {name: [] for name in TOTALS}
    late = fall.of("due", "quarter", 0) - fall.of("lost", "quarter", 0) + fall.of("growth", "quarter", 0)
    first = now = accounts["opening"].to_numpy() + late
    lost_so_far, larger = np.zeros_like(now), np.ones_like(now)
    for number in AHEAD:
        lost, grown = (fall.of(name, "moves", number, larger) for name in ("lost", "growth"))
        share = pools[1].draw(bands, dice.random(now.shape))[..., 0]
        end = np.maximum(now - lost + (grown + now * share) * (now > 0), 0.0)
        due_now, renewed, decided = (fall.of(n, "quarter", number, larger) for n in ("due", "renewed", "decided"))
        quarter = (now, end, np.maximum(now - lost, 0.0), due_now, decided, renewed)
        for name, of in zip(TOTALS, quarter, strict=True):
            told[name].append(of)
        now, lost_so_far, larger = end, lost_so_far + lost, larger * np.maximum(1 + share, 0.0)
    year = {"opening": first, "closing": now, "kept": np.maximum(first - lost_so_far, 0.0)}
    whole = {name: year[name] if name in year else np.sum(parts, axis=0) for name, parts in told.items()}
    return {name: [*parts, whole[name]] for name, parts in told.items()}


def _renewals(
    size: int,
    dice: np.random.Generator,
    due: pd.DataFrame,
    owner: Places,
    count: int,
    shock: Spread,
    outcomes: Pool,
) -> dict[str, Floats]:
    """What falls due, is bought again, lost and bought on top: each draws × rows of the schedule."""
    shocks = dice.choice(SPREADS, size, p=shock.weights)[:, None] * dice.standard_normal((size, YEAR + 1))
    decided, after = due["decided"].to_numpy(), due["after"].to_numpy()
    chance = np.clip(due["probability"].to_numpy(np.float64), EDGE, 1 - EDGE)
    odds = logit(chance) + shocks[:, due["quarter"].to_numpy()]
    coin = np.where(after < 0, dice.random((size, count))[:, owner], dice.random((size, len(due))))
    falls_due = dice.random((size, len(due))) < due["share"].to_numpy()
    renewed = (coin < expit(odds)) | decided
    shares = outcomes.draw(due["size_band"].to_numpy(object), dice.random((size, len(due))))
    amount = np.tile(due["amount_due"].to_numpy(np.float64), (size, 1))
    generation = due["generation"].to_numpy()
    for number in range(1, int(generation.max(initial=0)) + 1):
        later = np.flatnonzero(generation == number)
        before = after[later]
        follows = renewed[:, before] & falls_due[:, later]
        amount[:, later] = amount[:, before] * follows * shares[:, before, 1:].sum(axis=2)
    sums = np.where(renewed[..., None], amount[..., None] * shares, 0.0)
    for place, name in enumerate(("amount_renewed", "amount_kept", "growth")):
        sums[:, decided, place] = due[name].to_numpy(np.float64)[decided]
    bought, kept, growth = np.moveaxis(sums, 2, 0)
    return {"due": amount, "renewed": bought, "decided": bought * decided, "lost": amount - kept, "growth": growth}


# --- what is said --------------------------------------------------------------------------------


def forecast(
    standing: Standing, chances: pd.DataFrame, shock: Spread, options: Forecast, kinds: Sequence[str], unknown: str
) -> pd.DataFrame:
    """The forecast of the day, one row per (quarter, segment_kind, segment, measure); quarter 5 is the year.

    `expected` is the mean of the draws, `low` and `high` hold `options.confidence` of them; `by_last_year` and
    `by_size` are what the two naive forecasts say. What a segment has nothing of is NaN.
    """
    due = schedule(standing, chances)
    accounts = customers(standing, due)
    parts = segments(accounts, kinds, unknown)
    told = measured(draws(standing, due, accounts, parts.member, shock, options))
    company, bands = (measured(naive(standing, due, accounts, parts.member, by)) for by in (None, "size_band"))
    rows = []
    for name, values in told.items():
        low, expected, high = _middle(values, options.confidence)
        beside = {"by_last_year": company[name], "by_size": bands[name]} if name in JUDGED else {}
        rows.append(as_rows(name, parts.names, expected=expected, low=low, high=high, **beside))
    return pd.concat(rows, ignore_index=True)


def _middle(values: Floats, confidence: float) -> tuple[Floats, Floats, Floats]:
    """Low end, mean and high end over the draws that have a value; NaN where none has."""
    flat = values.reshape(len(values), -1)
    some = np.isfinite(flat).any(axis=0)
    found = np.full((3, flat.shape[1]), np.nan)
    found[0, some], found[2, some] = np.nanquantile(flat[:, some], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    found[1, some] = np.nanmean(flat[:, some], axis=0)
    low, mean, high = (one.reshape(values.shape[1:]) for one in found)
    return low, mean, high


def as_rows(name: str, names: pd.DataFrame, **values: Floats) -> pd.DataFrame:
    """Arrays of periods × segments as rows."""
    periods = np.repeat([*AHEAD, YEAR + 1], len(names))
    flat = {column: array.ravel() for column, array in values.items()}
    return pd.concat([names] * (YEAR + 1), ignore_index=True).assign(quarter=periods, measure=name, **flat)
