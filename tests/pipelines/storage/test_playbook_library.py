"""The shipped `playbooks.yaml`, errors of an invalid one, and reading of measured effects."""

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

PLAYBOOK = """\
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


def refusal_message(tmp_path: Path, old: str, new: str) -> str:
    file = tmp_path / "playbooks.yaml"
    assert old in PLAYBOOK
    file.write_text(PLAYBOOK.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_library(file)
    return str(error.value)


def test_the_shipped_library_covers_the_example_company_and_every_theme() -> None:
    plays = read_library(DEFAULT_LIBRARY).plays
    assert set(PLAYBOOKS) <= set(plays)
    assert {play.expansion for play in plays.values()} == {None, "upsell", "cross_sell"}
    covered_themes = {theme for play in plays.values() for theme in play.themes}
    assert covered_themes == set(THEMES)
    for theme in ("value", "adoption", "support", "sponsor"):
        for stage in STAGES:
            for band in SIZE_BANDS:
                assert any(theme in play.themes and play.applies_to(stage, band) for play in plays.values())


def test_an_owner_is_named_in_each_language_or_once_for_both(tmp_path: Path) -> None:
    file = tmp_path / "playbooks.yaml"
    file.write_text(PLAYBOOK, encoding="utf-8")
    assert read_library(file).plays["push"].owner.model_dump() == {"en": "li", "zh": "li"}
    file.write_text(PLAYBOOK.replace("owner: li", "owner: {en: support lead, zh: 支持负责人}"), encoding="utf-8")
    assert read_library(file).plays["push"].owner.zh == "支持负责人"


@pytest.mark.parametrize(
    ("old", "new", "message"),
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
        (PLAYBOOK, "plays: {}\n", "line 1, plays"),
        (PLAYBOOK, PLAYBOOK + PLAYBOOK.removeprefix("plays:\n"), "line 11: the id push occurs twice"),
        (
            PLAYBOOK,
            PLAYBOOK + PLAYBOOK.removeprefix("plays:\n").replace("push:", "shove:"),
            "two playbooks have the name 'Push'",
        ),
        (PLAYBOOK, "[1", "is not YAML"),
    ],
)
def test_error_for_an_invalid_library_names_the_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert message in refusal_message(tmp_path, old, new)


def test_a_configured_library_is_read_and_a_missing_file_is_an_error(tmp_path: Path) -> None:
    library = tmp_path / "library.yaml"
    library.write_text(PLAYBOOK, encoding="utf-8")
    assert list(load_library(job(tmp_path, playbooks=str(library))).plays) == ["push"]
    assert load_library(job(tmp_path)) == read_library(DEFAULT_LIBRARY)
    with pytest.raises(MissingInputError, match=r"no playbooks at .*gone.yaml: set list.playbooks to the file"):
        load_library(job(tmp_path, playbooks=str(tmp_path / "gone.yaml")))


def write_effect_report(root: Path, as_of: str = "2026-05-01", **changes: Any) -> None:
    estimate = {"playbook": "push", "verdict": "helped", "treated": 80, "log_odds": 0.5}
    estimate |= {"log_odds_low": 0.5 - 1.6449, "log_odds_high": 0.5 + 1.6449} | changes
    file = root / "data" / "effect" / "effect.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"as_of": as_of, "confidence": 0.9, "playbooks": [estimate]}))


def test_a_measured_effect_has_a_standard_error(tmp_path: Path) -> None:
    assert load_measured_effects(job(tmp_path)) == {}
    write_effect_report(tmp_path)
    effect = load_measured_effects(job(tmp_path))["push"]
    assert (effect.log_odds, effect.treated_rows) == (0.5, 80)
    assert effect.standard_error == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("changes", [{"verdict": "no_estimate"}, {"log_odds": None}])
def test_a_report_without_an_estimate_has_no_measured_effect(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_effect_report(tmp_path, **changes)
    assert load_measured_effects(job(tmp_path)) == {}


def test_a_refusal_in_a_report_of_an_older_release_has_no_measured_effect(tmp_path: Path) -> None:
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


def test_a_report_of_a_later_day_is_ignored(tmp_path: Path) -> None:
    write_effect_report(tmp_path, as_of="2026-06-01")
    assert load_measured_effects(job(tmp_path))
    write_effect_report(tmp_path, as_of="2026-06-02")
    assert load_measured_effects(job(tmp_path)) == {}


def test_an_invalid_report_is_an_error(tmp_path: Path) -> None:
    write_effect_report(tmp_path)
    (tmp_path / "data" / "effect" / "effect.json").write_text("{}")
    with pytest.raises(DataContractError, match="is not what `renewals effect` writes"):
        load_measured_effects(job(tmp_path))
