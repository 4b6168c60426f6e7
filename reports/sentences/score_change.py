"""Text on why a renewal probability changed.

It gives the change in points, the parts due to data, clock and model, and the features that changed.
"""

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
"""Maximum number of features that are named."""
PEER_PHRASE = re.compile(r"(?P<opening>[(（])[^(（]*?(?=\{peer)")
"""The text before the peers' value in a sentence; it is replaced by text for the account's previous value."""


def to_points(part: float) -> int:
    """Convert a part of a probability to whole percentage points."""
    return round(100 * part)


def round_parts(parts: Mapping[str, float]) -> dict[str, int]:
    """Round the parts to whole points that sum to the rounded change; the largest remainders are rounded up."""
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
    """Describe the change of one account's renewal probability.

    `parts` has `change` and the parts named in `renewals.models.explanation.score_change.PARTS`. `features` are the
    features that may be named, strongest first; `previous` and `current` hold their values.
    """
    shown = [messages.text(f"change.{part}", points=points) for part, points in round_parts(parts).items() if points]
    text = change_headline(parts["change"], messages)
    if shown:
        text += messages.text("change.of", parts=messages.text("change.between").join(shown))
    figures = changed_feature_sentences(features, previous, current, messages) if to_points(parts["data"]) else []
    return text + "".join(messages.text("change.value", sentence=figure) for figure in figures)


def change_headline(change: float, messages: Messages) -> str:
    """Text that gives the change of the probability in whole points: higher, lower or unchanged."""
    size = to_points(change)
    if size == 0:
        return messages.text("change.same")
    key = "change.higher" if size > 0 else "change.lower"
    return messages.text(f"{key}.one" if abs(size) == 1 else key, points=abs(size))


def changed_feature_sentences(
    features: Iterable[Feature], previous: Mapping[str, Any], current: Mapping[str, Any], messages: Messages
) -> list[str]:
    """Sentences of the first `MAX_NAMED_FEATURES` features whose previous and current values differ as written."""
    phrases, sentences = messages.phrases(), []
    for feature in features:
        value, earlier = current[str(feature["name"])], previous[str(feature["name"])]
        sentence = render_sentence(replace_peer_phrase(feature, messages), value, earlier, phrases)
        if sentence != render_sentence(replace_peer_phrase(feature, messages), value, value, phrases):
            sentences.append(sentence)
        if len(sentences) == MAX_NAMED_FEATURES:
            break
    return sentences


def replace_peer_phrase(feature: Feature, messages: Messages) -> Feature:
    """Make the feature's sentence template compare its value with the previous list instead of the peers."""
    language = messages.language
    template = PEER_PHRASE.sub(
        lambda match: match["opening"] + messages.text("change.previous_value"), feature[language], count=1
    )
    return {**feature, language: template}


def no_decomposition_text(change: float, reason: str, messages: Messages) -> str:
    """Text on a change that could not be split into parts, with the reason."""
    return messages.text(
        "change.not_decomposed", change=change_headline(change, messages), why=messages.text(f"change.why.{reason}")
    )


def no_change_text(reason: str, messages: Messages) -> str | None:
    """Text on why an account has no change. None for "no_list": it concerns all accounts, and the manifest has it
    once."""
    return None if reason == "no_list" else messages.text(f"change.{reason}")


NO_CHANGE_REASONS: Sequence[str] = ("new", "new_term", "not_scored")
"""Reasons why a single account has no change."""
NO_DECOMPOSITION_REASONS: Sequence[str] = (
    "no_feature_values",
    "no_model",
    "reads_actions",
    "other_features",
    "other_feature_values",
)
"""Reasons why a change could not be split into parts."""
