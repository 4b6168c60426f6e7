"""What will be renewed, kept and bought in the four quarters to come, with intervals: values in, values out.

One forecast is a few thousand *draws* of a year. In each, a quarter's renewals share one shock of the log-odds, each
account tosses one coin, and what a renewed account keeps and buys is that of a past renewal of its size, drawn with
odds in proportion to money. Growth between renewals is drawn the same way from past quarters of accounts. The sums of
a draw are measured as the scorecard measures (R1, R4, R5); an interval is the middle part of the draws.

Words used here:

shock      what all renewals of a quarter have in common, in log-odds; its *spread* is the standard deviation.
schedule   the renewals that fall due, decided or not, and those of their follow-ons where terms are short.
decided    already followed by a new term: a fact, whatever the score says.
pending    due before the day and still within the grace: whether it was kept is part of the opening (R2).
final      a past quarter whose grace has passed.

Quarters are numbered as in `features.outlook`: 1 is the first to come. Money is in units of the reporting currency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.special import expit, log_expit, logit, logsumexp

from models.metrics import EDGE, at_lead
from models.options import Forecast

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

AHEAD = (1, 2, 3, 4)
ALL = "all"
YEAR = 4
"""Quarters in a year; as a period, all four together."""
LEADS = (45, 135, 225, 315)
"""Days before the end at which the renewals of the first, second, third and fourth quarter are foretold on average."""
PRIOR = 10.0
"""Renewals' worth of the company's rate lent to a size band's own."""
ENOUGH = 30
"""Past renewals, or quarters of accounts, below which a size band draws from all."""
CELLS = 2_000_000
"""Numbers held at a time while drawing."""
MEASURES = (
    *("opening_arr", "arr_due", "arr_decided", "arr_renewed", "arr_at_risk"),
    *("revenue_renewal_rate", "gross_retention", "net_retention"),
)
JUDGED = ("arr_renewed", "gross_retention", "net_retention")
"""What is held against the naive forecasts and against what happened."""


@dataclass(frozen=True)
class Standing:
    """What is known on a day of past and coming quarters (`features.outlook`), money in units."""

    day: pd.Timestamp
    edges: Mapping[int, pd.Timestamp]
    """The first day of each quarter, with that after the last."""
    grace_days: int
    quarters: pd.DataFrame
    """One row per (quarter, account_id): opening, closing, lost, kept, size_band."""
    sets: pd.DataFrame
    """One row per renewal, as `features.outlook.sets_due`."""
    accounts: pd.DataFrame
    """One row per account_id: what it is divided by."""

    @property
    def final(self) -> list[int]:
        """The past quarters whose grace has passed, oldest first."""
        over = (number for number in sorted(self.edges)[:-1] if number <= 0)
        return [n for n in over if (self.day - self.edges[n + 1]).days > self.grace_days]

    @property
    def last_year(self) -> list[int]:
        """The newest four final quarters."""
        return self.final[-YEAR:]

    @property
    def opening(self) -> pd.DataFrame:
        """Who pays on the day; one row per account_id."""
        return self.quarters.query("quarter == 1 and opening > 0")

    def quarter_of(self, days: pd.Series) -> Places:
        """The quarter each day lies in; one below the first known, or one above the last, outside."""
        known = sorted(self.edges)
        starts = pd.DatetimeIndex([self.edges[number] for number in known])
        return known[0] - 1 + np.searchsorted(starts.values, pd.DatetimeIndex(days).values, side="right")


# --- the shared shock ----------------------------------------------------------------------------

SHOCKS = np.arange(-60, 61) / 30.0
"""Shocks looked at, in log-odds."""
SPREADS = np.arange(0, 21) / 20.0
"""Spreads looked at, in log-odds."""


@dataclass(frozen=True)
class Spread:
    """How likely each of `SPREADS` is, by the past and by a prior that holds it near nought."""

    weights: Floats
    quarters: int
    """Past quarters it was learned from."""

    @property
    def mean(self) -> float:
        """The expected spread."""
        return float(self.weights @ SPREADS)


