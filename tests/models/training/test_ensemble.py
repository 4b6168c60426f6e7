"""Tests of a trained model: exact contributions, columns by name, round trip through files, no leaks, same bytes."""

from datetime import date
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from renewals.models.settings import CalibrationSettings, FoldSettings, LightGBMSettings, LinearSettings
from renewals.models.training import walk_forward
from renewals.models.training.ensemble import EnsembleModel, _booster_params
from renewals.models.training.schema import Schema
from renewals.models.training.splits import observations
from tests.models.drawn import CATALOGUE, training_table

OPTIONS = SimpleNamespace(
    folds=FoldSettings(origins=2, min_renewals=30, min_events=5),
    linear=LinearSettings(inverse_penalties=(0.01,)),
    lightgbm=LightGBMSettings(num_rounds=(30,), tree_weights=(0.5,), min_data_in_leaf=20, parallel_fits=1),
    calibration=CalibrationSettings(),
)
UNTIL = pd.Timestamp(2023, 6, 1)


def train(table: pd.DataFrame) -> EnsembleModel:
    observed = observations(table, "renewal", UNTIL.date())
    schema = Schema.from_catalogue(CATALOGUE, observed, "renewal", True)
    steps = walk_forward.fit_origins(observed, schema, OPTIONS)
    return walk_forward.fit_model(observed, schema, walk_forward.select_model(observed, steps, UNTIL, OPTIONS), OPTIONS)


@pytest.fixture(scope="module")
def table():
    return training_table()


@pytest.fixture(scope="module")
def model(table):
    return train(table)


@pytest.fixture(scope="module")
def later(table):
    rows = observations(table, "renewal", date(2025, 6, 1))
    return rows[rows["as_of"] >= UNTIL].reset_index(drop=True)


def test_lightgbm_gets_only_its_parameters(model):
    passed = set(_booster_params(model.schema, OPTIONS.lightgbm))
    training_settings = {"num_rounds", "tree_weights", "parallel_fits", "monotone"}
    assert set(LightGBMSettings.model_fields) - passed == training_settings
    assert passed - set(LightGBMSettings.model_fields) == {
        *("objective", "num_leaves", "bagging_freq", "monotone_constraints", "deterministic", "force_col_wise"),
        *("num_threads", "verbosity"),
    }


def test_model_learns_the_simulated_signal(model, later):
    assert roc_auc_score(later["label"], model.probability(later)) > 0.75


def test_base_and_contributions_add_up_to_the_margin(model, later):
    contributions, base = model.contributions(later)
    assert list(contributions.columns) == [feature["name"] for feature in CATALOGUE]
    assert np.abs(base + contributions.sum(axis=1).to_numpy() - model.margin(later)).max() < 1e-6


def test_predict_and_explain_equals_the_separate_methods(model, later):
    probability, contributions, out_of_range = model.predict_and_explain(later)
    assert np.array_equal(probability, model.probability(later))
    assert contributions.equals(model.contributions(later)[0])
    assert np.array_equal(out_of_range, model.linear.out_of_range_share(model.schema.values(later)))


def test_column_order_does_not_matter(model, later):
    reversed_columns = later[later.columns[::-1]]
    assert np.array_equal(model.probability(reversed_columns), model.probability(later))


def test_missing_column_is_named(model, later):
    with pytest.raises(ValueError, match="columns missing: use"):
        model.probability(later.drop(columns="use"))


def test_infinite_values_are_refused(model, later):
    with pytest.raises(ValueError, match="infinite values in use"):
        model.probability(later.assign(use=np.inf))


def test_unknown_category_is_treated_as_missing(model, later):
    unknown = model.probability(later.assign(plan="enterprise"))
    missing = model.probability(later.assign(plan=None))
    assert np.array_equal(unknown, missing)


@pytest.mark.parametrize(("name", "sign"), [("use", 1), ("tickets", -1)])
def test_margin_changes_in_the_declared_direction(model, later, name, sign):
    more = model.margin(later.assign(**{name: later[name] + 1})) - model.margin(later)
    assert (sign * more >= -1e-9).all()


def test_model_survives_a_round_trip_through_files(model, later):
    loaded = EnsembleModel.from_files(model.to_files())
    assert np.array_equal(loaded.probability(later), model.probability(later))
    assert loaded.to_files() == model.to_files()


def test_files_of_two_models_are_refused(model, table):
    smaller_schema = Schema.from_catalogue(CATALOGUE[:4], table, "renewal", True)
    files = model.to_files()
    mixed = files | {
        "schema.json": files["schema.json"].replace(model.schema.hash.encode(), smaller_schema.hash.encode())
    }
    with pytest.raises(ValueError, match="differ"):
        EnsembleModel.from_files(mixed)


def test_row_order_does_not_change_the_model_files(model, table):
    assert train(table.sample(frac=1.0, random_state=1)).to_files() == model.to_files()


def test_random_labels_give_no_skill(table):
    rng = np.random.default_rng(1)
    random_labels = table.groupby(["account_id", "renewal_date"])["renewal"].transform(lambda label: rng.integers(0, 2))
    shuffled = table.assign(renewal=random_labels)
    rows = observations(shuffled, "renewal", date(2025, 6, 1))
    rows = rows[rows["as_of"] >= UNTIL]
    assert abs(roc_auc_score(rows["label"], train(shuffled).probability(rows)) - 0.5) < 0.12


def test_labels_final_after_the_training_day_do_not_change_the_model(model, table):
    late = pd.to_datetime(table["renewal_matured_at"]) > UNTIL
    changed = table.assign(renewal=table["renewal"].where(~late, 1 - table["renewal"]))
    assert train(changed).to_files() == model.to_files()
