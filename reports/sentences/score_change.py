"""Why a chance changed, in words: by how many points, what of it is data, clock and model, and which figures moved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import floor
from typing import Any

from renewals.models.explanation.reasons import FeatureMeta as Feature
from renewals.models.explanation.reasons import render_sentence
from renewals.models.explanation.score_change import PARTS
from renewals.reports.words import Messages

MAX_NAMED_FEATURES = 2
"""Figures named at most."""
PEER_PHRASE = re.compile(r"(?P<opening>[(（])[^(（]*?(?=\{peer)")
"""The words before the peers' figure, which here become those before the account's own earlier one."""


def to_points(part: float) -> int:
    """A part of a probability in whole points."""
    return round(100 * part)


def round_parts(parts: Mapping[str, float]) -> dict[str, int]:
    """The parts in whole points that sum to the change in whole points: the largest remainders are rounded up."""
    exact = {part: 100 * parts[part] for part in PARTS}
    shown = {part: floor(size) for part, size in exact.items()}
    short = to_points(parts["change"]) - sum(shown.values())
    for part in sorted(PARTS, key=lambda part: shown[part] - exact[part])[: max(short, 0)]:
        shown[part] += 1
    return shown


def explain_change(
    parts: Mapping[str, float],
    features: Iterable[Feature],
    previous: Mapping[str, Any],
    current: Mapping[str, Any],
    messages: Messages,
) -> str:
    """The change of one account's probability: `parts` has `change` and those of
    `renewals.models.explanation.score_change.PARTS`.

    `features` are the features that may be named, the strongest first, `previous` and `current` their figures.
    """
    shown = [messages.text(f"change.{part}", points=own) for part, own in round_parts(parts).items() if own]
    told = change_headline(parts["change"], messages)
    if shown:
        told += messages.text("change.of", parts=messages.text("change.between").join(shown))
    figures = changed_feature_sentences(features, previous, current, messages) if to_points(parts["data"]) else []
    return told + "".join(messages.text("change.value", sentence=figure) for figure in figures)


def change_headline(change: float, messages: Messages) -> str:
    """By how many points the chance is higher or lower."""
    size = to_points(change)
    if size == 0:
        return messages.text("change.same")
    key = "change.higher" if size > 0 else "change.lower"
    return messages.text(f"{key}.one" if abs(size) == 1 else key, points=abs(size))


def changed_feature_sentences(
    features: Iterable[Feature], previous: Mapping[str, Any], current: Mapping[str, Any], messages: Messages
) -> list[str]:
    """The first sentences in which both figures are not written alike."""
    phrases, said = messages.phrases(), []
    for feature in features:
        own, earlier = current[str(feature["name"])], previous[str(feature["name"])]
        told = render_sentence(replace_peer_phrase(feature, messages), own, earlier, phrases)
        if told != render_sentence(replace_peer_phrase(feature, messages), own, own, phrases):
            said.append(told)
        if len(said) == MAX_NAMED_FEATURES:
            break
    return said


def replace_peer_phrase(feature: Feature, messages: Messages) -> Feature:
    """The feature with a sentence that sets its figure beside the last list's instead of the peers'."""
    language = messages.language
    told = PEER_PHRASE.sub(
        lambda found: found["opening"] + messages.text("change.previous_value"), feature[language], count=1
    )
    return {**feature, language: told}


def no_decomposition_text(change: float, reason: str, messages: Messages) -> str:
    """A change whose parts cannot be told, and why not."""
    return messages.text(
        "change.not_decomposed", change=change_headline(change, messages), why=messages.text(f"change.why.{reason}")
    )


def no_change_text(reason: str, messages: Messages) -> str | None:
    """Why there is nothing to compare with; no word where no account has anything, which the manifest says once."""
    return None if reason == "no_list" else messages.text(f"change.{reason}")


NO_CHANGE_REASONS: Sequence[str] = ("new", "new_term", "not_scored")
"""Why one account may have no change where others have."""
NO_DECOMPOSITION_REASONS: Sequence[str] = (
    "no_feature_values",
    "no_model",
    "reads_actions",
    "other_features",
    "other_feature_values",
)
"""Why a change may have no parts."""
