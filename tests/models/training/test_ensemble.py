"""What a learned model promises: exact contributions, columns by name, files that come back, no leaks, same bytes."""

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


def learn(table: pd.DataFrame) -> EnsembleModel:
    observed = observations(table, "renewal", UNTIL.date())
    schema = Schema.from_catalogue(CATALOGUE, observed, "renewal", True)
    steps = walk_forward.fit_origins(observed, schema, OPTIONS)
    return walk_forward.fit_model(observed, schema, walk_forward.select_model(observed, steps, UNTIL, OPTIONS), OPTIONS)


@pytest.fixture(scope="module")
def table():
    return training_table()


@pytest.fixture(scope="module")
def model(table):
    return learn(table)


@pytest.fixture(scope="module")
def later(table):
    rows = observations(table, "renewal", date(2025, 6, 1))
    return rows[rows["as_of"] >= UNTIL].reset_index(drop=True)


def test_lightgbm_is_given_no_parameter_of_ours(model):
    asked = set(_booster_params(model.schema, OPTIONS.lightgbm))
    ours = {"num_rounds", "tree_weights", "parallel_fits", "monotone"}
    assert set(LightGBMSettings.model_fields) - asked == ours
    assert asked - set(LightGBMSettings.model_fields) == {
        *("objective", "num_leaves", "bagging_freq", "monotone_constraints", "deterministic", "force_col_wise"),
        *("num_threads", "verbosity"),
    }


def test_it_learns_what_can_be_learned(model, later):
    assert roc_auc_score(later["label"], model.probability(later)) > 0.75


def test_base_and_contributions_add_up_to_the_margin(model, later):
    contributions, base = model.contributions(later)
    assert list(contributions.columns) == [feature["name"] for feature in CATALOGUE]
    assert np.abs(base + contributions.sum(axis=1).to_numpy() - model.margin(later)).max() < 1e-6


def test_what_is_spoken_in_one_breath_is_what_is_said_one_by_one(model, later):
    probability, contributions, strange = model.predict_and_explain(later)
    assert np.array_equal(probability, model.probability(later))
    assert contributions.equals(model.contributions(later)[0])
    assert np.array_equal(strange, model.linear.out_of_range_share(model.schema.values(later)))


def test_columns_are_taken_by_name(model, later):
    turned = later[later.columns[::-1]]
    assert np.array_equal(model.probability(turned), model.probability(later))


def test_a_missing_column_is_named(model, later):
    with pytest.raises(ValueError, match="columns missing: use"):
        model.probability(later.drop(columns="use"))


def test_what_is_infinite_is_refused(model, later):
    with pytest.raises(ValueError, match="infinite values in use"):
        model.probability(later.assign(use=np.inf))


def test_a_category_never_met_is_unknown_and_not_another(model, later):
    strange = model.probability(later.assign(plan="enterprise"))
    empty = model.probability(later.assign(plan=None))
    assert np.array_equal(strange, empty)


@pytest.mark.parametrize(("name", "sign"), [("use", 1), ("tickets", -1)])
def test_risk_goes_the_declared_way(model, later, name, sign):
    more = model.margin(later.assign(**{name: later[name] + 1})) - model.margin(later)
    assert (sign * more >= -1e-9).all()


def test_it_comes_back_from_its_files(model, later):
    back = EnsembleModel.from_files(model.to_files())
    assert np.array_equal(back.probability(later), model.probability(later))
    assert back.to_files() == model.to_files()


def test_files_of_two_models_are_refused(model, table):
    other = Schema.from_catalogue(CATALOGUE[:4], table, "renewal", True)
    files = model.to_files()
    mixed = files | {"schema.json": files["schema.json"].replace(model.schema.hash.encode(), other.hash.encode())}
    with pytest.raises(ValueError, match="differ"):
        EnsembleModel.from_files(mixed)


def test_the_same_rows_in_another_order_give_the_same_bytes(model, table):
    assert learn(table.sample(frac=1.0, random_state=1)).to_files() == model.to_files()


def test_labels_drawn_at_random_teach_nothing(table):
    rng = np.random.default_rng(1)
    drawn = table.groupby(["account_id", "renewal_date"])["renewal"].transform(lambda label: rng.integers(0, 2))
    mixed = table.assign(renewal=drawn)
    rows = observations(mixed, "renewal", date(2025, 6, 1))
    rows = rows[rows["as_of"] >= UNTIL]
    assert abs(roc_auc_score(rows["label"], learn(mixed).probability(rows)) - 0.5) < 0.12


def test_nothing_after_the_training_day_reaches_the_model(model, table):
    late = pd.to_datetime(table["renewal_matured_at"]) > UNTIL
    changed = table.assign(renewal=table["renewal"].where(~late, 1 - table["renewal"]))
    assert learn(changed).to_files() == model.to_files()
