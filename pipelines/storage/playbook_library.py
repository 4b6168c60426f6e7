"""Read the playbook library (`playbooks.yaml`) and the playbooks' effects measured by `renewals effect`."""

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
"""Verdict on a playbook without an estimated effect, and the text that older releases wrote for it."""


def load_library(job: Job) -> PlaybookLibrary:
    """Read the playbook library of the settings."""
    return read_library(library_path(job))


def library_path(job: Job) -> Path:
    """Path of the playbook library: `list.playbooks` of the settings, or the default library."""
    configured = job.settings.list.playbooks
    return DEFAULT_LIBRARY if configured is None else Path(configured)


def effects_path(job: Job) -> Path:
    """Path of the report that `renewals effect` writes."""
    return job.data / EFFECT


def read_library(path: Path) -> PlaybookLibrary:
    """Read a playbook library. Raises MissingInputError, or `ConfigError` with file, line and key."""
    text = read_config_file(
        path, f"no playbooks at {path}: set list.playbooks to the file, or to null for the default library"
    )
    tree = parse_yaml(text, path)
    if duplicate := _first_duplicate_id(text):
        raise ConfigError(
            f"{path}: line {duplicate[1]}: the id {duplicate[0]} occurs twice; give one of the two playbooks another id"
        )
    refuse_old_names(tree, text, path, RENAMED_PLAYBOOK_KEYS)
    try:
        return PlaybookLibrary.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(format_errors(error, text, path, PlaybookLibrary)) from None


def _first_duplicate_id(text: str) -> tuple[str, int] | None:
    """First repeated playbook id and its line number, or None; YAML would silently keep only the last one."""
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
    """Effects measured by the last `renewals effect`, by playbook id; empty if it never ran or is for a later date.

    A playbook without an estimate in log-odds is left out and keeps its assumed effect. Raises DataContractError.
    """
    file = effects_path(job)
    if not file.is_file():
        return {}
    try:
        report = json.loads(file.read_bytes())
        z_value = NormalDist().inv_cdf((1 + report["confidence"]) / 2)
        entries = report["playbooks"] if report["as_of"] <= job.day.isoformat() else []
        return {
            entry["playbook"]: MeasuredEffect(
                entry["log_odds"], (entry["log_odds_high"] - entry["log_odds_low"]) / (2 * z_value), entry["treated"]
            )
            for entry in entries
            if entry["verdict"] not in (NO_ESTIMATE, OLD_NO_ESTIMATE) and entry["log_odds"] is not None
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DataContractError(f"{file} is not what `renewals effect` writes ({error!r}): run it again") from error
