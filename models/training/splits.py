"""Which rows a model may learn from on a day, and which rows test it fairly.

The law (data contract, "Observations and labels"): a model trained on day `T` uses a row only if its label was final
at `T`, and is tested only on rows observed at or after `T`. A label that came early waits for those of its cohort. No
other package splits by both dates; hence these lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from renewals.models.settings import RENEWAL, FoldSettings, TreatedPolicy
from renewals.models.training.history import History

KEY = ["account_id", "as_of"]
TREATED_COLUMN = "treated"
"""1 where an intervention was begun between observation and decision (`treated_between`)."""
SPINE_COLUMNS = ["renewal_date", "days_to_renewal", "term_start", "renewal_signed"]
"""What the spine says of an observation, beside its key."""

Ints = npt.NDArray[np.int64]


class InsufficientHistoryError(ValueError):
    """History holds too few outcomes, or too few of one kind, to learn from or to test with."""


@dataclass(frozen=True)
class Fold:
    """A training day, and the places of the rows on both sides of it."""

    origin: pd.Timestamp
    train: Ints
    test: Ints


def observations(
    training: pd.DataFrame, target: str, until: date, treated_policy: TreatedPolicy = "keep"
) -> pd.DataFrame:
    """The rows whose label of `target` was final on the day `until`; one row per (account_id, as_of).

    Adds `label`, `matured_at` and `term`, the number of the renewal (or, for expansion, of the term) a row belongs
    to. Sorted by key, so that nothing later hangs on the order of a file. `exclude` leaves out the rows of renewals
    that an intervention worked on: their outcome does not tell what becomes of an account left alone, which is what
    the list must say. Raises ValueError without these columns.
    """
    wanted = [*KEY, *SPINE_COLUMNS, target, f"{target}_matured_at"]
    lost = [name for name in wanted if name not in training.columns]
    if lost:
        raise ValueError(f"the training table lacks {', '.join(lost)}")
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
    """When each label may be used: when it was final, and for a renewal not before its term and grace were to be over.

    Who cancels is known to be lost long before the others of the same cohort are known to stay. On a day on which it
    is not due yet such a cohort is made of losses alone, and a model would learn that whoever is far from the end is
    lost. The grace is what the latest outcome took.
    """
    matured_at = pd.to_datetime(training[f"{target}_matured_at"])
    if target != RENEWAL or not matured_at.notna().any():
        return matured_at
    due = pd.to_datetime(training["renewal_date"])
    return matured_at.where(matured_at.isna(), np.maximum(matured_at, due + (matured_at - due).max()))


def term_key(target: str) -> list[str]:
    """What rows of one outcome have in common: the renewal, or the account's term where expansion is asked."""
    return ["account_id", "renewal_date" if target == RENEWAL else "term_start"]


def term_weights(terms: pd.Series, row_weights: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.float64]:
    """One weight per row, so that the rows of a term weigh one together: evenly, or in proportion to `lead_weights`."""
    share = pd.Series(1.0 if row_weights is None else row_weights, index=terms.index)
    return (share / share.groupby(terms).transform("sum")).to_numpy(np.float64)


LEAD_OFFSET_DAYS = 20.0
"""Days added to a lead before leads are compared, so that the last days do not weigh nothing."""


def lead_weights(lead: npt.NDArray[np.float64], focus_lead_days: float) -> npt.NDArray[np.float64]:
    """How much a row tells about a renewal `focus_lead_days` away: 1 there, an eighth at twice or half the distance.

    What is seen in the last weeks is mostly the trace of a decision that has fallen; what is seen a year before is
    mostly gone by the time it falls.
    """
    distance = (lead + LEAD_OFFSET_DAYS) / (focus_lead_days + LEAD_OFFSET_DAYS)
    return np.minimum(distance, 1 / distance) ** 3


def origins(observed: pd.DataFrame, settings: FoldSettings, target: str = RENEWAL) -> list[pd.Timestamp]:
    """Training days for a back-test: month starts, spread evenly from the first that leaves enough to learn and test.

    Raises InsufficientHistoryError, in words, where history is too short or too one-sided for any.
    """
    days = pd.DatetimeIndex(observed["as_of"].unique()).sort_values()
    days = days[days >= _first_origin(observed, days, settings, target)]
    last = _last_origin(observed, days)
    days = days[days <= last]
    places = np.unique(np.linspace(0, len(days), settings.origins, endpoint=False).astype(int))
    return list(days[places])


def _first_origin(observed: pd.DataFrame, days: pd.DatetimeIndex, settings: FoldSettings, target: str) -> pd.Timestamp:
    """The first origin that leaves enough to test at the lead that matters most, else enough to test at any lead."""
    leads = [settings.focus_lead_days, None] if target == RENEWAL and settings.focus_lead_days else [None]
    histories = [History.from_observations(observed, settings, lead) for lead in leads]
    for history in histories:
        first = history.first_origin(days)
        if first is not None:
            return first
    raise InsufficientHistoryError(histories[0].shortage_text())


def _last_origin(observed: pd.DataFrame, days: pd.DatetimeIndex) -> pd.Timestamp:
    """The last day that still leaves a tenth of the testable terms to its own fold."""
    first_seen = observed[observed["as_of"] >= days[0]].groupby("term")["as_of"].max().sort_values()
    return max(days[0], first_seen.iloc[int(0.9 * (len(first_seen) - 1))])


def split_at_origin(
    observed: pd.DataFrame, origin: pd.Timestamp, end: pd.Timestamp | None, settings: FoldSettings
) -> Fold:
    """The rows final at `origin`, and those observed from it until `end`. Raises InsufficientHistoryError where either
    is empty or all rows to learn from ended alike."""
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
        raise InsufficientHistoryError(f"no final row was observed from {origin:%Y-%m-%d} on: nothing to test with")
    return Fold(origin, train, test)


def rolling_origin_folds(observed: pd.DataFrame, settings: FoldSettings, target: str = RENEWAL) -> list[Fold]:
    """One fold per origin; each is tested until the next one begins. Raises InsufficientHistoryError where none can be
    made."""
    days = origins(observed, settings, target)
    ends: list[pd.Timestamp | None] = [*days[1:], None]
    return [split_at_origin(observed, day, end, settings) for day, end in zip(days, ends, strict=True)]
