"""Read `params.yaml` and `--set` overrides into one closed model; error messages name the line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import Field, ValidationError, field_validator

from renewals.features import families as family_modules
from renewals.features.discovery import module_names
from renewals.features.policy import ConfigSection, Policy, Scorecard
from renewals.models.settings import (
    CalibrationSettings,
    DriftSettings,
    EffectSettings,
    FoldSettings,
    ForecastSettings,
    GateSettings,
    LightGBMSettings,
    LinearSettings,
    TuneSettings,
)
from renewals.pipelines.runtime.errors import ConfigError, MissingInputError
from renewals.pipelines.runtime.history_settings import History
from renewals.pipelines.runtime.renamed_settings import RENAMED_SETTINGS, find_old_names
from renewals.pipelines.runtime.source_settings import Freshness, Quarantine, Source
from renewals.reports.settings import ListOptions

FAMILY_NAMES = module_names(family_modules.__path__, family_modules.ORDER)


class Engine(ConfigSection):
    """Limits of the query engine."""

    threads: int = Field(2, ge=1)
    memory: str = Field("4GB", pattern=r"^\d+(\.\d+)?(MB|GB|TB)$")


class Spine(ConfigSection):
    """Months for which observations are made."""

    first_month: str | None = None
    """First month of the training observations, `YYYY-MM`; empty: the month of the first contract."""
    max_months: int = Field(120, gt=0)
    """Maximum number of month starts before the training cutoff that are used for training."""


class Demo(ConfigSection):
    """Size of the example company."""

    accounts: int = Field(2000, gt=0)
    months: int = Field(42, gt=23)
    seed: int = 7


class Tracking(ConfigSection):
    """Address of the MLflow store of runs and models; empty: SQLite in the data folder."""

    uri: str | None = None


class Dates(ConfigSection):
    """Dates of `dvc repro`: training cutoff and scoring date; on the command line `--until` and `--as-of`."""

    until: str = "2026-06-01"
    as_of: str = "2026-06-01"


class Settings(Policy):
    """All settings of `params.yaml`."""

    tables: str = Field(default="data/company", min_length=1)
    """Address of the raw tables: a folder, `duckdb:///FILE` or `postgresql://…`; `--tables` overrides it."""
    source: Source = Source()
    quarantine: Quarantine = Quarantine()
    freshness: Freshness = Freshness()
    history: History = History()
    engine: Engine = Engine()
    warehouse: str | None = None
    """Spark address for computing the roll-up, the windows and the families; empty: DuckDB on this machine."""
    spine: Spine = Spine()
    families: tuple[str, ...] = Field(FAMILY_NAMES, min_length=1)
    """Feature families to compute, in the order of their columns."""
    targets: tuple[str, ...] = ("renewal", "upsell", "cross_sell", "expansion")
    folds: FoldSettings = FoldSettings()
    linear: LinearSettings = LinearSettings()
    lightgbm: LightGBMSettings = LightGBMSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    gate: GateSettings = GateSettings()
    tune: TuneSettings = TuneSettings()
    drift: DriftSettings = DriftSettings()
    effect: EffectSettings = EffectSettings()
    tracking: Tracking = Tracking()
    list: ListOptions = ListOptions()
    scorecard: Scorecard = Scorecard()
    forecast: ForecastSettings = ForecastSettings()
    demo: Demo = Demo()
    dates: Dates = Dates()

    @field_validator("families")
    @classmethod
    def _validate_families(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in FAMILY_NAMES:
                raise ValueError(f"no family {name!r}: there is no features/families/{name}.py")
            if names.count(name) > 1:
                raise ValueError(f"{name!r} is listed twice")
        return names

    @field_validator("warehouse")
    @classmethod
    def _validate_warehouse(cls, url: str | None) -> str | None:
        scheme, sign, host = (url or "").partition("://")
        if url is None or (scheme in ("spark", "sc") and host):
            return url
        if scheme in ("postgres", "postgresql") and sign:
            raise ValueError(
                "PostgreSQL is read from (--tables postgresql://…), but the features are not computed there"
            )
        raise ValueError("write it as spark://HOST:PORT (a Spark master) or sc://HOST:PORT (Spark Connect), or null")


def read_settings(path: Path | None, overrides: Iterable[str] = ()) -> Settings:
    """Read the settings of a parameter file and apply `key.path=value` overrides.

    Without a file all settings have their defaults. Raises `ConfigError` with file, line and key, or
    `MissingInputError`.
    """
    text = "" if path is None else read_config_file(path, f"no parameter file at {path}: name one with --params")
    tree, overrides, overrides_tree = parse_yaml(text, path), list(overrides), dict[str, Any]()
    for override in overrides:
        _apply_override(overrides_tree, override)
    refuse_old_names(tree, text, path, RENAMED_SETTINGS, overrides_tree)
    for override in overrides:
        _apply_override(tree, override)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(format_errors(error, text, path, Settings)) from None


def read_config_file(path: Path, missing_message: str) -> str:
    """Read the text of a configuration file. Raises `MissingInputError` with `missing_message` if there is no file, or
    `ConfigError` if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingInputError(missing_message) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def parse_yaml(text: str, path: Path | None) -> dict[str, Any]:
    """Parse the text of a YAML file whose top level is a mapping. Raises `ConfigError`; `path` is for its message."""
    try:
        tree = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must be a mapping of keys to values; found {type(tree).__name__}")
    return tree


