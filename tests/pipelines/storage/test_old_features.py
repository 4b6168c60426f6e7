"""Models, tables and settings that name features as the release before the renaming did."""

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
"""The features of the drawn company, under names that the release before had."""
OLD_SCHEMA = b"""{
 "target": "renewal",
 "names": ["days_to_renewal", "departures_felt_s", "active_people_28d", "answer_hours_90d", "goals_late"],
 "categories": {},
 "signs": [0, -1, 1, -1, -1],
 "trained": true
}"""
"""The file `schema.json` of a model, as the release before wrote it."""
REFUSAL = (
    "the model of renewal, version 1, was trained on features of an older release (departures_felt_s and 2 more): "
    "run `renewals learn --until DATE`"
)


def write_tables(job, names: dict[str, str]) -> None:
    """The tables on the side of learning, with the features under these names."""
    training_table().rename(columns=names).to_parquet(job.folder / "training.parquet")
    features = [{**feature, "name": names.get(feature["name"], feature["name"])} for feature in CATALOGUE]
    (job.folder / "features.json").write_text(json.dumps({"features": features, "families_absent": []}))


@pytest.fixture(scope="module")
def learned_before(tmp_path_factory):
    """A data folder of the release before: its tables, and version 1, which serves."""
    job = replace(with_training_table(tmp_path_factory.mktemp("before") / "data"), until=date(2023, 9, 1))
    write_tables(job, OLD_NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(old_features, "old_feature_names", lambda names: [])
        learned(job)
    return job


@pytest.fixture
def job(learned_before, tmp_path):
    return copied(learned_before, tmp_path / "data")


@pytest.fixture(scope="module")
def learned_again(learned_before, tmp_path_factory):
    """The same folder after the command of the message has run: version 2 serves."""
    job = replace(copied(learned_before, tmp_path_factory.mktemp("again") / "data"), until=date(2024, 6, 1))
    write_tables(job, {})
    return job, learned(job)


def test_a_schema_of_the_release_before_is_refused_in_one_sentence():
    with pytest.raises(OldFeaturesError) as stop:
        reject_unservable_model("renewal", "3", {"schema.json": OLD_SCHEMA})
    assert str(stop.value) == REFUSAL.replace("version 1", "version 3")
    assert (stop.value.exit_code, stop.value.state) == (65, "DataContract")


def test_a_single_old_name_is_named_alone():
    assert old_features.old_features_text(["seats", "unpaid"]) == "features of an older release (unpaid)"
    assert old_features.old_features_text(["seats", "unpaid_terms"]) is None


def test_a_champion_of_the_release_before_may_not_score(job):
    for command in ("score", "forecast"):
        assert preflight.require_champion in preflight.CHECKS_BY_COMMAND[command]
    for use in (preflight.require_champion, champion_models.load_champions):
        with pytest.raises(OldFeaturesError) as stop:
            use(job)
        assert str(stop.value) == REFUSAL


def test_another_target_is_then_not_predicted(learned_again, monkeypatch):
    job, _ = learned_again
    old, champion = model_registry.fetch_version(job, TARGET, "1"), model_registry.fetch_champion
    monkeypatch.setattr(model_registry, "fetch_champion", lambda j, t: champion(j, t) if t == TARGET else (t, "1", old))
    champions, absent = champion_models.load_champions(with_settings(job, "targets=[renewal, upsell]"))
    assert list(champions) == [TARGET]
    assert absent["upsell"] == REFUSAL.replace("renewal,", "upsell,")


def test_a_challenger_of_the_release_before_is_not_scored(job, monkeypatch):
    old = model_registry.fetch_version(job, TARGET, "1")
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda own, target: (target, "1", old))
    with pytest.raises(OldFeaturesError):
        challenger._load_challenger(job, TARGET)


def test_the_command_of_the_message_leads_to_a_model_that_serves(learned_again):
    """It is compared with the old champion by what both said in the past."""
    job, said = learned_again
    assert (said["passed"], said["champion_version"], said["not_compared_reason"]) == (True, "2", None)
    assert said["champion_comparison"]["gain"] is not None
    assert champion_models.load_champion(job, TARGET).version == "2"
    preflight.require_champion(job)


def test_it_is_neither_promoted_nor_rolled_back_to(learned_again, tmp_path):
    job = copied(learned_again[0], tmp_path / "data")
    for come_back in (lambda: models.promote(job, TARGET, 1, None, True), lambda: models.rollback(job, TARGET)):
        with pytest.raises(OldFeaturesError) as stop:
            come_back()
        assert str(stop.value) == REFUSAL
    assert model_registry.fetch_champion(job, TARGET)[1] == "2"


# --- tables --------------------------------------------------------------------------------------


def test_tables_of_the_release_before_are_refused_with_the_command_that_makes_them_anew(job):
    held = "features of an older release (departures_felt_s and 2 more): run"
    with pytest.raises(OldFeaturesError) as stop:
        train(job, TARGET)
    assert str(stop.value) == f"{job.folder / 'training.parquet'} holds {held} `renewals learn --until DATE`"
    with pytest.raises(OldFeaturesError) as stop:
        artifacts.read_catalogue(job.folder)
    assert str(stop.value) == f"{job.folder / 'features.json'} holds {held} `renewals learn --until DATE`"
    pd.DataFrame().to_parquet(job.folder / "scoring.parquet")
    with pytest.raises(OldFeaturesError, match="run `renewals score --as-of DATE`"):
        artifacts.read_catalogue(job.folder)


def test_the_catalogue_of_a_published_list_is_read_whatever_its_names(job):
    names = [feature["name"] for feature in artifacts.read_archived_catalogue(job.folder)]
    assert set(OLD_NAMES.values()) <= set(names)


def test_models_and_tables_of_the_release_before_are_made_anew(job, monkeypatch, capsys):
    source = {"until": str(job.day), "tables": job.tables, "training_sha256": artifacts.training_digest(job)}
    (job.data / "tune").mkdir()
    (job.data / artifacts.TUNE_TRAINING_TABLE).write_text(json.dumps(source))
    own = with_settings(job, "targets=[renewal]")
    assert (trained_models.find_model_folder(own), has_training_table(own)) == (None, False)
    told = capsys.readouterr().out
    assert "`renewals learn --until DATE` replaces it" in told
    assert "the training table contains features of an older release (departures_felt_s and 2 more)" in told
    monkeypatch.setattr(old_features, "old_feature_names", lambda names: [])
    assert (trained_models.find_model_folder(own), has_training_table(own)) == (job.data, True)


# --- settings ------------------------------------------------------------------------------------


def test_a_setting_that_names_an_old_feature_is_refused_with_the_new_name():
    with pytest.raises(ConfigError) as stop:
        read_settings(None, ["list.what_if_features=[days_each_s_90d, seat_activation_28d, goals_late]"])
    assert "the feature days_each_s_90d is now use_days_per_person_s_90d" in str(stop.value)
    assert "the feature goals_late is now goals_overdue" in str(stop.value)


def test_a_figure_to_be_tried_under_an_old_name_is_refused_with_the_new_one(learned_again):
    schema = champion_models.load_champion(learned_again[0], TARGET).model.schema
    with pytest.raises(ConfigError, match="answer_hours_90d: the feature is now called first_response_hours_90d"):
        _parse_assignment("answer_hours_90d=3", schema, {})