def spread(said: pd.DataFrame, day: pd.Timestamp, options: Forecast) -> Spread:
    """How far the level of a quarter's renewals strays from what was said of them, by what was final on the day.

    `said` is a forward back-test, one row per observation: each probability comes from a model that had not seen the
    outcome. Renewals already decided when it spoke say nothing. For each quarter and lead the shock is integrated out
    of the likelihood of a logistic regression with a random level (the marginal likelihood of a mixed model, on a
    grid); the leads of one quarter are no independent witnesses and count as one quarter together. The prior is half a
    normal with standard deviation `options.usual_spread`: few quarters say little.
    """
    final = said[(said["matured_at"] <= day) & ~said["decided"].astype(bool)]
    due = pd.to_datetime(final["renewal_date"])
    final = final.assign(quarter=(due.dt.year * 12 + due.dt.month - day.month) // 3)
    log_weight, quarters = -0.5 * (SPREADS / options.usual_spread) ** 2, 0
    leads = pd.concat([at_lead(final, lead).assign(lead=lead) for lead in LEADS])
    for _, quarter in leads.groupby("quarter"):
        cells = [_evidence(rows["probability"], rows["label"]) for _, rows in quarter.groupby("lead")]
        log_weight = log_weight + np.mean(cells, axis=0)
        quarters += 1
    return Spread(np.exp(log_weight - logsumexp(log_weight)), quarters)


def _evidence(probability: pd.Series, label: pd.Series) -> Floats:
    """The log-likelihood of each spread by the renewals of one quarter at one lead."""
    odds = logit(np.clip(probability.to_numpy(np.float64), EDGE, 1 - EDGE))
    sign = 2.0 * label.to_numpy(np.float64) - 1.0
    of_shock = log_expit(sign[:, None] * (odds[:, None] + SHOCKS)).sum(axis=0)
    return np.asarray(logsumexp(of_shock + _normal_logs(), axis=1))


def _normal_logs() -> Floats:
    """The log-weight of each shock under each spread; nought is nought alone. Spreads × shocks."""
    some = -0.5 * (SHOCKS / np.maximum(SPREADS, 1e-6)[:, None]) ** 2
    return np.asarray(some - logsumexp(some, axis=1, keepdims=True))


# --- what falls due ------------------------------------------------------------------------------


def rates(standing: Standing) -> pd.Series:
    """The share of renewals bought again in the newest final year, by size band; `ALL` holds the company's."""
    past = past_sets(standing, standing.last_year)
    company = (past["renewed"].sum() + 1.0) / (len(past) + 2.0)
    bands = past.groupby("size_band")["renewed"].agg(["sum", "count"])
    own = (bands["sum"] + PRIOR * company) / (bands["count"] + PRIOR)
    return pd.concat([own, pd.Series({ALL: company})])


def past_sets(standing: Standing, numbers: Sequence[int]) -> pd.DataFrame:
    """The renewals due in these final quarters, with the size band of the account then; one row per renewal."""
    sets = standing.sets.assign(quarter=standing.quarter_of(standing.sets["due_at"]))
    sets = sets[sets["quarter"].isin(numbers) & (sets["matured_at"] <= standing.day)]
    bands = standing.quarters[["quarter", "account_id", "size_band"]]
    return sets.merge(bands, on=["quarter", "account_id"], how="left")


def late_rate(standing: Standing, days: Places) -> Floats:
    """Of renewals not yet followed so many days after they fell due, the share that still came; one per number."""
    past = past_sets(standing, standing.final)
    followed = (pd.to_datetime(past["followed_at"]) - past["due_at"]).dt.days
    waited = np.where(past["renewed"] == 1, followed.fillna(-np.inf), np.inf)
    still = waited[None, :] >= days[:, None]
    came = still & (past["renewed"] == 1).to_numpy()
    return np.asarray((came.sum(axis=1) + 0.5) / (still.sum(axis=1) + 1.0))


def schedule(standing: Standing, chances: pd.DataFrame) -> pd.DataFrame:
    """What falls due in the quarters ahead, and what is pending; one row per renewal, follow-ons after their first.

    `chances` holds the scores of the day: account_id, renewal_date, probability. A renewal other than the account's
    main one takes the account's probability, and an account without a score the rate of its size band. `quarter` is
    that of the end of the term, 0 where pending; `moves` that in which the money moves, 0 where it already has.
    A row of a later `generation` falls due only if the one in the row `after` is renewed.
    """
    day, final = standing.day, standing.edges[YEAR + 1]
    open_sets = standing.sets.query("matured_at > @day and due_at < @final")
    pending = (open_sets["due_at"] < day).to_numpy()
    rows = open_sets[~pending | (open_sets["renewed"] == 0)].reset_index(drop=True)
    rows = rows[rows["account_id"].isin(_customers(standing, rows))].reset_index(drop=True)
    rows["size_band"] = rows["account_id"].map(_bands(standing)).fillna(ALL)
    rows["decided"] = (rows["renewed"] == 1).to_numpy()
    rows["quarter"] = np.maximum(standing.quarter_of(rows["due_at"]), 0)
    started = standing.quarter_of(rows["moves_at"].fillna(rows["due_at"]))
    rows["moves"] = np.where(rows["decided"], np.clip(started, 0, YEAR), rows["quarter"])
    rows["probability"] = _chance(rows, chances, standing)
    rows["generation"], rows["after"] = 0, -1
    return _with_follow_ons(rows, standing)[SCHEDULE]


SCHEDULE = [
    *("account_id", "size_band", "end_date", "due_at", "quarter", "moves", "generation", "after", "decided"),
    *("probability", "amount_due", "amount_renewed", "amount_kept", "growth"),
]


def _customers(standing: Standing, rows: pd.DataFrame) -> Any:
    """Who pays on the day, or may turn out to: new business is left out."""
    return pd.concat([standing.opening["account_id"], rows.loc[rows["due_at"] < standing.day, "account_id"]])


def customers(standing: Standing, due: pd.DataFrame) -> pd.DataFrame:
    """Whose revenue is foretold: who pays on the day, and who is pending; one row per account_id.

    What is pending is in no opening yet.
    """
    who = pd.concat([standing.opening["account_id"], due["account_id"]]).drop_duplicates().sort_values()
    rows = pd.DataFrame({"account_id": who.to_numpy()}).merge(standing.accounts, on="account_id", how="left")
    opening = standing.opening.set_index("account_id")["opening"]
    bands = rows["account_id"].map(_bands(standing)).fillna(ALL)
    return rows.assign(opening=rows["account_id"].map(opening).fillna(0.0), size_band=bands)


def _bands(standing: Standing) -> pd.Series:
    """The size band of every account with revenue on the day or before, by account_id."""
    known = standing.quarters.query("quarter <= 1").sort_values("quarter", kind="stable")
    return known.drop_duplicates("account_id", keep="last").set_index("account_id")["size_band"]


def _chance(rows: pd.DataFrame, chances: pd.DataFrame, standing: Standing) -> Floats:
    """The probability of each renewal; 1 where decided."""
    scores = chances.dropna(subset="probability").drop_duplicates("account_id").set_index("account_id")["probability"]
    chance = rows["account_id"].map(scores).astype(np.float64)
    chance = chance.fillna(_rate_of(rows["size_band"], standing)).to_numpy(np.float64, copy=True)
    pending = (rows["due_at"] < standing.day).to_numpy()
    chance[pending] = late_rate(standing, (standing.day - rows["due_at"][pending]).dt.days.to_numpy())
    return np.where(rows["decided"], 1.0, chance)


def _rate_of(bands: pd.Series, standing: Standing) -> pd.Series:
    known = rates(standing)
    return bands.map(known).astype(np.float64).fillna(float(known[ALL]))


def _with_follow_ons(rows: pd.DataFrame, standing: Standing) -> pd.DataFrame:
    """The rows and, where a term is short, those of the follow-ons that would fall due as well: one after the other.

    A follow-on is taken to be as long as its term; whether it is renewed in turn goes by its size band's rate.
    """
    final, generations = standing.edges[YEAR + 1], [rows]
    newest = rows[~rows["decided"]]
    while len(newest):
        length = newest["end_date"] - newest["began"]
        again = newest.assign(due_at=newest["due_at"] + length, end_date=newest["end_date"] + length)
        again = again.assign(began=newest["end_date"], after=newest.index, generation=newest["generation"] + 1)
        again = again[(again["due_at"] < final) & (length > pd.Timedelta(0))]
        again["quarter"] = np.maximum(standing.quarter_of(again["due_at"]), 0)
        again["moves"] = again["quarter"]
        again["probability"] = _rate_of(again["size_band"], standing)
        first = sum(map(len, generations))
        newest = again.set_axis(range(first, first + len(again)))
        generations.append(newest)
    return pd.concat(generations)


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

    def draw(self, bands: npt.NDArray[np.object_], dice: npt.NDArray[np.float64]) -> Floats:
        """One case per number in [0, 1): draws × rows × what is asked. `bands` names the band of each row."""
        found = np.zeros((*dice.shape, self.shares.shape[1]))
        for band in pd.unique(bands):
            own, known = bands == band, band if band in self.places else ALL
            if len(self.places[known]):
                place = np.searchsorted(self.reached[known], dice[:, own], side="right")
                found[:, own] = self.shares[self.places[known][np.minimum(place, len(self.places[known]) - 1)]]
        return found


def pool(cases: pd.DataFrame, money: str, asked: Sequence[str]) -> Pool:
    """The cases with any `money`, and what is `asked` as shares of it."""
    some = cases[cases[money] > 0]
    shares = some[list(asked)].to_numpy(np.float64) / some[money].to_numpy(np.float64)[:, None]
    bands = {band: np.flatnonzero(some["size_band"] == band) for band in some["size_band"].dropna().unique()}
    places = {ALL: np.arange(len(some)), **{band: own for band, own in bands.items() if len(own) >= ENOUGH}}
    odds = some[money].to_numpy(np.float64)
    reached = {band: np.cumsum(odds[own]) / max(odds[own].sum(), EDGE) for band, own in places.items()}
    return Pool(shares, places, reached)


def renewed_pool(standing: Standing) -> Pool:
    """What renewed accounts bought again, kept and bought on top, as shares of what was due."""
    past = past_sets(standing, standing.final)
    return pool(past[past["renewed"] == 1], "amount_due", ("amount_renewed", "amount_kept", "growth"))


def growth_pool(standing: Standing) -> Pool:
    """What accounts gained in a quarter beside their renewals, as a share of the opening."""
    grown = past_sets(standing, standing.final).groupby(["quarter", "account_id"], as_index=False)["growth"].sum()
    past = standing.quarters.query("quarter in @standing.final")
    past = past.merge(grown, on=["quarter", "account_id"], how="left")
    gained = past["closing"] - past["opening"] + past["lost"] - past["growth"].fillna(0.0)
    return pool(past.assign(gained=gained), "opening", ("gained",))


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


TOTALS = ("opening", "closing", "kept", "due", "decided", "renewed")


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


def _drawn(
    size: int, dice: np.random.Generator, due: pd.DataFrame, accounts: pd.DataFrame, shock: Spread, pools: Any
) -> dict[str, list[Floats]]:
    """A few draws: each total by period, as draws × accounts."""
    owner = pd.Index(accounts["account_id"]).get_indexer(pd.Index(due["account_id"]))
    rows = _renewals(size, dice, due, owner, len(accounts), shock, pools[0])
    belongs = sparse.csr_matrix((np.ones(len(due)), (np.arange(len(due)), owner)), shape=(len(due), len(accounts)))
    decided = due["decided"].to_numpy()

    def of_accounts(values: Floats, where: npt.NDArray[np.bool_]) -> Floats:
        """Summed over each account's renewals: draws × accounts."""
        return np.asarray((values * where) @ belongs)

    told: dict[str, list[Floats]] = {name: [] for name in TOTALS}
    pending = due["quarter"].to_numpy() == 0
    found = of_accounts(rows["due"] - rows["lost"] + rows["growth"], pending & ~decided)
    first = now = accounts["opening"].to_numpy() + found
    lost_so_far = np.zeros_like(now)
    bands = accounts["size_band"].to_numpy(object)
    for number in AHEAD:
        ends, moves = due["quarter"].to_numpy() == number, due["moves"].to_numpy() == number
        lost = of_accounts(rows["lost"], moves)
        grown = of_accounts(rows["growth"], moves) + now * pools[1].draw(bands, dice.random(now.shape))[..., 0]
        told["opening"].append(now)
        told["kept"].append(np.maximum(now - lost, 0.0))
        now = np.maximum(now - lost + grown * (now > 0), 0.0)
        lost_so_far = lost_so_far + lost
        told["closing"].append(now)
        told["due"].append(of_accounts(rows["due"], ends))
        told["renewed"].append(of_accounts(rows["renewed"], ends))
        told["decided"].append(of_accounts(rows["renewed"], ends & decided))
    year = {"opening": first, "closing": now, "kept": np.maximum(first - lost_so_far, 0.0)}
    return {name: [*parts, year.get(name, sum(parts))] for name, parts in told.items()}


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
    renewed = (coin < expit(odds)) | decided
    shares = outcomes.draw(due["size_band"].to_numpy(object), dice.random((size, len(due))))
    amount = np.tile(due["amount_due"].to_numpy(np.float64), (size, 1))
    generation = due["generation"].to_numpy()
    for number in range(1, int(generation.max(initial=0)) + 1):
        later = np.flatnonzero(generation == number)
        before = after[later]
        amount[:, later] = amount[:, before] * renewed[:, before] * shares[:, before, 1:].sum(axis=2)
    sums = np.where(renewed[..., None], amount[..., None] * shares, 0.0)
    for place, name in enumerate(("amount_renewed", "amount_kept", "growth")):
        sums[:, decided, place] = due[name].to_numpy(np.float64)[decided]
    return {"due": amount, "renewed": sums[..., 0], "lost": amount - sums[..., 1], "growth": sums[..., 2]}


# --- what is said --------------------------------------------------------------------------------


def measured(totals: Mapping[str, Floats]) -> dict[str, Floats]:
    """Every measure of these totals, by the scorecard's definitions; NaN where there is nothing to divide by."""

    def share(part: Floats, whole: Floats) -> Floats:
        return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)

    return {
        "opening_arr": totals["opening"],
        "arr_due": totals["due"],
        "arr_decided": totals["decided"],
        "arr_renewed": totals["renewed"],
        "arr_at_risk": totals["due"] - totals["renewed"],
        "revenue_renewal_rate": share(totals["renewed"], totals["due"]),
        "gross_retention": share(totals["kept"], totals["opening"]),
        "net_retention": share(totals["closing"], totals["opening"]),
    }


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
        rows.append(_rows(name, parts.names, expected=expected, low=low, high=high, **beside))
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


