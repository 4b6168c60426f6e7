"""Refusal of old names in `params.yaml`, in overrides and in `playbooks.yaml`, with the new name in the error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml

from renewals.features.old_names import RENAMED_FEATURES
from renewals.models.ranking.playbooks import PlaybookLibrary
from renewals.pipelines.runtime import renamed_settings
from renewals.pipelines.runtime.errors import ConfigError
from renewals.pipelines.runtime.settings import Settings, read_settings
from renewals.pipelines.storage.playbook_library import read_library
from tests.root import ROOT

OLD_PARAMS = Path(__file__).with_name("params_before_renames.yaml")
"""`params.yaml` of the last commit with the old names."""
RENAMED_KEYS = {
    "tickets.limits.low.respond_hours": "first_response_hours",
    "tickets.limits.low.resolve_hours": "resolution_hours",
    "tickets.limits.medium.respond_hours": "first_response_hours",
    "tickets.limits.medium.resolve_hours": "resolution_hours",
    "tickets.limits.high.respond_hours": "first_response_hours",
    "tickets.limits.high.resolve_hours": "resolution_hours",
    "alerts.drop": "min_usage_drop",
    "alerts.chance": "max_p_value",
    "alerts.least_use": "min_expected_person_days",
    "alerts.silent_visits": "missed_visits",
    "alerts.recent_days": "recent_breach_days",
    "alerts.hold_days": "expire_days",
    "alerts.quiet_days": "cooldown_days",
    "actions.touchpoints": "touchpoint_kinds",
    "quarantine.allow_most": "allow_majority",
    "spine.months": "max_months",
    "folds.first_share": "first_train_share",
    "folds.focus_days": "focus_lead_days",
    "folds.treated": "treated_rows",
    "linear.strengths": "inverse_penalties",
    "linear.near_days": "near_term_days",
    "lightgbm.rounds": "num_rounds",
    "lightgbm.shares": "tree_weights",
    "lightgbm.threads": "parallel_fits",
    "calibration.trust": "prior_renewals",
    "gate.slope": "slope_range",
    "gate.max_error": "max_calibration_error",
    "gate.sure": "base_rate_confidence",
    "tune.held_out": "holdout_share",
    "tune.ladders": "search_space",
    "drift.psi": "psi_threshold",
    "drift.missing": "missing_threshold",
    "drift.calibration": "calibration_threshold",
    "effect.rest_days": "washout_days",
    "effect.highest_chance": "max_propensity",
    "effect.min_alike": "min_overlap_share",
    "effect.min_effective": "min_effective_sample_size",
    "list.unlike_above": "max_out_of_range_share",
    "list.faulty_limit": "invalid_row_limit",
    "list.expansion_high": "expansion_threshold",
    "list.whatif": "what_if_features",
    "forecast.usual_spread": "quarter_effect_sd",
}
"""Old keys of that file in its order, with the last part of each new key."""
RENAMED_KEYS_NOT_SHIPPED = {
    "source.names": "table_names",
    "source.nulls": "null_values",
    "source.extract": "extracted_at",
    "spine.first": "first_month",
    "linear.category_rows": "min_category_rows",
    "linear.iterations": "max_iterations",
    "gate.bootstrap": "bootstrap_samples",
    "list.peers_min": "min_peers",
    "list.reason_share": "min_reason_share",
}
"""Old keys that the file did not contain, with the last part of each new key."""
PLAYBOOKS = """\
plays:
  push:
    name: {en: Push, zh: 推动}
    themes: [adoption]
    owner: li
    hours: 5
    effect: 0.4
    steps: {en: [call], zh: [致电]}
  seats:
    name: {en: More seats, zh: 增购席位}
    grows: upsell
    adds: 0.2
    owner: li
    hours: 4
    effect: 0.3
    steps: {en: [call], zh: [致电]}
