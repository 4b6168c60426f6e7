from pathlib import Path

import pytest
import yaml

from renewals.pipelines.runtime.errors import ConfigError, MissingInputError
from renewals.pipelines.runtime.settings import Settings, read_settings
from tests.root import ROOT


def refusal_message(tmp_path: Path, text: str, *overrides: str) -> str:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        read_settings(path, overrides)
    return str(raised.value)


def test_the_shipped_parameters_are_read():
    settings = read_settings(ROOT / "params.yaml")
    assert settings.grace.after_days == 60
    assert settings.list.capacity.accounts == 50


def test_the_shipped_parameters_differ_from_the_defaults_only_in_usage():
    shipped = read_settings(ROOT / "params.yaml").model_dump()
    defaults = Settings().model_dump()
    """`families` and `targets` grow with the files in their folders."""
    differing = [key for key in shipped if shipped[key] != defaults[key]]
    assert set(differing) - {"families", "targets"} == {"usage"}


def test_every_section_of_the_shipped_file_is_known():
    assert set(yaml.safe_load((ROOT / "params.yaml").read_text())) <= set(Settings.model_fields)


def test_settings_without_a_file_are_the_defaults():
    assert read_settings(None) == Settings()


def test_overrides_change_keys_in_sections():
    settings = read_settings(None, ["grace.after_days=180", "targets=[renewal]"])
    assert settings.grace.after_days == 180
    assert settings.targets == ("renewal",)


def test_error_for_an_unknown_key_names_its_line_and_a_similar_key(tmp_path):
    message = refusal_message(tmp_path, "grace:\n  before_days: 30\n  after_day: 60\n")
    assert "line 3, grace.after_day: unknown key; did you mean 'after_days'?" in message


def test_error_for_an_unknown_section_names_a_similar_section(tmp_path):
    assert "line 1, lightgbn: unknown key; did you mean 'lightgbm'?" in refusal_message(tmp_path, "lightgbn: {}\n")


def test_error_for_an_invalid_value_contains_the_value(tmp_path):
    message = refusal_message(tmp_path, "grace:\n  after_days: soon\n")
    assert "line 2, grace.after_days" in message
    assert "'soon'" in message


def test_a_product_renamed_several_times_has_its_newest_name():
    settings = read_settings(None, ["contracts.renamed_products={core: base, base: platform, add: extra}"])
    assert settings.contracts.product_names == {"core": "platform", "base": "platform", "add": "extra"}


@pytest.mark.parametrize("names", ["{core: core}", "{core: base, base: core}", "{a: b, b: c, c: b}"])
def test_a_ring_of_renamed_products_is_refused(tmp_path: Path, names: str) -> None:
    message = refusal_message(tmp_path, f"contracts:\n  renamed_products: {names}\n")
    assert "line 1, contracts: renamed_products must not be a ring: " in message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("contracts.overlap=both", "'auto', 'two', 'replace' or 'stop'"),
        ("contracts.cancelled_means=maybe", "'end' or 'request'"),
        ("renewal.payment_days=-1", "greater than or equal to 0"),
        ("source.current_state={people: [tier]}", "'accounts' or 'contracts'"),
    ],
)
def test_invalid_rules_for_contracts_are_refused(tmp_path: Path, override: str, message: str) -> None:
    assert message in refusal_message(tmp_path, "", override)


def test_the_rules_for_contracts_have_defaults():
    settings = Settings()
    assert settings.contracts.overlap == "auto"
    assert settings.contracts.cancelled_means == "end"
    assert settings.renewal.payment_days == 90
    assert settings.source.current_state == {"contracts": ("auto_renew",), "accounts": ("csm",)}
    assert settings.source.time_zone is None
    assert not settings.source.inclusive_ends


@pytest.mark.parametrize("override", ["grace.after_days", "=3", "grace.after_days.x=1"])
def test_an_invalid_override_is_refused(tmp_path, override):
    assert "--set" in refusal_message(tmp_path, "grace: {after_days: 3}\n", override)


def test_a_file_without_a_yaml_mapping_is_refused(tmp_path):
    assert "is not YAML" in refusal_message(tmp_path, "a: [1\n")
    assert "must be a mapping of keys" in refusal_message(tmp_path, "- 1\n")


def test_a_missing_file_is_a_missing_input_error(tmp_path):
    with pytest.raises(MissingInputError, match="no parameter file"):
        read_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("families", "message"),
    [
        ("[usage, fitt]", "no family 'fitt': there is no features/families/fitt.py"),
        ("[usage, fit, usage]", "'usage' is listed twice"),
        ("[]", "line 1, families"),
    ],
)
def test_families_that_cannot_be_computed_are_refused(tmp_path: Path, families: str, message: str) -> None:
    assert message in refusal_message(tmp_path, f"families: {families}\n")


def test_families_keep_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("families: [usage, commitment]\n")
    assert read_settings(tmp_path / "params.yaml").families == ("usage", "commitment")