def _rows(name: str, names: pd.DataFrame, **values: Floats) -> pd.DataFrame:
    """Arrays of periods × segments as rows."""
    periods = np.repeat([*AHEAD, YEAR + 1], len(names))
    flat = {column: array.ravel() for column, array in values.items()}
    return pd.concat([names] * (YEAR + 1), ignore_index=True).assign(quarter=periods, measure=name, **flat)


# --- what is held against it ---------------------------------------------------------------------


def naive(
    standing: Standing, due: pd.DataFrame, accounts: pd.DataFrame, member: Any, by: str | None
) -> dict[str, Floats]:
    """`TOTALS` if everything goes on as in the newest final year: periods × segments.

    With the company's rates, or those of the account's size band. Of what falls due all is foretold alike, decided or
    not.
    """
    known = past_rates(standing)
    bands = accounts["size_band"] if by else pd.Series(ALL, index=accounts.index)
    own = known.reindex(bands.where(bands.isin(known.index), ALL))
    ends = due.query("generation == 0").pivot_table("amount_due", "account_id", "quarter", "sum", fill_value=0.0)
    ends = ends.reindex(index=accounts["account_id"], columns=AHEAD, fill_value=0.0).to_numpy(np.float64).T
    opening = np.tile(accounts["opening"].to_numpy(np.float64), (YEAR, 1))
    totals = {
        "opening": opening,
        "closing": opening * own["net"].to_numpy(),
        "kept": opening * own["gross"].to_numpy(),
        "due": ends,
        "decided": np.zeros_like(ends),
        "renewed": ends * own["renewed"].to_numpy(),
    }
    year = {"opening": opening[0], "closing": opening[0] * own["net_year"], "kept": opening[0] * own["gross_year"]}
    whole = {n: np.vstack([of, year[n] if n in year else of.sum(axis=0)]) for n, of in totals.items()}
    return {name: np.asarray(of @ member) for name, of in whole.items()}



