"""A warning of drift in words: what is other than it was, by how much, and from where on that is much."""

from __future__ import annotations

from renewals.models.evaluation.drift import Look
from renewals.reports.words import Words


def sentence(look: Look, family: str | None, words: Words) -> str:
    """What is said of one look; `family` is that of the feature looked at, where it is one."""
    about = words.value("family", family) if family else ""
    return words.say(
        f"drift.{look.what}", name=look.name, family=about, size=look.size, limit=look.limit, then=look.then,
        now=look.now, accounts=look.accounts,
    )  # fmt: skip
