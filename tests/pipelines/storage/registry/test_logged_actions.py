"""Models with logged actions among their features: they may not predict, and do not block a new champion (M5)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from renewals.pipelines import preflight
from renewals.pipelines.commands import models
from renewals.pipelines.commands.learn import trial_sentence
from renewals.pipelines.runtime.errors import DataContractError, LoggedActionsError, MissingInputError
from renewals.pipelines.scoring import challenger, champion_models
from renewals.pipelines.storage.registry import logged_actions, model_registry
from tests.models.drawn import CATALOGUE
from tests.pipelines.registered_models import STRICT, TARGET, copied, learned, with_settings, with_training_table

FIRST_UNTIL = date(2023, 9, 1)


@pytest.fixture(scope="module")
def first_training(tmp_path_factory):
    """Job of a company with a champion, version 1, that reads the feature `tickets`."""
    job = with_training_table(tmp_path_factory.mktemp("then") / "data")
    learned(replace(job, until=FIRST_UNTIL))
    features = [{**feature, "action": feature["name"] == "tickets"} for feature in CATALOGUE]
    (job.folder / "features.json").write_text(json.dumps({"features": features}))
    return job


@pytest.fixture(scope="module")
def second_training(first_training, tmp_path_factory):
    """Job of the same company after `learn` with `tickets` as an action, and the result of `learn`."""
    job = copied(first_training, tmp_path_factory.mktemp("anew") / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logged_actions, "action_features", known_actions)
        return job, learned(job)


def known_actions() -> frozenset[str]:
    return frozenset({"tickets", "visits"})


@pytest.fixture
def job(first_training, tmp_path, monkeypatch):
    """Copy of the company before the second `learn`."""
    monkeypatch.setattr(logged_actions, "action_features", known_actions)
    return copied(first_training, tmp_path / "data")


@pytest.fixture
def retrained_job(second_training, tmp_path, monkeypatch):
    """Copy of the company after the second `learn`."""
    monkeypatch.setattr(logged_actions, "action_features", known_actions)
    return copied(second_training[0], tmp_path / "data")


def feature_names(job, version: str) -> list[str]:
    return json.loads(model_registry.fetch_version(job, TARGET, version)["schema.json"])["names"]


def test_error_for_a_champion_that_reads_actions_names_the_commands(job):
    with pytest.raises(LoggedActionsError) as error:
        champion_models.load_champion(job, TARGET)
    assert error.value.exit_code == DataContractError.exit_code == 65
    assert str(error.value) == (
        "the model of renewal, version 1, reads logged actions, for example tickets (1 in all), so that logging one "
        "changes the score: run `renewals learn --until DATE`, and if the new model waits as challenger, "
        "`renewals promote renewal --version N`"
    )


def test_preflight_refuses_a_champion_that_reads_actions(job):
    with pytest.raises(LoggedActionsError):
        preflight.require_champion(job)


def test_learn_again_registers_a_champion_without_actions(second_training, retrained_job):
    """The gate makes no comparison with a champion that reads actions; the new model reads none."""
    job, result = retrained_job, second_training[1]
    assert (result["passed"], result["champion_version"], result["champion_comparison"]) == (True, "2", None)
    assert result["not_compared_reason"] == "the champion, version 1, reads logged actions"
    assert "tickets" in feature_names(job, "1")
    assert "tickets" not in feature_names(job, "2")
    assert champion_models.load_champion(job, TARGET).version == "2"
    preflight.require_champion(job)


def test_promoting_the_waiting_challenger_replaces_the_refused_champion(job):
    assert learned(job, "gate.promote=manual")["champion_version"] == "1"
    with pytest.raises(LoggedActionsError, match="`renewals promote renewal --version N`"):
        champion_models.load_champion(job, TARGET)
    models.promote(job, TARGET, 2, None, False)
    assert champion_models.load_champion(job, TARGET).version == "2"


def test_old_champion_stays_refused_if_the_gate_rejects_the_new_model(job):
    assert learned(job, STRICT)["passed"] is False
    with pytest.raises(LoggedActionsError):
        champion_models.load_champion(job, TARGET)


def test_model_that_reads_actions_cannot_be_promoted_or_rolled_back_to(retrained_job):
    job = retrained_job
    for promote_again in (lambda: models.promote(job, TARGET, 1, None, True), lambda: models.rollback(job, TARGET)):
        with pytest.raises(LoggedActionsError):
            promote_again()
    assert model_registry.fetch_champion(job, TARGET)[1] == "2"


def test_sentence_of_a_trial_gives_the_reason_for_no_comparison(job):
    sentence = trial_sentence(learned(replace(job, trial="warm-fox")))
    assert sentence.startswith("renewal: not compared: the champion, version 1, reads logged actions. Without --try")


def test_a_champion_without_actions_is_compared_again(retrained_job):
    job = retrained_job
    result = learned(job, "lightgbm.seed=8")
    assert (result["not_compared_reason"], result["champion_comparison"]["gain"] is None) == (None, False)


def test_expansion_model_that_reads_actions_is_left_out_of_the_list(retrained_job, monkeypatch):
    """The champion may be refused for a long time: a newer model need not pass the gate."""
    job = retrained_job
    champion = model_registry.fetch_champion
    old = model_registry.fetch_version(job, TARGET, "1")
    monkeypatch.setattr(model_registry, "fetch_champion", lambda j, t: champion(j, t) if t == TARGET else (t, "1", old))
    champions, absent = champion_models.load_champions(with_settings(job, "targets=[renewal, upsell]"))
    assert list(champions) == [TARGET]
    assert absent["upsell"].startswith("the model of upsell, version 1, reads logged actions, for example tickets")


def test_renewal_model_that_reads_actions_stops_the_list(job):
    with pytest.raises(LoggedActionsError):
        champion_models.load_champions(job)


def test_any_further_error_of_an_expansion_model_stops_the_list(retrained_job, monkeypatch):
    job = retrained_job
    champion = model_registry.fetch_champion

    def fail_for_expansion(job, target):
        if target != TARGET:
            raise DataContractError("its manifest is not the one that was registered")
        return champion(job, target)

    monkeypatch.setattr(model_registry, "fetch_champion", fail_for_expansion)
    with pytest.raises(DataContractError, match="manifest"):
        champion_models.load_champions(with_settings(job, "targets=[renewal, upsell]"))


def test_a_challenger_that_reads_actions_is_not_scored(job, monkeypatch):
    """The error is raised here; the caller turns every error of a challenger into a warning."""
    old = model_registry.fetch_version(job, TARGET, "1")
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda job, target: (target, "7", old))
    with pytest.raises(LoggedActionsError, match="version 7"):
        challenger._load_challenger(job, TARGET)


def test_error_for_a_model_without_schema_names_the_file(job, monkeypatch):
    monkeypatch.setattr(model_registry, "fetch_champion", lambda job, target: (target, "3", {}))
    with pytest.raises((DataContractError, MissingInputError), match="lacks"):
        champion_models.load_champion(job, TARGET)