def past_rates(standing: Standing) -> pd.DataFrame:
    """What the newest final year came to, one row per size band and one for all: shares of what was due or opened."""
    numbers = standing.last_year
    sets = past_sets(standing, numbers)
    quarters = standing.quarters.query("quarter in @numbers and opening > 0")
    years = year_of(standing.quarters.query("quarter in @numbers"))
    found = {}
    for band in (ALL, *sorted({*quarters["size_band"].dropna()})):
        some, opened, whole = (t if band == ALL else t[t["size_band"] == band] for t in (sets, quarters, years))
        found[band] = {
            "renewed": _over(some["amount_renewed"], some["amount_due"]),
            "gross": _over(opened["kept"], opened["opening"]),
            "net": _over(opened["closing"], opened["opening"]),
            "gross_year": _over(whole["kept"], whole["opening"]),
            "net_year": _over(whole["closing"], whole["opening"]),
        }
    return pd.DataFrame(found).T


def _over(part: pd.Series, whole: pd.Series) -> float:
    return float(part.sum() / whole.sum()) if whole.sum() else np.nan


def year_of(quarters: pd.DataFrame) -> pd.DataFrame:
    """Four quarters as one period; one row per account_id that paid at the opening of the first."""
    if quarters["quarter"].nunique() < YEAR:
        return quarters.head(0)
    ordered = quarters.sort_values("quarter", kind="stable")
    first = ordered[ordered["quarter"] == ordered["quarter"].min()].set_index("account_id")
    last = ordered[ordered["quarter"] == ordered["quarter"].max()].set_index("account_id")
    year = first.query("opening > 0")[["opening", "size_band"]].copy()
    year["lost"] = ordered.groupby("account_id")["lost"].sum()
    year["kept"] = (year["opening"] - year["lost"]).clip(lower=0.0)
    year["closing"] = last["closing"].reindex(year.index).fillna(0.0)
    return year.reset_index()


