"""What the model would say of an account if some of its figures were other than they are."""

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
from renewals.pipelines.commands.explain import account_position, json_value
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
"""How a person says that a figure is not known."""
BOOLEAN_VALUES = {"yes": 1.0, "no": 0.0}

FeatureMeta = Mapping[str, Any]


def whatif(job: Job, account: str, assignments: Sequence[str]) -> dict[str, Any]:
    """The probability of renewal as it is and with the figures wished for, each written `feature=value`.

    The other windows of such a figure move along, unless they are wished for too.

    Raises MissingInputError where the account is not on the list or has no score, or where another model serves by now;
    Config where a feature is unknown or a value is none of its.
    """
    result = list_archive.read_archived_list(job, lambda day: compare_what_if(day, account, assignments))
    if is_interactive():
        print_comparison(result, Messages(job.settings.list.language))
    return result


def compare_what_if(day: Job, account: str, assignments: Sequence[str]) -> dict[str, Any]:
    """What the model says before and after; `day` is the job of `published_day.read_day`."""
    _, listed = read_scored_list(day)
    row = listed.iloc[account_position(listed, account)]
    champion = champion_models.load_champion(day, RENEWAL)
    _require_comparable(row, champion)
    catalogue = {str(feature["name"]): feature for feature in read_archived_catalogue(day.folder)}
    schema = champion.model.schema
    changes = dict(_parse_assignment(text, schema, catalogue) for text in assignments)
    own = [("account_id", "==", row["account_id"])]
    figures = data_files.load_frame(day.folder / SCORING, filters=own)
    moves = _shifted_values(
        PeerFeatures(day.folder, listed, day.settings.list.min_peers), row["account_id"], changes, schema, catalogue
    )
    both = pd.concat([figures, figures.assign(**moves, **changes)], ignore_index=True)
    before, after = champion.model.probability(both).tolist()
    group = data_files.load_frame(day.folder / CONTRIBUTIONS, filters=own, columns=[PEER_GROUP])[PEER_GROUP].iloc[0]
    peers = data_files.load_frame(day.folder / PEER_MEDIANS, columns=list(changes)).loc[group]
    words = Messages(day.settings.list.language)
    return {
        "as_of": day.day.isoformat(),
        "account_id": json_value(row["account_id"]),
        "account_name": json_value(row["account_name"]),
        "model": str(champion),
        "before": before,
        "after": after,
        "features": [
            _compare_values(catalogue[name], both[name].tolist(), json_value(peers[name]), words) for name in changes
        ],
        "shifted_windows": {name: [json_value(own) for own in both[name].tolist()] for name in moves},
        "notes": [*_notes(changes, moves, catalogue, champion, words), words.text("whatif.caveat")],
    }


def _require_comparable(row: pd.Series, champion: Champion) -> None:
    who = make_printable(str(row["account_id"]))
    if row["status"] != SCORED:
        raise MissingInputError(
            f"account {who} has no score on this list ({row['status_reason']}): nothing to compare with"
        )
    if row["renewal_model"] != str(champion):
        raise MissingInputError(
            f"the list used model {row['renewal_model']}, but the champion is now {champion}: "
            "run `renewals score` again"
        )


def _parse_assignment(text: str, schema: Schema, catalogue: Mapping[str, FeatureMeta]) -> tuple[str, Any]:
    """The feature and the value of one wish."""
    name, sign, value = (part.strip() for part in text.partition("="))
    if not sign:
        raise ConfigError(f"--set {text!r}: write it as feature=value, for example --set use_days_per_person_s_90d=10")
    if catalogue.get(name, {}).get("action"):
        raise ConfigError(
            f"--set {name}: it counts actions that are logged, and logging one moves no score: try what the customer "
            "does, for example --set use_days_per_person_s_90d=10"
        )
    if name not in schema.names and name in RENAMED_FEATURES:
        raise ConfigError(f"--set {name}: the feature is now called {RENAMED_FEATURES[name]}")
    if name not in schema.names or name not in catalogue:
        near = difflib.get_close_matches(name, schema.names, n=4, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "`renewals explain` shows an account's features"
        raise ConfigError(f"--set {name}: the model reads no such feature; {hint}")
    return name, _parse_category(name, value, schema) if name in schema.categories else _parse_number(
        name, value, catalogue[name]
    )


def _parse_category(name: str, value: str, schema: Schema) -> str | None:
    if value.lower() in UNKNOWN_VALUES:
        return None
    if value not in schema.categories[name]:
        raise ConfigError(f"--set {name}={value}: the model knows {', '.join(schema.categories[name])}")
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
        raise ConfigError(f"--set {name}={value}: give a number, or none where it is not known")
    return number


def _compare_values(feature: FeatureMeta, values: Sequence[Any], peer: Any, texts: Messages) -> dict[str, Any]:
    """A feature before and after, as figures and in its own sentence."""
    then, now = map(json_value, values)
    said = [render_sentence(feature, figure, peer, texts.phrases()) for figure in (then, now)]
    names = dict(zip(("sentence_before", "sentence_after"), said, strict=True))
    return {"feature": feature["name"], "before": then, "after": now, **names}


def _shifted_values(
    peer_features: PeerFeatures,
    account: Any,
    changes: Mapping[str, Any],
    schema: Schema,
    catalogue: Mapping[str, FeatureMeta],
) -> dict[str, float]:
    """The figures that move along, as they would be; with the last wish where several are windows of one figure."""
    rows = peer_features.positions(pd.Series([account], dtype=object))
    moves: dict[str, float] = {}
    for name in [own for own in changes if own not in schema.categories]:
        others = sibling_windows(catalogue[name], catalogue.values(), schema.names)
        windows = peer_features.windows(
            peer_features.load_columns([name, *others]), rows, peer_features.peer_groups.group[rows[0]]
        )
        there = shift_windows(name, np.array([changes[name]]), windows)
        moves |= {other: float(there[other][0]) for other in others if there[other][0] != windows[other].values[0]}
    return {other: value for other, value in moves.items() if not math.isnan(value) and other not in changes}


def _notes(
    changes: Mapping[str, Any],
    shifted_values: Mapping[str, float],
    catalogue: Mapping[str, FeatureMeta],
    champion: Champion,
    texts: Messages,
) -> list[str]:
    """What must be known of these wishes before the probability is believed."""
    notes = []
    for name, value in changes.items():
        feature = catalogue[name]
        low, high = training_range(champion.model, name)
        if isinstance(value, float) and (value < low or value > high):
            notes.append(texts.text("whatif.out_of_range", feature=name, low=f"{low:g}", high=f"{high:g}"))
        if not feature["actionable"]:
            notes.append(texts.text("whatif.background", feature=name))
        others = [own for own in sibling_windows(feature, catalogue.values(), catalogue) if own in shifted_values]
        if others:
            told = ", ".join(f"{other}={shifted_values[other]:g}" for other in others)
            notes.append(texts.text("whatif.sibling_windows", feature=name, others=told))
    return notes


def print_comparison(result: Mapping[str, Any], texts: Messages) -> None:
    """The comparison on standard error."""
    from rich.console import Console
    from rich.text import Text

    console, say = Console(stderr=True), texts.text
    who = make_printable(result["account_name"] or str(result["account_id"]))
    lines = [say("whatif.title", account=who, as_of=result["as_of"])]
    for own in result["features"]:
        lines += [say("whatif.value", then=own["sentence_before"], now=own["sentence_after"])]
    lines += [say("whatif.chance", before=result["before"], after=result["after"]), *result["notes"]]
    for line in lines:
        console.print(Text(line))