def refuse_old_names(
    tree: Mapping[str, Any],
    text: str,
    path: Path | None,
    renamed_keys: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
) -> None:
    """Raise `ConfigError` if a file or `overrides` use old names; it lists all of them with line and new name.

    `tree` and `text` are the parsed file and its text; `renamed_keys` maps old keys to new ones.
    """
    lines = []
    for old in find_old_names(tree, renamed_keys):
        line = _line_number(list(old.keys), text)
        lines.append(f"{path}, line {line}: {old.message}" if line else f"{path}: {old.message}")
    lines += [f"--set: {old.message}" for old in find_old_names(overrides or {}, renamed_keys)]
    if lines:
        raise ConfigError("\n  ".join([f"{len(lines)} name(s) have changed; write the new ones:", *lines]))


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, sign, value = override.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set {override!r}: write it as key.path=value, for example grace.after_days=180")
    *parents, last = key.strip().split(".")
    branch = tree
    for parent in parents:
        branch = branch.setdefault(parent, {})
        if not isinstance(branch, dict):
            raise ConfigError(f"--set {key}: {parent} is a single value and has no keys")
    try:
        branch[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {key}: {value!r} is not a value that YAML can read") from None


def format_errors(error: ValidationError, text: str, path: Path | None, model: type[ConfigSection]) -> str:
    """Message with all validation errors of a file that `model` rejected, each with its line and key."""
    lines = [f"{path or 'the settings'}: {error.error_count()} {'error' if error.error_count() == 1 else 'errors'}"]
    for issue in error.errors():
        keys = [str(part) for part in issue["loc"]]
        where = ".".join(keys)
        missing = issue["type"] == "missing"
        line = _line_number(keys[:-1] if missing else keys, text)
        place = f"line {line}, {where}" if line else where
        if issue["type"] == "extra_forbidden":
            lines.append(f"  {place}: unknown key{_suggest_key(keys, model)}")
        elif missing:
            lines.append(f"  {place}: is missing")
        else:
            # The message of one of our validators, without the prefix that pydantic adds.
            message = issue["ctx"]["error"] if issue["type"] == "value_error" else issue["msg"]
            lines.append(f"  {place}: {message} (found {_mask_address(issue['input'])!r})")
    return "\n".join(lines)


def _mask_address(value: Any) -> Any:
    """Invalid value for an error message; an address is cut after `://`, because it may contain a password."""
    return re.sub("://.*", "://…", value) if isinstance(value, str) else value


def _line_number(keys: list[str], text: str) -> int | None:
    node = yaml.compose(text, Loader=yaml.SafeLoader) if text else None
    line = None
    for key in keys:
        pairs: Mapping[str, tuple[int, yaml.Node]] = {}
        if isinstance(node, yaml.MappingNode):
            pairs = {k.value: (k.start_mark.line + 1, v) for k, v in node.value}
        elif isinstance(node, yaml.SequenceNode):
            pairs = {str(index): (item.start_mark.line + 1, item) for index, item in enumerate(node.value)}
        if key not in pairs:
            break
        line, node = pairs[key]
    else:
        return line
    return None


def _suggest_key(keys: list[str], model: Any) -> str:
    for key in keys[:-1]:
        field = getattr(model, "model_fields", {}).get(key)
        # In a mapping by name all values have the same model.
        model = field.annotation if field else get_args(model)[1] if get_origin(model) is dict else None
    known = list(getattr(model, "model_fields", {}))
    near = difflib.get_close_matches(keys[-1], known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(known)}" if known else ""
