"""Models, tables and settings with feature names of the release before the renaming."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pandas as pd
import pytest

from renewals.pipelines import preflight
from renewals.pipelines.commands import models
from renewals.pipelines.commands.tune import has_training_table
from renewals.pipelines.commands.whatif import _parse_assignment
from renewals.pipelines.runtime.errors import ConfigError, OldFeaturesError
from renewals.pipelines.runtime.settings import read_settings
from renewals.pipelines.scoring import challenger, champion_models
from renewals.pipelines.stages.learn.train import train
from renewals.pipelines.storage import artifacts, old_features
from renewals.pipelines.storage.registry import model_registry, trained_models
from renewals.pipelines.storage.registry.serving_checks import reject_unservable_model
from tests.models.drawn import CATALOGUE, training_table
from tests.pipelines.registered_models import TARGET, copied, learned, with_settings, with_training_table

OLD_NAMES = {"use": "departures_felt_s", "tickets": "answer_hours_90d", "noise": "days_each_s_90d"}
"""Features of the drawn company and their old names."""
OLD_SCHEMA = b"""{
 "target": "renewal",
 "names": ["days_to_renewal", "departures_felt_s", "active_people_28d", "answer_hours_90d", "goals_late"],
 "categories": {},
 "signs": [0, -1, 1, -1, -1],
 "trained": true
}"""
"""File `schema.json` of a model of the old release."""
REFUSAL = (
    "the model of renewal, version 1, was trained on features of an older release (departures_felt_s and 2 more): "
    "run `renewals learn --until DATE`"
)


def write_tables(job, names: dict[str, str]) -> None:
    """Write the training table and the feature catalogue with features renamed by `names`."""
    training_table().rename(columns=names).to_parquet(job.folder / "training.parquet")
    features = [{**feature, "name": names.get(feature["name"], feature["name"])} for feature in CATALOGUE]
    (job.folder / "features.json").write_text(json.dumps({"features": features, "families_absent": []}))


@pytest.fixture(scope="module")
def old_training(tmp_path_factory):
    """Job with tables of the old release and version 1 as champion."""
    job = replace(with_training_table(tmp_path_factory.mktemp("before") / "data"), until=date(2023, 9, 1))
    write_tables(job, OLD_NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(old_features, "old_feature_names", lambda names: [])
        learned(job)
    return job


@pytest.fixture
def job(old_training, tmp_path):
    return copied(old_training, tmp_path / "data")


@pytest.fixture(scope="module")
def second_training(old_training, tmp_path_factory):
    """Job after `renewals learn` with present feature names: version 2 is the champion; and the result of `learn`."""
    job = replace(copied(old_training, tmp_path_factory.mktemp("again") / "data"), until=date(2024, 6, 1))
    write_tables(job, {})
    return job, learned(job)


def test_error_for_a_schema_of_an_older_release():
    with pytest.raises(OldFeaturesError) as error:
        reject_unservable_model("renewal", "3", {"schema.json": OLD_SCHEMA})
    assert str(error.value) == REFUSAL.replace("version 1", "version 3")
    assert (error.value.exit_code, error.value.state) == (65, "DataContract")


def test_text_with_a_single_old_name_contains_only_that_name():
    assert old_features.old_features_text(["seats", "unpaid"]) == "features of an older release (unpaid)"
    assert old_features.old_features_text(["seats", "unpaid_terms"]) is None


def test_a_champion_of_an_older_release_is_refused(job):
    assert preflight.require_champion in preflight.CHECKS_BY_COMMAND["forecast"]
    assert preflight.require_usable_champion in preflight.CHECKS_BY_COMMAND["score"]
    for use in (preflight.require_champion, preflight.require_usable_champion, champion_models.load_champions):
        with pytest.raises(OldFeaturesError) as error:
            use(job)
        assert str(error.value) == REFUSAL


def test_an_expansion_model_of_an_older_release_is_left_out(second_training, monkeypatch):
    job, _ = second_training
    old, champion = model_registry.fetch_version(job, TARGET, "1"), model_registry.fetch_champion
    monkeypatch.setattr(model_registry, "fetch_champion", lambda j, t: champion(j, t) if t == TARGET else (t, "1", old))
    champions, absent = champion_models.load_champions(with_settings(job, "targets=[renewal, upsell]"))
    assert list(champions) == [TARGET]
    assert absent["upsell"] == REFUSAL.replace("renewal,", "upsell,")


def test_a_challenger_of_an_older_release_is_not_scored(job, monkeypatch):
    old = model_registry.fetch_version(job, TARGET, "1")
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda job, target: (target, "1", old))
    with pytest.raises(OldFeaturesError):
        challenger._load_challenger(job, TARGET)


def test_learn_again_registers_a_champion_with_present_features(second_training):
    """The new model is compared with the old champion on their stored back-test predictions."""
    job, result = second_training
    assert (result["passed"], result["champion_version"], result["not_compared_reason"]) == (True, "2", None)
    assert result["champion_comparison"]["gain"] is not None
    assert champion_models.load_champion(job, TARGET).version == "2"
    preflight.require_champion(job)


def test_a_model_of_an_older_release_cannot_be_promoted_or_rolled_back_to(second_training, tmp_path):
    job = copied(second_training[0], tmp_path / "data")
    for promote_again in (lambda: models.promote(job, TARGET, 1, None, True), lambda: models.rollback(job, TARGET)):
        with pytest.raises(OldFeaturesError) as error:
            promote_again()
        assert str(error.value) == REFUSAL
    assert model_registry.fetch_champion(job, TARGET)[1] == "2"


# --- tables --------------------------------------------------------------------------------------


def test_error_for_tables_of_an_older_release_names_the_command(job):
    expected = "features of an older release (departures_felt_s and 2 more): run"
    with pytest.raises(OldFeaturesError) as error:
        train(job, TARGET)
    assert str(error.value) == f"{job.folder / 'training.parquet'} holds {expected} `renewals learn --until DATE`"
    with pytest.raises(OldFeaturesError) as error:
        artifacts.read_catalogue(job.folder)
    assert str(error.value) == f"{job.folder / 'features.json'} holds {expected} `renewals learn --until DATE`"
    pd.DataFrame().to_parquet(job.folder / "scoring.parquet")
    with pytest.raises(OldFeaturesError, match="run `renewals score --as-of DATE`"):
        artifacts.read_catalogue(job.folder)


def test_the_catalogue_of_a_published_list_may_contain_old_names(job):
    names = [feature["name"] for feature in artifacts.read_archived_catalogue(job.folder)]
    assert set(OLD_NAMES.values()) <= set(names)


def test_models_and_tables_of_an_older_release_are_not_reused(job, monkeypatch, capsys):
    source = {"until": str(job.day), "tables": job.tables, "training_sha256": artifacts.training_digest(job)}
    (job.data / "tune").mkdir()
    (job.data / artifacts.TUNE_TRAINING_TABLE).write_text(json.dumps(source))
    renewal_job = with_settings(job, "targets=[renewal]")
    assert (trained_models.find_model_folder(renewal_job), has_training_table(renewal_job)) == (None, False)
    output = capsys.readouterr().out
    assert "`renewals learn --until DATE` replaces it" in output
    assert "the training table contains features of an older release (departures_felt_s and 2 more)" in output
    monkeypatch.setattr(old_features, "old_feature_names", lambda names: [])
    assert (trained_models.find_model_folder(renewal_job), has_training_table(renewal_job)) == (job.data, True)


# --- settings ------------------------------------------------------------------------------------


def test_error_for_a_setting_with_an_old_feature_contains_the_new_name():
    with pytest.raises(ConfigError) as error:
        read_settings(None, ["list.what_if_features=[days_each_s_90d, seat_activation_28d, goals_late]"])
    assert "the feature days_each_s_90d is now use_days_per_person_s_90d" in str(error.value)
    assert "the feature goals_late is now goals_overdue" in str(error.value)


def test_error_for_a_what_if_with_an_old_feature_contains_the_new_name(second_training):
    schema = champion_models.load_champion(second_training[0], TARGET).model.schema
    with pytest.raises(ConfigError, match="answer_hours_90d: the feature is now called first_response_hours_90d"):
        _parse_assignment("answer_hours_90d=3", schema, {})
