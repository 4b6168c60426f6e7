"""What falls due in the quarters ahead, and how likely each renewal is: values in, values out.

schedule   the renewals that fall due, decided or not, and those of their follow-ons where terms are short.
decided    already followed by a new term: a fact, whatever the score says.
pending    due before the day and still within the grace: whether it was kept is part of the opening (R2).
final      a past quarter whose grace has passed.

Quarters are numbered as in `features.scorecard.upcoming`: 1 is the first to come. Money is in units of the reporting
currency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

QUARTERS_PER_YEAR = 4
"""Quarters in a year: so many are foretold."""
ALL_BANDS = "all"
"""The whole company, where it stands beside its size bands."""
PRIOR_WEIGHT = 10.0
"""Renewals' worth of the company's rate lent to a size band's own, and of "as long as before" to a term's length."""
MIN_PROBABILITY = 0.02
"""A follow-on less likely than this to be of a length is not put on the schedule."""
DAYS_PER_MONTH = 365.25 / 12
"""Days."""


@dataclass(frozen=True)
class ForecastInputs:
    """What is known on a day of past and coming quarters (`features.scorecard.upcoming`), money in units."""

    day: pd.Timestamp
    quarter_starts: Mapping[int, pd.Timestamp]
    """The first day of each quarter, with that after the last."""
    grace_days: int
    quarters: pd.DataFrame
    """One row per (quarter, account_id): opening, closing, lost, kept, size_band."""
    renewals: pd.DataFrame
    """One row per renewal, as `features.scorecard.upcoming.renewal_sets`."""
    accounts: pd.DataFrame
    """One row per account_id: what it is divided by."""

    @property
    def final_quarters(self) -> list[int]:
        """The past quarters whose grace has passed, oldest first."""
        return [number for number in sorted(self.quarter_starts)[:-1] if number <= 0 and self.is_final(number)]

    def is_final(self, number: int) -> bool:
        """Whether a quarter and its grace have passed."""
        return (self.day - self.quarter_starts[number + 1]).days > self.grace_days

    @property
    def last_year_quarters(self) -> list[int]:
        """The newest four final quarters."""
        return self.final_quarters[-QUARTERS_PER_YEAR:]

    @property
    def opening_accounts(self) -> pd.DataFrame:
        """Who pays on the day; one row per account_id."""
        return self.quarters.query("quarter == 1 and opening > 0")

    def quarter_of(self, days: pd.Series) -> Ints:
        """The quarter each day lies in; one below the first known, or one above the last, outside."""
        known = sorted(self.quarter_starts)
        starts = pd.DatetimeIndex([self.quarter_starts[number] for number in known])
        return known[0] - 1 + np.searchsorted(starts.values, pd.DatetimeIndex(days).values, side="right")


def renewal_rates(inputs: ForecastInputs) -> pd.Series:
    """The share of renewals bought again in the newest final year, by size band; `ALL_BANDS` holds the company's."""
    past = matured_renewals(inputs, inputs.last_year_quarters)
    company = (past["renewed"].sum() + 1.0) / (len(past) + 2.0)
    bands = past.groupby("size_band")["renewed"].agg(["sum", "count"])
    own = (bands["sum"] + PRIOR_WEIGHT * company) / (bands["count"] + PRIOR_WEIGHT)
    return pd.concat([own, pd.Series({ALL_BANDS: company})])


def matured_renewals(inputs: ForecastInputs, numbers: Sequence[int]) -> pd.DataFrame:
    """The renewals due in these final quarters, with the size band of the account then; one row per renewal."""
    sets = inputs.renewals.assign(quarter=inputs.quarter_of(inputs.renewals["due_at"]))
    sets = sets[sets["quarter"].isin(numbers) & (sets["matured_at"] <= inputs.day)]
    bands = inputs.quarters[["quarter", "account_id", "size_band"]]
    return sets.merge(bands, on=["quarter", "account_id"], how="left")


