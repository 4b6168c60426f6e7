"""What must be beaten: simple ways to a probability, each learned from the same rows and tested on the same.

A baseline is a function (train, test, features) -> probability of each row of `test`; `features` are the names of the
numeric features. One that cannot speak, for its column is not there, returns nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from models.folds import Fold, weights

Floats = npt.NDArray[np.float64]
Baseline = Callable[[pd.DataFrame, pd.DataFrame, Sequence[str]], Floats | None]

RECENCY = "days_since_last_use"
FEW = (RECENCY, "active_people_90d", "active_people_change_90d", "days_to_renewal", "arr", "account_age")
PRIOR = 10.0
"""Renewals' worth of the base rate lent to a group's own rate."""


def base_rate(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> Floats:
    """Everyone gets the rate of the past."""
    return np.full(len(test), np.average(train["label"], weights=weights(train["term"])))


def last_outcome(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> Floats:
    """The rate of those whose last outcome, as final then, was the same: yes, no, or none yet."""
    rate = float(base_rate(train, test.head(1), features)[0])
    past = _outcomes(train)
    before, now = last_known(past, train), last_known(past, test)
    seen = train.assign(before=before, weight=weights(train["term"]))
    sums = seen.assign(hit=seen["label"] * seen["weight"]).groupby("before")[["hit", "weight"]].sum()
    rates = (sums["hit"] + PRIOR * rate) / (sums["weight"] + PRIOR)
    return now.map(rates).fillna(rate).to_numpy(np.float64)


def _outcomes(train: pd.DataFrame) -> pd.DataFrame:
    """What became of each term, and when that was final; one row per term."""
    return train.drop_duplicates("term", keep="last")[["account_id", "matured_at", "label"]].sort_values("matured_at")


def last_known(outcomes: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """The account's newest outcome that was final at `as_of`: `yes`, `no` or `none`; one row per row given."""
    asked = rows[["account_id", "as_of"]].assign(place=np.arange(len(rows))).sort_values("as_of", kind="stable")
    found = pd.merge_asof(
        asked.astype({"as_of": "datetime64[us]"}),
        outcomes.astype({"matured_at": "datetime64[us]"}),
        left_on="as_of",
        right_on="matured_at",
        by="account_id",
    )
    told = found.sort_values("place")["label"].map({1: "yes", 0: "no"}).fillna("none")
    return pd.Series(told.to_numpy(), index=rows.index)


def recency(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> Floats | None:
    """Days since the last use, alone."""
    return _logistic(train, test, [RECENCY]) if RECENCY in features else None


def few_features(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> Floats | None:
    """A logistic regression on the handful that anyone would name first."""
    named = [name for name in FEW if name in features]
    return _logistic(train, test, named) if named else None


def logistic_regression(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> Floats | None:
    """A plain logistic regression on every numeric feature, scikit-learn's defaults."""
    return _logistic(train, test, list(features)) if len(features) else None


def _logistic(train: pd.DataFrame, test: pd.DataFrame, names: list[str]) -> Floats:
    model: Pipeline = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(solver="newton-cholesky"),
    )
    model.fit(
        train[names].to_numpy(np.float64),
        train["label"].to_numpy(),
        logisticregression__sample_weight=weights(train["term"]),
    )
    return np.asarray(model.predict_proba(test[names].to_numpy(np.float64))[:, 1])


BASELINES: dict[str, Baseline] = {
    "base_rate": base_rate,
    "last_outcome": last_outcome,
    "days_since_last_use": recency,
    "few_features": few_features,
    "logistic_regression": logistic_regression,
}


def spoken(observed: pd.DataFrame, folds: Sequence[Fold], features: Sequence[str]) -> pd.DataFrame:
    """What each baseline would have said at each origin; one row per tested observation, with its key."""
    told = [_told(observed.iloc[fold.train], observed.iloc[fold.test], features) for fold in folds]
    return pd.concat(told, ignore_index=True)


def _told(train: pd.DataFrame, test: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    chances = {name: baseline(train, test, features) for name, baseline in BASELINES.items()}
    return test[["account_id", "as_of"]].assign(
        **{name: chance for name, chance in chances.items() if chance is not None}
    )
