"""Schedule of the renewals that come due in the next four quarters, with their probabilities.

schedule   the renewals that come due, decided or not, and those of their follow-ons if terms are short.
decided    already followed by a new term: counts as renewed, independent of the score.
pending    due before the day and still within the grace: its outcome changes the opening (R2).
final      a past quarter with its grace ended.

Quarters are numbered as in `features.scorecard.upcoming`: 1 is the first one after the day. Money is in units of the
reporting currency.
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
"""Number of quarters in the forecast, and in a year."""
ALL_BANDS = "all"
"""Key of the whole company among the size bands."""
PRIOR_WEIGHT = 10.0
"""Prior weight, in renewals, of the company's rate for a size band, and of an unchanged length for a follow-on term."""
MIN_PROBABILITY = 0.02
"""Chains of follow-ons with a smaller probability of their lengths are left out of the schedule."""
DAYS_PER_MONTH = 365.25 / 12
"""Mean length of a month, in days."""


@dataclass(frozen=True)
class ForecastInputs:
    """Data known on a day about past and future quarters (`features.scorecard.upcoming`); money in currency units."""

    day: pd.Timestamp
    quarter_starts: Mapping[int, pd.Timestamp]
    """First day of each quarter by number, including the quarter after the last."""
    grace_days: int
    quarters: pd.DataFrame
    """One row per (quarter, account_id): opening, gained, lost, kept, retained, size_band."""
    renewals: pd.DataFrame
    """One row per renewal, as `features.scorecard.upcoming.renewal_sets`."""
    accounts: pd.DataFrame
    """One row per account_id: its segment columns."""

    @property
    def final_quarters(self) -> list[int]:
        """Numbers of the past quarters that are final (grace ended), oldest first."""
        return [number for number in sorted(self.quarter_starts)[:-1] if number <= 0 and self.is_final(number)]

    def is_final(self, number: int) -> bool:
        """True if the quarter and its grace have ended."""
        return (self.day - self.quarter_starts[number + 1]).days > self.grace_days

    @property
    def last_year_quarters(self) -> list[int]:
        """Numbers of the newest four final quarters."""
        return self.final_quarters[-QUARTERS_PER_YEAR:]

    @property
    def opening_accounts(self) -> pd.DataFrame:
        """Accounts that pay on the day; one row per account_id."""
        return self.quarters.query("quarter == 1 and opening > 0")

    def quarter_of(self, days: pd.Series) -> Ints:
        """Number of the quarter of each day; outside the known quarters, one below the first or one above the last."""
        numbers = sorted(self.quarter_starts)
        starts = pd.DatetimeIndex([self.quarter_starts[number] for number in numbers])
        return numbers[0] - 1 + np.searchsorted(starts.values, pd.DatetimeIndex(days).values, side="right")


def renewal_rates(inputs: ForecastInputs) -> pd.Series:
    """Renewal rate of the newest final year by size band, smoothed; `ALL_BANDS` is the company's rate."""
    past = matured_renewals(inputs, inputs.last_year_quarters)
    company = (past["renewed"].sum() + 1.0) / (len(past) + 2.0)
    bands = past.groupby("size_band")["renewed"].agg(["sum", "count"])
    smoothed = (bands["sum"] + PRIOR_WEIGHT * company) / (bands["count"] + PRIOR_WEIGHT)
    return pd.concat([smoothed, pd.Series({ALL_BANDS: company})])


def matured_renewals(inputs: ForecastInputs, numbers: Sequence[int]) -> pd.DataFrame:
    """Final renewals booked in these quarters, with the account's size band in that quarter; one row per renewal."""
    renewals = inputs.renewals[inputs.renewals["matured_at"] <= inputs.day]
    renewals = booked_renewals(renewals, inputs, numbers)
    bands = inputs.quarters[["quarter", "account_id", "size_band"]]
    return renewals.merge(bands, on=["quarter", "account_id"], how="left")


