"""How much history a target has: what could be learned on a day, what could be tested after it, and what is lacking.

Everything is counted in terms (a renewal, or an account's term where expansion is asked).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models.metrics import LEAD_TOLERANCE_DAYS
from renewals.models.settings import FoldSettings

TermCounts = npt.NDArray[np.int64]
"""Days × 2: how many terms there are, and how many of the rarer outcome."""
NEVER_SEEN = pd.Timestamp(1900, 1, 1)
"""Stands for the day on which a term was seen that never was, before all days."""
PACE_DAYS = 365
"""The present pace is that of so many days before the newest outcome."""


@dataclass(frozen=True)
class History:
    """The terms of a target that are final; `terms` has one row each: `final`, the day from which the outcome may be
    used, `seen`, the day of the last observation that can test a model, if there was one, and `label`."""

    terms: pd.DataFrame
    settings: FoldSettings
    lead: float | None = None

    @staticmethod
    def from_observations(observed: pd.DataFrame, options: FoldSettings, lead: float | None = None) -> History:
        """The history that the rows of `folds.observations` tell.

        Those can test a model that were not decided and, where a `lead` is given, were about so many days from the end.
        """
        terms = observed.groupby("term").agg(final=("matured_at", "min"), label=("label", "max"))
        terms["final"] += pd.Timedelta(days=options.embargo_days)
        tests = ~observed["renewal_signed"].astype(bool)
        if lead is not None:
            tests &= (observed["days_to_renewal"] - lead).abs() <= LEAD_TOLERANCE_DAYS
        return History(terms.assign(seen=observed[tests].groupby("term")["as_of"].max()), options, lead)

    def first_origin(self, days: pd.DatetimeIndex) -> pd.Timestamp | None:
        """The first of these days to train on in a back-test; None where none leaves enough to learn from and to test.

        Of the days that do, the first on which the terms learned from make up `first_train_share` of those learned from
        or tested; the last one where none does (ADR 34).
        """
        learned, tested = self.count_final(days), self.count_testable(days)
        possible = np.flatnonzero(((learned >= self.required_counts) & (tested >= self.required_counts)).all(axis=1))
        if not len(possible):
            return None
        used = len(self.terms) - self._unusable_terms(days)
        balanced = possible[(learned[:, 0] >= self.settings.first_train_share * used)[possible]]
        return days[balanced[0] if len(balanced) else possible[-1]]

    def _unusable_terms(self, days: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
        """How many terms each day loses: last seen before it, and final only after it."""
        final, seen = self.terms["final"], self.terms["seen"].fillna(NEVER_SEEN)
        gone, back = (pd.DatetimeIndex(side[seen < final].sort_values()) for side in (seen, final))
        return np.asarray(gone.searchsorted(days, side="left") - back.searchsorted(days, side="right"))

    @property
    def required_counts(self) -> TermCounts:
        """How many terms a model needs to learn from, and as many again to be tested on; and of the rarer outcome."""
        return np.array([self.settings.min_renewals, self.settings.min_events])

    def count_final(self, days: pd.DatetimeIndex) -> TermCounts:
        """The terms whose outcome may be used on each day."""
        return _stack_counts(*(np.searchsorted(side, days, side="right") for side in self._days_by_outcome("final")))

    def count_testable(self, days: pd.DatetimeIndex) -> TermCounts:
        """The terms that were observed, not yet decided, on each day or later."""
        return _stack_counts(
            *(len(side) - np.searchsorted(side, days, side="left") for side in self._days_by_outcome("seen"))
        )

    def _days_by_outcome(self, column: str) -> list[pd.DatetimeIndex]:
        """The known days of a column, rising, of the terms that came out no, and of those that came out yes."""
        sides = (self.terms.loc[self.terms["label"] == outcome, column].dropna() for outcome in (0, 1))
        return [pd.DatetimeIndex(side.sort_values()) for side in sides]

    # --- what is lacking -------------------------------------------------------------------------

    def shortage_text(self) -> str:
        """How many outcomes there are, how many are needed, and about when there will be enough."""
        yes, (wanted, rare), when = int(self.terms["label"].sum()), self.required_counts, self.expected_ready_day()
        at = f" about {self.lead:.0f} days before their end," if self.lead is not None else ""
        return (
            f"not enough outcomes: {len(self.terms)} final ({yes} positive, {len(self.terms) - yes} negative); needed "
            f"for training: {wanted} (folds.min_renewals) with {rare} of the rarer outcome (folds.min_events), and the "
            f"same again for testing, observed{at} after those were final and before their renewal was signed: "
            f"{self._progress_text()}. "
            + (f"At the present pace there will be enough about {when:%B %Y}" if when is not None else TOO_FAR_TEXT)
        )

    def _progress_text(self) -> str:
        begin = self._first_learnable_day()
        if begin is None:
            return "there are not enough for training yet"
        (tested,) = self.count_testable(pd.DatetimeIndex([begin]))
        return (
            f"there were enough for training on {begin:%Y-%m-%d}, and since then there are {tested[0]} for testing, "
            f"{tested[1]} of the rarer outcome"
        )

    def _first_learnable_day(self) -> pd.Timestamp | None:
        """The first day with enough to learn from, if there was one."""
        days = pd.DatetimeIndex(self.terms["final"].sort_values().unique())
        enough = np.flatnonzero((self.count_final(days) >= self.required_counts).all(axis=1))
        return days[enough[0]] if len(enough) else None

    def expected_ready_day(self) -> pd.Timestamp | None:
        """About when there will be enough to learn from and to test, if outcomes go on becoming final at the present
        pace; None where that is too far off to say."""
        if self.terms.empty:
            return None
        newest = self.terms["final"].max()
        begin = self._first_learnable_day()
        if begin is None:
            wait = self._waiting_time(self.count_final(pd.DatetimeIndex([newest]))[0], self.terms)
            begin = None if wait is None else newest + wait
        tested = self.terms.dropna(subset="seen")
        wait = None if begin is None else self._waiting_time(self.count_testable(pd.DatetimeIndex([begin]))[0], tested)
        if begin is None or wait is None:
            return None
        open_for = pd.Timedelta(days=ceil((self.terms["final"] - self.terms["seen"]).dt.days.fillna(0).median()))
        return max(newest, begin + open_for) + wait

    def _waiting_time(self, there: TermCounts, terms: pd.DataFrame) -> pd.Timedelta | None:
        """How many whole days what is lacking takes to come, at the pace of late; None if too long."""
        newest = self.terms["final"].max()
        lately = terms[terms["final"] > newest - pd.Timedelta(days=PACE_DAYS)]
        if lately.empty:
            return None
        days = max((newest - lately["final"].min()).days, 1)
        lacking, pace = np.maximum(self.required_counts - there, 0), _count_outcomes(lately["label"]) / days
        wait = np.max(lacking / np.maximum(pace, 1e-9))
        return pd.Timedelta(days=ceil(wait)) if wait <= MAX_WAIT_DAYS else None


MAX_WAIT_DAYS = 20 * 365
TOO_FAR_TEXT = "At the present pace there will not be enough in 20 years"


def _count_outcomes(labels: pd.Series) -> TermCounts:
    """How many terms there are, and how many of the rarer outcome."""
    yes = int(labels.sum())
    return np.array([len(labels), min(yes, len(labels) - yes)])


def _stack_counts(no: TermCounts, yes: TermCounts) -> TermCounts:
    return np.column_stack([no + yes, np.minimum(no, yes)])