def late_renewal_rate(inputs: ForecastInputs, days: Ints) -> Floats:
    """Of renewals not yet followed so many days after they fell due, the share that still came; one per number."""
    past = matured_renewals(inputs, inputs.final_quarters)
    followed = (pd.to_datetime(past["followed_at"]) - past["due_at"]).dt.days
    waited = np.where(past["renewed"] == 1, followed.fillna(-np.inf), np.inf)
    still = waited[None, :] >= days[:, None]
    came = still & (past["renewed"] == 1).to_numpy()
    return np.asarray((came.sum(axis=1) + 0.5) / (still.sum(axis=1) + 1.0))


def build_schedule(inputs: ForecastInputs, day_scores: pd.DataFrame) -> pd.DataFrame:
    """What falls due in the quarters ahead, and what is pending; one row per renewal, follow-ons after their first.

    `day_scores` holds the scores of the day: account_id, renewal_date, probability. A renewal other than the account's
    main one takes the account's probability, and an account without a score the rate of its size band. `quarter` is
    that of the end of the term, 0 where pending; `moves` that in which the money moves, 0 where it already has.
    A row of a later `generation` falls due only if the one in the row `after` is renewed, and with the odds `share` of
    a follow-on being so long.
    """
    day, sets = inputs.day, inputs.renewals
    open_sets = sets[(sets["matured_at"] > day) & (sets["due_at"] < inputs.quarter_starts[QUARTERS_PER_YEAR + 1])]
    pending = (open_sets["due_at"] < day).to_numpy()
    rows = open_sets[~pending | (open_sets["renewed"] == 0)].reset_index(drop=True)
    rows = rows[rows["account_id"].isin(_paying_accounts(inputs, rows))].reset_index(drop=True)
    rows["size_band"] = rows["account_id"].map(_account_bands(inputs)).fillna(ALL_BANDS)
    rows["decided"] = (rows["renewed"] == 1).to_numpy()
    rows["quarter"] = np.maximum(inputs.quarter_of(rows["due_at"]), 0)
    started = inputs.quarter_of(rows["moves_at"].fillna(rows["due_at"]))
    rows["moves"] = np.where(rows["decided"], np.clip(started, 0, QUARTERS_PER_YEAR), rows["quarter"])
    rows["probability"] = _renewal_probabilities(rows, day_scores, inputs)
    rows["generation"], rows["after"], rows["share"] = 0, -1, 1.0
    return _add_follow_ons(rows, inputs)[SCHEDULE_COLUMNS]


SCHEDULE_COLUMNS = [
    *("account_id", "size_band", "end_date", "due_at", "quarter", "moves", "generation", "after", "share"),
    *("decided", "probability", "amount_due", "amount_renewed", "amount_kept", "growth"),
]


def _paying_accounts(inputs: ForecastInputs, rows: pd.DataFrame) -> pd.Series:
    """Who pays on the day, or may turn out to: new business is left out."""
    return pd.concat([inputs.opening_accounts["account_id"], rows.loc[rows["due_at"] < inputs.day, "account_id"]])


def forecast_accounts(inputs: ForecastInputs, schedule: pd.DataFrame) -> pd.DataFrame:
    """Whose revenue is foretold: who pays on the day, and who is pending; one row per account_id.

    What is pending is in no opening yet.
    """
    who = pd.concat([inputs.opening_accounts["account_id"], schedule["account_id"]]).drop_duplicates().sort_values()
    rows = pd.DataFrame({"account_id": who.to_numpy()}).merge(inputs.accounts, on="account_id", how="left")
    opening = inputs.opening_accounts.set_index("account_id")["opening"]
    bands = rows["account_id"].map(_account_bands(inputs)).fillna(ALL_BANDS)
    return rows.assign(opening=rows["account_id"].map(opening).fillna(0.0), size_band=bands)


