"""The effect of interventions in words: a sentence for each playbook, and the rows of a small table."""

from __future__ import annotations

from renewals.models.ranking.playbooks import ANY
from renewals.models.ranking.treatment_effect import Found, Refused
from renewals.reports.sanitize import printable
from renewals.reports.words import Words

COLUMNS = ("playbook", "treated", "renewed", "without", "points", "interval", "log_odds", "naive", "verdict")


def name(playbook: str, words: Words) -> str:
    """A playbook as people call it."""
    return words.say("effect.any") if playbook == ANY else words.value("playbook", printable(playbook))


def sentence(told: Found | Refused, words: Words) -> str:
    """What is said of one playbook, or why nothing is."""
    called = name(told.playbook, words)
    if isinstance(told, Refused):
        return words.say(f"effect.{told.reason}", playbook=called, **told.figures)
    without = told.renewed - told.points
    return words.say(
        f"effect.{told.verdict}", playbook=called, treated=told.treated, renewed=told.renewed, without=without,
        points=100 * told.points, low=100 * told.low, high=100 * told.high,
    )  # fmt: skip


def headings(words: Words, confidence: float) -> list[str]:
    """What stands over the columns of the table."""
    return [words.say(f"effect.column.{column}", confidence=confidence) for column in COLUMNS]


def row(told: Found | Refused, words: Words) -> list[str]:
    """One playbook in the table; where nothing is said, only how many were treated and that."""
    first = [name(told.playbook, words), str(told.treated)]
    if isinstance(told, Refused):
        return [*first, *[words.say("effect.dash")] * 6, words.say("effect.verdict.refused")]
    said = (f"{told.renewed:.0%}", f"{told.renewed - told.points:.0%}", f"{100 * told.points:+.1f}",
            f"{100 * told.low:+.1f} … {100 * told.high:+.1f}",
            words.say("effect.dash") if told.log_odds is None else f"{told.log_odds:+.2f}",
            f"{100 * told.naive:+.1f}")  # fmt: skip
    return [*first, *said, words.say(f"effect.verdict.{told.verdict}")]
