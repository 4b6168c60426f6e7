"""Command `renewals whatif`: predict the renewal of an account with changed feature values."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from renewals.features.old_names import RENAMED_FEATURES
from renewals.models.explanation.reasons import YES_OR_NO, render_sentence
from renewals.models.explanation.what_if import shift_windows, sibling_windows, training_range
from renewals.models.ranking.worklist import SCORED
from renewals.models.settings import RENEWAL
from renewals.models.training.schema import Schema
from renewals.pipelines.commands.explain import account_position, json_value, renewal_rows
from renewals.pipelines.runtime.console import is_interactive
from renewals.pipelines.runtime.errors import ConfigError, MissingInputError
from renewals.pipelines.runtime.job import Job
from renewals.pipelines.scoring import champion_models
from renewals.pipelines.scoring.champion_models import Champion
from renewals.pipelines.scoring.what_if_grid import PeerFeatures
from renewals.pipelines.storage import data_files
from renewals.pipelines.storage.artifacts import (
    CONTRIBUTIONS,
    PEER_GROUP,
    PEER_MEDIANS,
    SCORING,
    read_archived_catalogue,
)
from renewals.pipelines.storage.published import list_archive
from renewals.pipelines.storage.scored_list import read_scored_list
from renewals.reports.sanitize import make_printable
from renewals.reports.words import Messages

UNKNOWN_VALUES = ("", "none", "unknown")
"""Inputs that mean that a value is not known."""
BOOLEAN_VALUES = {"yes": 1.0, "no": 0.0}

FeatureMeta = Mapping[str, Any]


def whatif(job: Job, account: str, assignments: Sequence[str]) -> dict[str, Any]:
    """The renewal probability of an account before and after feature changes, each given as `feature=value`.

    The other windows of a changed feature move along, unless they are set too.

    Raises MissingInputError if the account is not on the list or has no score, or if the champion has changed since;
    ConfigError for an unknown feature or an invalid value.
    """
    result = list_archive.read_archived_list(job, lambda day: compare_what_if(day, account, assignments))
    if is_interactive():
        print_comparison(result, Messages(job.settings.list.language))
    return result


def compare_what_if(day: Job, account: str, assignments: Sequence[str]) -> dict[str, Any]:
    """The comparison as a JSON object; `day` is the job of `read_archived_list`."""
    _, listed = read_scored_list(day)
    row = listed.iloc[account_position(listed, account)]
    champion = champion_models.load_champion(day, RENEWAL)
    _require_comparable(row, champion)
    catalogue = {str(feature["name"]): feature for feature in read_archived_catalogue(day.folder)}
    schema = champion.model.schema
    changes = dict(_parse_assignment(text, schema, catalogue) for text in assignments)
    values = renewal_rows(day.folder / SCORING, row)
    shifted = _shifted_values(
        PeerFeatures(day.folder, listed, day.settings.list.min_peers), row["renewal_id"], changes, schema, catalogue
    )
    before_and_after = pd.concat([values, values.assign(**shifted, **changes)], ignore_index=True)
    before, after = champion.model.probability(before_and_after).tolist()
    groups = renewal_rows(day.folder / CONTRIBUTIONS, row, [PEER_GROUP])
    peers = data_files.load_frame(day.folder / PEER_MEDIANS, columns=list(changes)).loc[groups[PEER_GROUP].iloc[0]]
    texts = Messages(day.settings.list.language)
    return {
        "as_of": day.day.isoformat(),
        "account_id": json_value(row["account_id"]),
        "account_name": json_value(row["account_name"]),
        "model": str(champion),
        "before": before,
        "after": after,
        "features": [
            _compare_values(catalogue[name], before_and_after[name].tolist(), json_value(peers[name]), texts)
            for name in changes
        ],
        "shifted_windows": {name: [json_value(value) for value in before_and_after[name].tolist()] for name in shifted},
        "notes": [*_notes(changes, shifted, catalogue, champion, texts), texts.text("whatif.caveat")],
    }


def _require_comparable(row: pd.Series, champion: Champion) -> None:
    account_id = make_printable(str(row["account_id"]))
    if row["status"] != SCORED:
        raise MissingInputError(
            f"account {account_id} has no score on this list ({row['status_reason']}): nothing to compare with"
        )
    if row["renewal_model"] != str(champion):
        raise MissingInputError(
            f"the list used model {row['renewal_model']}, but the champion is now {champion}: "
            "run `renewals score` again"
        )


def _parse_assignment(text: str, schema: Schema, catalogue: Mapping[str, FeatureMeta]) -> tuple[str, Any]:
    """The feature and the value of one assignment `feature=value`. Raises ConfigError."""
    name, sign, value = (part.strip() for part in text.partition("="))
    if not sign:
        raise ConfigError(f"--set {text!r}: write it as feature=value, for example --set use_days_per_person_s_90d=10")
    if catalogue.get(name, {}).get("action"):
        raise ConfigError(
            f"--set {name}: it counts logged actions, and logging an action does not change the score: set a "
            "feature of the customer's behavior, for example --set use_days_per_person_s_90d=10"
        )
    if name not in schema.names and name in RENAMED_FEATURES:
        raise ConfigError(f"--set {name}: the feature is now called {RENAMED_FEATURES[name]}")
    if name not in schema.names or name not in catalogue:
        suggestions = difflib.get_close_matches(name, schema.names, n=4, cutoff=0.5)
        hint = (
            f"did you mean {', '.join(suggestions)}?"
            if suggestions
            else "`renewals explain` shows an account's features"
        )
        raise ConfigError(f"--set {name}: the model has no such feature; {hint}")
    return name, _parse_category(name, value, schema) if name in schema.categories else _parse_number(
        name, value, catalogue[name]
    )


def _parse_category(name: str, value: str, schema: Schema) -> str | None:
    if value.lower() in UNKNOWN_VALUES:
        return None
    if value not in schema.categories[name]:
        raise ConfigError(
            f"--set {name}={value}: not a known category; use one of {', '.join(schema.categories[name])}"
        )
    return value


def _parse_number(name: str, value: str, feature: FeatureMeta) -> float:
    if value.lower() in UNKNOWN_VALUES:
        return math.nan
    if feature.get("unit") == YES_OR_NO and value.lower() in BOOLEAN_VALUES:
        return BOOLEAN_VALUES[value.lower()]
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"--set {name}={value}: give a number, or none for an unknown value")
    return number


def _compare_values(feature: FeatureMeta, values: Sequence[Any], peer: Any, texts: Messages) -> dict[str, Any]:
    """A feature before and after the change, as values and as its sentences."""
    before, after = map(json_value, values)
    sentences = [render_sentence(feature, value, peer, texts.phrases()) for value in (before, after)]
    by_name = dict(zip(("sentence_before", "sentence_after"), sentences, strict=True))
    return {"feature": feature["name"], "before": before, "after": after, **by_name}


def _shifted_values(
    peer_features: PeerFeatures,
    renewal_id: str,
    changes: Mapping[str, Any],
    schema: Schema,
    catalogue: Mapping[str, FeatureMeta],
) -> dict[str, float]:
    """New values of the other windows of each changed feature, by feature; only those that move.

    If several windows of one feature are set, the last of them decides.
    """
    rows = peer_features.positions(pd.Series([renewal_id], dtype=object))
    new_values: dict[str, float] = {}
    for name in [changed for changed in changes if changed not in schema.categories]:
        siblings = sibling_windows(catalogue[name], catalogue.values(), schema.names)
        windows = peer_features.windows(
            peer_features.load_columns([name, *siblings]), rows, peer_features.peer_groups.group[rows[0]]
        )
        shifted = shift_windows(name, np.array([changes[name]]), windows)
        new_values |= {
            sibling: float(shifted[sibling][0])
            for sibling in siblings
            if shifted[sibling][0] != windows[sibling].values[0]
        }
    return {sibling: value for sibling, value in new_values.items() if not math.isnan(value) and sibling not in changes}


def _notes(
    changes: Mapping[str, Any],
    shifted_values: Mapping[str, float],
    catalogue: Mapping[str, FeatureMeta],
    champion: Champion,
    texts: Messages,
) -> list[str]:
    """Warnings about the changes: out of the training range, not actionable, or moved windows."""
    notes = []
    for name, value in changes.items():
        feature = catalogue[name]
        low, high = training_range(champion.model, name)
        if isinstance(value, float) and (value < low or value > high):
            notes.append(texts.text("whatif.out_of_range", feature=name, low=f"{low:g}", high=f"{high:g}"))
        if not feature["actionable"]:
            notes.append(texts.text("whatif.background", feature=name))
        moved = [
            sibling for sibling in sibling_windows(feature, catalogue.values(), catalogue) if sibling in shifted_values
        ]
        if moved:
            assignments = ", ".join(f"{sibling}={shifted_values[sibling]:g}" for sibling in moved)
            notes.append(texts.text("whatif.sibling_windows", feature=name, others=assignments))
    return notes


def print_comparison(result: Mapping[str, Any], texts: Messages) -> None:
    """Print the comparison on standard error."""
    from rich.console import Console
    from rich.text import Text

    console, text = Console(stderr=True), texts.text
    account = make_printable(result["account_name"] or str(result["account_id"]))
    lines = [text("whatif.title", account=account, as_of=result["as_of"])]
    for feature in result["features"]:
        lines += [text("whatif.value", then=feature["sentence_before"], now=feature["sentence_after"])]
    lines += [text("whatif.chance", before=result["before"], after=result["after"]), *result["notes"]]
    for line in lines:
        console.print(Text(line))