def came(later: Standing, accounts: pd.DataFrame, member: Any) -> dict[str, Floats]:
    """What became of the quarters foretold, by `MEASURES`: periods × segments, NaN where a quarter is not final yet.

    `later` has the quarters numbered from the day of the forecast, and what was known of them since. Who came after
    that day is left out: a quarter's opening is that of its customers of then.
    """
    who = accounts[["account_id"]]
    cohort = later.opening["account_id"]
    mine = later.quarters[later.quarters["account_id"].isin(cohort)]
    sets = later.sets.assign(quarter=later.quarter_of(later.sets["due_at"]))
    sets = sets[sets["account_id"].isin(cohort)].groupby(["quarter", "account_id"], as_index=False)
    sets = sets[["amount_due", "amount_renewed"]].sum()
    told: dict[str, list[Floats]] = {name: [] for name in TOTALS}
    opened = [mine.query("quarter == @number and opening > 0") for number in AHEAD]
    for number, quarter in zip((*AHEAD, None), (*opened, year_of(mine.query("quarter in @AHEAD"))), strict=True):
        ended = sets[sets["quarter"].isin(AHEAD if number is None else [number])]
        ended = ended.groupby("account_id", as_index=False)[["amount_due", "amount_renewed"]].sum()
        found = who.merge(quarter, on="account_id", how="left").merge(ended, on="account_id", how="left").fillna(0.0)
        over = (later.day - later.edges[(number or YEAR) + 1]).days > later.grace_days
        for name, column in zip(TOTALS, ("opening", "closing", "kept", "amount_due", None, "amount_renewed"), strict=True):
            values = found[column].to_numpy(np.float64) if column else np.zeros(len(found))
            told[name].append(values if over else np.full(len(found), np.nan))
    return measured({name: np.stack([one @ member for one in parts]) for name, parts in told.items()})