"""


def new_key(old: str) -> str:
    return f"{old.rpartition('.')[0]}.{({**RENAMED_KEYS, **RENAMED_KEYS_NOT_SHIPPED})[old]}"


def refusal_lines(path: Path | None, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read_settings(path, overrides)
    assert error.value.exit_code == 78
    return [line.strip() for line in str(error.value).splitlines()]


def test_error_for_the_old_file_names_the_line_and_new_name_of_every_old_key() -> None:
    message_lines = refusal_lines(OLD_PARAMS)
    positions = {line.split(": ", 1)[1]: line.split(": ", 1)[0] for line in message_lines[1:]}
    keys = [line for line in positions if " is now " in line and "the feature" not in line]
    assert keys == [f"{old} is now {new_key(old)}" for old in RENAMED_KEYS]
    lines = OLD_PARAMS.read_text(encoding="utf-8").splitlines()
    for old in RENAMED_KEYS:
        number = int(positions[f"{old} is now {new_key(old)}"].removeprefix(f"{OLD_PARAMS}, line "))
        assert old.rpartition(".")[2] in lines[number - 1]


ADDED_SINCE = ("families", "targets", "contracts", "history")
ADDED_KEYS = (
    *("time_zone", "inclusive_ends", "current_state", "payment_days"),
    *("sales_expansion_months", "unpreventable_reasons", "health"),
)


def without_added_keys(section: object) -> object:
    if not isinstance(section, dict):
        return section
    return {key: value for key, value in section.items() if key not in ADDED_KEYS}


def test_the_old_file_with_new_names_equals_the_shipped_file() -> None:
    """A user who follows the error messages gets the same settings."""
    text = OLD_PARAMS.read_text(encoding="utf-8")
    tree = yaml.safe_load(text)
    for old in RENAMED_KEYS:
        *sections, name = old.split(".")
        branch = tree
        for section in sections:
            branch = branch[section]
        branch[RENAMED_KEYS[old]] = branch.pop(name)
    old_list, shipped = tree["list"]["what_if_features"], yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    expected = shipped["list"]["what_if_features"]
    tree["list"]["what_if_features"] = [name if name in expected else RENAMED_FEATURES[name] for name in old_list]
    old, new = (
        {name: without_added_keys(section) for name, section in side.items() if name not in ADDED_SINCE}
        for side in (tree, shipped)
    )
    assert old == new


@pytest.mark.parametrize("old", [*RENAMED_KEYS, *RENAMED_KEYS_NOT_SHIPPED])
def test_every_old_key_is_refused_as_an_override(old: str) -> None:
    assert refusal_lines(None, f"{old}=0")[1:] == [f"--set: {old} is now {new_key(old)}"]


def known_keys(model: Any, parent: str = "") -> Iterator[str]:
    """Yield every key of a configuration, with `*` for the keys of a mapping."""
    for name, field in model.model_fields.items():
        yield f"{parent}{name}"
        annotation, prefix = field.annotation, f"{parent}{name}."
        if get_origin(annotation) is dict:
            annotation, prefix = get_args(annotation)[1], f"{prefix}*."
        if hasattr(annotation, "model_fields"):
            yield from known_keys(annotation, prefix)


@pytest.mark.parametrize(
    ("renamed", "model"),
    [
        (renamed_settings.RENAMED_SETTINGS, Settings),
        (renamed_settings.RENAMED_PLAYBOOK_KEYS, PlaybookLibrary),
    ],
)
def test_every_new_key_is_known_and_every_old_key_unknown(renamed: Mapping[str, str], model: Any) -> None:
    known = set(known_keys(model))
    assert set(renamed.values()) <= known
    assert not set(renamed) & known


def test_the_table_of_renamed_settings_has_exactly_these_keys() -> None:
    every = {old.replace(".low.", ".*.").replace(".medium.", ".*.").replace(".high.", ".*.") for old in RENAMED_KEYS}
    assert set(renamed_settings.RENAMED_SETTINGS) == every | set(RENAMED_KEYS_NOT_SHIPPED)


def test_old_names_in_file_and_overrides_are_in_one_error(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("alerts: {drop: 0.4}\nsource:\n  repeated_events: set_aside\n", encoding="utf-8")
    overrides = ("list={peers_min: 5}", "grace.after_days=30", "source.repeated_events=set_aside")
    assert refusal_lines(file, *overrides) == [
        "4 name(s) have changed; write the new ones:",
        f"{file}, line 1: alerts.drop is now alerts.min_usage_drop",
        f"{file}, line 3: source.repeated_events: the value set_aside is now deduplicate",
        "--set: list.peers_min is now list.min_peers",
        "--set: source.repeated_events: the value set_aside is now deduplicate",
    ]


def test_an_old_key_next_to_its_new_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("alerts:\n  min_usage_drop: 0.4\n  drop: 0.4\n", encoding="utf-8")
    assert refusal_lines(file)[1:] == [f"{file}, line 3: alerts.drop is now alerts.min_usage_drop"]


@pytest.mark.parametrize("setting", ["list.whatif", "list.what_if_features"])
def test_error_for_an_old_feature_contains_the_new_name(setting: str) -> None:
    message_lines = refusal_lines(None, f"{setting}=[breaches_90d, seat_activation_28d, days_each_a_365d, profile]")
    assert [line for line in message_lines if "the feature" in line] == [
        "--set: list.what_if_features: the feature breaches_90d is now sla_breaches_90d",
        "--set: list.what_if_features: the feature days_each_a_365d is now use_days_per_person_a_365d",
        "--set: list.what_if_features: the feature profile is now similar_customers_lift",
    ]


@pytest.mark.parametrize("setting", ["tune.ladders", "tune.search_space"])
def test_error_for_an_old_key_in_the_search_space_contains_the_new_key(setting: str) -> None:
    search_space = "{calibration.trust: [1, 10], lightgbm.max_depth: [1, 2], linear.near_days: [0, 30]}"
    message_lines = refusal_lines(None, f"{setting}={search_space}")
    assert [line for line in message_lines if "search_space:" in line] == [
        "--set: tune.search_space: calibration.trust is now calibration.prior_renewals",
        "--set: tune.search_space: linear.near_days is now linear.near_term_days",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "alerts:\n",
        "alerts: 3\n",
        "tickets: {limits: [1]}\n",
        "list: {what_if_features: 7}\n",
        "tune: {search_space: [x]}\n",
        "1: {2: 3}\n",
        "list: {what_if_features: [[breaches_90d], 1]}\n",
    ],
)
def test_a_malformed_file_is_refused_without_messages_about_renaming(tmp_path: Path, text: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        read_settings(file)
    assert "is now" not in str(raised.value)


def test_error_for_an_old_playbook_library_names_every_new_key(tmp_path: Path) -> None:
    file = tmp_path / "playbooks.yaml"
    file.write_text(PLAYBOOKS, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        read_library(file)
    assert [line.strip() for line in str(raised.value).splitlines()] == [
        "4 name(s) have changed; write the new ones:",
        f"{file}, line 7: plays.push.effect is now plays.push.log_odds_effect",
        f"{file}, line 11: plays.seats.grows is now plays.seats.expansion",
        f"{file}, line 12: plays.seats.adds is now plays.seats.expansion_arr_share",
        f"{file}, line 15: plays.seats.effect is now plays.seats.log_odds_effect",
    ]
    new = PLAYBOOKS.replace("grows:", "expansion:").replace("adds:", "expansion_arr_share:")
    file.write_text(new.replace("effect:", "log_odds_effect:"), encoding="utf-8")
    assert read_library(file).plays["seats"].expansion_arr_share == 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "--params", str(OLD_PARAMS)), "line 76: quarantine.allow_most is now quarantine.allow_majority"),
        (("score", "--as-of", "2026-06-01", "--set", "list.peers_min=3"), "list.peers_min is now list.min_peers"),
        (("score", "--as-of", "2026-06-01", "--set", "list.playbooks=old.yaml"), "line 11: plays.seats.grows is now"),
    ],
)
def test_a_command_with_an_old_name_exits_with_78_without_a_traceback(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "old.yaml").write_text(PLAYBOOKS, encoding="utf-8")
    command = [sys.executable, "-m", "renewals.pipelines.cli", *arguments, "--data", str(tmp_path / "data")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert process.returncode == 78, process.stderr
    assert message in " ".join(process.stderr.split())
    assert "Traceback" not in process.stderr
