"""History of a target: number of terms available for training on a day and for testing after it, and the shortage.

All counts are of terms: renewals, or account terms if the target is an expansion.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models.metrics import LEAD_TOLERANCE_DAYS, days_to_decision, is_undecided
from renewals.models.settings import FoldSettings

TermCounts = npt.NDArray[np.int64]
"""Array of days × 2: number of terms, and number of terms with the rarer outcome."""
NEVER_SEEN = pd.Timestamp(1900, 1, 1)
"""Placeholder, earlier than all days, for the last observation of a term that has none."""
PACE_DAYS = 365
"""Days before the newest outcome from which the present pace of new outcomes is measured."""


@dataclass(frozen=True)
class History:
    """Final terms of a target.

    `terms` has one row per term: `final`, the day from which the outcome may be used, `seen`, the day of the last
    observation that can test a model (missing if there is none), and `label`.
    """

    terms: pd.DataFrame
    settings: FoldSettings
    lead: float | None = None

    @staticmethod
    def from_observations(observed: pd.DataFrame, options: FoldSettings, lead: float | None = None) -> History:
        """Build the history from the rows of `splits.observations`.

        A row can test a model if its renewal was not signed yet and, if `lead` is given, it is about `lead` days before
        the decision.
        """
        terms = observed.groupby("term").agg(final=("matured_at", "min"), label=("label", "max"))
        terms["final"] += pd.Timedelta(days=options.embargo_days)
        tests = is_undecided(observed)
        if lead is not None:
            tests &= (days_to_decision(observed) - lead).abs() <= LEAD_TOLERANCE_DAYS
        return History(terms.assign(seen=observed[tests].groupby("term")["as_of"].max()), options, lead)

    def first_origin(self, days: pd.DatetimeIndex) -> pd.Timestamp | None:
        """Select the first training day of a back-test; None if no day leaves enough terms to train on and to test.

        Among the days that do, it is the first on which the training terms are `first_train_share` of all terms used
        for training or testing; if there is none, the last of them (ADR 34).
        """
        learned, tested = self.count_final(days), self.count_testable(days)
        possible = np.flatnonzero(((learned >= self.required_counts) & (tested >= self.required_counts)).all(axis=1))
        if not len(possible):
            return None
        usable = len(self.terms) - self._unusable_terms(days)
        balanced = possible[(learned[:, 0] >= self.settings.first_train_share * usable)[possible]]
        return days[balanced[0] if len(balanced) else possible[-1]]

    def _unusable_terms(self, days: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
        """Number of terms that each day cannot use: last observed before it, and final only after it."""
        final, seen = self.terms["final"], self.terms["seen"].fillna(NEVER_SEEN)
        seen_last, final_first = (
            pd.DatetimeIndex(days_of_terms[seen < final].sort_values()) for days_of_terms in (seen, final)
        )
        return np.asarray(seen_last.searchsorted(days, side="left") - final_first.searchsorted(days, side="right"))

    @property
    def required_counts(self) -> TermCounts:
        """Minimum number of terms, and of terms with the rarer outcome; for training and again for testing."""
        return np.array([self.settings.min_renewals, self.settings.min_events])

    def count_final(self, days: pd.DatetimeIndex) -> TermCounts:
        """Count the terms that have an outcome that may be used on each day."""
        return _stack_counts(*(np.searchsorted(side, days, side="right") for side in self._days_by_outcome("final")))

    def count_testable(self, days: pd.DatetimeIndex) -> TermCounts:
        """Count the terms that were observed, with the renewal not yet signed, on each day or later."""
        return _stack_counts(
            *(len(side) - np.searchsorted(side, days, side="left") for side in self._days_by_outcome("seen"))
        )

    def _days_by_outcome(self, column: str) -> list[pd.DatetimeIndex]:
        """Sorted days of a column without missing ones: a list of those with label 0 and those with label 1."""
        sides = (self.terms.loc[self.terms["label"] == outcome, column].dropna() for outcome in (0, 1))
        return [pd.DatetimeIndex(side.sort_values()) for side in sides]

    # --- shortage --------------------------------------------------------------------------------

    def shortage_text(self) -> str:
        """Error message: number of outcomes available and needed, and about when there will be enough."""
        yes, (wanted, rare), when = int(self.terms["label"].sum()), self.required_counts, self.expected_ready_day()
        at_lead = f" about {self.lead:.0f} days before their end," if self.lead is not None else ""
        return (
            f"not enough outcomes: {len(self.terms)} final ({yes} positive, {len(self.terms) - yes} negative); needed "
            f"for training: {wanted} (folds.min_renewals) with {rare} of the rarer outcome (folds.min_events), and the "
            f"same again for testing, observed{at_lead} after those were final and before their renewal was signed: "
            f"{self._progress_text()}. "
            + (f"At the present pace there will be enough about {when:%B %Y}" if when is not None else TOO_FAR_TEXT)
        )

    def _progress_text(self) -> str:
        start = self._first_learnable_day()
        if start is None:
            return "there are not enough for training yet"
        (tested,) = self.count_testable(pd.DatetimeIndex([start]))
        return (
            f"there were enough for training on {start:%Y-%m-%d}, and since then there are {tested[0]} for testing, "
            f"{tested[1]} of the rarer outcome"
        )

    def _first_learnable_day(self) -> pd.Timestamp | None:
        """First day with enough terms for training; None if there is none."""
        days = pd.DatetimeIndex(self.terms["final"].sort_values().unique())
        enough = np.flatnonzero((self.count_final(days) >= self.required_counts).all(axis=1))
        return days[enough[0]] if len(enough) else None

    def expected_ready_day(self) -> pd.Timestamp | None:
        """Estimate the day with enough terms for training and testing, at the present pace of final outcomes.

        None if it is more than `MAX_WAIT_DAYS` away or there are no terms.
        """
        if self.terms.empty:
            return None
        newest = self.terms["final"].max()
        trainable = self._first_learnable_day()
        if trainable is None:
            wait = self._waiting_time(self.count_final(pd.DatetimeIndex([newest]))[0], self.terms)
            trainable = None if wait is None else newest + wait
        tested = self.terms.dropna(subset="seen")
        wait = (
            None
            if trainable is None
            else self._waiting_time(self.count_testable(pd.DatetimeIndex([trainable]))[0], tested)
        )
        if trainable is None or wait is None:
            return None
        maturing = pd.Timedelta(days=ceil((self.terms["final"] - self.terms["seen"]).dt.days.fillna(0).median()))
        return max(newest, trainable + maturing) + wait

    def _waiting_time(self, available: TermCounts, terms: pd.DataFrame) -> pd.Timedelta | None:
        """Whole days until the missing terms exist, at the recent pace; None if more than `MAX_WAIT_DAYS`."""
        newest = self.terms["final"].max()
        recent = terms[terms["final"] > newest - pd.Timedelta(days=PACE_DAYS)]
        if recent.empty:
            return None
        days = max((newest - recent["final"].min()).days, 1)
        lacking, pace = np.maximum(self.required_counts - available, 0), _count_outcomes(recent["label"]) / days
        wait = np.max(lacking / np.maximum(pace, 1e-9))
        return pd.Timedelta(days=ceil(wait)) if wait <= MAX_WAIT_DAYS else None


MAX_WAIT_DAYS = 20 * 365
TOO_FAR_TEXT = "At the present pace there will not be enough in 20 years"


def _count_outcomes(labels: pd.Series) -> TermCounts:
    """Number of terms, and number of terms with the rarer outcome."""
    yes = int(labels.sum())
    return np.array([len(labels), min(yes, len(labels) - yes)])


def _stack_counts(no: TermCounts, yes: TermCounts) -> TermCounts:
    return np.column_stack([no + yes, np.minimum(no, yes)])