def booked_renewals(renewals: pd.DataFrame, inputs: ForecastInputs, numbers: Sequence[int]) -> pd.DataFrame:
    """Decided renewals that count in the rates of these quarters, with their `quarter`; one row per renewal.

    One that was decided after its month was final counts in the month in which the ledger booked it.
    """
    booked = renewals.dropna(subset="booked_month")
    booked = booked.assign(quarter=inputs.quarter_of(booked["booked_month"]))
    return booked[booked["quarter"].isin(numbers)]


def late_renewal_rate(inputs: ForecastInputs, days: Ints) -> Floats:
    """Share of renewals still open `days` after the due date that were renewed later; one number per element."""
    past = matured_renewals(inputs, inputs.final_quarters)
    followed = (pd.to_datetime(past["followed_at"]) - past["due_at"]).dt.days
    days_to_follow = np.where(past["renewed"] == 1, followed.fillna(-np.inf), np.inf)
    still_open = days_to_follow[None, :] >= days[:, None]
    renewed_later = still_open & (past["renewed"] == 1).to_numpy()
    return np.asarray((renewed_later.sum(axis=1) + 0.5) / (still_open.sum(axis=1) + 1.0))


def build_schedule(inputs: ForecastInputs, day_scores: pd.DataFrame) -> pd.DataFrame:
    """Build the schedule: renewals due in the next four quarters and pending ones; one row per renewal or follow-on.

    `day_scores` has the scores of the day: account_id, renewal_date, probability. A renewal without a score gets that
    of the account's first scored one; accounts without a score get the rate of their size band. `quarter` is the
    quarter of the due date, 0 if pending; `moves` is the quarter in which the money changes, 0 if it already has. Rows
    with `generation` above 0 are follow-ons: one comes due only if the row at index `after` is renewed, and with
    probability `share` of this length.
    """
    day, renewals = inputs.day, inputs.renewals
    open_renewals = renewals[
        (renewals["matured_at"] > day) & (renewals["due_at"] < inputs.quarter_starts[QUARTERS_PER_YEAR + 1])
    ]
    pending = (open_renewals["due_at"] < day).to_numpy()
    rows = open_renewals[~pending | (open_renewals["renewed"] == 0)].reset_index(drop=True)
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
    """Accounts that pay on the day or have a pending renewal; accounts with only new business are excluded."""
    return pd.concat([inputs.opening_accounts["account_id"], rows.loc[rows["due_at"] < inputs.day, "account_id"]])


def forecast_accounts(inputs: ForecastInputs, schedule: pd.DataFrame) -> pd.DataFrame:
    """Accounts of the forecast: those that pay on the day and those on the schedule; one row per account_id.

    `opening` does not include pending renewals.
    """
    account_ids = (
        pd.concat([inputs.opening_accounts["account_id"], schedule["account_id"]]).drop_duplicates().sort_values()
    )
    rows = pd.DataFrame({"account_id": account_ids.to_numpy()}).merge(inputs.accounts, on="account_id", how="left")
    opening = inputs.opening_accounts.set_index("account_id")["opening"]
    bands = rows["account_id"].map(_account_bands(inputs)).fillna(ALL_BANDS)
    return rows.assign(opening=rows["account_id"].map(opening).fillna(0.0), size_band=bands)


def _account_bands(inputs: ForecastInputs) -> pd.Series:
    """Latest size band of each account with revenue on the day or before, by account_id."""
    quarters = inputs.quarters.query("quarter <= 1").sort_values("quarter", kind="stable")
    return quarters.drop_duplicates("account_id", keep="last").set_index("account_id")["size_band"]


def _renewal_probabilities(rows: pd.DataFrame, day_scores: pd.DataFrame, inputs: ForecastInputs) -> Floats:
    """Renewal probability of each row; 1 if decided."""
    scores = day_scores.dropna(subset="probability")
    open_scores = scores[scores["probability"] > 0]  # a notice is about one renewal, and says nothing of the others
    by_account = open_scores.drop_duplicates("account_id").set_index("account_id")["probability"]
    by_renewal = scores.assign(end_date=pd.to_datetime(scores["renewal_date"]).astype(rows["end_date"].dtype))
    by_renewal = by_renewal.drop_duplicates(["account_id", "end_date"])[["account_id", "end_date", "probability"]]
    matched = rows[["account_id", "end_date"]].merge(by_renewal, on=["account_id", "end_date"], how="left")[
        "probability"
    ]
    scored = (
        matched.astype(np.float64).set_axis(rows.index).fillna(rows["account_id"].map(by_account).astype(np.float64))
    )
    scored = scored.fillna(_band_rates(rows["size_band"], inputs))
    days_overdue = (inputs.day - rows["due_at"]).dt.days.to_numpy()
    probability = np.where(days_overdue > 0, late_renewal_rate(inputs, days_overdue), scored)
    return np.where(rows["decided"], 1.0, probability)


