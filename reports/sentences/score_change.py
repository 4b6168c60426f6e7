"""Why a chance changed, in words: by how many points, what of it is data, clock and model, and which figures moved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import floor
from typing import Any

from renewals.models.explanation.reasons import Words as Feature
from renewals.models.explanation.reasons import sentence
from renewals.models.explanation.score_change import PARTS
from renewals.reports.words import Words

NAMED = 2
"""Figures named at most."""
PEERS = re.compile(r"(?P<opening>[(（])[^(（]*?(?=\{peer)")
"""The words before the peers' figure, which here become those before the account's own earlier one."""


def points(part: float) -> int:
    """A part of a probability in whole points."""
    return round(100 * part)


def whole_points(parts: Mapping[str, float]) -> dict[str, int]:
    """The parts in whole points that sum to the change in whole points: the largest remainders are rounded up."""
    exact = {part: 100 * parts[part] for part in PARTS}
    shown = {part: floor(size) for part, size in exact.items()}
    short = points(parts["change"]) - sum(shown.values())
    for part in sorted(PARTS, key=lambda part: shown[part] - exact[part])[: max(short, 0)]:
        shown[part] += 1
    return shown


def why_changed(
    parts: Mapping[str, float],
    speakers: Iterable[Feature],
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    words: Words,
) -> str:
    """The change of one account's probability: `parts` has `change` and those of
    `renewals.models.explanation.score_change.PARTS`.

    `speakers` are the features that may be named, the strongest first, `before` and `now` their figures.
    """
    shown = [words.say(f"change.{part}", points=own) for part, own in whole_points(parts).items() if own]
    told = headline(parts["change"], words)
    if shown:
        told += words.say("change.of", parts=words.say("change.between").join(shown))
    figures = figures_moved(speakers, before, now, words) if points(parts["data"]) else []
    return told + "".join(words.say("change.figure", sentence=figure) for figure in figures)


def headline(change: float, words: Words) -> str:
    """By how many points the chance is higher or lower."""
    size = points(change)
    if size == 0:
        return words.say("change.same")
    key = "change.higher" if size > 0 else "change.lower"
    return words.say(f"{key}.one" if abs(size) == 1 else key, points=abs(size))


def figures_moved(
    speakers: Iterable[Feature], before: Mapping[str, Any], now: Mapping[str, Any], words: Words
) -> list[str]:
    """The first sentences in which both figures are not written alike."""
    phrases, said = words.phrases(), []
    for feature in speakers:
        own, earlier = now[str(feature["name"])], before[str(feature["name"])]
        told = sentence(beside_before(feature, words), own, earlier, phrases)
        if told != sentence(beside_before(feature, words), own, own, phrases):
            said.append(told)
        if len(said) == NAMED:
            break
    return said


def beside_before(feature: Feature, words: Words) -> Feature:
    """The feature with a sentence that sets its figure beside the last list's instead of the peers'."""
    language = words.language
    told = PEERS.sub(lambda found: found["opening"] + words.say("change.before"), feature[language], count=1)
    return {**feature, language: told}


def why_untold(change: float, why: str, words: Words) -> str:
    """A change whose parts cannot be told, and why not."""
    return words.say("change.untold", change=headline(change, words), why=words.say(f"change.why.{why}"))


def without_change(why: str, words: Words) -> str | None:
    """Why there is nothing to compare with; no word where no account has anything, which the manifest says once."""
    return None if why == "no_list" else words.say(f"change.{why}")


WITHOUT: Sequence[str] = ("new", "new_term", "not_scored")
"""Why one account may have no change where others have."""
UNTOLD: Sequence[str] = ("no_figures", "no_model", "reads_actions", "other_features", "other_figures")
"""Why a change may have no parts."""
