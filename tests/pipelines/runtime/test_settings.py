from pathlib import Path

import pytest
import yaml

from renewals.pipelines.runtime.errors import ConfigError, MissingInputError
from renewals.pipelines.runtime.settings import Settings, read_settings
from tests.root import ROOT


def complaint(tmp_path: Path, text: str, *overrides: str) -> str:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as stopped:
        read_settings(path, overrides)
    return str(stopped.value)


def test_the_shipped_parameters_are_read():
    settings = read_settings(ROOT / "params.yaml")
    assert settings.grace.after_days == 60
    assert settings.list.capacity.accounts == 50


def test_the_shipped_parameters_differ_from_the_defaults_only_where_the_example_company_does():
    shipped = read_settings(ROOT / "params.yaml").model_dump()
    defaults = Settings().model_dump()
    assert [key for key in shipped if shipped[key] != defaults[key]] == ["usage"]


def test_every_section_of_the_shipped_file_is_known():
    assert set(yaml.safe_load((ROOT / "params.yaml").read_text())) <= set(Settings.model_fields)


def test_without_a_file_the_defaults_hold():
    assert read_settings(None) == Settings()


def test_overrides_reach_into_sections():
    settings = read_settings(None, ["grace.after_days=180", "targets=[renewal]"])
    assert settings.grace.after_days == 180
    assert settings.targets == ("renewal",)


def test_an_unknown_key_is_named_with_its_line_and_its_neighbour(tmp_path):
    said = complaint(tmp_path, "grace:\n  before_days: 30\n  after_day: 60\n")
    assert "line 3, grace.after_day: unknown key; did you mean 'after_days'?" in said


def test_an_unknown_section_is_named(tmp_path):
    assert "line 1, lightgbn: unknown key; did you mean 'lightgbm'?" in complaint(tmp_path, "lightgbn: {}\n")


def test_a_wrong_value_is_named_with_what_was_found(tmp_path):
    said = complaint(tmp_path, "grace:\n  after_days: soon\n")
    assert "line 2, grace.after_days" in said
    assert "'soon'" in said


@pytest.mark.parametrize("override", ["grace.after_days", "=3", "grace.after_days.x=1"])
def test_an_override_that_is_none_is_refused(tmp_path, override):
    assert "--set" in complaint(tmp_path, "grace: {after_days: 3}\n", override)


def test_what_is_no_yaml_is_refused(tmp_path):
    assert "is not YAML" in complaint(tmp_path, "a: [1\n")
    assert "must be a mapping of keys" in complaint(tmp_path, "- 1\n")


def test_a_missing_file_is_missing_input(tmp_path):
    with pytest.raises(MissingInputError, match="no parameter file"):
        read_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("families", "why"),
    [
        ("[usage, fitt]", "no family 'fitt': there is no features/families/fitt.py"),
        ("[usage, fit, usage]", "'usage' is listed twice"),
        ("[]", "line 1, families"),
    ],
)
def test_families_that_cannot_be_computed_are_refused(tmp_path: Path, families: str, why: str) -> None:
    assert why in complaint(tmp_path, f"families: {families}\n")


def test_families_keep_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("families: [usage, commitment]\n")
    assert read_settings(tmp_path / "params.yaml").families == ("usage", "commitment")