def _account_bands(inputs: ForecastInputs) -> pd.Series:
    """The size band of every account with revenue on the day or before, by account_id."""
    known = inputs.quarters.query("quarter <= 1").sort_values("quarter", kind="stable")
    return known.drop_duplicates("account_id", keep="last").set_index("account_id")["size_band"]


def _renewal_probabilities(rows: pd.DataFrame, day_scores: pd.DataFrame, inputs: ForecastInputs) -> Floats:
    """The probability of each renewal; 1 where decided."""
    scores = (
        day_scores.dropna(subset="probability").drop_duplicates("account_id").set_index("account_id")["probability"]
    )
    scored = rows["account_id"].map(scores).astype(np.float64).fillna(_band_rates(rows["size_band"], inputs))
    waited = (inputs.day - rows["due_at"]).dt.days.to_numpy()
    chance = np.where(waited > 0, late_renewal_rate(inputs, waited), scored)
    return np.where(rows["decided"], 1.0, chance)


def _band_rates(bands: pd.Series, inputs: ForecastInputs) -> pd.Series:
    known = renewal_rates(inputs)
    return bands.map(known).astype(np.float64).fillna(float(known[ALL_BANDS]))


def _add_follow_ons(rows: pd.DataFrame, inputs: ForecastInputs) -> pd.DataFrame:
    """The rows and, where terms are short, those of the follow-ons that would fall due as well.

    How long a follow-on is goes by past ones of terms as long; whether it is renewed in turn, by its size band's rate.
    """
    final, known, generations = inputs.quarter_starts[QUARTERS_PER_YEAR + 1], term_length_distribution(inputs), [rows]
    newest = rows[~rows["decided"]].assign(chain=1.0).drop(columns="share")
    while len(newest):
        months = ((newest["end_date"] - newest["began"]).dt.days / DAYS_PER_MONTH).round()
        again = newest.assign(months=months, after=newest.index).merge(known, on="months")
        term = pd.to_timedelta((again["next_months"] * DAYS_PER_MONTH).round(), unit="D")
        again = again.assign(began=again["end_date"], end_date=again["end_date"] + term, due_at=again["due_at"] + term)
        again["generation"], again["chain"] = again["generation"] + 1, again["chain"] * again["share"]
        again = again[(again["due_at"] < final) & (again["chain"] >= MIN_PROBABILITY)]
        again["quarter"] = np.maximum(inputs.quarter_of(again["due_at"]), 0)
        again["moves"] = again["quarter"]
        again["probability"] = _band_rates(again["size_band"], inputs)
        first = sum(map(len, generations))
        newest = again.set_axis(range(first, first + len(again))).drop(columns=["months", "next_months"])
        generations.append(newest)
        newest = newest.drop(columns="share")
    return pd.concat(generations)


def term_length_distribution(inputs: ForecastInputs) -> pd.DataFrame:
    """How long follow-ons are, by the length of what they follow: months, next_months, share; shares add up to one.

    Ten cases "as long as before" are lent to each length. Only what may fall due twice in a year is of interest.
    """
    past = matured_renewals(inputs, inputs.final_quarters)
    past = past[past["renewed"] == 1]
    months = ((past["end_date"] - past["began"]).dt.days / DAYS_PER_MONTH).round()
    following = ((past["lasts_until"] - past["moves_at"]).dt.days / DAYS_PER_MONTH).round()
    met = pd.concat(
        [months, ((inputs.renewals["end_date"] - inputs.renewals["began"]).dt.days / DAYS_PER_MONTH).round()]
    ).unique()
    cases = pd.DataFrame({"months": months, "next_months": following, "cases": 1.0})
    lent = pd.DataFrame({"months": met, "next_months": met, "cases": PRIOR_WEIGHT})
    counted = pd.concat([cases, lent]).groupby(["months", "next_months"], as_index=False)["cases"].sum()
    counted["share"] = counted["cases"] / counted.groupby("months")["cases"].transform("sum")
    return counted[counted["next_months"].between(1, 12)].drop(columns="cases")