def _band_rates(bands: pd.Series, inputs: ForecastInputs) -> pd.Series:
    rates = renewal_rates(inputs)
    return bands.map(rates).astype(np.float64).fillna(float(rates[ALL_BANDS]))


def _add_follow_ons(rows: pd.DataFrame, inputs: ForecastInputs) -> pd.DataFrame:
    """Add the follow-ons that would come due within the four quarters, where terms are short.

    The length of a follow-on is distributed as past follow-ons of terms of the same length; its own renewal has the
    rate of its size band.
    """
    horizon_end = inputs.quarter_starts[QUARTERS_PER_YEAR + 1]
    lengths, generations = term_length_distribution(inputs), [rows]
    newest = rows[~rows["decided"]].assign(chain=1.0).drop(columns="share")
    while len(newest):
        months = ((newest["end_date"] - newest["began"]).dt.days / DAYS_PER_MONTH).round()
        follow_ons = newest.assign(months=months, after=newest.index).merge(lengths, on="months")
        term = pd.to_timedelta((follow_ons["next_months"] * DAYS_PER_MONTH).round(), unit="D")
        follow_ons = follow_ons.assign(
            began=follow_ons["end_date"], end_date=follow_ons["end_date"] + term, due_at=follow_ons["due_at"] + term
        )
        follow_ons["generation"], follow_ons["chain"] = (
            follow_ons["generation"] + 1,
            follow_ons["chain"] * follow_ons["share"],
        )
        follow_ons = follow_ons[(follow_ons["due_at"] < horizon_end) & (follow_ons["chain"] >= MIN_PROBABILITY)]
        follow_ons["quarter"] = np.maximum(inputs.quarter_of(follow_ons["due_at"]), 0)
        follow_ons["moves"] = follow_ons["quarter"]
        follow_ons["probability"] = _band_rates(follow_ons["size_band"], inputs)
        next_index = sum(map(len, generations))
        newest = follow_ons.set_axis(range(next_index, next_index + len(follow_ons))).drop(
            columns=["months", "next_months"]
        )
        generations.append(newest)
        newest = newest.drop(columns="share")
    return pd.concat(generations)


def term_length_distribution(inputs: ForecastInputs) -> pd.DataFrame:
    """Distribution of the length of follow-ons, by the length of the term before: months, next_months, share.

    The prior adds ten cases of an unchanged length to each length. Only follow-ons of 1 to 12 months are returned: only
    these may come due within a year.
    """
    past = matured_renewals(inputs, inputs.final_quarters)
    past = past[past["renewed"] == 1]
    months = ((past["end_date"] - past["began"]).dt.days / DAYS_PER_MONTH).round()
    following = ((past["lasts_until"] - past["moves_at"]).dt.days / DAYS_PER_MONTH).round()
    all_months = pd.concat(
        [months, ((inputs.renewals["end_date"] - inputs.renewals["began"]).dt.days / DAYS_PER_MONTH).round()]
    ).unique()
    cases = pd.DataFrame({"months": months, "next_months": following, "cases": 1.0})
    prior = pd.DataFrame({"months": all_months, "next_months": all_months, "cases": PRIOR_WEIGHT})
    counted = pd.concat([cases, prior]).groupby(["months", "next_months"], as_index=False)["cases"].sum()
    counted["share"] = counted["cases"] / counted.groupby("months")["cases"].transform("sum")
    return counted[counted["next_months"].between(1, 12)].drop(columns="cases")
