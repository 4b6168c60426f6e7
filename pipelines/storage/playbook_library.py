"""The library of plays, and what is known of their effect: `playbooks.yaml`, and what `renewals effect` wrote."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import NormalDist

import yaml
from pydantic import ValidationError

from renewals.models.ranking.playbooks import MeasuredEffect, PlaybookLibrary
from renewals.pipelines.runtime.checkout import default_playbooks_path
from renewals.pipelines.runtime.errors import ConfigError, DataContractError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.runtime.renamed_settings import RENAMED_PLAYBOOK_KEYS
from renewals.pipelines.runtime.settings import format_errors, parse_yaml, read_config_file, refuse_old_names
from renewals.pipelines.storage.artifacts import EFFECT

DEFAULT_LIBRARY = default_playbooks_path()
NO_ESTIMATE, OLD_NO_ESTIMATE = "no_estimate", "refused"
"""The verdict on a playbook whose effect could not be estimated, and what an older `renewals effect` wrote for it."""


def load_library(job: Job) -> PlaybookLibrary:
    """The plays that the settings name."""
    return read_library(library_path(job))


def library_path(job: Job) -> Path:
    """The file of the plays that the settings name."""
    named = job.settings.list.playbooks
    return DEFAULT_LIBRARY if named is None else Path(named)


def effects_path(job: Job) -> Path:
    """Where `renewals effect` writes what it measured."""
    return job.data / EFFECT


def read_library(path: Path) -> PlaybookLibrary:
    """The plays of a file. Raises MissingInputError, or `ConfigError` naming file, line and key."""
    text = read_config_file(
        path, f"no playbooks at {path}: name the file in list.playbooks, or null for the shipped ones"
    )
    tree = parse_yaml(text, path)
    if twice := _first_duplicate_id(text):
        raise ConfigError(f"{path}: line {twice[1]}: the play {twice[0]} is there twice; give one of them another id")
    refuse_old_names(tree, text, path, RENAMED_PLAYBOOK_KEYS)
    try:
        return PlaybookLibrary.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(format_errors(error, text, path, PlaybookLibrary)) from None


def _first_duplicate_id(text: str) -> tuple[str, int] | None:
    """The first play whose id was there before, and its line: YAML would keep the last without a word."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    tops = root.value if isinstance(root, yaml.MappingNode) else []
    plays = [node for key, node in tops if key.value == "plays" and isinstance(node, yaml.MappingNode)]
    seen: Counter[str] = Counter()
    for key, _ in (pair for node in plays for pair in node.value):
        seen[key.value] += 1
        if seen[key.value] > 1:
            return key.value, key.start_mark.line + 1
    return None


def load_measured_effects(job: Job) -> dict[str, MeasuredEffect]:
    """What the last `renewals effect` found, by play; nothing where it never ran, or stood on a later day.

    A play it gave no answer for, or none in log-odds, is left to its assumption. Raises DataContractError.
    """
    file = effects_path(job)
    if not file.is_file():
        return {}
    try:
        report = json.loads(file.read_bytes())
        far = NormalDist().inv_cdf((1 + report["confidence"]) / 2)
        told = report["playbooks"] if report["as_of"] <= job.day.isoformat() else []
        return {
            one["playbook"]: MeasuredEffect(
                one["log_odds"], (one["log_odds_high"] - one["log_odds_low"]) / (2 * far), one["treated"]
            )
            for one in told
            if one["verdict"] not in (NO_ESTIMATE, OLD_NO_ESTIMATE) and one["log_odds"] is not None
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DataContractError(f"{file} is not what `renewals effect` writes ({error!r}): run it again") from error
