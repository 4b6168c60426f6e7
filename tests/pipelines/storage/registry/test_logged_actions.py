"""A model that was learned with logged actions among its features may not serve, and stands in nobody's way (M5)."""

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

THEN = date(2023, 9, 1)


@pytest.fixture(scope="module")
def learned_then(tmp_path_factory):
    """A company whose champion, version 1, reads the feature `tickets`."""
    job = with_training_table(tmp_path_factory.mktemp("then") / "data")
    learned(replace(job, until=THEN))
    features = [{**feature, "action": feature["name"] == "tickets"} for feature in CATALOGUE]
    (job.folder / "features.json").write_text(json.dumps({"features": features}))
    return job


@pytest.fixture(scope="module")
def learned_anew(learned_then, tmp_path_factory):
    """The same company once `tickets` is known as an action and it has learned again, and what came of that."""
    job = copied(learned_then, tmp_path_factory.mktemp("anew") / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logged_actions, "action_features", known_actions)
        return job, learned(job)


def known_actions() -> frozenset[str]:
    return frozenset({"tickets", "visits"})


@pytest.fixture
def job(learned_then, tmp_path, monkeypatch):
    """The company before it has learned again."""
    monkeypatch.setattr(logged_actions, "action_features", known_actions)
    return copied(learned_then, tmp_path / "data")


@pytest.fixture
def anew(learned_anew, tmp_path, monkeypatch):
    """The company after it has learned again."""
    monkeypatch.setattr(logged_actions, "action_features", known_actions)
    return copied(learned_anew[0], tmp_path / "data")


def read_by(job, version: str) -> list[str]:
    return json.loads(model_registry.fetch_version(job, TARGET, version)["schema.json"])["names"]


def test_a_champion_that_reads_actions_is_refused_in_one_sentence_that_says_what_to_do(job):
    with pytest.raises(LoggedActionsError) as stop:
        champion_models.load_champion(job, TARGET)
    assert stop.value.exit_code == DataContractError.exit_code == 65
    assert str(stop.value) == (
        "the model of renewal, version 1, reads logged actions, for example tickets (1 in all), so that logging one "
        "changes the score: run `renewals learn --until DATE`, and if the new model waits as challenger, "
        "`renewals promote renewal --version N`"
    )


def test_it_is_refused_before_a_table_is_read(job):
    with pytest.raises(LoggedActionsError):
        preflight.require_champion(job)


def test_what_to_do_leads_to_a_model_that_serves(learned_anew, anew):
    """The gate does not hold it against a champion that knows whom we treated; what is learned reads no action."""
    job, said = anew, learned_anew[1]
    assert (said["passed"], said["champion_version"], said["champion_comparison"]) == (True, "2", None)
    assert said["not_compared_reason"] == "the champion, version 1, reads logged actions"
    assert "tickets" in read_by(job, "1")
    assert "tickets" not in read_by(job, "2")
    assert champion_models.load_champion(job, TARGET).version == "2"
    preflight.require_champion(job)


def test_a_model_that_waits_is_named_by_what_is_to_be_done(job):
    assert learned(job, "gate.promote=manual")["champion_version"] == "1"
    with pytest.raises(LoggedActionsError, match="`renewals promote renewal --version N`"):
        champion_models.load_champion(job, TARGET)
    models.promote(job, TARGET, 2, None, False)
    assert champion_models.load_champion(job, TARGET).version == "2"


def test_a_model_that_the_gate_refuses_leaves_the_old_one_refused(job):
    assert learned(job, STRICT)["passed"] is False
    with pytest.raises(LoggedActionsError):
        champion_models.load_champion(job, TARGET)


def test_it_is_neither_promoted_nor_rolled_back_to(anew):
    job = anew
    for come_back in (lambda: models.promote(job, TARGET, 1, None, True), lambda: models.rollback(job, TARGET)):
        with pytest.raises(LoggedActionsError):
            come_back()
    assert model_registry.fetch_champion(job, TARGET)[1] == "2"


def test_a_trial_says_that_it_was_not_compared(job):
    said = trial_sentence(learned(replace(job, trial="warm-fox")))
    assert said.startswith("renewal: not compared: the champion, version 1, reads logged actions. Without --try")


def test_a_champion_that_is_no_longer_refused_is_compared_again(anew):
    job = anew
    said = learned(job, "lightgbm.seed=8")
    assert (said["not_compared_reason"], said["champion_comparison"]["gain"] is None) == (None, False)


def test_an_expansion_is_not_predicted_by_such_a_model_and_the_list_is_made(anew, monkeypatch):
    """Its champion may be refused for long: a newer model need not pass the gate."""
    job = anew
    champion = model_registry.fetch_champion
    old = model_registry.fetch_version(job, TARGET, "1")
    monkeypatch.setattr(model_registry, "fetch_champion", lambda j, t: champion(j, t) if t == TARGET else (t, "1", old))
    champions, absent = champion_models.load_champions(with_settings(job, "targets=[renewal, upsell]"))
    assert list(champions) == [TARGET]
    assert absent["upsell"].startswith("the model of upsell, version 1, reads logged actions, for example tickets")


def test_a_renewal_that_no_model_may_predict_stops_the_list(job):
    with pytest.raises(LoggedActionsError):
        champion_models.load_champions(job)


def test_any_other_harm_of_an_expansion_still_stops_the_list(anew, monkeypatch):
    job = anew
    champion = model_registry.fetch_champion

    def harmed(own, target):
        if target != TARGET:
            raise DataContractError("its manifest is not the one that was registered")
        return champion(own, target)

    monkeypatch.setattr(model_registry, "fetch_champion", harmed)
    with pytest.raises(DataContractError, match="manifest"):
        champion_models.load_champions(with_settings(job, "targets=[renewal, upsell]"))


def test_a_challenger_that_reads_actions_is_not_scored(job, monkeypatch):
    """It raises here, and `shadowed` makes a warning of whatever is wrong with a challenger."""
    old = model_registry.fetch_version(job, TARGET, "1")
    monkeypatch.setattr(model_registry, "fetch_challenger", lambda own, target: (target, "7", old))
    with pytest.raises(LoggedActionsError, match="version 7"):
        challenger._load_challenger(job, TARGET)


def test_a_model_without_its_schema_is_said_to_lack_it(job, monkeypatch):
    monkeypatch.setattr(model_registry, "fetch_champion", lambda own, target: (target, "3", {}))
    with pytest.raises((DataContractError, MissingInputError), match="lacks"):
        champion_models.load_champion(job, TARGET)
