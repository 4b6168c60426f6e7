"""Temporal splits: rows that may train a model on a given day, and rows that test it without leakage.

The rule (data contract, "Observations and labels"): a model trained on day `T` uses a row only if its label was final
at `T`, and is tested only on rows observed at or after `T`. An early label is used only when the labels of its cohort
are due. No package known to us splits by both dates, so it is implemented here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models.settings import RENEWAL, FoldSettings, TreatedPolicy
from renewals.models.training.history import History

KEY = ["account_id", "renewal_id", "as_of"]
TREATED_COLUMN = "treated"
"""1 if an intervention started between observation and decision (`treated.mark_treated`)."""
SPINE_COLUMNS = ["renewal_date", "days_to_renewal", "term_start", "renewal_signed", "notice_given"]
"""Columns of the spine in addition to the key."""

Ints = npt.NDArray[np.int64]


class InsufficientHistoryError(ValueError):
    """History has too few outcomes, or too few of the rarer outcome, for training or testing."""


@dataclass(frozen=True)
class Fold:
    """A training day (origin), and the positions of its training and test rows."""

    origin: pd.Timestamp
    train: Ints
    test: Ints


def observations(
    training: pd.DataFrame, target: str, until: date, treated_policy: TreatedPolicy = "keep"
) -> pd.DataFrame:
    """Select the rows with a label of `target` that was final on the day `until`; one row per observation.

    Adds `label`, `matured_at` and `term`, the number of the renewal (or, for expansion, of the term) of a row. Rows are
    sorted by key, so that results do not depend on the order of a file. The policy `exclude` drops the rows of treated
    renewals: their outcome does not show what happens without treatment, which the list must predict. Raises ValueError
    if required columns are missing.
    """
    required = [*KEY, *SPINE_COLUMNS, target, f"{target}_matured_at"]
    missing = [name for name in required if name not in training.columns]
    if missing:
        raise ValueError(f"the training table lacks {', '.join(missing)}")
    matured_at = _label_maturity(training, target)
    final = training[target].notna() & (matured_at <= pd.Timestamp(until))
    if treated_policy == "exclude" and target == RENEWAL and TREATED_COLUMN in training.columns:
        final &= ~training[TREATED_COLUMN].astype(bool)
    rows = training[final].assign(
        label=training.loc[final, target].astype(np.int8),
        matured_at=matured_at[final],
        **{day: pd.to_datetime(training.loc[final, day]) for day in ("as_of", "renewal_date", "term_start")},
    )
    rows = rows.sort_values(KEY, kind="stable", ignore_index=True)
    return rows.assign(term=rows.groupby(term_key(target), sort=True, dropna=False).ngroup())


def _label_maturity(training: pd.DataFrame, target: str) -> pd.Series:
    """Day from which each label may be used: the day it was final, for a renewal not before its due date plus grace.

    A cancellation is known long before the other renewals of its cohort. Before the due date such a cohort contains
    only losses, and a model would learn that accounts far from the end are lost. The grace is the longest time that an
    outcome took to become final.
    """
    matured_at = pd.to_datetime(training[f"{target}_matured_at"])
    if target != RENEWAL or not matured_at.notna().any():
        return matured_at
    due = pd.to_datetime(training["renewal_date"])
    return matured_at.where(matured_at.isna(), np.maximum(matured_at, due + (matured_at - due).max()))


def term_key(target: str) -> list[str]:
    """Key columns that define one outcome: the renewal, or the account's term for an expansion target."""
    return ["renewal_id"] if target == RENEWAL else ["account_id", "term_start"]


def term_weights(terms: pd.Series, row_weights: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.float64]:
    """One weight per row that sums to 1 per term, distributed evenly or in proportion to `row_weights`."""
    share = pd.Series(1.0 if row_weights is None else row_weights, index=terms.index)
    return (share / share.groupby(terms).transform("sum")).to_numpy(np.float64)


LEAD_OFFSET_DAYS = 20.0
"""Days added to each lead before leads are compared, so that the last days keep some weight."""


def lead_weights(lead: npt.NDArray[np.float64], focus_lead_days: float) -> npt.NDArray[np.float64]:
    """Training weight of each row by lead time: 1 at `focus_lead_days`, an eighth at twice or half of it.

    Data of the last weeks mostly result from a decision already made; data from a year before are mostly outdated when
    the decision is made.
    """
    distance = (lead + LEAD_OFFSET_DAYS) / (focus_lead_days + LEAD_OFFSET_DAYS)
    return np.minimum(distance, 1 / distance) ** 3


def origins(observed: pd.DataFrame, settings: FoldSettings, target: str = RENEWAL) -> list[pd.Timestamp]:
    """Training days of a back-test: observation dates, evenly spread from the first one with enough data.

    Raises InsufficientHistoryError, with the numbers needed, if history has too few outcomes for any origin.
    """
    days = pd.DatetimeIndex(observed["as_of"].unique()).sort_values()
    days = days[days >= _first_origin(observed, days, settings, target)]
    last = _last_origin(observed, days)
    days = days[days <= last]
    positions = np.unique(np.linspace(0, len(days), settings.origins, endpoint=False).astype(int))
    return list(days[positions])


def _first_origin(observed: pd.DataFrame, days: pd.DatetimeIndex, settings: FoldSettings, target: str) -> pd.Timestamp:
    """First origin with enough rows to test at `focus_lead_days`, or else enough to test at any lead."""
    leads = [settings.focus_lead_days, None] if target == RENEWAL and settings.focus_lead_days else [None]
    histories = [History.from_observations(observed, settings, lead) for lead in leads]
    for history in histories:
        first = history.first_origin(days)
        if first is not None:
            return first
    raise InsufficientHistoryError(histories[0].shortage_text())


def _last_origin(observed: pd.DataFrame, days: pd.DatetimeIndex) -> pd.Timestamp:
    """Last origin: the day that leaves a tenth of the testable terms for its fold."""
    first_seen = observed[observed["as_of"] >= days[0]].groupby("term")["as_of"].max().sort_values()
    return max(days[0], first_seen.iloc[int(0.9 * (len(first_seen) - 1))])


def split_at_origin(
    observed: pd.DataFrame, origin: pd.Timestamp, end: pd.Timestamp | None, settings: FoldSettings
) -> Fold:
    """Split into training rows (final at `origin`) and test rows (observed from `origin` until `end`).

    Raises InsufficientHistoryError if the training rows have fewer than two outcomes or there are no test rows.
    """
    final_by = origin - pd.Timedelta(days=settings.embargo_days)
    train = np.flatnonzero(observed["matured_at"] <= final_by)
    later = observed["as_of"] >= origin
    test = np.flatnonzero(later if end is None else later & (observed["as_of"] < end))
    outcomes = observed["label"].to_numpy()[train]
    if len(np.unique(outcomes)) < 2:
        raise InsufficientHistoryError(
            f"cannot train: the {len(train)} rows final on {origin:%Y-%m-%d} have only one outcome"
        )
    if not len(test):
        raise InsufficientHistoryError(f"no rows to test with: no final row was observed on {origin:%Y-%m-%d} or later")
    return Fold(origin, train, test)


def rolling_origin_folds(observed: pd.DataFrame, settings: FoldSettings, target: str = RENEWAL) -> list[Fold]:
    """Make one fold per origin, tested on the rows until the next origin.

    Raises InsufficientHistoryError if history is too short for any fold.
    """
    days = origins(observed, settings, target)
    ends: list[pd.Timestamp | None] = [*days[1:], None]
    return [split_at_origin(observed, day, end, settings) for day, end in zip(days, ends, strict=True)]
