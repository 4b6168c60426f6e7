"""`playbooks.yaml`: what ships, and what is said of a wrong one; and what is read of the measured effects."""

import json
from pathlib import Path
from typing import Any

import pytest

from renewals.examples.company.journey import PLAYBOOKS
from renewals.features.family import THEMES
from renewals.models.ranking.playbooks import SIZE_BANDS, STAGES
from renewals.pipelines.runtime.errors import ConfigError, DataContractError, MissingInputError
from renewals.pipelines.storage.playbook_library import (
    DEFAULT_LIBRARY,
    load_library,
    load_measured_effects,
    read_library,
)
from tests.pipelines.scored_company import job

PLAY = """\
plays:
  push:
    name: {en: Push, zh: 推动}
    themes: [adoption]
    owner: li
    hours: 5
    log_odds_effect: 0.4
    steps:
      en: [call]
      zh: [致电]
"""


def wrong(tmp_path: Path, old: str, new: str) -> str:
    file = tmp_path / "playbooks.yaml"
    assert old in PLAY
    file.write_text(PLAY.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as stop:
        read_library(file)
    return str(stop.value)


def test_the_shipped_library_has_the_plays_of_the_example_company_and_answers_what_can_be_acted_on() -> None:
    plays = read_library(DEFAULT_LIBRARY).plays
    assert set(PLAYBOOKS) <= set(plays)
    assert {play.expansion for play in plays.values()} == {None, "upsell", "cross_sell"}
    answered = {theme for play in plays.values() for theme in play.themes}
    assert answered == set(THEMES)
    for theme in ("value", "adoption", "support", "sponsor"):
        for stage in STAGES:
            for band in SIZE_BANDS:
                assert any(theme in play.themes and play.applies_to(stage, band) for play in plays.values())


def test_an_owner_is_named_in_each_language_or_once_for_both(tmp_path: Path) -> None:
    file = tmp_path / "playbooks.yaml"
    file.write_text(PLAY, encoding="utf-8")
    assert read_library(file).plays["push"].owner.model_dump() == {"en": "li", "zh": "li"}
    file.write_text(PLAY.replace("owner: li", "owner: {en: support lead, zh: 支持负责人}"), encoding="utf-8")
    assert read_library(file).plays["push"].owner.zh == "支持负责人"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[adoption]", "[adoption, weather]", "line 4, plays.push.themes.1: Input should be 'value'"),
        (", zh: 推动", "", "line 3, plays.push.name.zh: is missing"),
        ("hours: 5", "hours: 0", "line 6, plays.push.hours: Input should be greater than 0 (found 0)"),
        ("hours: 5", "hours: .inf", "line 6, plays.push.hours"),
        ("log_odds_effect: 0.4", "log_odds_effect: -1", "line 7, plays.push.log_odds_effect"),
        ("owner: li", "oner: li", "line 5, plays.push.oner: unknown key; did you mean 'owner'?"),
        ("    themes: [adoption]\n", "", "line 2, plays.push: give either `themes`"),
        ("[adoption]", "[adoption]\n    expansion_arr_share: 0.2", "`expansion` and not allowed without it"),
        ("[adoption]", "[adoption]\n    expansion: upsell", "give either `themes`"),
        ("[adoption]", "[adoption]\n    stages: [later]", "line 5, plays.push.stages.0"),
        ("[致电]", "[致电, 再致电]", "1 steps in English, 2 in Chinese"),
        ("  push:", "  Push it:", "'Push it' is not a valid id"),
        (PLAY, "plays: {}\n", "line 1, plays"),
        (PLAY, PLAY + PLAY.removeprefix("plays:\n"), "line 11: the id push occurs twice"),
        (PLAY, PLAY + PLAY.removeprefix("plays:\n").replace("push:", "shove:"), "two playbooks have the name 'Push'"),
        (PLAY, "[1", "is not YAML"),
    ],
)
def test_a_wrong_library_is_told_with_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert words in wrong(tmp_path, old, new)


def test_a_company_s_own_library_is_read_and_a_missing_one_is_named(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(PLAY, encoding="utf-8")
    assert list(load_library(job(tmp_path, playbooks=str(own))).plays) == ["push"]
    assert load_library(job(tmp_path)) == read_library(DEFAULT_LIBRARY)
    with pytest.raises(MissingInputError, match=r"no playbooks at .*gone.yaml: set list.playbooks to the file"):
        load_library(job(tmp_path, playbooks=str(tmp_path / "gone.yaml")))


def report(root: Path, as_of: str = "2026-05-01", **own: Any) -> None:
    found = {"playbook": "push", "verdict": "helped", "treated": 80, "log_odds": 0.5}
    found |= {"log_odds_low": 0.5 - 1.6449, "log_odds_high": 0.5 + 1.6449} | own
    file = root / "data" / "effect" / "effect.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"as_of": as_of, "confidence": 0.9, "playbooks": [found]}))


def test_a_measured_effect_is_read_with_its_error(tmp_path: Path) -> None:
    assert load_measured_effects(job(tmp_path)) == {}
    report(tmp_path)
    found = load_measured_effects(job(tmp_path))["push"]
    assert (found.log_odds, found.treated_rows) == (0.5, 80)
    assert found.standard_error == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("own", [{"verdict": "no_estimate"}, {"log_odds": None}])
def test_what_was_not_answered_is_left_to_its_assumption(tmp_path: Path, own: dict[str, Any]) -> None:
    report(tmp_path, **own)
    assert load_measured_effects(job(tmp_path)) == {}


def test_a_refusal_that_an_older_release_wrote_is_left_to_its_assumption(tmp_path: Path) -> None:
    file = tmp_path / "data" / "effect" / "effect.json"
    file.parent.mkdir(parents=True)
    file.write_text("""{
 "as_of": "2026-05-01", "headline": "points", "confidence": 0.9, "observations": 900, "accounts": 400,
 "playbooks": [
  {"playbook": "push", "treated": 80, "accounts": 70, "renewed": 0.7, "points": 0.1, "low": 0.02, "high": 0.2,
   "log_odds": 0.5, "log_odds_low": 0.1, "log_odds_high": 0.9, "naive": 0.05, "left_out": 2, "effective": 310.0,
   "verdict": "helped", "words": {"en": "It helped.", "zh": "有帮助。"}},
  {"playbook": "gift", "treated": 9, "reason": "too_few_treated", "figures": {"treated": 9, "needed": 50},
   "verdict": "refused", "words": {"en": "Too few.", "zh": "太少。"}}
 ],
 "notes": []
}""")
    assert list(load_measured_effects(job(tmp_path))) == ["push"]


def test_what_was_found_on_a_later_day_is_not_known_yet(tmp_path: Path) -> None:
    report(tmp_path, as_of="2026-06-01")
    assert load_measured_effects(job(tmp_path))
    report(tmp_path, as_of="2026-06-02")
    assert load_measured_effects(job(tmp_path)) == {}


def test_a_spoilt_report_is_told(tmp_path: Path) -> None:
    report(tmp_path)
    (tmp_path / "data" / "effect" / "effect.json").write_text("{}")
    with pytest.raises(DataContractError, match="is not what `renewals effect` writes"):
        load_measured_effects(job(tmp_path))
