"""Baselines that the model must beat: simple models, trained and tested on the same rows.

A baseline is a function (train, test, features) -> probability of each row of `test`; `features` are the names of the
numeric features. It returns None if its columns are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from renewals.models.ranking.health import health_points
from renewals.models.settings import HealthSettings
from renewals.models.training.splits import KEY, Fold, term_weights
from renewals.models.training.walk_forward import LINEAR_BASELINE, parallel_map

Floats = npt.NDArray[np.float64]
Baseline = Callable[[pd.DataFrame, pd.DataFrame, Sequence[str]], Floats | None]

RECENCY_FEATURE = "days_since_last_use"
FEW_FEATURES = (
    RECENCY_FEATURE,
    "active_people_90d",
    "active_people_change_90d",
    "days_to_renewal",
    "arr",
    "account_age",
)
NEUTRAL_HEALTH = 50.0
"""Health points of an account without any known indicator."""
PRIOR_WEIGHT = 10.0
"""Weight, in renewals, of the overall base rate in the rate of a group."""


def base_rate(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> Floats:
    """Predict the training rate of the outcome for every row."""
    return np.full(len(test), np.average(train["label"], weights=term_weights(train["term"])))


def last_outcome(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> Floats:
    """Predict the rate of the rows with the same last final outcome of the account: yes, no or none."""
    rate = float(base_rate(train, test.head(1), features)[0])
    past = _term_outcomes(train)
    before, now = last_outcome_before(past, train), last_outcome_before(past, test)
    seen = train.assign(before=before, weight=term_weights(train["term"]))
    sums = seen.assign(hit=seen["label"] * seen["weight"]).groupby("before")[["hit", "weight"]].sum()
    rates = (sums["hit"] + PRIOR_WEIGHT * rate) / (sums["weight"] + PRIOR_WEIGHT)
    return now.map(rates).fillna(rate).to_numpy(np.float64)


def _term_outcomes(train: pd.DataFrame) -> pd.DataFrame:
    """Outcome of each term and the day on which it was final, ordered by that day; one row per term."""
    return train.drop_duplicates("term", keep="last")[["account_id", "matured_at", "label"]].sort_values("matured_at")


def last_outcome_before(outcomes: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """The account's newest outcome that was final at `as_of`: `yes`, `no` or `none`; one value per input row."""
    queries = rows[["account_id", "as_of"]].assign(place=np.arange(len(rows))).sort_values("as_of", kind="stable")
    matches = pd.merge_asof(
        queries.astype({"as_of": "datetime64[us]"}),
        outcomes.astype({"matured_at": "datetime64[us]"}),
        left_on="as_of",
        right_on="matured_at",
        by="account_id",
    )
    outcome = matches.sort_values("place")["label"].map({1: "yes", 0: "no"}).fillna("none")
    return pd.Series(outcome.to_numpy(), index=rows.index)


def recency(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> Floats | None:
    """Predict by a logistic regression on the days since the last use alone."""
    return _predict_logistic(train, test, [RECENCY_FEATURE]) if RECENCY_FEATURE in features else None


def few_features(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> Floats | None:
    """Predict by a logistic regression on `FEW_FEATURES`, the most obvious ones."""
    named = [name for name in FEW_FEATURES if name in features]
    return _predict_logistic(train, test, named) if named else None


def logistic_regression(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> Floats | None:
    """Predict by a logistic regression on every numeric feature, with scikit-learn's defaults."""
    return _predict_logistic(train, test, list(features)) if len(features) else None


def health_score(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> Floats | None:
    """Predict by a logistic regression on the hand-weighted health score; None if no indicator is a feature."""
    settings = HealthSettings()
    if not set(settings.features) & set(features):
        return None
    past, now = (rows.assign(health=health_points(rows, settings).fillna(NEUTRAL_HEALTH)) for rows in (train, test))
    return _predict_logistic(past, now, ["health"])


def _predict_logistic(train: pd.DataFrame, test: pd.DataFrame, names: list[str]) -> Floats:
    past, now = (rows[names].to_numpy(np.float64, na_value=np.nan) for rows in (train, test))
    medians = _column_medians(past)
    model: Pipeline = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky"))
    model.fit(
        np.where(np.isnan(past), medians, past),
        train["label"].to_numpy(),
        logisticregression__sample_weight=term_weights(train["term"]),
    )
    return np.asarray(model.predict_proba(np.where(np.isnan(now), medians, now))[:, 1])


def _column_medians(values: Floats) -> Floats:
    """Median of each column, 0 for a column without known values.

    pandas' median is not used: it silences warnings for the whole process, and other threads run at the same time.
    """
    known = ~np.isnan(values).all(axis=0)
    medians = np.zeros(values.shape[1])
    medians[known] = np.nanmedian(values[:, known], axis=0)
    return medians


BASELINES: dict[str, Baseline] = {
    "base_rate": base_rate,
    "last_outcome": last_outcome,
    "recency": recency,
    "few_features": few_features,
    "logistic_regression": logistic_regression,
    "health_score": health_score,
}
BASELINE_NAMES = (*BASELINES, LINEAR_BASELINE)
"""Names of all baselines; the predictions of the last one are in the model's own backtest."""


def predict_baselines(
    observed: pd.DataFrame, folds: Sequence[Fold], features: Sequence[str], threads: int = 1
) -> pd.DataFrame:
    """Predict every fold's test rows with each of `BASELINES`; one row per tested observation."""

    def predict_fold(fold: Fold) -> pd.DataFrame:
        return _predict_fold(observed.iloc[fold.train], observed.iloc[fold.test], features)

    return pd.concat(parallel_map(predict_fold, folds, threads), ignore_index=True)


def _predict_fold(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    probabilities = {name: baseline(train, test, features) for name, baseline in BASELINES.items()}
    return test[KEY].assign(
        **{name: probability for name, probability in probabilities.items() if probability is not None}
    )
